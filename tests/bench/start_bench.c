/* How long a member takes from a killed process to a follower, with a long log.
 *
 *   start_bench DIR [GIB] [PAYLOAD] [BEHIND_MIB]
 *
 * Makes, in DIR (which must not be there), the directory of a member of three as kill -9 leaves it: a log of GIB GiB
 * (20) of entries with PAYLOAD bytes (262144), a snapshot BEHIND_MIB MiB (64) before its end, index files up to
 * there. The segments are sparse: only the headers that an index file names the ends of blocks by, and everything
 * behind the snapshot, are written. So a start that read anything else would find zeros and not come up. Then starts
 * the member, with what it reads in the page cache and without, and prints how long each step took. */
#include "raft-log/core/member.h"
#include "raft-log/include/raftlog/raftlog.h"
#include "raft-log/log/entry_codec.h"
#include "raft-log/log/index_file.h"
#include "raft-log/log/meta.h"
#include "raft-log/log/snapshot_file.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/base/stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUP "bench"
#define SELF 1u
#define MEMBERS 3u
#define SEGMENT_BYTES (1ull << 30)
#define TERMS 50u /* changes of the leader in the log's life */
#define TERM 1000u
#define BLOCK_BYTES                                                                                                  \
    (32ull << 20) /* of log that one block of an index file speaks of, as the log's own writer has it */
#define STARTS 3u
#define TAIL_BYTES (256ull << 20)     /* before the snapshot, written in full: the end of the log is always read */
#define UNINDEXED_BYTES (32ull << 20) /* at the end, of which the index files do not speak */

