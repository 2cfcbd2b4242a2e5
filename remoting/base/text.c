/* Numbers, hex and hashes for the hot path: every message has a dozen of them in its header. */
#include "remoting/base/text.h"

#include "remoting/base/err.h"

#include <limits.h>
#include <stdint.h>

static uint8_t lower(char c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool mq_str_eq_nocase(struct mq_str a, struct mq_str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (uint32_t i = 0; i < a.len; i++) {
        if (lower(a.at[i]) != lower(b.at[i])) {
            return false;
        }
    }
    return true;
}

bool mq_str_starts(struct mq_str s, struct mq_str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.at, prefix.at, prefix.len) == 0);
}

/* 19 digits can pass INT64_MAX but never UINT64_MAX, so the range is checked once, at the end. */
#define I64_DIGITS_MAX 19

int mq_str_to_i64(struct mq_str s, int64_t *out)
{
    const char *at = s.at;
    const char *end;
    bool negative;
    uint64_t value = 0;

    if (s.len == 0) {
        return MQ_EINVAL;
    }
    end = at + s.len;
    negative = *at == '-';
    at += negative;
    if (at == end) {
        return MQ_EINVAL;
    }
    while (end - at > I64_DIGITS_MAX && *at == '0') {
        at++;
    }
    if (end - at > I64_DIGITS_MAX) {
        return MQ_EINVAL;
    }
    for (; at != end; at++) {
        unsigned digit = (unsigned)(uint8_t)*at - '0';

        if (digit > 9) {
            return MQ_EINVAL;
        }
        value = value * 10 + digit;
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return MQ_EINVAL;
    }
    *out = (int64_t)(negative ? 0 - value : value);
    return 0;
}

int mq_str_to_i32(struct mq_str s, int32_t *out)
{
    int64_t value;

    if (mq_str_to_i64(s, &value) != 0 || value < INT32_MIN || value > INT32_MAX) {
        return MQ_EINVAL;
    }
    *out = (int32_t)value;
    return 0;
}

bool mq_str_to_bool(struct mq_str s)
{
    return mq_str_eq_nocase(s, MQ_STR("true"));
}

