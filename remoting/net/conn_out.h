/* What the two halves of a connection, conn.c and conn_out.c, and the loop know of each other. */
#ifndef MQ_NET_CONN_OUT_H
#define MQ_NET_CONN_OUT_H

#include "remoting/net/conn.h"

/* Has the loop call net_conn_end_turn at the end of this turn. */
void net_conn_mark(struct net_conn *conn);

/* Writes what is there and lets a paused connection go on when its peer has read enough. */
void net_conn_end_turn(struct net_conn *conn);

/* Gives the kernel what it takes at once. Returns 0 (nothing is left), UV_EAGAIN, or the error of the write. */
int net_conn_push(struct net_conn *conn);

/* Drops all output and its references; for a closed connection. */
void net_conn_drop(struct net_conn *conn);

/* conn.c's: reads from now on, unless the connection is paused. Returns 0 or a libuv error. */
int net_conn_read_on(struct net_conn *conn);

#endif
