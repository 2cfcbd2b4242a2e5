#include "broker/store/key_index.h"

#include "broker/store/record_keys.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/protocol/record.h"

#include <string.h>

#define SPAN_BYTES ((uint64_t)1 << 30)    /* of a gap, filled forwards; the next piece lies before it */
#define WORTH_BYTES ((uint64_t)256 << 20) /* a gap that still grows downwards waits until it has so much */
#define BLOCK_HEAD_BYTES 8u               /* size and magic, of a record and of an item */

/* The newest file goes on in memory if it is small: an orderly end seals whatever there is. */
static void load_tail(struct key_index *index)
{
    const struct key_file *last = index->files.n != 0 ? &index->files.items[index->files.n - 1] : NULL;

    if (last == NULL || last->range.keys > KEY_RUN_KEYS / 2) {
        return;
    }
    key_run_begin(&index->tail, last->range.begin);
    if (key_file_load(index->files.dir, last, &index->tail) == 0) {
        index->has_tail = true;
        return;
    }
    key_files_discard(&index->files, index->files.n - 1, "it cannot be read");
}

int key_index_open(struct key_index *index, const char *dir)
{
    int rc;

    *index = (struct key_index){0};
    rc = key_files_open(&index->files, dir);
    if (rc == 0) {
        load_tail(index);
    }
    return rc;
}

/* --- sealing --- */

/* Writes a run down; it begins anew at its end. A tail that was loaded replaces its own file. */
static int seal(struct key_index *index, struct key_run *run)
{
    struct key_file file;
    int rc;

    if (run->range.entries == 0) {
        return 0;
    }
    if (!index->view.room) {
        return MQ_EFULL;
    }
    rc = key_file_write(index->files.dir, run, &file);
    if (rc == 0) {
        rc = key_files_add(&index->files, &file);
        if (rc != 0) {
            key_files_unlink(&index->files, file.range.begin);
            return rc;
        }
        key_run_begin(run, file.range.end);
    }
    return rc;
}

/* The tail's own file, if it was loaded from one, counts only while it is not in memory. */
static uint32_t files_behind(const struct key_index *index)
{
    bool loaded = index->has_tail && index->files.n != 0 &&
                  index->files.items[index->files.n - 1].range.begin == index->tail.range.begin &&
                  index->tail.range.entries != 0;

    return loaded ? index->files.n - 1 : index->files.n;
}

/* Whether the tail holds what no file has. */
static bool tail_is_new(const struct key_index *index)
{
    return index->has_tail && index->tail.range.entries != 0 &&
           (files_behind(index) == index->files.n ||
            index->files.items[index->files.n - 1].range.entries != index->tail.range.entries);
}

void key_index_close(struct key_index *index)
{
    int rc = tail_is_new(index) ? seal(index, &index->tail) : 0;

    if (rc != 0) {
        mq_log_warn("index", "%s: the newest keys are not written, the next start reads them from the log: %s",
                    index->files.dir, mq_strerror(rc));
    }
    key_run_free(&index->tail);
    key_run_free(&index->patch);
    key_files_free(&index->files);
    *index = (struct key_index){0};
}

/* --- the log's beginning --- */

static void give_up_patch(struct key_index *index)
{
    index->patching = false;
    key_run_free(&index->patch);
}

static void drop_below(struct key_index *index, uint64_t pos)
{
    while (files_behind(index) != 0 && index->files.items[0].range.end <= pos) {
        key_files_remove(&index->files, 0);
    }
    if (index->patching && index->patch.range.begin < pos) {
        give_up_patch(index);
    }
}

void key_index_see(struct key_index *index, const struct key_view *view)
{
    index->view = *view;
    drop_below(index, view->group_start);
}

/* --- what to read --- */

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Where the tail begins when there is none: behind the last file, unless that is far away; then at the beginning of
 * the segment that is written now, and the rest is a gap. */
static void begin_tail(struct key_index *index)
{
    const struct key_view *view = &index->view;
    uint64_t files_end = index->files.n != 0 ? index->files.items[index->files.n - 1].range.end : view->start;
    uint64_t pos = max_u64(files_end, view->start);

    if (view->end > pos && view->end - pos > SPAN_BYTES) {
        pos = max_u64(view->end - view->end % view->segment_bytes, pos);
    }
    key_run_begin(&index->tail, pos);
    index->has_tail = true;
}

/* Steps from range to range downwards; the space between two of them is a gap unless it is empty. */
struct gap {
    uint32_t behind;                    /* files in front of it */
    uint64_t from, to;                  /* positions */
    const struct key_range *low, *high; /* borrowed: what it lies between; low NULL: the beginning */
};

