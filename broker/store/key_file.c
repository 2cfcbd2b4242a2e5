#include "broker/store/key_file.h"

#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x524D514Bu /* "RMQK" */
#define VERSION 1u
#define BITS_MAX 13u
#define BUCKET_KEYS 128u
#define SLOT_BYTES 8u /* of a bucket, a mark, a key */
#define KEYS_MAX (64u << 20)

uint64_t key_file_bytes(const struct key_file *file)
{
    uint64_t slots = ((uint64_t)1 << file->bucket_bits) + file->range.marks + file->range.keys;

    return KEY_FILE_HEADER_BYTES + slots * SLOT_BYTES;
}

static uint64_t marks_at(const struct key_file *file)
{
    return KEY_FILE_HEADER_BYTES + ((uint64_t)1 << file->bucket_bits) * SLOT_BYTES;
}

static uint64_t keys_at(const struct key_file *file)
{
    return marks_at(file) + (uint64_t)file->range.marks * SLOT_BYTES;
}

static void put_slot(uint8_t *at, uint32_t a, uint32_t b)
{
    mq_be32_store(at, a);
    mq_be32_store(at + 4, b);
}

/* --- the header --- */

void key_file_header_encode(const struct key_file *file, uint8_t bytes[KEY_FILE_HEADER_BYTES])
{
    const struct key_range *range = &file->range;

    memset(bytes, 0, KEY_FILE_HEADER_BYTES);
    put_slot(bytes, MAGIC, 0);
    put_slot(bytes + 8, VERSION, file->bucket_bits);
    mq_be64_store(bytes + 16, range->begin);
    mq_be64_store(bytes + 24, range->end);
    mq_be64_store(bytes + 32, (uint64_t)range->first_ms);
    mq_be64_store(bytes + 40, (uint64_t)range->last_ms);
    mq_be64_store(bytes + 48, range->entries);
    mq_be64_store(bytes + 56, range->last_entry);
    put_slot(bytes + 64, range->prev_crc, range->last_crc);
    mq_be64_store(bytes + 72, range->last_record);
    mq_be64_store(bytes + 80, (uint64_t)range->last_record_ms);
    put_slot(bytes + 88, range->keys, range->marks);
    mq_be32_store(bytes + 96, file->marks_crc);
    mq_be32_store(bytes + 4, mq_crc32c(0, bytes + 8, KEY_FILE_HEADER_BYTES - 8));
}

/* What version 1 fixes, so that a decoded header encodes to the same bytes and no number leads outside. */
static bool is_sane(const struct key_file *file)
{
    const struct key_range *range = &file->range;

    return file->bucket_bits <= BITS_MAX && range->keys <= KEYS_MAX &&
           range->marks == (range->keys + KEY_MARK_KEYS - 1) / KEY_MARK_KEYS && range->entries != 0 &&
           range->begin <= range->last_entry && range->last_entry < range->end &&
           range->end - range->begin <= UINT32_MAX && range->first_ms >= 0 && range->first_ms <= range->last_ms &&
           range->last_ms - range->first_ms <= UINT32_MAX;
}

int key_file_header_decode(const uint8_t *bytes, size_t n, struct key_file *out)
{
    struct key_file file;
    uint8_t again[KEY_FILE_HEADER_BYTES];

    if (n < KEY_FILE_HEADER_BYTES || mq_be32_load(bytes) != MAGIC ||
        mq_be32_load(bytes + 4) != mq_crc32c(0, bytes + 8, KEY_FILE_HEADER_BYTES - 8)) {
        return MQ_ECORRUPT;
    }
    if (mq_be32_load(bytes + 8) != VERSION) {
        return MQ_EVERSION;
    }
    file = (struct key_file){.range = {.begin = mq_be64_load(bytes + 16),
                                       .end = mq_be64_load(bytes + 24),
                                       .first_ms = (int64_t)mq_be64_load(bytes + 32),
                                       .last_ms = (int64_t)mq_be64_load(bytes + 40),
                                       .entries = mq_be64_load(bytes + 48),
                                       .last_entry = mq_be64_load(bytes + 56),
                                       .prev_crc = mq_be32_load(bytes + 64),
                                       .last_crc = mq_be32_load(bytes + 68),
                                       .last_record = mq_be64_load(bytes + 72),
                                       .last_record_ms = (int64_t)mq_be64_load(bytes + 80),
                                       .keys = mq_be32_load(bytes + 88),
                                       .marks = mq_be32_load(bytes + 92)},
                             .bucket_bits = mq_be32_load(bytes + 12),
                             .marks_crc = mq_be32_load(bytes + 96)};
    if (!is_sane(&file)) {
        return MQ_ECORRUPT;
    }
    key_file_header_encode(&file, again);
    if (memcmp(again, bytes, KEY_FILE_HEADER_BYTES) != 0) {
        return MQ_ECORRUPT;
    }
    *out = file;
    return 0;
}

