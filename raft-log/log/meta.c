/* Two fixed-size copies of term, vote and claim, an identity file, and a lock.
 *
 * meta-0 and meta-1, 64 bytes each, little-endian:
 *    0  u32  magic "RMQM"
 *    4  u32  CRC-32C of bytes 8 to 63
 *    8  u16  format version (1), 10 u16 zero
 *   12  u32  vote
 *   16  u64  sequence
 *   24  u64  term
 *   32  u64  incarnation
 *   40  u64  claim: term, 48 u64 index (0: no claim), 56 u64 known to be committed (claim.h)
 *
 * A store writes meta-0, syncs it, writes meta-1, syncs it; so at every instant one of them is whole. After a crash
 * between the two the higher sequence counts: nobody has been answered on it yet, and nobody will be answered on the
 * lower one.
 *
 * identity:
 *    0  u32  magic "RMQI"
 *    4  u32  CRC-32C of byte 8 to the end
 *    8  u16  format version (1), 10 u16 zero
 *   12  u32  bytes of what follows
 *   16       protobuf Identity (identity.proto)
 *
 * A new directory gets both copies of meta first and identity last, by rename: a directory without identity has never
 * taken part in anything. lock is empty and held with flock while a process uses the directory. */
#include "raft-log/log/meta.h"

#include "raft-log/log/disk.h"
#include "raft-log/log/identity.pb-c.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>

#define META_MAGIC 0x4D514D52u /* "RMQM" */
#define META_VERSION 1
#define META_BYTES 64u
#define IDENTITY_MAGIC 0x49514D52u /* "RMQI" */
#define IDENTITY_VERSION 1
#define IDENTITY_HEADER_BYTES 16u
#define IDENTITY_BYTES_MAX 4096u
#define CRC_FROM 8u

static const char *const COPIES[2] = {"meta-0", "meta-1"};

struct meta_record {
    uint64_t sequence, term, incarnation;
    uint32_t vote;
    struct rlog_claim claim;
};

/* --- files -------------------------------------------------------------------------------------------------- */

/* Opens <dir>/<name>. Returns a descriptor, MQ_ENOMEM or -errno. */
static int open_in(const struct meta *meta, const char *name, int flags)
{
    struct mq_buf path = {0};
    int fd = mq_buf_printf(&path, "%s/%s", meta->dir, name);

    if (fd == 0) {
        fd = meta->disk->open(meta->disk, (const char *)path.base, flags, 0644);
    }
    mq_buf_free(&path);
    return fd;
}

/* Reads up to @max bytes of <dir>/<name>. Returns how many, or a negative code. */
static ssize_t read_in(const struct meta *meta, const char *name, uint8_t *to, size_t max)
{
    int fd = open_in(meta, name, O_RDONLY);
    ssize_t n;

    if (fd < 0) {
        return fd;
    }
    n = rlog_disk_read_all(meta->disk, fd, to, max, 0);
    meta->disk->close(meta->disk, fd);
    return n;
}

/* Writes <dir>/<name> in place and syncs its data. */
static int write_in(const struct meta *meta, const char *name, uint8_t *bytes, size_t n)
{
    struct iovec vec = {bytes, n};
    int fd = open_in(meta, name, O_RDWR | O_CREAT);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = rlog_disk_write_all(meta->disk, fd, &vec, 1, 0);
    if (rc == 0 && !(RAFTMQ_DEFECT(VOTE_NOT_SYNCED) && (name == COPIES[0] || name == COPIES[1]))) {
        rc = meta->disk->fdatasync(meta->disk, fd);
    }
    meta->disk->close(meta->disk, fd);
    return rc < 0 ? rc : 0;
}

/* --- term and vote ------------------------------------------------------------------------------------------ */

static void record_encode(const struct meta *meta, uint8_t *at)
{
    memset(at, 0, META_BYTES);
    rlog_le32_store(at, META_MAGIC);
    rlog_le16_store(at + 8, META_VERSION);
    rlog_le32_store(at + 12, meta->vote);
    rlog_le64_store(at + 16, meta->sequence);
    rlog_le64_store(at + 24, meta->term);
    rlog_le64_store(at + 32, meta->incarnation);
    rlog_le64_store(at + 40, meta->claim.term);
    rlog_le64_store(at + 48, meta->claim.index);
    rlog_le64_store(at + 56, meta->claim.committed);
    rlog_le32_store(at + 4, mq_crc32c(0, at + CRC_FROM, META_BYTES - CRC_FROM));
}

