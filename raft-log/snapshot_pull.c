#include "raft-log/snapshot_pull.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

static void go_on(struct snapshot_pull *pull);

static void set_state(struct snapshot_pull *pull, enum pull_state state)
{
    static const char *const causes[] = {
        [PULL_IDLE] = "nothing",
        [PULL_ASKING] = "waiting for a member's snapshot",
        [PULL_OPENING] = "looking at what is there of a snapshot",
        [PULL_RUNNING] = "fetching a snapshot",
        [PULL_CHECKING] = "checking a snapshot",
        [PULL_RESTING] = "no member gives a snapshot",
    };

    pull->state = state;
    pull->cause = causes[state];
}

static bool is_quiet(const struct snapshot_pull *pull)
{
    return !pull->working && pull->n_asked == 0;
}

/* ---- the pool's side: the loop leaves alone what these touch while `working` ---- */

/* How long the file is. */
static int measure(const struct rlog_disk *disk, int fd, uint64_t *out)
{
    uint8_t *scratch = mq_malloc(PEER_RANGE_BYTES);
    uint64_t at = 0;
    ssize_t n = scratch != NULL ? 0 : MQ_ENOMEM;

    while (scratch != NULL) {
        n = rlog_disk_read_all(disk, fd, scratch, PEER_RANGE_BYTES, at);
        if (n <= 0) {
            break;
        }
        at += (uint64_t)n;
    }
    mq_free(scratch);
    *out = at;
    return n < 0 ? (int)n : 0;
}

