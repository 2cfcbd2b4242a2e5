#include "tests/unit/raft-log/held_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

void held_port_open(struct held_port *held)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(addr);
    int one = 1;

    held->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(held->fd >= 0);
    assert_int_equal(setsockopt(held->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(held->fd, (struct sockaddr *)&addr, n), 0);
    assert_int_equal(getsockname(held->fd, (struct sockaddr *)&addr, &n), 0);
    held->port = ntohs(addr.sin_port);
}

void held_port_close(struct held_port *held)
{
    close(held->fd);
    held->fd = -1;
}