static void next_gap(const struct key_index *index, struct gap *gap)
{
    uint64_t floor = max_u64(index->view.group_start, index->void_end);

    gap->low = gap->behind != 0 ? &index->files.items[gap->behind - 1].range : NULL;
    gap->from = gap->low != NULL ? max_u64(gap->low->end, floor) : floor;
    gap->to = gap->high->begin;
}

static struct gap first_gap(const struct key_index *index)
{
    struct gap gap = {.behind = files_behind(index), .high = &index->tail.range};

    next_gap(index, &gap);
    return gap;
}

/* False when it was the last one. */
static bool step_gap(const struct key_index *index, struct gap *gap)
{
    if (gap->low == NULL) {
        return false;
    }
    gap->high = gap->low;
    gap->behind--;
    next_gap(index, gap);
    return true;
}

/* Begins a patch at the end of the newest gap that this node's log can fill. */
static bool begin_patch(struct key_index *index)
{
    const struct key_view *view = &index->view;
    struct gap gap = first_gap(index);
    uint64_t low;

    while (gap.from >= gap.to) {
        if (!step_gap(index, &gap)) {
            return false;
        }
    }
    low = max_u64(gap.from, view->start);
    if (low >= gap.to || (low > gap.from && gap.to - low < WORTH_BYTES)) {
        return false; /* the rest is on its way here */
    }
    if (gap.to - low > SPAN_BYTES) {
        uint64_t piece = gap.to - SPAN_BYTES;

        low = max_u64(piece - piece % view->segment_bytes, low);
    }
    key_run_begin(&index->patch, low);
    index->patching = true;
    index->patch_end = gap.to;
    return true;
}

enum key_reading key_index_wants(struct key_index *index, uint64_t *pos)
{
    if (index->files.unchecked != 0) {
        *pos = index->files.items[index->files.unchecked - 1].range.last_entry;
        return KEY_READ_CHECK;
    }
    if (!index->has_tail) {
        begin_tail(index);
    }
    *pos = index->tail.range.end;
    if (*pos < index->view.end || (!index->patching && !begin_patch(index))) {
        return KEY_READ_TAIL;
    }
    *pos = index->patch.range.end;
    return KEY_READ_PATCH;
}

uint64_t key_index_tail_end(const struct key_index *index)
{
    return index->has_tail && index->files.unchecked == 0 ? index->tail.range.end : 0;
}

static struct key_run *run_of(struct key_index *index)
{
    return index->reading == KEY_READ_PATCH ? &index->patch : &index->tail;
}

/* The header of the entry behind which @run goes on, where it is known. */
static bool find_crc(const struct key_index *index, const struct key_run *run, uint32_t *crc)
{
    uint32_t at = key_files_place(&index->files, run->range.begin);

    if (run->range.entries != 0) {
        *crc = run->range.last_crc;
        return true;
    }
    if (at == 0 || index->files.items[at - 1].range.end != run->range.begin) {
        return false;
    }
    *crc = index->files.items[at - 1].range.last_crc;
    return true;
}

void key_index_begin(struct key_index *index, enum key_reading reading, const struct rlog_stretch *stretch)
{
    index->reading = reading;
    index->walk = (struct rlog_walk){
        .pos = stretch->pos,
        .at = stretch->at,
        .left = stretch->n,
        .ends_segment = stretch->ends_segment,
        .payloads = reading == KEY_READ_PATCH, /* from the disk as a rule */
    };
    if (reading != KEY_READ_CHECK) {
        index->walk.chained = find_crc(index, run_of(index), &index->walk.crc);
    }
}

static void end_check(struct key_index *index, bool is_ours)
{
    uint32_t at = index->files.unchecked - 1;
    bool is_tail = index->has_tail && at == index->files.n - 1;

    if (is_ours) {
        /* What joins it was compared with it when it was opened. */
        while (at != 0 && index->files.items[at - 1].range.end == index->files.items[at].range.begin) {
            at--;
        }
        index->files.unchecked = at;
        return;
    }
    if (is_tail) {
        index->has_tail = false;
    }
    key_files_discard(&index->files, at, "it is not of this log");
    index->files.unchecked = at;
}