static void open_work(uv_work_t *work)
{
    struct snapshot_pull *pull = container_of(work, struct snapshot_pull, work);
    const struct rlog_disk *disk = pull->options.disk;

    pull->measured = 0;
    pull->work_rc = disk->open(disk, pull->path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (pull->work_rc >= 0) {
        pull->fd = pull->work_rc;
        pull->work_rc = measure(disk, pull->fd, &pull->measured);
    }
}

static void write_work(uv_work_t *work)
{
    struct snapshot_pull *pull = container_of(work, struct snapshot_pull, work);

    pull->work_rc =
        rlog_disk_write_all(pull->options.disk, pull->fd, pull->vec, (int)pull->n_writing, pull->write_at);
}

static void check_work(uv_work_t *work)
{
    struct snapshot_pull *pull = container_of(work, struct snapshot_pull, work);
    const struct rlog_disk *disk = pull->options.disk;

    pull->work_rc = disk->fdatasync(disk, pull->fd);
    if (pull->work_rc == 0) {
        pull->work_rc = snapshot_file_check(disk, pull->path, pull->info, &pull->problem);
    }
}

/* ---- the file ---- */

static void close_file(struct snapshot_pull *pull)
{
    if (pull->fd >= 0) {
        (void)pull->options.disk->close(pull->options.disk, pull->fd);
        pull->fd = -1;
    }
}

/* Removes what there is of a file that nobody can or needs to complete. */
static void drop_file(struct snapshot_pull *pull)
{
    close_file(pull);
    if (pull->index != 0) {
        (void)pull->options.disk->unlink(pull->options.disk, pull->path);
    }
    pull->index = 0;
}

static void start_work(struct snapshot_pull *pull, uv_work_cb work, uv_after_work_cb done)
{
    int rc = uv_queue_work(pull->options.loop, &pull->work, work, done);

    MQ_ASSERT(rc == 0); /* it fails only without a function */
    pull->working = true;
}

/* ---- members ---- */

static void ask_anew(struct snapshot_pull *pull)
{
    set_state(pull, PULL_ASKING);
    pull->same_index = pull->index != 0 && pull->index >= pull->index_min;
    go_on(pull);
}

static void on_rested(uv_timer_t *timer)
{
    struct snapshot_pull *pull = container_of(timer, struct snapshot_pull, timer);

    pull->peer = peers_next_up(pull->options.peers, PEER_RANGE, pull->peer);
    ask_anew(pull);
}

/* Something failed: another member, in a while, once nothing of this attempt is on its way. */
static void rest(struct snapshot_pull *pull, const char *what, int rc)
{
    if (pull->state == PULL_RESTING || pull->closing) {
        return;
    }
    mq_log_limited(&pull->limit, MQ_LOG_WARN, "catchup", "snapshot from member %" PRIu32 ": %s: %s", pull->peer, what,
                   mq_strerror(rc));
    set_state(pull, PULL_RESTING);
}

/* ---- parts ---- */

static struct pull_part *part_at(struct snapshot_pull *pull, uint32_t i)
{
    return &pull->parts[(pull->first_part + i) % PULL_DEPTH];
}

/* Lets go of the oldest part. */
static void pop_part(struct snapshot_pull *pull)
{
    struct pull_part *part = part_at(pull, 0);

    if (part->ref != NULL) {
        net_ref_release(part->ref);
        part->ref = NULL;
    }
    pull->first_part = (pull->first_part + 1) % PULL_DEPTH;
    pull->n_parts--;
}

static void on_part(struct fetch *fetch, int status, const struct fetched_part *got)
{
    struct pull_part *part = container_of(fetch, struct pull_part, fetch);
    struct snapshot_pull *pull = part->pull;

    part->asked = false;
    pull->n_asked--;
    if (status == 0 && pull->state == PULL_RUNNING && got->file_bytes != pull->file_bytes) {
        status = MQ_EBADMSG;
    }
    if (status != 0) {
        rest(pull, "a part", status);
    } else if (pull->state == PULL_RUNNING) {
        part->ref = net_ref_acquire(got->ref);
        part->raw = got->raw;
        part->bytes = got->bytes;
    }
    go_on(pull);
}

static void ask_parts(struct snapshot_pull *pull)
{
    while (pull->state == PULL_RUNNING && pull->asked < pull->file_bytes && pull->n_parts < PULL_DEPTH) {
        struct pull_part *part = part_at(pull, pull->n_parts);
        uint64_t left = pull->file_bytes - pull->asked;
        uint32_t n = left < PEER_RANGE_BYTES ? (uint32_t)left : PEER_RANGE_BYTES;
        int rc = fetch_snapshot(pull->options.peers, pull->peer, &part->fetch, pull->index, pull->asked, n, on_part);

        if (rc == MQ_EBUSY && pull->n_asked > 0) {
            return; /* others ask this member, too: with the next answer */
        }
        if (rc != 0) {
            rest(pull, "asking", rc);
            return;
        }
        part->asked = true;
        pull->n_asked++;
        pull->n_parts++;
        pull->asked += n;
    }
}

static void on_written(uv_work_t *work, int status)
{
    struct snapshot_pull *pull = container_of(work, struct snapshot_pull, work);

    (void)status;
    pull->working = false;
    for (; pull->n_writing > 0; pull->n_writing--) {
        if (pull->work_rc == 0) {
            pull->written += part_at(pull, 0)->bytes;
        }
        pop_part(pull);
    }
    if (pull->work_rc != 0) {
        rest(pull, pull->path, pull->work_rc);
    }
    go_on(pull);
}

/* Writes the oldest parts that have come. */
static void write_parts(struct snapshot_pull *pull)
{
    uint32_t n = 0;

    if (pull->working || pull->state != PULL_RUNNING) {
        return;
    }
    while (n < pull->n_parts && part_at(pull, n)->ref != NULL) {
        pull->vec[n] = (struct iovec){(void *)part_at(pull, n)->raw, part_at(pull, n)->bytes};
        n++;
    }
    if (n > 0) {
        pull->n_writing = n;
        pull->write_at = pull->written;
        start_work(pull, write_work, on_written);
    }
}

/* ---- the whole ---- */

static void on_checked(uv_work_t *work, int status)
{
    struct snapshot_pull *pull = container_of(work, struct snapshot_pull, work);
    int rc = pull->work_rc;

    (void)status;
    pull->working = false;
    if (pull->state != PULL_CHECKING) {
        go_on(pull); /* stopped meanwhile */
        return;
    }
    if (rc == 0 && pull->info->index != pull->index) {
        rc = MQ_ECORRUPT;
        mq_buf_printf(&pull->problem, "%s: stands for index %" PRIu64, pull->path, pull->info->index);
    }
    close_file(pull);
    if (rc == 0) {
        set_state(pull, PULL_IDLE);
        pull->index = 0;
        pull->options.got(pull->options.data, pull->info);
        return;
    }
    mq_log_warn("catchup", "the snapshot that member %" PRIu32 " gave is dropped: %.*s", pull->peer,
                (int)pull->problem.len, (const char *)pull->problem.base);
    drop_file(pull);
    rest(pull, "checking it", rc);
    go_on(pull);
}

static void check(struct snapshot_pull *pull)
{
    set_state(pull, PULL_CHECKING);
    pull->problem.len = 0;
    memset(pull->info, 0, sizeof(*pull->info));
    start_work(pull, check_work, on_checked);
}

static void on_opened(uv_work_t *work, int status)
{
    struct snapshot_pull *pull = container_of(work, struct snapshot_pull, work);

    (void)status;
    pull->working = false;
    pull->written = pull->measured;
    if (pull->work_rc != 0 && pull->state == PULL_OPENING) {
        close_file(pull);
        rest(pull, pull->path, pull->work_rc);
    } else if (pull->state == PULL_OPENING && pull->written > pull->file_bytes) {
        drop_file(pull);
        rest(pull, pull->path, MQ_ECORRUPT);
    } else if (pull->state == PULL_OPENING) {
        mq_log_info("catchup",
                    "snapshot %" PRIu64 " from member %" PRIu32 ": %" PRIu64 " bytes, %" PRIu64 " are here",
                    pull->index, pull->peer, pull->file_bytes, pull->written);
        pull->asked = pull->written;
        set_state(pull, PULL_RUNNING);
    }
    go_on(pull);
}

/* A member said what it has. */
static void begin(struct snapshot_pull *pull, const struct fetched_part *got)
{
    if (pull->index != 0 && pull->index != got->index) {
        drop_file(pull);
    }
    pull->index = got->index;
    pull->term = got->term;
    pull->file_bytes = got->file_bytes;
    pull->options.part_path(pull->options.data, got->index, pull->path);
    set_state(pull, PULL_OPENING);
    close_file(pull);
    start_work(pull, open_work, on_opened);
}

static void on_said(struct fetch *fetch, int status, const struct fetched_part *got)
{
    struct pull_part *part = container_of(fetch, struct pull_part, fetch);
    struct snapshot_pull *pull = part->pull;

    part->asked = false;
    pull->n_asked--;
    if (pull->state != PULL_ASKING) {
        go_on(pull);
        return;
    }
    if (status == MQ_ENOTFOUND && pull->same_index) {
        pull->same_index = false; /* it has another one than we began with */
    } else if (status == 0 && got->index >= pull->index_min) {
        begin(pull, got);
    } else {
        rest(pull, "it has none that is new enough", status != 0 ? status : MQ_ENOTFOUND);
    }
    go_on(pull);
}

static void ask_what_there_is(struct snapshot_pull *pull)
{
    struct pull_part *part = &pull->parts[0];
    uint64_t index = pull->same_index ? pull->index : 0;
    int rc = fetch_snapshot(pull->options.peers, pull->peer, &part->fetch, index, 0, 1, on_said);

    if (rc == 0) {
        part->asked = true;
        pull->n_asked++;
    } else {
        rest(pull, "asking", rc);
    }
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct snapshot_pull *pull = container_of((uv_timer_t *)handle, struct snapshot_pull, timer);

    mq_free(pull->info);
    mq_buf_free(&pull->problem);
    pull->closed(pull->closed_data);
}

static void finish_close(struct snapshot_pull *pull)
{
    if (is_quiet(pull) && !uv_is_closing((uv_handle_t *)&pull->timer)) {
        close_file(pull);
        uv_close((uv_handle_t *)&pull->timer, on_timer_closed);
    }
}

static void drop_parts(struct snapshot_pull *pull)
{
    while (pull->n_parts > 0) {
        pop_part(pull);
    }
    pull->first_part = 0;
}

/* Takes the next step, whatever that is. */
static void go_on(struct snapshot_pull *pull)
{
    if (pull->state == PULL_ASKING && !pull->closing && is_quiet(pull)) {
        drop_parts(pull);
        close_file(pull);
        ask_what_there_is(pull);
    }
    if (pull->state == PULL_RUNNING && !pull->closing) {
        write_parts(pull);
        ask_parts(pull);
        if (pull->state == PULL_RUNNING && pull->written == pull->file_bytes) {
            check(pull);
        }
    }
    if (is_quiet(pull) && (pull->state == PULL_RESTING || pull->state == PULL_IDLE || pull->closing)) {
        drop_parts(pull);
        close_file(pull);
        if (pull->closing) {
            finish_close(pull);
        } else if (pull->state == PULL_RESTING && !uv_is_active((uv_handle_t *)&pull->timer)) {
            uv_timer_start(&pull->timer, on_rested, PULL_REST_MS, 0);
        }
    }
}

int snapshot_pull_init(struct snapshot_pull *pull, const struct snapshot_pull_options *options)
{
    memset(pull, 0, sizeof(*pull));
    pull->info = mq_calloc(1, sizeof(*pull->info));
    if (pull->info == NULL) {
        return MQ_ENOMEM;
    }
    pull->options = *options;
    pull->fd = -1;
    for (uint32_t i = 0; i < PULL_DEPTH; i++) {
        pull->parts[i].pull = pull;
    }
    set_state(pull, PULL_IDLE);
    uv_timer_init(options->loop, &pull->timer);
    return 0;
}

void snapshot_pull_close(struct snapshot_pull *pull, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!pull->closing);
    pull->closing = true;
    pull->closed = closed;
    pull->closed_data = data;
    set_state(pull, PULL_IDLE);
    go_on(pull);
}

void snapshot_pull_start(struct snapshot_pull *pull, uint32_t peer, uint64_t index_min)
{
    MQ_ASSERT(!pull->closing);
    pull->index_min = index_min;
    if (pull->state != PULL_IDLE) {
        if ((pull->state == PULL_RUNNING || pull->state == PULL_CHECKING) && pull->index < index_min) {
            rest(pull, "the group went on without this snapshot", MQ_ENOTFOUND);
            go_on(pull);
        }
        return;
    }
    pull->peer = peer;
    ask_anew(pull);
}

void snapshot_pull_stop(struct snapshot_pull *pull)
{
    if (pull->state != PULL_IDLE) {
        uv_timer_stop(&pull->timer);
        set_state(pull, PULL_IDLE);
        go_on(pull);
    }
}