struct maker {
    const char *dir;
    uint64_t bytes, behind; /* of the log; behind the snapshot */
    uint32_t payload;
    uint8_t *entry;     /* one with a payload */
    uint32_t zeros_crc; /* of as many zeros as payload */
    uint32_t payload_crc;
    uint64_t incarnation;
    struct mq_buf membership;
    struct segment segment; /* the one that is being filled */
    uint64_t file_at;
    struct entry_index index; /* of one block */
    struct rlog_header last;
    uint64_t end_pos, commands;
    bool snapshot_made;
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

/* ---- making the directory ---- */

static void open_segment(struct maker *m, uint64_t first_pos)
{
    char path[512];

    if (m->segment.map != NULL) {
        munmap((void *)m->segment.map, SEGMENT_BYTES);
    }
    (void)snprintf(path, sizeof(path), "%s/" SEGMENT_DIR "/%0*" PRIu64, m->dir, SEGMENT_DIGITS, first_pos);
    m->segment = (struct segment){.disk = &rlog_disk_real, .first_pos = first_pos, .bytes = SEGMENT_BYTES};
    m->segment.fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
    must(m->segment.fd >= 0 && ftruncate(m->segment.fd, SEGMENT_BYTES) == 0, path);
    m->segment.map = mmap(NULL, SEGMENT_BYTES, PROT_READ, MAP_SHARED, m->segment.fd, 0);
    must(m->segment.map != MAP_FAILED, "mmap");
    m->file_at = 0;
}

static void put(const struct maker *m, const void *bytes, size_t n, uint64_t pos)
{
    must(pwrite(m->segment.fd, bytes, n, (off_t)(pos - m->segment.first_pos)) == (ssize_t)n, "pwrite");
}

/* The block of the entries from @first up to the last one, whose headers are there. */
static void end_block(struct maker *m, uint64_t *first)
{
    struct mq_buf block = {0};
    int rc = 0;

    if (*first > m->last.index) {
        return;
    }
    rc = index_block_encode(&m->index, &m->segment, *first, m->last.index, &block);
    MQ_ASSERT(rc == 0);
    rc = index_file_write(&rlog_disk_real, m->dir, m->segment.first_pos, &block, m->file_at);
    MQ_ASSERT(rc == 0);
    m->file_at += block.len;
    mq_buf_free(&block);
    *first = m->last.index + 1;
    entry_index_begin(&m->index, m->last.index);
}

static void make_snapshot(struct maker *m)
{
    struct snapshot_info *info = mq_calloc(1, sizeof(*info));
    struct snapshot_writer writer;
    char path[512];
    int rc;

    MQ_ASSERT(info != NULL);
    info->index = m->last.index;
    info->term = m->last.term;
    info->end_pos = m->end_pos;
    info->store_ms = m->last.store_ms;
    info->crc = m->last.crc;
    info->change_index = 1;
    info->membership_bytes = (uint32_t)m->membership.len;
    memcpy(info->membership, m->membership.base, m->membership.len);
    info->n_sections = 1;
    info->sections[0] = (struct rlog_section){.id = 1, .version = 1, .hash = m->commands};
    (void)snprintf(path, sizeof(path), "%s/snapshot", m->dir);
    must(mkdir(path, 0755) == 0, path);
    (void)snprintf(path, sizeof(path), "%s/snapshot/%020" PRIu64, m->dir, info->index);
    rc = snapshot_writer_open(&writer, &rlog_disk_real, path, info);
    MQ_ASSERT(rc == 0);
    rc = snapshot_writer_put(&writer, 1, &m->commands, sizeof(m->commands));
    MQ_ASSERT(rc == 0);
    rc = snapshot_writer_finish(&writer, &info->bytes);
    MQ_ASSERT(rc == 0);
    mq_free(info);
    m->snapshot_made = true;
}

static uint64_t term_at(const struct maker *m, uint64_t pos)
{
    return TERM - TERMS + pos / (m->bytes / TERMS + 1);
}

/* The next entry: header and place. @in_full: with a payload that is not zeros. */
static void next_entry(struct maker *m, struct rlog_header *h, bool in_full)
{
    uint32_t bytes = m->last.index == 0 ? (uint32_t)m->membership.len : m->payload;

    *h = (struct rlog_header){.type = m->last.index == 0 ? RLOG_CHANGE : RLOG_COMMAND,
                              .payload_bytes = bytes,
                              .index = m->last.index + 1,
                              .pos = segment_place(SEGMENT_BYTES, m->end_pos, rlog_entry_bytes(bytes)),
                              .term = m->last.index == 0 ? 1 : term_at(m, m->end_pos),
                              .commit = m->last.index > 8 ? m->last.index - 8 : 0,
                              .clock_ms = 1700000000000,
                              .store_ms = 1700000000000,
                              .payload_crc = in_full ? m->payload_crc : m->zeros_crc,
                              .prev_crc = m->last.crc,
                              .records = 1,
                              .items = 1};
    if (m->last.index == 0) {
        h->payload_crc = mq_crc32c(0, m->membership.base, m->membership.len);
    }
}

/* One entry behind the last one; only what a start looks at is written. @looked_at: it is the first or the last of a
 * block. */
static void append(struct maker *m, struct rlog_header *h, bool in_full, bool looked_at)
{
    uint8_t header[RLOG_HEADER_BYTES];
    int rc = entry_index_reserve(&m->index);

    MQ_ASSERT(rc == 0);
    rlog_header_encode(h, header);
    if (in_full) {
        memcpy(m->entry, header, sizeof(header));
        put(m, m->entry, rlog_entry_bytes(m->payload), h->pos);
    } else if (looked_at || h->index == 1) {
        put(m, header, sizeof(header), h->pos);
    }
    if (h->index == 1) {
        put(m, m->membership.base, m->membership.len, h->pos + RLOG_HEADER_BYTES);
    }
    entry_index_append(&m->index, h->pos, h->term);
    if (h->type == RLOG_CHANGE) {
        entry_index_note_change(&m->index);
    }
    m->commands += h->type == RLOG_COMMAND;
    m->last = *h;
    m->end_pos = h->pos + rlog_entry_bytes(h->payload_bytes);
}

/* Whether the entry is the last one of its block. */
static bool ends_block(const struct maker *m, const struct rlog_header *h, uint64_t first)
{
    uint64_t n = h->index - first + 1, bytes = rlog_entry_bytes(h->payload_bytes);
    uint64_t left = m->segment.first_pos + SEGMENT_BYTES - h->pos;

    return n == INDEX_BLOCK_ENTRIES_MAX || n * bytes >= BLOCK_BYTES || left < 2 * bytes;
}

static void make_log(struct maker *m)
{
    uint64_t first = 1, snapshot_at = m->bytes - m->behind;

    open_segment(m, 0);
    while (m->end_pos < m->bytes) {
        bool in_full = m->end_pos + TAIL_BYTES >= snapshot_at && m->last.index != 0;
        struct rlog_header h;
        bool last;

        if (m->end_pos >= snapshot_at && !m->snapshot_made) {
            make_snapshot(m);
        }
        next_entry(m, &h, in_full);
        if (h.pos >= m->segment.first_pos + SEGMENT_BYTES) {
            open_segment(m, h.pos);
        }
        last = ends_block(m, &h, first);
        append(m, &h, in_full, h.index == first || last);
        if (last && m->end_pos + UNINDEXED_BYTES < m->bytes) {
            end_block(m, &first);
        }
    }
    must(fsync(m->segment.fd) == 0, "fsync");
    munmap((void *)m->segment.map, SEGMENT_BYTES);
}

static void make_identity(struct maker *m)
{
    struct membership membership;
    struct mq_buf problem = {0};
    struct meta meta;
    bool empty;
    int rc = meta_open(&meta, &rlog_disk_real, m->dir, GROUP, SELF, &empty, &problem);

    if (rc != 0) {
        (void)fprintf(stderr, "%.*s\n", (int)problem.len, (const char *)problem.base);
        exit(EXIT_FAILURE);
    }
    m->incarnation = meta.incarnation;
    meta_store(&meta, TERM, 0);
    meta_close(&meta);
    rc = membership_init(&membership, GROUP);
    for (uint32_t i = 1; i <= MEMBERS && rc == 0; i++) {
        rc = membership_add(&membership, i, "127.0.0.1:1", i == SELF ? m->incarnation : i);
    }
    MQ_ASSERT(rc == 0);
    rc = membership_encode(&membership, &m->membership);
    MQ_ASSERT(rc == 0);
}

static void make(struct maker *m)
{
    static const struct index_source NO_SOURCE = {.segment_bytes = SEGMENT_BYTES};
    uint32_t n = rlog_entry_bytes(m->payload);
    char path[512];

    m->entry = mq_calloc(1, n);
    MQ_ASSERT(m->entry != NULL);
    m->zeros_crc = mq_crc32c(0, m->entry + RLOG_HEADER_BYTES, m->payload);
    memset(m->entry + RLOG_HEADER_BYTES, 'x', m->payload);
    m->payload_crc = mq_crc32c(0, m->entry + RLOG_HEADER_BYTES, m->payload);
    must(mkdir(m->dir, 0755) == 0, m->dir);
    make_identity(m);
    (void)snprintf(path, sizeof(path), "%s/" SEGMENT_DIR, m->dir);
    must(mkdir(path, 0755) == 0, path);
    entry_index_init(&m->index, &NO_SOURCE);
    make_log(m);
    entry_index_fini(&m->index);
    mq_buf_free(&m->membership);
    mq_free(m->entry);
}

/* ---- starting it ---- */

static uint64_t applied; /* the whole state */

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    (void)fsm;
    (void)entry;
    applied++;
}