/* Returns 0, MQ_ECORRUPT (also for a missing file) or MQ_EVERSION. */
static int record_decode(const uint8_t *at, ssize_t n, struct meta_record *out)
{
    if (n != META_BYTES || rlog_le32_load(at) != META_MAGIC ||
        rlog_le32_load(at + 4) != mq_crc32c(0, at + CRC_FROM, META_BYTES - CRC_FROM)) {
        return MQ_ECORRUPT;
    }
    if (rlog_le16_load(at + 8) != META_VERSION) {
        return MQ_EVERSION;
    }
    *out = (struct meta_record){.vote = rlog_le32_load(at + 12),
                                .sequence = rlog_le64_load(at + 16),
                                .term = rlog_le64_load(at + 24),
                                .incarnation = rlog_le64_load(at + 32),
                                .claim = {.term = rlog_le64_load(at + 40),
                                          .index = rlog_le64_load(at + 48),
                                          .committed = rlog_le64_load(at + 56)}};
    return 0;
}

static int store_copy(const struct meta *meta, int k)
{
    uint8_t record[META_BYTES];

    record_encode(meta, record);
    return write_in(meta, COPIES[k], record, sizeof(record));
}

static int read_copy(const struct meta *meta, int k, struct meta_record *out, struct mq_buf *problem)
{
    uint8_t bytes[META_BYTES + 1]; /* one more than there may be */
    ssize_t n = read_in(meta, COPIES[k], bytes, sizeof(bytes));
    int rc;

    if (n < 0 && n != -ENOENT) {
        mq_buf_printf(problem, "%s/%s: %s", meta->dir, COPIES[k], mq_strerror((int)n));
        return (int)n;
    }
    rc = record_decode(bytes, n, out);
    if (rc == MQ_EVERSION) {
        mq_buf_printf(problem, "%s/%s: format version %u, this program knows %d", meta->dir, COPIES[k],
                      rlog_le16_load(bytes + 8), META_VERSION);
    } else if (rc == 0 && out->incarnation != meta->incarnation) {
        mq_buf_printf(problem,
                      "%s/%s: belongs to incarnation %016" PRIx64 " of a member, but identity says %016" PRIx64,
                      meta->dir, COPIES[k], out->incarnation, meta->incarnation);
        rc = MQ_EVERSION;
    }
    return rc;
}

/* Writes both copies as they were read, @first first. What was read may be in memory only: after a sync that failed,
 * which ended the process, the page is shown as it should be, and its next sync has nothing to do. */
static int store_again(struct meta *meta, int first, struct mq_buf *problem)
{
    int rc = 0;

    for (int i = 0; i < 2 && rc >= 0; i++) {
        int k = i == 0 ? first : 1 - first;

        rc = store_copy(meta, k);
        if (rc == 0) {
            rc = meta->disk->sync_dir(meta->disk, meta->dir);
        }
        if (rc < 0) {
            mq_buf_printf(problem, "%s/%s: %s", meta->dir, COPIES[k], mq_strerror(rc));
        }
    }
    return rc < 0 ? rc : 0;
}

/* Takes the newer good copy and makes both equal to it, on the disk. */
static int load_copies(struct meta *meta, struct mq_buf *problem)
{
    struct meta_record copies[2] = {{0}};
    int rc[2];
    int best, other;

    for (int k = 0; k < 2; k++) {
        rc[k] = read_copy(meta, k, &copies[k], problem);
        if (rc[k] != 0 && rc[k] != MQ_ECORRUPT) {
            return rc[k];
        }
    }
    if (rc[0] != 0 && rc[1] != 0) {
        mq_buf_printf(
            problem,
            "%s: meta-0 and meta-1 are both bad: this member no longer knows how it voted, so it may not take "
            "part as the member it was; move the directory away, and the group takes this node in as a new "
            "one (README \"When a node refuses to start\")",
            meta->dir);
        return MQ_ECORRUPT;
    }
    best = rc[0] != 0 || (rc[1] == 0 && copies[1].sequence > copies[0].sequence) ? 1 : 0;
    other = 1 - best;
    meta->sequence = copies[best].sequence;
    meta->term = copies[best].term;
    meta->vote = copies[best].vote;
    meta->claim = copies[best].claim;
    if (rc[other] != 0) {
        mq_log_warn("meta", "%s/%s is bad or missing and is written anew from %s", meta->dir, COPIES[other],
                    COPIES[best]);
    }
    return store_again(meta, other, problem);
}

