/* A log in memory with the functions of raftlog.h that the store calls, and the end of a loop turn on demand. One log
 * at a time. A test decides when proposals commit, whether the disk is busy, and what is cold. */
#ifndef TESTS_BROKER_FAKE_LOG_H
#define TESTS_BROKER_FAKE_LOG_H

#include "raft-log/include/raftlog/raftlog.h"

#include <stdbool.h>
#include <stdint.h>

#define FAKE_LOG_HEADER_BYTES 96u
#define FAKE_LOG_PROPOSED_MAX 4096

struct fake_proposed {
    struct rlog_blob *blob; /* counted */
    struct rlog_proposal *proposal;
    rlog_proposal_cb cb;
    struct rlog_entry entry;
};

struct rlog {
    uint8_t *bytes; /* owned; committed entries at their positions */
    uint64_t cap, end_pos, next_pos;
    uint64_t start_pos; /* what lies below is gone */
    uint64_t index;
    int64_t last_store_ms;
    struct net_ref view_ref; /* count: views that are held, plus one */
    uint32_t blobs;          /* that exist */

    bool writing;                /* what rlog_writing says; set by a proposal */
    int can_propose;             /* what rlog_can_propose says */
    int refuse;                  /* what rlog_propose says once, instead of taking the entry */
    enum rlog_space_level space; /* what rlog_space_level says; at LOW records are taken ... */
    uint32_t reserve;            /* ... if so many bytes were asked for, and given */
    uint32_t entry_bytes_max;
    uint64_t cold_from, cold_to; /* positions whose pages are not in memory */
    uint32_t cold_calls;

    void (*apply)(void *data, const struct rlog_entry *entry);
    void *apply_data;
    struct fake_proposed proposed[FAKE_LOG_PROPOSED_MAX];
    uint32_t n_proposed;
};

/* What a snapshot has been given. */
#define FAKE_SECTIONS 16
struct rlog_sink {
    struct mq_buf rows[FAKE_SECTIONS]; /* owned; by section id */
    int failed;
};

struct rlog *fake_log_new(uint64_t cap);
void fake_log_free(struct rlog *log);

/* Commits and applies the oldest proposal, then calls its callback. */
void fake_log_commit(struct rlog *log);
void fake_log_commit_all(struct rlog *log);
/* All proposals get MQ_EUNSURE. */
void fake_log_lose(struct rlog *log);
/* Puts a committed entry into the log without a proposal and applies it. Returns where its payload lies. */
uint64_t fake_log_append(struct rlog *log, const uint8_t *payload, uint32_t bytes, uint32_t records, uint32_t items,
                         int64_t store_ms);

/* Runs what net_turn_add was given. */
void fake_turn(void);
/* References to channels taken and not released. */
extern int fake_channel_refs;

#endif
