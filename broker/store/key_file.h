/* A sealed file of the key index: <store>/index/<20 digits: where its part of the log begins>. Never changed once it
 * has its name; never synced, because nothing depends on it: what a crash or a disk does to it is seen by its
 * checksums, and the file is made again from the log.
 *
 *    0  u32  magic "RMQK"
 *    4  u32  CRC-32C of bytes 8 to 127
 *    8  u32  format version (1)
 *   12  u32  b: there are 2^b buckets
 *   16  u64  begin, 24 u64 end: positions; every key of the records between them is here
 *   32  i64  store time of the first entry with records, 40 i64 of the last one; zeros without one
 *   48  u64  entries
 *   56  u64  position of the last entry's header
 *   64  u32  header CRC of the entry in front of the first one, 68 u32 of the last one: files and log fit together by
 *            them
 *   72  u64  position of the last record that has a key, 80 i64 its store time; zeros without one
 *   88  u32  keys
 *   92  u32  marks
 *   96  u32  CRC-32C of the marks
 *  100       zeros up to 128
 *  128       2^b buckets: u32 number of its first key, u32 CRC-32C (below)
 *            marks: u32 offset, u32 ms (struct key_mark)
 *            keys by bucket, in each in the order of the log: u32 hash, u32 offset of the record from begin
 *
 * The first b bits of a hash name its bucket, which has some 128 keys: a look-up reads 16 bytes of the table and one
 * bucket. The CRC of a bucket is of its number, its first key's number, how many it has (u32 each), and its keys.
 * Big-endian, as the queues.
 *
 * The indexer's thread. */
#ifndef BROKER_STORE_KEY_FILE_H
#define BROKER_STORE_KEY_FILE_H

#include "broker/store/key_run.h"
#include "remoting/base/buf.h"

#define KEY_FILE_HEADER_BYTES 128u
#define KEY_FILE_DIGITS 20

struct key_file {
    struct key_range range;
    uint32_t bucket_bits;
    uint32_t marks_crc;
};

/* What @range with @bucket_bits must take on the disk. */
uint64_t key_file_bytes(const struct key_file *file);

void key_file_header_encode(const struct key_file *file, uint8_t bytes[KEY_FILE_HEADER_BYTES]);
/* Returns 0, MQ_ECORRUPT or MQ_EVERSION; @out untouched on error. */
int key_file_header_decode(const uint8_t *bytes, size_t n, struct key_file *out);

/* The whole file of @run, whose memory is added to @out. Returns 0 with @file, or MQ_ENOMEM. */
int key_file_encode(const struct key_run *run, struct key_file *file, struct mq_buf *out);

/* Writes it under its name, over an earlier one that begins there. Returns 0 with @file, or a negative code. */
int key_file_write(const char *dir, const struct key_run *run, struct key_file *file);

/* Reads and checks the header of the file that begins at @begin, and its size. Returns 0; MQ_ECORRUPT, MQ_EVERSION;
 * -errno. */
int key_file_open(const char *dir, uint64_t begin, struct key_file *out);

/* Appends to @found what the file has, newest first, until it is full. Returns 0; 1 when nothing is left; MQ_ECORRUPT
 * when what it read is damaged; MQ_ENOMEM or -errno. */
int key_file_find(const char *dir, const struct key_file *file, const struct key_want *want, struct key_found *found);

/* Puts all its keys into @run, which begins there, so that it can go on: not in the order of the log, but for those
 * of one bucket. Returns 0, MQ_ECORRUPT, MQ_ENOMEM or -errno, after which @run is to be begun anew. */
int key_file_load(const char *dir, const struct key_file *file, struct key_run *run);

/* "<dir>/<20 digits><suffix>" in an owned string, or NULL. */
char *key_file_path(const char *dir, uint64_t begin, const char *suffix);
/* Parses a file's name. Returns 0 or MQ_EINVAL. */
int key_file_name_parse(const char *name, uint64_t *begin);

#endif