/* --- identity ----------------------------------------------------------------------------------------------- */

static int identity_encode(const struct meta *meta, const char *group, uint32_t self, struct mq_buf *out)
{
    Rlog__Identity identity = RLOG__IDENTITY__INIT;
    size_t n;
    int rc;

    identity.group = (char *)group;
    identity.member = self;
    identity.incarnation = meta->incarnation;
    n = rlog__identity__get_packed_size(&identity);
    if (n > IDENTITY_BYTES_MAX) {
        return MQ_ETOOBIG;
    }
    rc = mq_buf_reserve(out, IDENTITY_HEADER_BYTES + n);
    if (rc != 0) {
        return rc;
    }
    memset(out->base, 0, IDENTITY_HEADER_BYTES);
    rlog_le32_store(out->base, IDENTITY_MAGIC);
    rlog_le16_store(out->base + 8, IDENTITY_VERSION);
    rlog_le32_store(out->base + 12, (uint32_t)n);
    rlog__identity__pack(&identity, out->base + IDENTITY_HEADER_BYTES);
    out->len = IDENTITY_HEADER_BYTES + n;
    rlog_le32_store(out->base + 4, mq_crc32c(0, out->base + CRC_FROM, out->len - CRC_FROM));
    return 0;
}

/* Returns 0 with an unpacked identity to free, MQ_ECORRUPT or MQ_EVERSION. */
static int identity_decode(const uint8_t *at, size_t n, Rlog__Identity **out)
{
    if (n < IDENTITY_HEADER_BYTES || rlog_le32_load(at) != IDENTITY_MAGIC ||
        rlog_le32_load(at + 4) != mq_crc32c(0, at + CRC_FROM, n - CRC_FROM)) {
        return MQ_ECORRUPT;
    }
    if (rlog_le16_load(at + 8) != IDENTITY_VERSION) {
        return MQ_EVERSION;
    }
    if (rlog_le32_load(at + 12) != n - IDENTITY_HEADER_BYTES) {
        return MQ_ECORRUPT;
    }
    *out = rlog__identity__unpack(NULL, n - IDENTITY_HEADER_BYTES, at + IDENTITY_HEADER_BYTES);
    return *out != NULL ? 0 : MQ_ECORRUPT;
}

/* Compares what the file says with who we are. */
static int identity_read(const struct meta *meta, const uint8_t *at, size_t n, Rlog__Identity **out,
                         struct mq_buf *problem)
{
    int rc = identity_decode(at, n, out);

    if (rc == MQ_EVERSION) {
        mq_buf_printf(problem, "%s/identity: format version %u, this program knows %d", meta->dir,
                      rlog_le16_load(at + 8), IDENTITY_VERSION);
    } else if (rc != 0) {
        mq_buf_printf(problem, "%s/identity: bad checksum or length; see README \"When a node refuses to start\"",
                      meta->dir);
    }
    return rc;
}

static int identity_check(struct meta *meta, const uint8_t *at, size_t n, const char *group, uint32_t self,
                          struct mq_buf *problem)
{
    Rlog__Identity *identity;
    int rc = identity_read(meta, at, n, &identity, problem);

    if (rc != 0) {
        return rc;
    }
    if (strcmp(identity->group, group) != 0 || identity->member != self) {
        mq_buf_printf(
            problem, "%s: belongs to member %" PRIu32 " of group %s, but this node is member %" PRIu32 " of group %s",
            meta->dir, identity->member, identity->group, self, group);
        rc = MQ_EVERSION;
    }
    meta->incarnation = identity->incarnation;
    rlog__identity__free_unpacked(identity, NULL);
    return rc;
}

/* Writes identity under another name, syncs it, and gives it its name. */
static int identity_store(const struct meta *meta, const char *group, uint32_t self)
{
    struct mq_buf bytes = {0}, from = {0}, to = {0};
    int rc;

    rc = identity_encode(meta, group, self, &bytes);
    if (rc == 0) {
        rc = mq_buf_printf(&from, "%s/identity.new", meta->dir);
    }
    if (rc == 0) {
        rc = mq_buf_printf(&to, "%s/identity", meta->dir);
    }
    if (rc == 0) {
        rc = write_in(meta, "identity.new", bytes.base, bytes.len);
    }
    if (rc == 0) {
        rc = meta->disk->rename(meta->disk, (const char *)from.base, (const char *)to.base);
    }
    if (rc >= 0) {
        rc = meta->disk->sync_dir(meta->disk, meta->dir);
    }
    mq_buf_free(&to);
    mq_buf_free(&from);
    mq_buf_free(&bytes);
    return rc < 0 ? rc : 0;
}