/* --- buckets --- */

static uint32_t bucket_of(const struct key_file *file, uint32_t hash)
{
    return file->bucket_bits != 0 ? hash >> (32 - file->bucket_bits) : 0;
}

static uint32_t bucket_crc(uint32_t bucket, uint32_t first, uint32_t n, const uint8_t *keys)
{
    uint8_t head[12];

    put_slot(head, bucket, first);
    mq_be32_store(head + 8, n);
    return mq_crc32c(mq_crc32c(0, head, sizeof(head)), keys, (size_t)n * SLOT_BYTES);
}

static uint32_t bits_for(uint32_t keys)
{
    uint32_t bits = 0;

    while (bits < BITS_MAX && keys >> bits > BUCKET_KEYS) {
        bits++;
    }
    return bits;
}

/* Counts the keys of each bucket, and turns the counts into the number of its first key. */
static void place_buckets(const struct key_run *run, const struct key_file *file, uint32_t *firsts)
{
    uint32_t buckets = 1u << file->bucket_bits, sum = 0;

    memset(firsts, 0, buckets * sizeof(*firsts));
    for (uint32_t i = 0; i < run->range.keys; i++) {
        firsts[bucket_of(file, run->hashes[i])]++;
    }
    for (uint32_t b = 0; b < buckets; b++) {
        uint32_t n = firsts[b];

        firsts[b] = sum;
        sum += n;
    }
}

static void put_buckets(const struct key_run *run, const struct key_file *file, uint32_t *firsts, uint8_t *bytes)
{
    uint32_t buckets = 1u << file->bucket_bits, first = 0;
    uint8_t *keys = bytes + keys_at(file);

    for (uint32_t i = 0; i < run->range.keys; i++) {
        uint32_t number = firsts[bucket_of(file, run->hashes[i])]++;

        put_slot(keys + (size_t)number * SLOT_BYTES, run->hashes[i], run->offsets[i]);
    }
    for (uint32_t b = 0; b < buckets; b++) { /* where one ends now the next one begins */
        uint32_t end = firsts[b];

        put_slot(bytes + KEY_FILE_HEADER_BYTES + (size_t)b * SLOT_BYTES, first,
                 bucket_crc(b, first, end - first, keys + (size_t)first * SLOT_BYTES));
        first = end;
    }
}

int key_file_encode(const struct key_run *run, struct key_file *file, struct mq_buf *out)
{
    struct key_file made = {.range = run->range, .bucket_bits = bits_for(run->range.keys)};
    uint32_t *firsts = mq_malloc(((size_t)1 << made.bucket_bits) * sizeof(*firsts));
    uint8_t *bytes, *marks;

    if (firsts == NULL || mq_buf_reserve(out, key_file_bytes(&made)) != 0) {
        mq_free(firsts);
        return MQ_ENOMEM;
    }
    bytes = out->base + out->len;
    marks = bytes + marks_at(&made);
    for (uint32_t i = 0; i < made.range.marks; i++) {
        put_slot(marks + (size_t)i * SLOT_BYTES, run->marks[i].offset, run->marks[i].ms);
    }
    made.marks_crc = mq_crc32c(0, marks, (size_t)made.range.marks * SLOT_BYTES);
    place_buckets(run, &made, firsts);
    put_buckets(run, &made, firsts, bytes);
    key_file_header_encode(&made, bytes);
    out->len += key_file_bytes(&made);
    mq_free(firsts);
    *file = made;
    return 0;
}

/* --- on the disk --- */

char *key_file_path(const char *dir, uint64_t begin, const char *suffix)
{
    char name[KEY_FILE_DIGITS + 16];

    snprintf(name, sizeof(name), "%0*" PRIu64 "%s", KEY_FILE_DIGITS, begin, suffix);
    return mq_path_join(dir, name);
}