void key_index_absent(struct key_index *index, enum key_reading reading)
{
    index->reading = KEY_READ_NOTHING;
    if (reading == KEY_READ_CHECK) {
        end_check(index, false);
    } else if (reading == KEY_READ_PATCH) {
        give_up_patch(index);
    } else if (index->tail.range.end < index->view.start) {
        /* The log was replaced by a snapshot: it goes on from there, and what lies between is a gap. */
        if (seal(index, &index->tail) == 0) {
            index->has_tail = false;
        }
    }
}

/* --- reading --- */

static uint64_t topic_hash(struct key_index *index, struct mq_str topic)
{
    if (topic.len != index->topic_bytes || memcmp(topic.at, index->topic, topic.len) != 0) {
        index->topic_hash = record_topic_hash(topic);
        index->topic_bytes = 0;
        if (topic.len <= sizeof(index->topic)) {
            memcpy(index->topic, topic.at, topic.len);
            index->topic_bytes = topic.len;
        }
        return index->topic_hash;
    }
    return index->topic_hash;
}

static int add_record(struct key_index *index, struct key_run *run, const uint8_t *record, uint32_t bytes,
                      uint64_t pos)
{
    struct proto_record_texts texts;
    struct record_keys keys;
    struct mq_str key;
    int rc = proto_record_texts(record, bytes, &texts);

    if (rc != 0) {
        return MQ_ECORRUPT;
    }
    if (!record_is_found_by_key(mq_be32_load(record + PROTO_RECORD_SYS_FLAG_AT))) {
        return 0;
    }
    record_keys_begin(&keys, texts.properties);
    while (rc == 0 && record_keys_next(&keys, &key)) {
        rc = key_run_add(run, record_key_hash(topic_hash(index, texts.topic), key), pos);
    }
    return rc;
}

#define CACHE_LINE_BYTES 64u
#define TAIL_BYTES 256u /* topic and properties of most records */

/* The head and the tail of the block at @at are looked at next, and the head of the one behind it. */
static void prefetch_block(const uint8_t *at, const uint8_t *end)
{
    uint32_t bytes = end - at >= (ptrdiff_t)BLOCK_HEAD_BYTES ? mq_be32_load(at) : 0;

    if (bytes > (size_t)(end - at)) {
        return;
    }
    for (uint32_t i = bytes > TAIL_BYTES ? bytes - TAIL_BYTES : 0; i < bytes; i += CACHE_LINE_BYTES) {
        __builtin_prefetch(at + i);
    }
    __builtin_prefetch(at + bytes);
}

/* The records among the blocks of a payload (state/command.h has how items begin). */
static int add_payload(struct key_index *index, struct key_run *run, const struct rlog_entry *entry)
{
    const uint8_t *at = entry->payload, *end = at + entry->payload_bytes;
    int rc = 0;

    while (rc == 0 && at != end) {
        uint32_t left = (uint32_t)(end - at);
        uint32_t bytes = left >= BLOCK_HEAD_BYTES ? mq_be32_load(at) : 0;
        uint32_t magic;

        if (bytes < BLOCK_HEAD_BYTES || bytes > left) {
            return MQ_ECORRUPT;
        }
        prefetch_block(at + bytes, end);
        magic = mq_be32_load(at + PROTO_RECORD_MAGIC_AT);
        if (magic == PROTO_RECORD_MAGIC_V1 || magic == PROTO_RECORD_MAGIC_V2) {
            rc = add_record(index, run, at, bytes, entry->pos + (uint64_t)(at - entry->payload));
        }
        at += bytes;
    }
    return rc;
}

/* An entry is in a run as a whole or not at all. */
static int add_entry(struct key_index *index, struct key_run *run, const struct rlog_entry *entry, uint64_t header)
{
    const struct rlog_walk *walk = &index->walk;
    int64_t store_ms = entry->records != 0 ? entry->store_ms : 0;
    struct key_range before;
    int rc = 0;

    if (!key_run_has_room(run, walk->pos, store_ms)) {
        rc = seal(index, run);
        if (rc != 0) {
            return rc;
        }
        if (!key_run_has_room(run, walk->pos, store_ms)) {
            key_run_begin(run, header); /* nothing lies in front of it */
        }
    }
    before = run->range;
    key_run_enter(run, header, walk->prev_crc, store_ms);
    if (entry->records != 0) {
        rc = add_payload(index, run, entry);
    }
    if (rc != 0) {
        key_run_give_up(run, &before);
        return rc;
    }
    key_run_leave(run, walk->pos, walk->crc);
    return 0;
}

