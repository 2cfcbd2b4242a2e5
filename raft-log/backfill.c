#include "raft-log/backfill.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

#define PIECE_ENTRIES_MAX (PEER_RANGE_BYTES / RLOG_HEADER_BYTES + 1)
#define LOAD_WINDOW_MS 1000u
#define MOVING_MS 20u
#define BURST_MS 250u /* what the bucket holds */

static void go_on(struct backfill *fill);
static void on_timer(uv_timer_t *timer);

static bool is_quiet(const struct backfill *fill)
{
    return fill->n_asked == 0 && fill->n_putting == 0;
}

static struct rlog_base base_of(const struct backfill *fill)
{
    struct rlog_base base;

    commitlog_base_get(fill->options.log, &base);
    return base;
}

/* Whether a log that begins behind an entry which ends at @end_pos lacks nothing. */
static bool is_enough(const struct backfill *fill, uint64_t index, uint64_t end_pos)
{
    return index == 0 || end_pos <= fill->options.log_start_pos(fill->options.data);
}

bool backfill_is_complete(const struct backfill *fill)
{
    struct rlog_base base = base_of(fill);

    return is_enough(fill, base.index, base.end_pos);
}

uint64_t backfill_left(const struct backfill *fill)
{
    uint64_t end = base_of(fill).end_pos;
    uint64_t start = fill->options.log_start_pos(fill->options.data);

    start = fill->held_pos > start ? fill->held_pos : start;
    return end > start && !backfill_is_complete(fill) ? end - start : 0;
}

/* ---- pieces ---- */

static struct backfill_piece *piece_at(struct backfill *fill, uint32_t i)
{
    return &fill->pieces[(fill->first_piece + i) % BACKFILL_DEPTH];
}

static void pop_piece(struct backfill *fill)
{
    struct backfill_piece *piece = piece_at(fill, 0);

    if (piece->ref != NULL) {
        net_ref_release(piece->ref);
        piece->ref = NULL;
        fill->held_bytes -= piece->bytes;
    }
    fill->first_piece = (fill->first_piece + 1) % BACKFILL_DEPTH;
    fill->n_pieces--;
}

static void rest(struct backfill *fill, const char *cause, int rc)
{
    if (fill->state == BACKFILL_RUNNING) {
        mq_log_limited(&fill->limit, MQ_LOG_WARN, "catchup", "back-fill rests: %s (member %" PRIu32 "): %s", cause,
                       fill->peer, mq_strerror(rc));
        fill->state = BACKFILL_RESTING;
        fill->cause = cause;
        fill->failed = 0;
    }
}

/* The log's beginning is being moved up, or was: what was fetched may not be what comes before it now. */
static void begin_anew(struct backfill *fill)
{
    fill->state = BACKFILL_RESTING;
    fill->cause = "the log's beginning moves";
    fill->failed = 0;
    uv_timer_start(&fill->timer, on_timer, MOVING_MS, 0);
}

/* ---- speed ---- */

uint64_t backfill_limit(const struct backfill *fill)
{
    return fill->options.bytes_per_s != 0 ? fill->options.bytes_per_s
                                          : (fill->loaded ? BACKFILL_LOADED_BYTES_PER_S : 0);
}

/* How busy the node is with new entries, over windows of a second. */
static void look_at_load(struct backfill *fill, uint64_t now)
{
    uint64_t pos = commitlog_end_pos(fill->options.log);
    uint64_t ms = now - fill->load_ms;

    if (ms >= LOAD_WINDOW_MS) {
        fill->loaded = pos > fill->load_pos && (pos - fill->load_pos) * 1000u / ms > BACKFILL_BUSY_BYTES;
        fill->load_ms = now;
        fill->load_pos = pos;
    }
}

/* Whether bytes may be asked for now. If not, the timer is set for when they may. */
static bool has_tokens(struct backfill *fill)
{
    uint64_t now = mq_clock_mono_ms();
    uint64_t limit;
    int64_t most, came;

    look_at_load(fill, now);
    limit = backfill_limit(fill);
    if (limit == 0) {
        fill->tokens = 0;
        fill->tokens_ms = now;
        return true;
    }
    most = (int64_t)(limit * BURST_MS / 1000u) + 1;
    came = (int64_t)(limit * (now - fill->tokens_ms) / 1000u);
    fill->tokens = fill->tokens + came < most ? fill->tokens + came : most;
    fill->tokens_ms = came > 0 ? now : fill->tokens_ms; /* less than a byte: it counts the next time */
    if (fill->tokens > 0) {
        return true;
    }
    fill->cause = "limited";
    return false;
}

/* ---- asking ---- */

