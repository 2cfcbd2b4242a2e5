/* What the tests of the protocol share: frames from text, bytes from hex, and slices compared with literals. */
#ifndef MQ_TESTS_PROTOCOL_WIRE_H
#define MQ_TESTS_PROTOCOL_WIRE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/base/text.h"
#include "remoting/protocol/record.h"

/* A copy in a block of exactly its size, so that the sanitizers see a read behind it. Free with free(). */
void *wire_exact(const void *bytes, size_t n);

/* A whole frame of encoding byte @encoding. */
void wire_frame(struct mq_buf *out, uint8_t encoding, struct mq_str header, struct mq_str body);

/* Appends the bytes that @hex names; blanks and line breaks are skipped. */
void wire_hex(struct mq_buf *out, const char *hex);

/* The same text; @want NULL: absent. */
void wire_assert_str(struct mq_str got, const char *want);
void wire_assert_bytes(const struct mq_buf *got, const char *want_hex);

void wire_assert_host(const struct proto_host *got, const struct proto_host *want);

/* Numbers that look random and are the same in every run. */
struct wire_random {
    uint64_t state;
};

uint32_t wire_random_below(struct wire_random *random, uint32_t limit);

/* @n bytes into @out, each one of those of @alphabet. */
struct mq_str wire_random_text(struct wire_random *random, const char *alphabet, uint32_t n, char *out);

#endif