static const char DIGIT_PAIRS[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

/* 10 to the n-th; 0 stands first so that the value 0, too, has one digit. */
static const uint64_t POWERS[20] = {
    0,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
    10000000000000000000u,
};

static unsigned digit_count(uint64_t value)
{
    /* 1233 / 4096 is log10(2): the bits give the digits, or one less where the next power of ten is reached. */
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    unsigned digits = bits * 1233 >> 12;

    return digits + (value >= POWERS[digits]);
}

size_t mq_u64_to_text(uint64_t value, char *out)
{
    unsigned n = digit_count(value);
    char *at = out + n;

    while (value >= 10000) {
        unsigned four = (unsigned)(value % 10000);

        value /= 10000;
        at -= 4;
        memcpy(at, DIGIT_PAIRS + four / 100 * 2, 2);
        memcpy(at + 2, DIGIT_PAIRS + four % 100 * 2, 2);
    }
    if (value >= 100) {
        at -= 2;
        memcpy(at, DIGIT_PAIRS + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        memcpy(out, DIGIT_PAIRS + value * 2, 2);
    } else {
        out[0] = (char)('0' + value);
    }
    return n;
}

size_t mq_i64_to_text(int64_t value, char *out)
{
    if (value >= 0) {
        return mq_u64_to_text((uint64_t)value, out);
    }
    out[0] = '-';
    return 1 + mq_u64_to_text(0 - (uint64_t)value, out + 1);
}

void mq_hex_upper(const uint8_t *bytes, size_t n, char *out)
{
    static const char DIGITS[] = "0123456789ABCDEF";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = DIGITS[bytes[i] >> 4];
        out[2 * i + 1] = DIGITS[bytes[i] & 15];
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mq_hex_parse(const char *text, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return MQ_EINVAL;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

#define REPLACEMENT 0xFFFDu

/* What a lead byte of UTF-8 promises: the bytes of the whole character and the range of the second one, which keeps
 * out overlong forms and what lies above U+10FFFF. len 0: no lead byte. */
struct utf8_lead {
    uint8_t len, second_min, second_max;
};

static struct utf8_lead utf8_lead_of(uint8_t byte)
{
    if (byte < 0xC2 || byte > 0xF4) {
        return (struct utf8_lead){0};
    }
    if (byte < 0xE0) {
        return (struct utf8_lead){2, 0x80, 0xBF};
    }
    if (byte < 0xF0) {
        return (struct utf8_lead){3, byte == 0xE0 ? 0xA0 : 0x80, 0xBF};
    }
    return (struct utf8_lead){4, byte == 0xF0 ? 0x90 : 0x80, byte == 0xF4 ? 0x8F : 0xBF};
}

/* Decodes one character at @at (@left > 0) and returns the bytes it took. As Java's decoder: a character cut short
 * counts as one U+FFFD together with its valid beginning, an encoded surrogate as one with all three bytes. */
static size_t utf8_take(const uint8_t *at, size_t left, uint32_t *code)
{
    struct utf8_lead lead = utf8_lead_of(at[0]);
    uint32_t value;
    size_t i;

    if (at[0] < 0x80) {
        *code = at[0];
        return 1;
    }
    *code = REPLACEMENT;
    if (lead.len == 0 || left < 2 || at[1] < lead.second_min || at[1] > lead.second_max) {
        return 1;
    }
    value = at[0] & (0x7Fu >> lead.len);
    for (i = 1; i < lead.len; i++) {
        if (i == left || (at[i] & 0xC0) != 0x80) {
            return i;
        }
        value = value << 6 | (at[i] & 0x3Fu);
    }
    if (value < 0xD800 || value > 0xDFFF) {
        *code = value;
    }
    return lead.len;
}

int32_t mq_java_hash(struct mq_str s)
{
    const uint8_t *at = (const uint8_t *)s.at;
    size_t left = s.len;
    uint32_t hash = 0;

    while (left != 0) {
        uint32_t code;
        size_t n = utf8_take(at, left, &code);

        if (code >= 0x10000) {
            hash = hash * 31 + (0xD800 + ((code - 0x10000) >> 10));
            code = 0xDC00 + ((code - 0x10000) & 0x3FF);
        }
        hash = hash * 31 + code;
        at += n;
        left -= n;
    }
    return (int32_t)hash;
}

static uint64_t load64(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static uint32_t load32(const uint8_t *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

/* Both halves of the 128-bit product: every bit of the input reaches every bit of the result. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Odd constants with about half of their bits set: fractions of pi. */
#define HASH_K0 0x243F6A8885A308D3u
#define HASH_K1 0x13198A2E03707345u
#define HASH_K2 0xA4093822299F31D1u

uint64_t mq_hash64(const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    uint64_t hash = mix(n ^ HASH_K0, HASH_K1);
    uint64_t a = 0, b = 0;
    size_t left = n;

    while (left > 16) {
        hash = mix(load64(at) ^ HASH_K1, load64(at + 8) ^ hash);
        at += 16;
        left -= 16;
    }
    /* The rest, 1 to 16 bytes, as two words that may overlap; the length is in the hash already. */
    if (left >= 8) {
        a = load64(at);
        b = load64(at + left - 8);
    } else if (left >= 4) {
        a = load32(at);
        b = load32(at + left - 4);
    } else if (left > 0) {
        a = at[0];
        b = (uint64_t)at[left / 2] << 8 | at[left - 1];
    }
    return mix(mix(a ^ HASH_K2, b ^ hash), HASH_K0);
}

/* Names in our tables are far shorter; what is longer counts as too far away. */
#define EDIT_TEXT_MAX 127

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

unsigned mq_edit_distance(const char *a, const char *b, unsigned max)
{
    unsigned row[EDIT_TEXT_MAX + 1];
    size_t na = strlen(a);
    size_t nb = strlen(b);

    if (na > EDIT_TEXT_MAX || nb > EDIT_TEXT_MAX) {
        return max + 1;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned above = row[j];

            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[nb] <= max ? row[nb] : max + 1;
}