/* The last entry to ask for next; 0: none. */
static uint64_t next_end(struct backfill *fill)
{
    struct backfill_piece *last;
    struct rlog_base base;

    if (fill->n_pieces == 0) {
        base = base_of(fill);
        return is_enough(fill, base.index, base.end_pos) ? 0 : base.index;
    }
    last = piece_at(fill, fill->n_pieces - 1);
    return is_enough(fill, last->first - 1, last->before.end_pos) ? 0 : last->first - 1;
}

/* The member that is asked is of no use for this question. */
static void try_next(struct backfill *fill, int rc)
{
    uint32_t up = peers_up(fill->options.peers, PEER_RANGE);

    fill->failed++;
    if (fill->failed >= up) {
        rest(fill, rc == MQ_ENOTFOUND ? "no member that can be reached has the entries" : "no member answers", rc);
    }
    fill->peer = peers_next_up(fill->options.peers, PEER_RANGE, fill->peer);
}

/* An answer brought nothing, or what is not wanted: what was asked for in front of it is of no use either. Its place
 * in the ring is given back when all answers are here. */
static void drain(struct backfill *fill)
{
    fill->n_void++;
    fill->draining = true;
}

static void end_draining(struct backfill *fill)
{
    if (fill->draining && fill->n_asked == 0) {
        fill->n_pieces -= fill->n_void;
        fill->n_void = 0;
        fill->draining = false;
    }
}

static void take(struct backfill *fill, struct backfill_piece *piece, const struct fetched *got)
{
    piece->ref = net_ref_acquire(got->ref);
    piece->raw = got->raw;
    piece->bytes = got->bytes;
    piece->n = got->n;
    piece->first = got->first;
    piece->before = got->before;
    fill->held_bytes += got->bytes;
    fill->tokens -= got->bytes;
    fill->held_pos = got->held_pos;
    fill->failed = 0;
    if (is_enough(fill, piece->first - 1, piece->before.end_pos)) {
        fill->draining = true; /* nothing lies in front that is wanted */
    }
}

/* Whether the member said no only because the question goes on from another one: something came between, or it does
 * not know such questions. It is asked by itself then. */
static bool is_asked_again(const struct fetch *fetch, int status)
{
    return fetch->ask.entries.goes_on_from != 0 && (status == MQ_ENOTFOUND || status == MQ_EINVAL);
}

static void on_entries(struct fetch *fetch, int status, const struct fetched *got)
{
    struct backfill_piece *piece = container_of(fetch, struct backfill_piece, fetch);
    struct backfill *fill = piece->fill;

    fill->n_asked--;
    if (fill->state != BACKFILL_RUNNING || fill->draining) {
        drain(fill);
    } else if (status == 0) {
        take(fill, piece, got);
    } else {
        drain(fill);
        if (!is_asked_again(fetch, status)) {
            try_next(fill, status);
        }
    }
    end_draining(fill);
    go_on(fill);
}

/* Several questions are open only where nothing is to be held back. */
static bool may_ask(const struct backfill *fill)
{
    uint32_t max = backfill_limit(fill) == 0 ? BACKFILL_ASKED_MAX : 1;

    return fill->state == BACKFILL_RUNNING && !fill->draining && fill->n_asked < max &&
           fill->n_pieces < BACKFILL_DEPTH && fill->held_bytes < BACKFILL_HELD_MAX;
}

/* Asks for the next piece. Returns whether it did. */
static bool ask(struct backfill *fill)
{
    struct backfill_piece *piece = piece_at(fill, fill->n_pieces);
    uint64_t end = fill->n_asked == 0 ? next_end(fill) : 0;
    int rc;

    if ((end == 0 && fill->n_asked == 0) || !has_tokens(fill)) {
        return false;
    }
    if (fill->n_asked == 0) {
        rc = fetch_entries(fill->options.peers, fill->peer, &piece->fetch, 1, end, FETCH_FROM_LAST, PEER_RANGE_BYTES,
                           on_entries);
    } else {
        rc = fetch_entries_before(fill->options.peers, fill->peer, &piece->fetch,
                                  &piece_at(fill, fill->n_pieces - 1)->fetch, PEER_RANGE_BYTES, on_entries);
    }
    if (rc != 0) {
        if (fill->n_asked == 0) {
            try_next(fill, rc);
        }
        return false;
    }
    fill->n_asked++;
    fill->n_pieces++;
    fill->cause = "running";
    return true;
}

/* ---- putting ---- */

