#include "wire.h"

#include <stdlib.h>

void *wire_exact(const void *bytes, size_t n)
{
    void *copy = malloc(n != 0 ? n : 1);

    assert_non_null(copy);
    if (n != 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

void wire_frame(struct mq_buf *out, uint8_t encoding, struct mq_str header, struct mq_str body)
{
    assert_int_equal(mq_buf_put_be32(out, 4 + header.len + body.len), 0);
    assert_int_equal(mq_buf_put_be32(out, (uint32_t)encoding << 24 | header.len), 0);
    assert_int_equal(mq_buf_put_str(out, header), 0);
    assert_int_equal(mq_buf_put_str(out, body), 0);
}

void wire_hex(struct mq_buf *out, const char *hex)
{
    char pair[2];
    unsigned digits = 0;
    uint8_t byte;

    for (; *hex != 0; hex++) {
        if (*hex == ' ' || *hex == '\n') {
            continue;
        }
        pair[digits++] = *hex;
        if (digits == 2) {
            assert_int_equal(mq_hex_parse(pair, 1, &byte), 0);
            assert_int_equal(mq_buf_put_u8(out, byte), 0);
            digits = 0;
        }
    }
    assert_int_equal(digits, 0);
}

void wire_assert_str(struct mq_str got, const char *want)
{
    if (want == NULL) {
        assert_null(got.at);
        return;
    }
    assert_non_null(got.at);
    if (!mq_str_eq(got, mq_str_of(want))) {
        fail_msg("got '" MQ_STR_FMT "', want '%s'", MQ_STR_ARG(got), want);
    }
}

void wire_assert_bytes(const struct mq_buf *got, const char *want_hex)
{
    struct mq_buf want = {0};

    wire_hex(&want, want_hex);
    assert_int_equal(got->len, want.len);
    assert_memory_equal(got->base, want.base, want.len);
    mq_buf_free(&want);
}

void wire_assert_host(const struct proto_host *got, const struct proto_host *want)
{
    assert_int_equal(got->ip_bytes, want->ip_bytes);
    assert_memory_equal(got->ip, want->ip, want->ip_bytes);
    assert_int_equal(got->port, want->port);
}

uint32_t wire_random_below(struct wire_random *random, uint32_t limit)
{
    random->state = random->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random->state >> 33) % limit);
}

struct mq_str wire_random_text(struct wire_random *random, const char *alphabet, uint32_t n, char *out)
{
    uint32_t letters = (uint32_t)strlen(alphabet);

    for (uint32_t i = 0; i < n; i++) {
        out[i] = alphabet[wire_random_below(random, letters)];
    }
    return (struct mq_str){out, n};
}
