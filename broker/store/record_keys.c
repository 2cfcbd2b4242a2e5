/* Every record that is applied is looked at here, so names are told apart before a property is taken to pieces. */
#include "broker/store/record_keys.h"

#include "remoting/protocol/record.h"

#include <endian.h>

#define PROPERTY_END '\x02'
#define NAME_END "\x01"
#define UNIQ_NAME "UNIQ_KEY" NAME_END
#define KEYS_NAME "KEYS" NAME_END
#define SEPARATOR ' '

#define K0 0x9E3779B97F4A7C15u
#define K1 0xD6E8FEB86659FD93u
#define K2 0xA0761D6478BD642Fu

/* The value of @item if it is the property @name and not empty. */
static bool value_of(struct mq_str item, const char *name, uint32_t name_bytes, struct mq_str *value)
{
    if (item.len <= name_bytes || memcmp(item.at, name, name_bytes) != 0) {
        return false;
    }
    *value = (struct mq_str){item.at + name_bytes, item.len - name_bytes};
    return true;
}

void record_keys_begin(struct record_keys *keys, struct mq_str properties)
{
    const char *at = properties.at, *end = at != NULL ? at + properties.len : NULL;

    *keys = (struct record_keys){0};
    while (at != end) {
        const char *stop = memchr(at, PROPERTY_END, (size_t)(end - at));
        struct mq_str item = {at, (uint32_t)((stop != NULL ? stop : end) - at)};

        if (!value_of(item, UNIQ_NAME, sizeof(UNIQ_NAME) - 1, &keys->uniq)) {
            (void)value_of(item, KEYS_NAME, sizeof(KEYS_NAME) - 1, &keys->rest);
        }
        at = stop != NULL ? stop + 1 : end;
    }
}

bool record_keys_next(struct record_keys *keys, struct mq_str *key)
{
    if (keys->uniq.len != 0) {
        *key = keys->uniq;
        keys->uniq.len = 0;
        return true;
    }
    while (keys->rest.len != 0) {
        const char *at = keys->rest.at, *end = at + keys->rest.len;
        const char *stop = memchr(at, SEPARATOR, keys->rest.len);

        *key = (struct mq_str){at, (uint32_t)((stop != NULL ? stop : end) - at)};
        keys->rest.at = stop != NULL ? stop + 1 : end;
        keys->rest.len = (uint32_t)(end - keys->rest.at);
        if (key->len != 0) {
            return true;
        }
    }
    return false;
}

bool record_has_key(const uint8_t *record, uint32_t bytes, struct mq_str topic, struct mq_str key)
{
    struct proto_record decoded;
    struct record_keys keys;
    struct mq_str one;

    if (proto_record_decode(record, bytes, &decoded) != 0 || !mq_str_eq(decoded.topic, topic) ||
        !record_is_found_by_key((uint32_t)decoded.sys_flag)) {
        return false;
    }
    record_keys_begin(&keys, decoded.properties);
    while (record_keys_next(&keys, &one)) {
        if (mq_str_eq(one, key)) {
            return true;
        }
    }
    return false;
}

bool record_is_found_by_key(uint32_t sys_flag)
{
    return (sys_flag & PROTO_SYS_TRANSACTION_MASK) != PROTO_SYS_TRANSACTION_MASK;
}

/* --- the hash: 16 bytes at a time, multiplied to 128 bits and folded --- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load64(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

static uint64_t load32(const char *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof(word));
    return le32toh(word);
}

/* The last 0 to 16 bytes are two words that may overlap; the length is in the hash already. */
static uint64_t hash_from(uint64_t hash, struct mq_str s)
{
    const char *at = s.at;
    uint64_t a = 0, b = 0;
    uint32_t left = s.len;

    hash ^= mix(left ^ K0, K1);
    for (; left > 16; left -= 16, at += 16) {
        hash = mix(load64(at) ^ K1, load64(at + 8) ^ hash);
    }
    if (left >= 8) {
        a = load64(at);
        b = load64(at + left - 8);
    } else if (left >= 4) {
        a = load32(at);
        b = load32(at + left - 4);
    } else if (left != 0) {
        a = (uint8_t)at[0];
        b = (uint64_t)(uint8_t)at[left / 2] << 8 | (uint8_t)at[left - 1];
    }
    return mix(a ^ K2, b ^ hash);
}

uint64_t record_topic_hash(struct mq_str topic)
{
    return hash_from(K0, topic);
}

uint32_t record_key_hash(uint64_t topic_hash, struct mq_str key)
{
    return (uint32_t)(mix(hash_from(topic_hash, key), K0) >> 32);
}
