/* Slices of text and the conversions a text protocol needs, without locale and without allocation. */
#ifndef MQ_BASE_TEXT_H
#define MQ_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes, not NUL-terminated. at == NULL means absent; len 0 with at != NULL means empty. */
struct mq_str {
    const char *at;
    uint32_t len;
};

#define MQ_STR(literal) ((struct mq_str){(literal), (uint32_t)(sizeof(literal) - 1)})
#define MQ_STR_FMT "%.*s"
#define MQ_STR_ARG(s) (int)(s).len, (s).at != NULL ? (s).at : ""

static inline struct mq_str mq_str_of(const char *text)
{
    return (struct mq_str){text, text != NULL ? (uint32_t)strlen(text) : 0};
}

static inline bool mq_str_eq(struct mq_str a, struct mq_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool mq_str_eq_nocase(struct mq_str a, struct mq_str b); /* ASCII only */
bool mq_str_starts(struct mq_str s, struct mq_str prefix);

/* Parse the whole slice as decimal, with an optional '-'. Return 0, or MQ_EINVAL (empty, not a number, out of
 * range); @out is untouched on error. */
int mq_str_to_i64(struct mq_str s, int64_t *out);
int mq_str_to_i32(struct mq_str s, int32_t *out);

/* "true" in any case is true, everything else false (Java's Boolean.parseBoolean). */
bool mq_str_to_bool(struct mq_str s);

#define MQ_I64_TEXT_MAX 20 /* characters of -9223372036854775808 */

/* Write decimal text without a NUL and return its length. @out holds MQ_I64_TEXT_MAX bytes. */
size_t mq_i64_to_text(int64_t value, char *out);
size_t mq_u64_to_text(uint64_t value, char *out);

/* Writes 2 * @n upper-case hex digits, no NUL. */
void mq_hex_upper(const uint8_t *bytes, size_t n, char *out);

/* Parses 2 * @n hex digits of either case. Returns 0 or MQ_EINVAL. */
int mq_hex_parse(const char *text, size_t n, uint8_t *out);

/* Java's String.hashCode() over the UTF-16 code units of UTF-8 @s (ill-formed bytes count as U+FFFD).
 * Source: RocketMQ's MessageExtBrokerInner.tagsString2tagsCode. "TagA" -> 2598919. */
int32_t mq_java_hash(struct mq_str s);

/* A fast 64-bit hash of bytes for our own tables (never on disk or wire). */
uint64_t mq_hash64(const void *bytes, size_t n);

/* Edit distance (insert, delete, replace), bounded: returns @max + 1 when it is larger. */
unsigned mq_edit_distance(const char *a, const char *b, unsigned max);

#endif
