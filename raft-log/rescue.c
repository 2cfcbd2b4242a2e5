#include "raft-log/include/raftlog/rescue.h"

#include "raft-log/core/member.h"
#include "raft-log/evidence.h"
#include "raft-log/include/raftlog/raftlog.h"
#include "raft-log/log/blob.h"
#include "raft-log/log/commit_mark.h"
#include "raft-log/log/commitlog.h"
#include "raft-log/log/disk.h"
#include "raft-log/log/meta.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/net/loop.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct rlog_rescue {
    struct net_loop loop;
    struct meta meta;
    struct commitlog *log;
    struct blob_pool blobs;
    char group[MEMBER_TEXT_MAX + 1];
    struct membership members; /* the newest that is here */
    struct rlog_survivor survivor;
};

static void on_durable(void *data, uint64_t index, uint64_t term)
{
    (void)data;
    (void)index;
    (void)term; /* who waits looks at the log itself */
}

/* As a start of a member of a group does: what is bad is set aside, and the claim on it kept. */
static int on_keep_claim(void *data, const struct rlog_claim *claim, const uint8_t *change, uint32_t n,
                         struct mq_buf *why)
{
    struct rlog_rescue *rescue = data;

    (void)why;
    (void)change;
    (void)n;
    if (rescue->meta.claim.index == 0 ||
        rlog_is_behind(rescue->meta.claim.term, rescue->meta.claim.index, claim->term, claim->index)) {
        meta_store_claim(&rescue->meta, claim);
    }
    return 0;
}

/* What a start goes by (evidence.h), but for an open claim, which is told apart. */
static int read_committed(struct rlog_rescue *rescue, const char *dir, uint64_t *out, struct mq_buf *problem)
{
    struct snapshots_options options = {.disk = &rlog_disk_real, .dir = dir, .loop = &rescue->loop.uv};
    struct snapshots *snapshots;
    struct commit_mark mark;
    int rc = commit_mark_open(&mark, &rlog_disk_real, dir, rescue->meta.incarnation, problem);

    if (rc != 0) {
        return rc;
    }
    rc = snapshots_open(&options, &snapshots, problem);
    if (rc == 0) {
        rc = evidence_of_snapshot(&rlog_disk_real, dir, snapshots_newest(snapshots), out, problem);
        snapshots_drop(snapshots);
    }
    *out = rc == 0 && *out > mark.index ? *out : mark.index;
    commit_mark_drop(&mark);
    return rc;
}

/* All segments have one size: that of any of them. */
static int read_segment_bytes(const char *dir, uint64_t *out, struct mq_buf *problem)
{
    char path[4096];
    struct dirent *entry;
    struct stat st;
    DIR *list;
    int rc = MQ_ENOTFOUND;

    (void)snprintf(path, sizeof(path), "%s/log", dir);
    list = opendir(path);
    if (list == NULL) {
        mq_buf_printf(problem, "%s: %s", path, mq_strerror(-errno));
        return -errno;
    }
    while (rc != 0 && (entry = readdir(list)) != NULL) {
        if (strspn(entry->d_name, "0123456789") == 20 && entry->d_name[20] == '\0' &&
            fstatat(dirfd(list), entry->d_name, &st, 0) == 0 && st.st_size > 0) {
            *out = (uint64_t)st.st_size;
            rc = 0;
        }
    }
    (void)closedir(list);
    if (rc != 0) {
        mq_buf_printf(problem, "%s: there is no segment of a log", path);
    }
    return rc;
}

static int read_members(struct rlog_rescue *rescue, struct mq_buf *problem)
{
    uint64_t last = commitlog_last_index(rescue->log);
    uint64_t index = last > 0 ? commitlog_change_before(rescue->log, last) : 0;
    struct commitlog_entry entry;
    struct rlog_base base;
    int rc = MQ_ECORRUPT;

    commitlog_base_get(rescue->log, &base);
    if (index > 0 && commitlog_get(rescue->log, index, &entry) == 0) {
        rc = membership_decode(entry.bytes + RLOG_HEADER_BYTES, entry.header.payload_bytes, &rescue->members);
    } else if (base.change_bytes > 0) {
        rc = membership_decode(base.change, base.change_bytes, &rescue->members);
    }
    if (rc != 0) {
        mq_buf_printf(problem, "%s: the log does not say who the members are: there is nothing to rescue",
                      rescue->meta.dir);
    }
    return rc;
}

static void look(struct rlog_rescue *rescue, uint64_t committed)
{
    const struct member *self = membership_find(&rescue->members, rescue->survivor.self);
    uint64_t proven = commitlog_proven_commit(rescue->log);
    struct rlog_survivor *s = &rescue->survivor;

    s->group = rescue->group;
    s->role = self != NULL && self->incarnation == rescue->meta.incarnation ? member_role_name(self->role) : "none";
    s->voters = membership_voters(&rescue->members);
    s->term = rescue->meta.term;
    s->last_index = commitlog_last_index(rescue->log);
    s->last_term = commitlog_term_of(rescue->log, s->last_index);
    s->end_pos = commitlog_end_pos(rescue->log);
    s->committed = proven > committed ? proven : committed;
    s->claimed_index = rescue->meta.claim.index;
    s->last_store_ms = commitlog_last_store_ms(rescue->log);
}