/* --- open, store, close ------------------------------------------------------------------------------------- */

/* A directory without identity must hold nothing that a member would miss. */
static int check_unused(const struct meta *meta, struct mq_buf *problem)
{
    uint8_t bytes[META_BYTES + 1];
    struct meta_record record;
    int fd = open_in(meta, "log", O_RDONLY | O_DIRECTORY);

    if (fd >= 0) {
        meta->disk->close(meta->disk, fd);
        mq_buf_printf(problem, "%s: there is a log but no identity says whose it is", meta->dir);
        return MQ_ECORRUPT;
    }
    if (fd != -ENOENT) {
        mq_buf_printf(problem, "%s/log: %s", meta->dir, mq_strerror(fd));
        return fd;
    }
    for (int k = 0; k < 2; k++) {
        ssize_t n = read_in(meta, COPIES[k], bytes, sizeof(bytes));

        if (n < 0 && n != -ENOENT) {
            mq_buf_printf(problem, "%s/%s: %s", meta->dir, COPIES[k], mq_strerror((int)n));
            return (int)n;
        }
        if (record_decode(bytes, n, &record) == 0 && record.sequence > 1) {
            mq_buf_printf(problem, "%s: %s says term %" PRIu64 " but no identity says whose it is", meta->dir,
                          COPIES[k], record.term);
            return MQ_ECORRUPT;
        }
    }
    return 0;
}

static int create(struct meta *meta, const char *group, uint32_t self, struct mq_buf *problem)
{
    int rc = check_unused(meta, problem);

    if (rc != 0) {
        return rc;
    }
    while (meta->incarnation == 0 && rc == 0) {
        rc = getrandom(&meta->incarnation, sizeof(meta->incarnation), 0) < 0 ? -errno : 0;
    }
    meta->sequence = 1;
    for (int k = 0; k < 2 && rc == 0; k++) {
        rc = store_copy(meta, k);
    }
    if (rc == 0) {
        rc = meta->disk->sync_dir(meta->disk, meta->dir); /* before there is an identity that counts on them */
    }
    if (rc >= 0) {
        rc = identity_store(meta, group, self);
    }
    if (rc < 0) {
        mq_buf_printf(problem, "%s: cannot be set up: %s", meta->dir, mq_strerror(rc));
    }
    return rc < 0 ? rc : 0;
}

static int load(struct meta *meta, const char *group, uint32_t self, bool *empty, struct mq_buf *problem)
{
    uint8_t bytes[IDENTITY_HEADER_BYTES + IDENTITY_BYTES_MAX + 1];
    ssize_t n = read_in(meta, "identity", bytes, sizeof(bytes));
    int rc;

    *empty = n == -ENOENT;
    if (*empty) {
        return create(meta, group, self, problem);
    }
    if (n < 0) {
        mq_buf_printf(problem, "%s/identity: %s", meta->dir, mq_strerror((int)n));
        return (int)n;
    }
    rc = identity_check(meta, bytes, (size_t)n, group, self, problem);
    return rc != 0 ? rc : load_copies(meta, problem);
}

static int lock_dir(struct meta *meta, struct mq_buf *problem)
{
    int rc;

    rc = meta->disk->make_dir(meta->disk, meta->dir);
    if (rc >= 0) {
        meta->lock_fd = open_in(meta, "lock", O_RDWR | O_CREAT);
        rc = meta->lock_fd < 0 ? meta->lock_fd : meta->disk->lock(meta->disk, meta->lock_fd);
    }
    if (rc == -EWOULDBLOCK) {
        mq_buf_printf(problem, "%s: another process uses this directory", meta->dir);
    } else if (rc < 0) {
        mq_buf_printf(problem, "%s: %s", meta->dir, mq_strerror(rc));
    }
    return rc < 0 ? rc : 0;
}

/* --- joining ------------------------------------------------------------------------------------------------ */

static const char JOINING[] = "joining";