static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    (void)fsm;
    (void)role;
}

static void on_room(struct rlog_fsm *fsm)
{
    (void)fsm;
}

static uint32_t sections(struct rlog_fsm *fsm, struct rlog_section *out)
{
    (void)fsm;
    *out = (struct rlog_section){.id = 1, .version = 1, .hash = applied, .name = "count"};
    return 1;
}

static void snapshot_begin(struct rlog_fsm *fsm, struct rlog_sink *sink)
{
    (void)fsm;
    (void)rlog_sink_put(sink, 1, &applied, sizeof(applied));
}

static int snapshot_more(struct rlog_fsm *fsm)
{
    (void)fsm;
    return 0;
}

static void snapshot_end(struct rlog_fsm *fsm, int status)
{
    (void)fsm;
    (void)status;
}

static int restore_begin(struct rlog_fsm *fsm, const struct rlog_entry *entry, uint32_t crc,
                         const struct rlog_section *list, uint32_t n, struct mq_buf *problem)
{
    (void)fsm;
    (void)entry;
    (void)crc;
    (void)list;
    (void)n;
    (void)problem;
    return 0;
}

static int restore_rows(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n, struct mq_buf *problem)
{
    (void)fsm;
    (void)section;
    (void)problem;
    MQ_ASSERT(n == sizeof(applied));
    memcpy(&applied, rows, n);
    return 0;
}

static int restore_end(struct rlog_fsm *fsm, struct mq_buf *problem)
{
    (void)fsm;
    (void)problem;
    return 0;
}