int key_file_name_parse(const char *name, uint64_t *begin)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < KEY_FILE_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' || value > (UINT64_MAX - (uint64_t)(name[i] - '0')) / 10) {
            return MQ_EINVAL;
        }
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    if (name[KEY_FILE_DIGITS] != '\0') {
        return MQ_EINVAL;
    }
    *begin = value;
    return 0;
}

static int write_all(const char *path, const struct mq_buf *bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t done = 0;
    int rc = fd < 0 ? -errno : 0;

    while (rc == 0 && done < bytes->len) {
        ssize_t n = write(fd, bytes->base + done, bytes->len - done);

        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            rc = -errno;
        }
    }
    if (fd >= 0 && close(fd) != 0 && rc == 0) {
        rc = -errno;
    }
    return rc;
}

int key_file_write(const char *dir, const struct key_run *run, struct key_file *file)
{
    char *path = key_file_path(dir, run->range.begin, "");
    char *fresh = key_file_path(dir, run->range.begin, ".new");
    struct mq_buf bytes = {0};
    struct key_file made;
    int rc = path != NULL && fresh != NULL ? key_file_encode(run, &made, &bytes) : MQ_ENOMEM;

    if (rc == 0) {
        rc = write_all(fresh, &bytes);
        if (rc == 0 && rename(fresh, path) != 0) {
            rc = -errno;
        }
        if (rc != 0) {
            (void)unlink(fresh);
        } else {
            *file = made;
        }
    }
    mq_buf_free(&bytes);
    mq_free(fresh);
    mq_free(path);
    return rc;
}

static int open_at(const char *dir, uint64_t begin)
{
    char *path = key_file_path(dir, begin, "");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int rc = path == NULL ? MQ_ENOMEM : fd < 0 ? -errno : fd;

    mq_free(path);
    return rc;
}

