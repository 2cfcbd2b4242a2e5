/* What is derived from the committed log so that messages can be found: consume queues, and the reader over them. */
#ifndef BROKER_STORE_STORE_H
#define BROKER_STORE_STORE_H

#include "broker/store/checkpoint.h"
#include "broker/store/message_filter.h"
#include "broker/store/queue_table.h"
#include "raft-log/include/raftlog/raftlog.h"

#include <pthread.h>

#define STORE_WARM_SLOTS 1024

struct store {
    char *dir;             /* owned */
    char *queue_dir;       /* owned: <dir>/consumequeue */
    struct rlog *log;      /* borrowed; NULL until the log is open */
    struct net_loop *loop; /* borrowed; set at assembly, sequencer_new does it: store_warm calls back on it */
    struct queue_table queues;
    /* Called for every message that became visible; set by pull_hold. May be NULL. */
    void (*arrived)(void *data, struct queue *queue, int64_t tags_code, const uint8_t *record, uint32_t bytes);
    /* Called for every queue of a topic that was deleted; with the same data. May be NULL. */
    void (*emptied)(void *data, struct queue *queue);
    void *arrived_data;
    /* The same for pops: called only where some are parked. Set by pop_hold. */
    void (*popped)(void *data, struct queue *queue, int64_t tags_code);
    void *popped_data;
    uint64_t messages;           /* applied since the process started */
    uint64_t end_pos;            /* behind the last applied record */
    uint32_t warming;            /* jobs on the pool under way */
    void (*drained)(void *data); /* store_drain's; NULL: nobody waits */
    void *drained_data;
    struct store_warm_slot {
        uint64_t window;        /* number of the window plus one; 0: nothing */
        uint64_t until_ms;      /* monotonic: believed to be in memory so long */
    } warm[STORE_WARM_SLOTS];   /* reader's: stretches of the log that were found in memory lately */
    struct store_grave *graves; /* deleted.c's: what deleted topics left */
    uint32_t drops;             /* jobs under way that remove files of queues; in warming, too */
    pthread_t sweeper;          /* removes what the process before left; joined by store_fini */
    bool sweeping;

    /* restart.c */
    uint64_t held_index; /* every record of the entries from here on is in the queues */
    bool restoring, damaged;
    uint64_t restore_end_pos;
    char *checkpoint_path;                             /* owned */
    struct checkpoint_stamp stamps[CHECKPOINT_STAMPS]; /* as on the disk */
    struct checkpoint_stamp next_stamp;
    struct checkpoint_files *syncing; /* owned; the pool's while a checkpoint is made */
    size_t n_syncing;
};

/* Empties <dir>/consumequeue (renamed aside at once, removed by a thread of its own). Returns 0 or a negative code.
 */
int store_init(struct store *store, const char *dir);
/* The same, but what is there is left until store_restore_begin has seen whether it can be used. */
int store_init_kept(struct store *store, const char *dir);
/* For an orderly end: true when no store_warm is under way. Else false, and @cb is called once behind the last one's
 * own callback. To be waited for before the log is closed, because warming holds references to it. */
bool store_drain(struct store *store, void (*cb)(void *data), void *data);

/* Every store_warm must have called back. */
void store_fini(struct store *store);

/* A committed record at commit log position @pos: appends its unit and tells arrived. @queues: of its topic.
 * Returns 0; MQ_EBADMSG when it does not decode; MQ_ECORRUPT when its queue offset is not the queue's next one. */
int store_index(struct store *store, struct topic_queues *queues, const uint8_t *record, uint32_t bytes,
                uint64_t pos);
/* A record older than all that its queue holds: goes in front. Returns 0; MQ_EBADMSG when it does not decode;
 * MQ_ECORRUPT when its queue offset is not the one in front of the queue's first. */
int store_index_before(struct store *store, struct topic_queues *queues, const uint8_t *record, uint32_t bytes,
                       uint64_t pos);

/* --- deletion: deleted.c --- */

