/* Channels that are connected to nothing, for tables that only hold references to them. */
#ifndef TESTS_BROKER_CHANNELS_H
#define TESTS_BROKER_CHANNELS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "remoting/net/channel.h"

static inline struct net_channel *channel_new(void)
{
    static struct net_loop no_loop;
    static const struct net_channel_ops ops = {0};
    static const struct net_conn_limits limits = {.pause_bytes = 1, .resume_bytes = 1, .close_bytes = 1};
    struct net_channel *ch;

    assert_int_equal(net_channel_new(&no_loop, &ops, &limits, &ch), 0);
    return ch;
}

/* Releases the test's reference, which must be the last one. */
static inline void channel_free(struct net_channel *ch)
{
    assert_int_equal(ch->refs, 1);
    net_channel_release(ch);
}

#endif
