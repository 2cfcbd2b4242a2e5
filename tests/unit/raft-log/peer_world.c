#include "peer_world.h"

#include "raft-log/log/disk.h"
#include "raft-log/log/snapshot_file.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int on_message(void *data, struct core_message *message, const struct commitlog_entry *entries,
                      struct net_ref *ref)
{
    struct end *end = data;

    (void)ref;
    if (message->term == MARK) {
        end->marked = true;
        return 0;
    }
    assert_true(end->n_got < GOT_MAX);
    end->got[end->n_got++] = *message;
    for (uint32_t i = 0; message->type == CORE_APPEND && i < message->append.n; i++) {
        assert_int_equal(entries[i].header.index, message->append.prev_index + 1 + i);
        end->got_bytes += entries[i].n;
    }
    return 0;
}

static void on_founding(void *data, struct peer *peer, uint64_t incarnation, const struct peer_founding *founding)
{
    (void)data;
    (void)peer;
    (void)incarnation;
    (void)founding;
}

static void on_reached(void *data, struct peer *peer)
{
    (void)data;
    (void)peer;
}

static bool leads(void *data, uint64_t term, uint32_t peer, uint64_t *commit, uint64_t *match)
{
    const struct end *end = data;

    (void)peer;
    *commit = end->commit;
    *match = end->match;
    return term == end->term;
}

static uint64_t committed(void *data)
{
    return ((const struct end *)data)->commit;
}

static bool is_far(void *data, uint64_t first, uint64_t *index, uint64_t *term)
{
    (void)data;
    (void)first;
    (void)index;
    (void)term;
    return false;
}

static void on_damaged(void *data, uint64_t index)
{
    struct end *end = data;

    end->damaged = index;
    end->damages++;
}

static const struct peers_ops ops = {
    .message = on_message,
    .founding = on_founding,
    .reached = on_reached,
    .leads = leads,
    .committed = committed,
    .is_far = is_far,
    .damaged = on_damaged,
};

static void on_durable(void *data, uint64_t index, uint64_t term)
{
    (void)data;
    (void)index;
    (void)term;
}

static void on_gone(void *data)
{
    ((struct end *)data)->gone = true;
}

struct peers_options options_of(struct world *w, unsigned i, uint32_t heartbeat_ms)
{
    return (struct peers_options){
        .loop = &w->loop,
        .log = w->log,
        .ops = &ops,
        .data = &w->ends[i],
        .group = "g",
        .self = i + 1,
        .incarnation = i + 11,
        .boot = i + 101,
        .segment_bytes = SEGMENT_BYTES,
        .heartbeat_ms = heartbeat_ms,
        .seed = i,
        .members = w->members,
        .n_members = 2,
    };
}

void start_end(struct world *w, unsigned i, const struct peers_options *options)
{
    struct mq_buf problem = {0};

    assert_int_equal(peers_new(options, &w->ends[i].peers), 0);
    peers_set_membership(w->ends[i].peers, &w->membership, NULL);
    assert_int_equal(peers_start(w->ends[i].peers, &problem), 0);
}