/* No entry lies in the gap: that is so for ever, and stands in no file. */
static void close_void(struct key_index *index)
{
    uint32_t at = key_files_place(&index->files, index->patch.range.begin);

    if (at != 0 && index->files.items[at - 1].range.end == index->patch.range.begin) {
        index->files.items[at - 1].range.end = index->patch_end;
    } else {
        index->void_end = index->patch_end;
    }
}

/* The patch has reached what lies behind the gap. Returns 0, or what sealing it said. */
static int end_patch(struct key_index *index)
{
    int rc = 0;

    if (index->patch.range.entries == 0) {
        close_void(index);
    } else {
        index->patch.range.end = index->patch_end;
        rc = seal(index, &index->patch);
    }
    if (rc == 0) {
        give_up_patch(index);
    }
    return rc;
}

static int step_check(struct key_index *index)
{
    const struct key_range *range = &index->files.items[index->files.unchecked - 1].range;
    struct rlog_entry entry;
    uint64_t header = index->walk.pos;
    bool is_ours = rlog_walk_next(&index->walk, &entry) == 1 && header == range->last_entry &&
                   index->walk.crc == range->last_crc && index->walk.pos <= range->end;

    end_check(index, is_ours);
    return 0;
}

/* The stretch is used up; what follows the last entry in its segment is nothing. */
static int end_stretch(struct key_index *index)
{
    struct key_run *run = run_of(index);

    if (index->walk.ends_segment) {
        run->range.end = index->walk.pos;
    }
    return index->reading == KEY_READ_PATCH && run->range.end >= index->patch_end ? end_patch(index) : 0;
}

static int step_run(struct key_index *index)
{
    struct key_run *run = run_of(index);
    uint64_t until = index->walk.pos + KEY_INDEX_STEP_BYTES;
    struct rlog_entry entry;

    while (index->walk.pos < until) {
        struct rlog_walk before = index->walk;
        int rc;

        if (index->reading == KEY_READ_PATCH && before.pos >= index->patch_end) {
            return end_patch(index);
        }
        rc = rlog_walk_next(&index->walk, &entry);
        if (rc == 0) {
            return end_stretch(index);
        }
        if (rc == 1) {
            rc = add_entry(index, run, &entry, before.pos);
        }
        if (rc != 0) {
            index->walk = before;
            run->range.end = run->entry_end; /* behind it lay nothing, or what the disk had lost */
            return rc;
        }
    }
    return 1;
}

int key_index_step(struct key_index *index)
{
    int rc = index->reading == KEY_READ_CHECK ? step_check(index) : step_run(index);

    if (rc != 1) {
        index->reading = KEY_READ_NOTHING;
    }
    return rc;
}

/* --- finding --- */

/* Whether records of these times can lie there. */
static bool gap_matters(const struct gap *gap, int64_t begin_ms, int64_t end_ms)
{
    return gap->from < gap->to && (gap->low == NULL || gap->low->last_ms <= end_ms) &&
           (gap->high->first_ms == 0 || gap->high->first_ms >= begin_ms);
}

bool key_index_covers(const struct key_index *index, int64_t begin_ms, int64_t end_ms, uint64_t end)
{
    struct gap gap;

    if (index->files.unchecked != 0 || !index->has_tail || index->tail.range.end < end) {
        return false;
    }
    gap = first_gap(index);
    while (!gap_matters(&gap, begin_ms, end_ms)) {
        if (!step_gap(index, &gap)) {
            return true;
        }
    }
    return false;
}

int key_index_find(struct key_index *index, struct key_want *want, uint32_t files_max, struct key_found *found)
{
    uint32_t i = files_behind(index);

    if (index->has_tail && want->below > index->tail.range.begin) {
        if (!key_run_find(&index->tail, want, found)) {
            return 0;
        }
        want->below = index->tail.range.begin;
    }
    while (i-- != 0) {
        int rc;

        if (index->files.items[i].range.begin >= want->below) {
            continue;
        }
        if (files_max-- == 0) {
            return MQ_EAGAIN;
        }
        rc = key_file_find(index->files.dir, &index->files.items[i], want, found);
        if (rc == MQ_ECORRUPT) {
            key_files_discard(&index->files, i, "a bucket is damaged");
            continue;
        }
        if (rc != 1) {
            return rc;
        }
        want->below = index->files.items[i].range.begin;
    }
    return 1;
}

void key_index_last(const struct key_index *index, uint64_t *pos, int64_t *store_ms)
{
    const struct key_range *range = &index->tail.range;

    if (range->last_record == 0 && index->files.n != 0) {
        range = &index->files.items[index->files.n - 1].range;
    }
    *pos = range->last_record;
    *store_ms = range->last_record_ms;
}