void meta_begin_joining(struct meta *meta)
{
    int fd = meta->joining ? 0 : open_in(meta, JOINING, O_RDWR | O_CREAT);

    if (meta->joining) {
        return;
    }
    if (fd >= 0) {
        meta->disk->close(meta->disk, fd);
        fd = meta->disk->sync_dir(meta->disk, meta->dir);
    }
    if (fd < 0) {
        rlog_disk_failed("making", JOINING, fd);
    }
    meta->joining = true;
}

void meta_end_joining(struct meta *meta)
{
    struct mq_buf path = {0};
    int rc;

    if (!meta->joining) {
        return;
    }
    rc = mq_buf_printf(&path, "%s/%s", meta->dir, JOINING);
    if (rc == 0) {
        rc = meta->disk->unlink(meta->disk, (const char *)path.base);
    }
    mq_buf_free(&path);
    if (rc == 0) {
        rc = meta->disk->sync_dir(meta->disk, meta->dir);
    }
    if (rc < 0) {
        rlog_disk_failed("removing", JOINING, rc);
    }
    meta->joining = false;
}

static int look_for_joining(struct meta *meta, struct mq_buf *problem)
{
    int fd = open_in(meta, JOINING, O_RDONLY);

    if (fd >= 0) {
        meta->disk->close(meta->disk, fd);
        meta->joining = true;
    } else if (fd != -ENOENT) {
        mq_buf_printf(problem, "%s/%s: %s", meta->dir, JOINING, mq_strerror(fd));
        return fd;
    }
    return 0;
}

int meta_whose(const struct rlog_disk *disk, const char *dir, char *group, size_t cap, uint32_t *self,
               struct mq_buf *problem)
{
    struct meta meta = {.dir = (char *)dir, .disk = disk, .lock_fd = -1}; /* only read through */
    uint8_t bytes[IDENTITY_HEADER_BYTES + IDENTITY_BYTES_MAX + 1];
    ssize_t n = read_in(&meta, "identity", bytes, sizeof(bytes));
    Rlog__Identity *identity;
    int rc;

    if (n < 0) {
        mq_buf_printf(problem, "%s/identity: %s", dir, mq_strerror((int)n));
        return (int)n;
    }
    rc = identity_read(&meta, bytes, (size_t)n, &identity, problem);
    if (rc != 0) {
        return rc;
    }
    if (strlen(identity->group) >= cap) {
        mq_buf_printf(problem, "%s/identity: the group's name is too long", dir);
        rc = MQ_ETOOBIG;
    } else {
        memcpy(group, identity->group, strlen(identity->group) + 1);
        *self = identity->member;
    }
    rlog__identity__free_unpacked(identity, NULL);
    return rc;
}

int meta_open(struct meta *meta, const struct rlog_disk *disk, const char *dir, const char *group, uint32_t self,
              bool *empty, struct mq_buf *problem)
{
    bool is_empty = false;
    int rc = MQ_ENOMEM;

    *meta = (struct meta){.dir = mq_strdup(dir), .disk = disk, .lock_fd = -1};
    if (meta->dir != NULL) {
        rc = lock_dir(meta, problem);
    }
    if (rc == 0) {
        rc = load(meta, group, self, &is_empty, problem);
    }
    if (rc == 0) {
        rc = look_for_joining(meta, problem);
    }
    if (rc != 0) {
        meta_close(meta);
        return rc;
    }
    *empty = is_empty;
    return 0;
}

/* Failing ends the process: @what could not be made durable. */
static void store(struct meta *meta, const char *what)
{
    meta->sequence++;
    for (int k = 0; k < 2; k++) {
        int rc = RAFTMQ_DEFECT(ONE_META_COPY) && k == 1 ? 0 : store_copy(meta, k);

        if (rc != 0) {
            rlog_disk_failed(what, COPIES[k], rc);
        }
    }
}

void meta_store(struct meta *meta, uint64_t term, uint32_t vote)
{
    meta->term = term;
    meta->vote = vote;
    store(meta, "storing term and vote");
}

void meta_store_claim(struct meta *meta, const struct rlog_claim *claim)
{
    meta->claim = *claim;
    store(meta, "storing a claim");
}

void meta_close(struct meta *meta)
{
    if (meta->lock_fd >= 0) {
        meta->disk->close(meta->disk, meta->lock_fd);
    }
    mq_free(meta->dir);
    *meta = (struct meta){.lock_fd = -1};
}