void world_open(struct world *w)
{
    struct commitlog_options log_options = {&rlog_disk_real, w->dir, SEGMENT_BYTES, on_durable, w};
    struct mq_buf problem = {0};

    memset(w, 0, sizeof(*w));
    strcpy(w->dir, "/tmp/raft-peer-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(net_loop_init(&w->loop), 0);
    assert_int_equal(commitlog_open(&w->loop, &log_options, &w->log, &problem), 0);
    blob_pool_init(&w->blobs);
    assert_int_equal(membership_init(&w->membership, "g"), 0);
    for (unsigned i = 0; i < 2; i++) {
        held_port_open(&w->ports[i]);
        (void)snprintf(w->addresses[i], sizeof(w->addresses[i]), "127.0.0.1:%d", w->ports[i].port);
        w->members[i] = (struct rlog_member){i + 1, w->addresses[i]};
        assert_int_equal(membership_add(&w->membership, i + 1, w->addresses[i], i + 11), 0);
    }
}

struct peer *far(struct world *w)
{
    return peers_find(w->ends[0].peers, 2);
}

void world_init(struct world *w, uint32_t heartbeat_ms)
{
    world_open(w);
    for (unsigned i = 0; i < 2; i++) {
        struct peers_options options = options_of(w, i, heartbeat_ms);

        start_end(w, i, &options);
    }
    w->ends[0].term = 3;
    RUN_UNTIL(w, peer_is_up(far(w), PEER_CONTROL) && peer_is_up(far(w), PEER_BULK));
}

void world_fini(struct world *w)
{
    peers_close(w->ends[0].peers, on_gone);
    peers_close(w->ends[1].peers, on_gone);
    RUN_UNTIL(w, w->ends[0].gone && w->ends[1].gone);
    held_port_close(&w->ports[0]);
    held_port_close(&w->ports[1]);
    commitlog_close(w->log);
    blob_pool_fini(&w->blobs);
    (void)uv_run(&w->loop.uv, UV_RUN_NOWAIT);
    net_loop_fini(&w->loop);
    assert_int_equal(mq_dir_remove(w->dir), 0);
}

void put(struct world *w, uint8_t type, uint32_t n, uint32_t bytes)
{
    for (uint32_t i = 0; i < n; i++) {
        struct rlog_header header = {.type = type, .index = commitlog_last_index(w->log) + 1, .term = 3};

        struct rlog_blob *blob;

        header.store_ms = (int64_t)header.index * 10;
        assert_int_equal(blob_pool_take(&w->blobs, NULL, bytes, &blob), 0);
        memset(rlog_blob_payload(blob), 7, bytes);
        header.payload_bytes = blob->payload_bytes = bytes;
        assert_int_equal(commitlog_append(w->log, &header, blob), 0);
    }
    commitlog_kick(w->log);
}

/* ---- snapshots ---- */

void shelf_path(const struct shelf *shelf, uint64_t index, char *path)
{
    (void)snprintf(path, SERVE_PATH_MAX, "%s/%u", shelf->dir, (unsigned)index);
}

static int shelf_newest(void *data, struct serve_file *out)
{
    const struct shelf *shelf = data;

    *out = shelf->file;
    return shelf->newest != 0 ? 0 : MQ_ENOTFOUND;
}

static bool shelf_acquire(void *data, uint64_t index)
{
    struct shelf *shelf = data;

    assert_int_equal(shelf->held, 0);
    shelf->held = index;
    return true;
}

static void shelf_release(void *data, uint64_t index)
{
    struct shelf *shelf = data;

    assert_int_equal(shelf->held, index);
    shelf->held = 0;
}

void world_init_with_shelf(struct world *w, struct shelf *shelf)
{
    world_open(w);
    *shelf = (struct shelf){.source = {&rlog_disk_real, shelf_newest, shelf_acquire, shelf_release, shelf}};
    (void)snprintf(shelf->dir, sizeof(shelf->dir), "%s", w->dir);
    for (unsigned i = 0; i < 2; i++) {
        struct peers_options options = options_of(w, i, NEVER_MS);

        options.snapshots = i == 1 ? &shelf->source : NULL;
        start_end(w, i, &options);
    }
    RUN_UNTIL(w, peer_is_up(far(w), PEER_RANGE));
}

uint64_t shelf_put(struct shelf *shelf, uint64_t index, uint32_t bytes)
{
    static struct snapshot_info info;
    struct snapshot_writer writer;
    uint8_t *rows = malloc(bytes);
    uint64_t written;

    assert_non_null(rows);
    for (uint32_t i = 0; i < bytes; i++) {
        rows[i] = (uint8_t)(index + i * 7u + (i >> 13));
    }
    info = (struct snapshot_info){.index = index, .term = 3, .n_sections = 1, .sections = {{.id = 1, .version = 1}}};
    shelf->file = (struct serve_file){.index = index, .term = 3};
    shelf_path(shelf, index, shelf->file.path);
    assert_int_equal(snapshot_writer_open(&writer, &rlog_disk_real, shelf->file.path, &info), 0);
    assert_int_equal(snapshot_writer_put(&writer, 1, rows, bytes), 0);
    assert_int_equal(snapshot_writer_finish(&writer, &written), 0);
    shelf->newest = index;
    shelf->file.bytes = written;
    free(rows);
    return written;
}