static int open_log(struct rlog_rescue *rescue, const char *dir, struct mq_buf *problem)
{
    struct commitlog_options options = {
        .disk = &rlog_disk_real,
        .dir = dir,
        .durable = on_durable,
        .data = rescue,
        .term = rescue->meta.term,
        .keep_claim = on_keep_claim,
    };
    int rc = read_segment_bytes(dir, &options.segment_bytes, problem);

    if (rc == 0) {
        rc = read_committed(rescue, dir, &options.committed, problem);
    }
    if (rc == 0) {
        rc = commitlog_open(&rescue->loop, &options, &rescue->log, problem);
    }
    if (rc != 0) {
        return rc;
    }
    rc = read_members(rescue, problem);
    if (rc == 0) {
        look(rescue, options.committed);
    } else {
        commitlog_close(rescue->log);
    }
    return rc;
}

int rlog_rescue_open(const char *dir, struct rlog_rescue **out, struct mq_buf *problem)
{
    struct rlog_rescue *rescue = mq_calloc(1, sizeof(*rescue));
    bool empty;
    int rc;

    if (rescue == NULL) {
        return MQ_ENOMEM;
    }
    rc = meta_whose(&rlog_disk_real, dir, rescue->group, sizeof(rescue->group), &rescue->survivor.self, problem);
    if (rc == 0) {
        rc = meta_open(&rescue->meta, &rlog_disk_real, dir, rescue->group, rescue->survivor.self, &empty, problem);
    }
    if (rc != 0) {
        mq_free(rescue);
        return rc;
    }
    rc = net_loop_init(&rescue->loop);
    if (rc == 0) {
        rc = open_log(rescue, dir, problem);
        if (rc != 0) {
            (void)uv_run(&rescue->loop.uv, UV_RUN_NOWAIT);
            net_loop_fini(&rescue->loop);
        }
    }
    if (rc != 0) {
        meta_close(&rescue->meta);
        mq_free(rescue);
        return rc;
    }
    blob_pool_init(&rescue->blobs);
    *out = rescue;
    return 0;
}

const struct rlog_survivor *rlog_rescue_look(const struct rlog_rescue *rescue)
{
    return &rescue->survivor;
}

/* This directory alone. */
static int make_membership(const struct rlog_rescue *rescue, struct mq_buf *out)
{
    const struct member *former = membership_find(&rescue->members, rescue->survivor.self);
    struct member self = {.id = rescue->survivor.self, .incarnation = rescue->meta.incarnation};
    struct membership alone;
    int rc = membership_init(&alone, rescue->group);

    if (former != NULL) {
        memcpy(self.address, former->address, sizeof(self.address));
        self.added = former->added;
    }
    self.role = MEMBER_VOTER;
    rc = rc == 0 ? membership_put(&alone, &self) : rc;
    return rc == 0 ? membership_encode(&alone, out) : rc;
}

static int append(struct rlog_rescue *rescue, const struct mq_buf *payload)
{
    int64_t now = mq_clock_wall_ms();
    struct rlog_header header = {
        .type = RLOG_CHANGE,
        .payload_bytes = (uint32_t)payload->len,
        .index = rescue->survivor.last_index + 1,
        .term = rescue->meta.term,
        .commit = rescue->survivor.last_index, /* by decision: nobody else is left to say otherwise */
        .clock_ms = now,
        .store_ms = now > rescue->survivor.last_store_ms ? now : rescue->survivor.last_store_ms,
    };
    struct rlog_blob *blob;
    int rc = blob_pool_take(&rescue->blobs, NULL, (uint32_t)payload->len, &blob);

    if (rc != 0) {
        return rc;
    }
    memcpy(rlog_blob_payload(blob), payload->base, payload->len);
    blob->payload_bytes = (uint32_t)payload->len;
    rc = commitlog_append(rescue->log, &header, blob);
    if (rc != 0) {
        net_ref_release(&blob->ref);
        return rc;
    }
    commitlog_kick(rescue->log);
    while (commitlog_durable_index(rescue->log) < header.index) {
        (void)uv_run(&rescue->loop.uv, UV_RUN_ONCE);
    }
    return 0;
}

int rlog_rescue_run(struct rlog_rescue *rescue)
{
    struct mq_buf payload = {0};
    int rc = make_membership(rescue, &payload);

    if (rc == 0) {
        meta_store(&rescue->meta, rescue->meta.term + 1, rescue->survivor.self);
        rc = append(rescue, &payload);
    }
    if (rc == 0 && rescue->meta.claim.index != 0) {
        meta_store_claim(&rescue->meta, &(struct rlog_claim){0});
    }
    mq_buf_free(&payload);
    return rc;
}

void rlog_rescue_close(struct rlog_rescue *rescue)
{
    commitlog_close(rescue->log);
    blob_pool_fini(&rescue->blobs);
    meta_close(&rescue->meta);
    (void)uv_run(&rescue->loop.uv, UV_RUN_NOWAIT);
    net_loop_fini(&rescue->loop);
    mq_free(rescue);
}