/* What the page cache holds of the directory goes. */
static void forget(const char *dir)
{
    DIR *list = opendir(dir);
    struct dirent *entry;

    must(list != NULL, dir);
    while ((entry = readdir(list)) != NULL) {
        char path[1024];
        struct stat st;
        int fd;

        (void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &st) != 0) {
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            forget(path);
            continue;
        }
        fd = open(path, O_RDONLY);
        must(fd >= 0 && fdatasync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, path);
        close(fd);
    }
    closedir(list);
}

static double ms_since(uint64_t *ns)
{
    uint64_t now = mq_clock_mono_ns(), then = *ns;

    *ns = now;
    return (double)(now - then) / 1e6;
}

static void check(int rc, struct mq_buf *problem)
{
    if (rc != 0) {
        (void)fprintf(stderr, "start_bench: %.*s\n", (int)problem->len, (const char *)problem->base);
        exit(EXIT_FAILURE);
    }
}

static void start(const char *dir, const char *how)
{
    static const struct rlog_member members[MEMBERS] = {
        {SELF, "127.0.0.1:21911"}, {2, "127.0.0.1:1"}, {3, "127.0.0.1:2"}};
    struct rlog_options options = {.dir = dir,
                                   .group = GROUP,
                                   .self = SELF,
                                   .members = members,
                                   .n_members = MEMBERS,
                                   .segment_bytes = SEGMENT_BYTES};
    struct rlog_fsm fsm = {.apply = on_apply,
                           .role = on_role,
                           .room = on_room,
                           .sections = sections,
                           .snapshot_begin = snapshot_begin,
                           .snapshot_more = snapshot_more,
                           .snapshot_end = snapshot_end,
                           .restore_begin = restore_begin,
                           .restore_rows = restore_rows,
                           .restore_end = restore_end};
    struct mq_buf problem = {0};
    struct rlog_status status;
    struct net_loop loop;
    struct rlog *log;
    uint64_t ns, anon, resident;
    double open_ms, replay_ms, start_ms;

    check(net_loop_init(&loop), &problem);
    ns = mq_clock_mono_ns();
    check(rlog_open(&loop, &options, &fsm, &log, &problem), &problem);
    open_ms = ms_since(&ns);
    check(rlog_replay(log, &problem), &problem);
    replay_ms = ms_since(&ns);
    check(rlog_start(log, &problem), &problem);
    (void)uv_run(&loop.uv, UV_RUN_NOWAIT);
    start_ms = ms_since(&ns);
    rlog_status_get(log, &status);
    (void)mq_process_memory(getpid(), &anon, &resident);
    printf("%s start_ms=%.0f open_ms=%.0f replay_ms=%.0f follower_ms=%.0f entries=%" PRIu64 " applied=%" PRIu64
           " anon_mib=%.1f\n",
           how, open_ms + replay_ms + start_ms, open_ms, replay_ms, start_ms, status.last_index,
           status.replayed_entries, (double)anon / 1048576);
    (void)fflush(stdout);
    _exit(status.role.kind == RLOG_FOLLOWER && status.last_index == status.durable_index ? 0 : 1);
}

/* In a process of its own, which ends without a word, as all that came before it did. */
static bool start_and_die(const char *dir, const char *how)
{
    pid_t pid;
    int status;

    (void)fflush(stdout);
    pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        start(dir, how);
    }
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    struct maker maker = {.dir = argv[1], .bytes = 20ull << 30, .behind = 64ull << 20, .payload = 256u << 10};

    if (argc < 2) {
        (void)fprintf(stderr, "usage: start_bench DIR [GIB] [PAYLOAD] [BEHIND_MIB]\n");
        return 2;
    }
    maker.bytes = argc > 2 ? strtoull(argv[2], NULL, 10) << 30 : maker.bytes;
    maker.payload = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : maker.payload;
    maker.behind = argc > 4 ? strtoull(argv[4], NULL, 10) << 20 : maker.behind;
    mq_log_set_level(MQ_LOG_ERROR);
    make(&maker);
    printf("%.1f GiB of log, %" PRIu32 " bytes an entry, %" PRIu64 " MiB behind the snapshot\n",
           (double)maker.end_pos / (1u << 30), maker.payload, maker.behind >> 20);
    for (unsigned i = 0; i < STARTS; i++) {
        if (!start_and_die(maker.dir, "warm")) {
            return 1;
        }
        forget(maker.dir);
        if (!start_and_die(maker.dir, "cold")) {
            return 1;
        }
    }
    return 0;
}
