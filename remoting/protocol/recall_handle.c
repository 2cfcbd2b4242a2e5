#include "remoting/protocol/recall_handle.h"

#include "remoting/base/err.h"

#include <stdbool.h>

#define PARTS 5u
#define VERSION MQ_STR("v1")

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* --- base64 --- */

static size_t to_base64(const char *bytes, size_t n, char *out)
{
    char *at = out;

    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i < 3 ? n - i : 3;
        uint32_t word = (uint32_t)(uint8_t)bytes[i] << 16;

        word |= left > 1 ? (uint32_t)(uint8_t)bytes[i + 1] << 8 : 0;
        word |= left > 2 ? (uint32_t)(uint8_t)bytes[i + 2] : 0;
        *at++ = digits[word >> 18];
        *at++ = digits[word >> 12 & 63];
        *at++ = left > 1 ? digits[word >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[word & 63] : '=';
    }
    return (size_t)(at - out);
}

static int digit_value(char c)
{
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* Padding may be left out altogether, as Java's decoder takes it; but not half of it. Returns the bytes, or -1. */
static int from_base64(struct mq_str text, char *out)
{
    uint32_t word = 0, n = text.len;
    char *at = out;

    if (n % 4 == 0 && n != 0 && text.at[n - 1] == '=') {
        n -= text.at[n - 2] == '=' ? 2 : 1;
    }
    if (n % 4 == 1) {
        return -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        int value = digit_value(text.at[i]);

        if (value < 0) {
            return -1;
        }
        word = word << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            *at++ = (char)(word >> 16);
            *at++ = (char)(word >> 8);
            *at++ = (char)word;
        }
    }
    if (n % 4 != 0) {
        *at++ = (char)(n % 4 == 3 ? word >> 10 : word >> 4);
    }
    if (n % 4 == 3) {
        *at++ = (char)(word >> 2);
    }
    return (int)(at - out);
}

/* --- the handle --- */

static bool fits(struct mq_str part, size_t room)
{
    return part.len != 0 && part.len < room && memchr(part.at, ' ', part.len) == NULL;
}

size_t proto_recall_handle_encode(const struct proto_recall_handle *handle, char out[PROTO_RECALL_HANDLE_MAX])
{
    char number[MQ_I64_TEXT_MAX], bytes[PROTO_RECALL_BYTES_MAX];
    const struct mq_str parts[PARTS] = {VERSION,
                                        handle->topic,
                                        handle->broker_name,
                                        {number, (uint32_t)mq_i64_to_text(handle->out_ms, number)},
                                        handle->uniq_key};
    size_t n = 0;

    for (size_t i = 0; i < PARTS; i++) {
        if (!fits(parts[i], sizeof(bytes) - n)) {
            return 0;
        }
        if (i != 0) {
            bytes[n++] = ' ';
        }
        memcpy(bytes + n, parts[i].at, parts[i].len);
        n += parts[i].len;
    }
    return to_base64(bytes, n, out);
}

int proto_recall_handle_decode(struct mq_str text, char bytes[PROTO_RECALL_BYTES_MAX],
                               struct proto_recall_handle *handle)
{
    struct mq_str parts[PARTS];
    struct mq_str rest;
    int n = text.len != 0 && text.len <= PROTO_RECALL_HANDLE_MAX ? from_base64(text, bytes) : -1;

    if (n <= 0) {
        return MQ_EBADMSG;
    }
    rest = (struct mq_str){bytes, (uint32_t)n};
    for (size_t i = 0; i < PARTS; i++) {
        const char *stop = memchr(rest.at, ' ', rest.len);
        uint32_t taken = stop != NULL ? (uint32_t)(stop - rest.at) : rest.len;

        parts[i] = (struct mq_str){rest.at, taken};
        if (taken == 0 || (stop == NULL && i + 1 < PARTS)) {
            return MQ_EBADMSG;
        }
        taken += stop != NULL;
        rest = (struct mq_str){rest.at + taken, rest.len - taken};
    }
    if (!mq_str_eq(parts[0], VERSION)) {
        return MQ_EBADMSG;
    }
    *handle = (struct proto_recall_handle){parts[1], parts[2], parts[4], -1};
    (void)mq_str_to_i64(parts[3], &handle->out_ms);
    return 0;
}