/* Returns 0; MQ_ECORRUPT when the file is too short or cannot be read; -errno. */
static int read_at(int fd, uint64_t at, void *bytes, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = pread(fd, (uint8_t *)bytes + done, n - done, (off_t)(at + done));

        if (got == 0) {
            return MQ_ECORRUPT;
        }
        if (got < 0 && errno != EINTR) {
            return errno == EIO ? MQ_ECORRUPT : -errno; /* the disk has lost it */
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int key_file_open(const char *dir, uint64_t begin, struct key_file *out)
{
    uint8_t bytes[KEY_FILE_HEADER_BYTES];
    struct key_file file;
    struct stat st;
    int fd = open_at(dir, begin);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = read_at(fd, 0, bytes, sizeof(bytes));
    if (rc == 0) {
        rc = key_file_header_decode(bytes, sizeof(bytes), &file);
    }
    if (rc == 0) {
        rc = fstat(fd, &st) != 0 ? -errno : 0;
    }
    if (rc == 0 && (file.range.begin != begin || (uint64_t)st.st_size != key_file_bytes(&file))) {
        rc = MQ_ECORRUPT;
    }
    close(fd);
    if (rc == 0) {
        *out = file;
    }
    return rc;
}

/* --- reading --- */

/* The marks as they are in a run; the caller frees. */
static int read_marks(int fd, const struct key_file *file, struct key_mark **out)
{
    size_t n = (size_t)file->range.marks * SLOT_BYTES;
    uint8_t *bytes = mq_malloc(n + 1);
    struct key_mark *marks = mq_malloc((file->range.marks + (size_t)1) * sizeof(*marks));
    int rc = bytes != NULL && marks != NULL ? read_at(fd, marks_at(file), bytes, n) : MQ_ENOMEM;

    if (rc == 0 && mq_crc32c(0, bytes, n) != file->marks_crc) {
        rc = MQ_ECORRUPT;
    }
    for (uint32_t i = 0; rc == 0 && i < file->range.marks; i++) {
        marks[i] = (struct key_mark){mq_be32_load(bytes + i * SLOT_BYTES), mq_be32_load(bytes + i * SLOT_BYTES + 4)};
    }
    mq_free(bytes);
    if (rc != 0) {
        mq_free(marks);
        return rc;
    }
    *out = marks;
    return 0;
}

/* What @want may have of the file; the marks are read only when it is not all. */
static int clip(int fd, const struct key_file *file, const struct key_want *want, uint32_t *low, uint32_t *high)
{
    const struct key_range *range = &file->range;
    struct key_range bare = *range;
    struct key_mark *marks = NULL;
    int rc = 0;

    bare.marks = 0;
    if (range->first_ms < want->begin_ms || range->last_ms > want->end_ms) {
        rc = read_marks(fd, file, &marks);
        bare.marks = range->marks;
    }
    if (rc == 0) {
        key_marks_clip(&bare, marks, want, low, high);
        mq_free(marks);
    }
    return rc;
}

/* The keys of one bucket as they lie on the disk, checked; the caller frees. */
static int read_bucket(int fd, const struct key_file *file, uint32_t bucket, uint8_t **out, uint32_t *n)
{
    uint8_t slots[2 * SLOT_BYTES];
    bool last = bucket == (1u << file->bucket_bits) - 1;
    uint32_t first, end;
    uint8_t *keys;
    int rc =
        read_at(fd, KEY_FILE_HEADER_BYTES + (uint64_t)bucket * SLOT_BYTES, slots, last ? SLOT_BYTES : sizeof(slots));

    if (rc != 0) {
        return rc;
    }
    first = mq_be32_load(slots);
    end = last ? file->range.keys : mq_be32_load(slots + SLOT_BYTES);
    if (first > end || end > file->range.keys) {
        return MQ_ECORRUPT;
    }
    keys = mq_malloc((size_t)(end - first) * SLOT_BYTES + 1);
    if (keys == NULL) {
        return MQ_ENOMEM;
    }
    rc = read_at(fd, keys_at(file) + (uint64_t)first * SLOT_BYTES, keys, (size_t)(end - first) * SLOT_BYTES);
    if (rc == 0 && bucket_crc(bucket, first, end - first, keys) != mq_be32_load(slots + 4)) {
        rc = MQ_ECORRUPT;
    }
    if (rc != 0) {
        mq_free(keys);
        return rc;
    }
    *out = keys;
    *n = end - first;
    return 0;
}

static int find_in(int fd, const struct key_file *file, const struct key_want *want, struct key_found *found)
{
    uint32_t low, high, n;
    uint8_t *keys;
    int rc = clip(fd, file, want, &low, &high);

    if (rc == 0) {
        rc = read_bucket(fd, file, bucket_of(file, want->hash), &keys, &n);
    }
    if (rc != 0) {
        return rc;
    }
    rc = 1;
    while (rc == 1 && n-- != 0) {
        const uint8_t *key = keys + (size_t)n * SLOT_BYTES;
        uint32_t offset = mq_be32_load(key + 4);

        if (mq_be32_load(key) == want->hash && offset >= low && offset < high) {
            rc = key_found_add(found, file->range.begin + offset) ? 1 : 0;
        }
    }
    mq_free(keys);
    return rc;
}

int key_file_find(const char *dir, const struct key_file *file, const struct key_want *want, struct key_found *found)
{
    uint32_t n = found->n;
    int fd, rc;

    if (!key_range_meets(&file->range, want)) {
        return 1;
    }
    fd = open_at(dir, file->range.begin);
    if (fd < 0) {
        return fd == -ENOENT ? MQ_ECORRUPT : fd;
    }
    rc = find_in(fd, file, want, found);
    close(fd);
    if (rc < 0) {
        found->n = n;
    }
    return rc;
}

static int load_bucket(int fd, const struct key_file *file, uint32_t bucket, struct key_run *run)
{
    uint8_t *keys;
    uint32_t n;
    int rc = read_bucket(fd, file, bucket, &keys, &n);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        const uint8_t *key = keys + (size_t)i * SLOT_BYTES;

        rc = key_run_add(run, mq_be32_load(key), file->range.begin + mq_be32_load(key + 4));
    }
    mq_free(keys);
    return rc;
}

/* The run notes marks of its own while keys are added, which are not in order: the file's take their place. */
int key_file_load(const char *dir, const struct key_file *file, struct key_run *run)
{
    struct key_mark *marks = NULL;
    int fd = open_at(dir, file->range.begin);
    int rc = fd < 0 ? fd : read_marks(fd, file, &marks);

    run->range.first_ms = file->range.first_ms;
    run->range.last_ms = file->range.last_ms;
    for (uint32_t b = 0; rc == 0 && b < 1u << file->bucket_bits; b++) {
        rc = load_bucket(fd, file, b, run);
    }
    for (uint32_t i = 0; rc == 0 && i < file->range.marks; i++) {
        run->marks[i] = marks[i];
    }
    if (rc == 0) {
        run->range = file->range;
        run->entry_end = file->range.end;
    }
    mq_free(marks);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}
