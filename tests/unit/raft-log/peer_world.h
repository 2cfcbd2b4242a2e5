/* Two ends over loopback sockets: one plays a leader with a log, the other writes down what arrives. */
#ifndef TEST_PEER_WORLD_H
#define TEST_PEER_WORLD_H

#include "raft-log/log/blob.h"
#include "raft-log/peer/peers.h"
#include "remoting/base/clock.h"
#include "tests/unit/raft-log/held_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <uv.h>

#include <cmocka.h>

#define GOT_MAX 4096
#define MARK 99
#define DEADLINE_MS 30000u
#define SEGMENT_BYTES (64u << 20)
#define NEVER_MS 0x7fffffffu /* a heartbeat that does not come due in a test */

struct end {
    struct peers *peers;
    struct core_message got[GOT_MAX]; /* appends, without entries */
    uint64_t got_bytes;
    unsigned n_got;
    uint64_t commit, match; /* of the leadership it claims */
    uint64_t term;          /* 0: it leads nothing */
    bool gone;
    uint64_t damaged; /* entry that it was told to be bad */
    unsigned damages;
    bool marked; /* a message with the term MARK arrived */
};

struct world {
    struct net_loop loop;
    char dir[64];
    struct commitlog *log;
    struct blob_pool blobs;
    struct membership membership;
    struct rlog_member members[2];
    struct held_port ports[2];
    char addresses[2][32];
    struct end ends[2]; /* 0 leads */
};

#define RUN_UNTIL(w, cond)                                                                                           \
    do {                                                                                                             \
        uint64_t start_ms = mq_clock_mono_ms();                                                                      \
        while (!(cond)) {                                                                                            \
            (void)uv_run(&(w)->loop.uv, UV_RUN_ONCE);                                                                \
            assert_true(mq_clock_mono_ms() - start_ms < DEADLINE_MS);                                                \
        }                                                                                                            \
    } while (0)

/* A log and two ends that are not started; options_of and start_end start them. */
void world_open(struct world *w);
struct peers_options options_of(struct world *w, unsigned i, uint32_t heartbeat_ms);
void start_end(struct world *w, unsigned i, const struct peers_options *options);
/* Both started, connected; end 0 leads in term 3. */
void world_init(struct world *w, uint32_t heartbeat_ms);
void world_fini(struct world *w);
struct peer *far(struct world *w); /* end 1, as end 0 reaches it */

/* Appends @n entries with @bytes of payload. */
void put(struct world *w, uint8_t type, uint32_t n, uint32_t bytes);

/* Snapshots that end 1 has to give, in the world's directory. */
struct shelf {
    char dir[64];
    struct serve_file file; /* the newest; index 0: none */
    uint64_t newest;
    uint64_t held; /* the one that is kept for a reader; 0: none */
    struct serve_snapshots source;
};

/* As world_init, with nothing on the shelf. */
void world_init_with_shelf(struct world *w, struct shelf *shelf);
void shelf_path(const struct shelf *shelf, uint64_t index, char *path);
/* Writes a sound snapshot with @bytes of rows. Returns how long its file is. */
uint64_t shelf_put(struct shelf *shelf, uint64_t index, uint32_t bytes);

#endif