static void tell_entry(struct rlog_fsm *fsm, const struct rlog_header *header, const uint8_t *payload)
{
    struct rlog_entry entry = {
        .index = header->index,
        .term = header->term,
        .pos = header->pos + RLOG_HEADER_BYTES,
        .clock_ms = header->clock_ms,
        .store_ms = header->store_ms,
    };

    if (header->type == RLOG_COMMAND) {
        entry.payload = payload;
        entry.payload_bytes = header->payload_bytes;
        entry.records = header->records;
        entry.items = header->items;
    }
    fsm->apply_before(fsm, &entry);
}

static void tell_owner(struct backfill *fill, const struct backfill_piece *piece)
{
    struct rlog_fsm *fsm = fill->options.fsm;
    struct rlog_header header;
    uint64_t held_from;
    uint32_t at = 0;

    if (fsm->apply_before == NULL) {
        return;
    }
    held_from = fsm->held_from(fsm);
    for (uint32_t i = 0; i < piece->n; i++) {
        fill->offsets[i] = at;
        (void)rlog_header_decode(piece->raw + at, piece->bytes - at, &header); /* it was checked */
        at += rlog_entry_bytes(header.payload_bytes);
    }
    for (uint32_t i = piece->n; i-- > 0;) {
        const uint8_t *bytes = piece->raw + fill->offsets[i];

        (void)rlog_header_decode(bytes, RLOG_HEADER_BYTES, &header);
        if (header.index < held_from) { /* after a crash it may know more than the log */
            tell_entry(fsm, &header, bytes + RLOG_HEADER_BYTES);
        }
    }
}

static void on_put(struct commitlog_put *put, int status)
{
    struct backfill *fill = container_of(put, struct backfill, put);

    if (status != 0) {
        rest(fill, "the log does not take the entries", status);
    }
    for (; fill->n_putting > 0; fill->n_putting--) {
        struct backfill_piece *piece = piece_at(fill, 0);

        if (status == 0) {
            fill->bytes_done += piece->bytes;
            fill->entries_done += piece->n;
            if (!fill->closing) {
                tell_owner(fill, piece);
            }
        }
        pop_piece(fill);
    }
    go_on(fill);
}

static struct rlog_header first_header(const struct backfill_piece *piece)
{
    struct rlog_header header;

    (void)rlog_header_decode(piece->raw, piece->bytes, &header); /* it was checked */
    return header;
}

static struct rlog_base before_piece(const struct backfill_piece *piece)
{
    return piece->first == 1 ? (struct rlog_base){0}
                             : (struct rlog_base){
                                   .index = piece->first - 1,
                                   .term = piece->before.term,
                                   .crc = first_header(piece).prev_crc,
                                   .end_pos = piece->before.end_pos,
                                   .store_ms = piece->before.store_ms,
                               };
}

/* What has come, up to PUT_PIECES_MAX pieces of one segment: the log syncs a segment before it writes another. */
static uint32_t gather(struct backfill *fill, struct put_piece *out)
{
    uint64_t segment = 0;
    uint32_t n = 0;

    while (n < PUT_PIECES_MAX && n < fill->n_pieces && piece_at(fill, n)->ref != NULL) {
        const struct backfill_piece *piece = piece_at(fill, n);
        uint64_t number = first_header(piece).pos / fill->segment_bytes;

        if (n > 0 && number != segment) {
            break;
        }
        segment = number;
        out[n++] = (struct put_piece){piece->raw, piece->bytes, piece->ref};
    }
    return n;
}

static void put(struct backfill *fill)
{
    struct put_piece pieces[PUT_PIECES_MAX];
    uint32_t n = gather(fill, pieces);
    struct rlog_base before;
    int rc;

    if (n == 0) {
        return;
    }
    if (piece_at(fill, 0)->first + piece_at(fill, 0)->n - 1 != base_of(fill).index) {
        begin_anew(fill);
        return;
    }
    before = before_piece(piece_at(fill, n - 1));
    rc = commitlog_put_before(fill->options.log, &fill->put, pieces, n, &before, on_put);
    if (rc == 0) {
        fill->n_putting = n;
    } else if (rc == MQ_EBUSY) {
        begin_anew(fill);
    } else {
        rest(fill, "the log does not take the entries", rc);
    }
}

/* ---- life ---- */

