/* A port of 127.0.0.1 that nobody else gets while it is held: a socket is bound to it that never listens. A listener
 * with SO_REUSEADDR, as libuv's are, binds beside it; the system gives it to no outgoing connection meanwhile. */
#ifndef MQ_TEST_HELD_PORT_H
#define MQ_TEST_HELD_PORT_H

struct held_port {
    int fd;
    int port;
};

void held_port_open(struct held_port *held);
void held_port_close(struct held_port *held);

#endif