/* A topic was deleted by the item at @pos: its queues are empty and begin at 0 again, parked requests are told
 * (emptied), and the files go when a snapshot counts that knows of it. The sequencer's numbers for what comes behind
 * the deletion stay. Returns 0 or MQ_ENOMEM. */
int store_delete_topic(struct store *store, struct topic_queues *topic, uint64_t pos);

/* --- life beyond a process: restart.c --- */

/* A snapshot is about to be loaded, of which the last entry has @index and header CRC @crc and ends at @end_pos. All
 * queues are emptied; files of an earlier process are kept if they were synced for this snapshot, else moved aside.
 * begin, then queue for each, then end, after which held_index says from which entry on queues are filled. Return 0
 * or a negative code. */
int store_restore_begin(struct store *store, uint64_t index, uint32_t crc, uint64_t end_pos);
/* The queues of @topic have their files in the directory of @life; before any of them. MQ_EBADMSG: one of them was
 * told another. */
int store_restore_life(struct store *store, struct topic_queues *topic, uint64_t life);
/* A queue that ends at @end; units from @held on were kept. */
int store_restore_queue(struct store *store, struct queue *queue, uint64_t end, uint64_t held);
int store_restore_end(struct store *store);

/* A checkpoint goes with a snapshot: begin on the loop when the snapshot begins; work on the pool; end on the loop,
 * @status 0 when the snapshot counts. Return 0 or a negative code. */
int store_checkpoint_begin(struct store *store);
int store_checkpoint_work(struct store *store, uint64_t index, uint32_t crc);
void store_checkpoint_end(struct store *store, int status);

/* Raises the queue's minimum to the first message at @pos or behind it. Its files are removed when a snapshot that
 * knows of it counts. */
void store_trim_queue(struct store *store, struct queue *queue, uint64_t pos);

/* --- reading: reader.c --- */

enum reader_status {
    READER_FOUND,
    READER_NO_MATCH,   /* units were examined, none passed the filter */
    READER_AT_END,     /* offset == max */
    READER_BEYOND_END, /* offset > max */
    READER_TOO_SMALL,  /* offset < min */
    READER_EMPTY,      /* the queue never had a message */
    READER_RESET       /* never from store_read: the group was reset to another offset */
};

struct reader_view {
    const uint8_t *at;
    uint32_t bytes;
    struct net_ref *ref; /* acquired; released by the caller */
};

#define READER_VIEWS_MAX 1024

struct reader_request {
    struct queue *queue; /* may be NULL: a queue never used */
    uint64_t qoff;
    uint32_t count_max;
    uint32_t bytes_max;            /* the first record is returned even when larger */
    struct message_filter *filter; /* borrowed; NULL: everything */
};

struct reader_result {
    enum reader_status status;
    uint64_t next, min, max; /* nextBeginOffset as RocketMQ's getMessage gives it, and the queue's bounds */
    uint32_t records;
    uint32_t n_views; /* adjacent records share one */
    uint64_t bytes;
    struct reader_view views[READER_VIEWS_MAX];
};

/* Reads from applied messages only. Returns 0, or MQ_EAGAIN when pages would have to be read from disk: then call
 * store_warm first. Views are there, and owned by the caller, only with 0 and READER_FOUND. Examines at most max(800,
 * count_max) units. Records that the log no longer holds are passed over. */
int store_read(struct store *store, const struct reader_request *request, struct reader_result *out);

/* Touches what @request would read on the pool, then calls @cb on the loop; what was touched counts as in memory for
 * a second. @request and its filter are used before the call returns. Returns 0 or a negative code. */
int store_warm(struct store *store, const struct reader_request *request, void (*cb)(void *data), void *data);

/* Store time of an encoded record. */
int64_t store_time(const uint8_t *record);
/* Store time of message @qoff, or -1. */
int64_t store_time_of(struct store *store, struct queue *queue, uint64_t qoff);
/* The record at @pos if one lies there: it must say so itself and its queue's unit must point back at it, so that
 * bytes inside a body are never taken for a record. @out->ref is acquired. Returns 0 or MQ_ENOTFOUND. */
int store_record_at(struct store *store, uint64_t pos, struct reader_view *out);

#endif