static void finish(struct backfill *fill)
{
    uint64_t ms = mq_clock_mono_ms() - fill->started_ms;

    fill->state = BACKFILL_IDLE;
    fill->cause = "nothing";
    mq_free(fill->offsets);
    fill->offsets = NULL;
    mq_log_info("catchup",
                "back-fill done: %" PRIu64 " entries, %" PRIu64 " bytes in %" PRIu64 " ms; the log begins "
                "with entry %" PRIu64,
                fill->entries_done, fill->bytes_done, ms, commitlog_first_index(fill->options.log));
    fill->options.done(fill->options.data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct backfill *fill = container_of((uv_timer_t *)handle, struct backfill, timer);

    mq_free(fill->offsets);
    fill->closed(fill->closed_data);
}

static void on_timer(uv_timer_t *timer)
{
    struct backfill *fill = container_of(timer, struct backfill, timer);

    if (fill->state == BACKFILL_RESTING && is_quiet(fill)) {
        fill->state = BACKFILL_RUNNING;
        fill->peer = peers_next_up(fill->options.peers, PEER_RANGE, fill->peer);
    }
    go_on(fill);
}

/* How long until the bucket has something, or a while where no bucket is. */
static uint64_t wait_ms(const struct backfill *fill)
{
    uint64_t limit = backfill_limit(fill);
    uint64_t lack = fill->tokens <= 0 ? (uint64_t)(1 - fill->tokens) : 0;
    uint64_t ms = limit != 0 ? lack * 1000u / limit + 1 : BACKFILL_REST_MS;

    return ms < BACKFILL_REST_MS ? ms : BACKFILL_REST_MS;
}

static void run(struct backfill *fill)
{
    bool waits;

    if (fill->n_putting == 0) {
        put(fill);
    }
    while (may_ask(fill)) {
        uint32_t failed = fill->failed;

        if (!ask(fill) && fill->failed == failed) {
            break; /* there is nothing to ask for now */
        }
    }
    waits = fill->state == BACKFILL_RUNNING && fill->n_asked == 0;
    if (waits && fill->n_pieces == 0 && next_end(fill) == 0) {
        finish(fill);
    } else if (waits && fill->n_pieces < BACKFILL_DEPTH) {
        uv_timer_start(&fill->timer, on_timer, wait_ms(fill), 0);
    }
}

/* Takes the next step, whatever that is. */
static void go_on(struct backfill *fill)
{
    if (fill->state == BACKFILL_RUNNING && !fill->closing) {
        run(fill);
    }
    if (fill->state == BACKFILL_RUNNING || !is_quiet(fill)) {
        return;
    }
    while (fill->n_pieces > 0) {
        pop_piece(fill);
    }
    if (fill->closing) {
        if (!uv_is_closing((uv_handle_t *)&fill->timer)) {
            uv_close((uv_handle_t *)&fill->timer, on_timer_closed);
        }
    } else if (fill->state == BACKFILL_RESTING && !uv_is_active((uv_handle_t *)&fill->timer)) {
        uv_timer_start(&fill->timer, on_timer, BACKFILL_REST_MS, 0);
    }
}

void backfill_init(struct backfill *fill, const struct backfill_options *options)
{
    memset(fill, 0, sizeof(*fill));
    fill->options = *options;
    fill->segment_bytes = options->peers->options.segment_bytes;
    fill->cause = "nothing";
    for (uint32_t i = 0; i < BACKFILL_DEPTH; i++) {
        fill->pieces[i].fill = fill;
    }
    uv_timer_init(options->loop, &fill->timer);
}

void backfill_close(struct backfill *fill, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!fill->closing);
    fill->closing = true;
    fill->closed = closed;
    fill->closed_data = data;
    backfill_stop(fill);
    go_on(fill);
}

void backfill_start(struct backfill *fill)
{
    uint64_t now = mq_clock_mono_ms();

    if (fill->closing || fill->state != BACKFILL_IDLE || backfill_is_complete(fill)) {
        return;
    }
    if (fill->offsets == NULL) {
        fill->offsets = mq_malloc(PIECE_ENTRIES_MAX * sizeof(fill->offsets[0]));
        MQ_ASSERT(fill->offsets != NULL);
    }
    fill->bytes_done = fill->entries_done = 0;
    fill->started_ms = fill->tokens_ms = fill->load_ms = now;
    fill->load_pos = commitlog_end_pos(fill->options.log);
    fill->tokens = 0;
    fill->failed = 0;
    fill->peer = peers_next_up(fill->options.peers, PEER_RANGE, fill->peer);
    /* What a former attempt left on its way is waited for by the timer's turn. */
    fill->state = is_quiet(fill) ? BACKFILL_RUNNING : BACKFILL_RESTING;
    fill->cause = "running";
    mq_log_info("catchup",
                "back-fill: the log begins with entry %" PRIu64 " at position %" PRIu64
                ", the group's at position %" PRIu64,
                commitlog_first_index(fill->options.log), commitlog_start_pos(fill->options.log),
                fill->options.log_start_pos(fill->options.data));
    go_on(fill);
}

void backfill_stop(struct backfill *fill)
{
    fill->state = BACKFILL_IDLE;
    fill->cause = "nothing";
    uv_timer_stop(&fill->timer);
    go_on(fill);
}
