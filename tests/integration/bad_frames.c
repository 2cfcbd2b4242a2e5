#include "tests/integration/bad_frames.h"

#include <stdlib.h>

static void put_frame(struct mq_buf *out, uint32_t length, uint32_t header_word, const void *header, size_t n)
{
    mq_buf_put_be32(out, length);
    mq_buf_put_be32(out, header_word);
    mq_buf_put(out, header, n);
}

static void put_json(struct mq_buf *out, const char *json)
{
    size_t n = strlen(json);

    put_frame(out, (uint32_t)n + 4, (uint32_t)n, json, n);
}

static void http_request(struct mq_buf *out)
{
    mq_buf_put_str(out, MQ_STR("GET / HTTP/1.1\r\nHost: broker\r\n\r\n"));
}

static void noise(struct mq_buf *out)
{
    uint32_t x = 2463534242u;

    for (int i = 0; i < 4096; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        mq_buf_put_u8(out, (uint8_t)(x | (i == 0 ? 0x80 : 0)));
    }
}

static void length_zero(struct mq_buf *out)
{
    mq_buf_put_be32(out, 0);
    mq_buf_put_be32(out, 0);
}

static void length_three(struct mq_buf *out)
{
    mq_buf_put_be32(out, 3);
    mq_buf_put_be32(out, 0);
}

static void length_negative(struct mq_buf *out)
{
    put_frame(out, UINT32_MAX, 10, "{}", 2);
}

static void length_over_limit(struct mq_buf *out)
{
    put_frame(out, (16u << 20) + 1, 10, "{}", 2);
}

static void header_beyond_frame(struct mq_buf *out)
{
    put_frame(out, 20, 100, "{\"code\":105}    ", 16);
}

static void header_over_limit(struct mq_buf *out)
{
    size_t n = (256u << 10) + 1;
    char *spaces = malloc(n);

    memset(spaces, ' ', n);
    put_frame(out, (uint32_t)n + 4, (uint32_t)n, spaces, n);
    free(spaces);
}

static void encoding_unknown(struct mq_buf *out)
{
    put_frame(out, 6, 7u << 24 | 2, "{}", 2);
}

static void header_empty(struct mq_buf *out)
{
    put_frame(out, 4, 0, "", 0);
}

static void json_cut(struct mq_buf *out)
{
    put_json(out, "{\"code\":105,\"extFields\":{\"topic\":\"x");
}

static void json_deep(struct mq_buf *out)
{
    struct mq_buf json = {0};

    mq_buf_put_str(&json, MQ_STR("{\"code\":105,\"x\":"));
    for (int i = 0; i < 50000; i++) {
        mq_buf_put_u8(&json, '[');
    }
    put_frame(out, (uint32_t)json.len + 4, (uint32_t)json.len, json.base, json.len);
    mq_buf_free(&json);
}

static void json_fields(struct mq_buf *out)
{
    struct mq_buf json = {0};

    mq_buf_put_str(&json, MQ_STR("{\"code\":105,\"opaque\":1,\"extFields\":{\"a\":\"b\""));
    for (int i = 0; i < 5000; i++) {
        mq_buf_printf(&json, ",\"k%d\":\"v\"", i);
    }
    mq_buf_put_str(&json, MQ_STR("}}"));
    put_frame(out, (uint32_t)json.len + 4, (uint32_t)json.len, json.base, json.len);
    mq_buf_free(&json);
}

static void json_no_code(struct mq_buf *out)
{
    put_json(out, "{\"opaque\":5,\"extFields\":{\"topic\":\"x\"}}");
}

static void json_long_value(struct mq_buf *out)
{
    struct mq_buf json = {0};

    mq_buf_put_str(&json, MQ_STR("{\"code\":105,\"opaque\":9,\"extFields\":{\"topic\":\""));
    for (int i = 0; i < 200000; i++) {
        mq_buf_put_u8(&json, 'x');
    }
    mq_buf_put_str(&json, MQ_STR("\"}}"));
    put_frame(out, (uint32_t)json.len + 4, (uint32_t)json.len, json.base, json.len);
    mq_buf_free(&json);
}

static void binary_field_beyond_header(struct mq_buf *out)
{
    /* code 105, language 7, version 0, opaque 1, flag 0, remark 0, ext 200 bytes that are not there */
    static const uint8_t header[] = {0, 105, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200};

    put_frame(out, sizeof(header) + 4, 1u << 24 | sizeof(header), header, sizeof(header));
}

static void binary_cut(struct mq_buf *out)
{
    static const uint8_t header[] = {0, 105, 7};

    put_frame(out, sizeof(header) + 4, 1u << 24 | sizeof(header), header, sizeof(header));
}

static void answer_to_nothing(struct mq_buf *out)
{
    put_json(out, "{\"code\":0,\"opaque\":77,\"flag\":1}");
    put_json(out, "{\"code\":105,\"opaque\":78,\"extFields\":{\"topic\":\"BadInput\"}}");
}

const struct bad_frame bad_frames[] = {
    {"an HTTP request", CLOSED, http_request},
    {"noise", CLOSED, noise},
    {"length 0", CLOSED, length_zero},
    {"length 3", CLOSED, length_three},
    {"length -1", CLOSED, length_negative},
    {"a frame over 16 MiB", CLOSED, length_over_limit},
    {"a header that is longer than its frame", CLOSED, header_beyond_frame},
    {"a header over 256 KiB", CLOSED, header_over_limit},
    {"an encoding nobody knows", CLOSED, encoding_unknown},
    {"no header", CLOSED, header_empty},
    {"JSON that is cut off", CLOSED, json_cut},
    {"JSON 50,000 deep", CLOSED, json_deep},
    {"JSON with 5,000 fields", CLOSED, json_fields},
    {"JSON without a code", CLOSED_OR_ANSWERED, json_no_code},
    {"a field of 200,000 bytes", ANSWERED, json_long_value},
    {"a binary header whose fields lie behind it", CLOSED, binary_field_beyond_header},
    {"a binary header that is cut off", CLOSED, binary_cut},
    {"an answer that nobody asked for", ANSWERED, answer_to_nothing},
};

const size_t bad_frames_count = sizeof(bad_frames) / sizeof(bad_frames[0]);
