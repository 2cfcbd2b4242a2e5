/* The JSON reader against any bytes: it ends, stays within them, and its ways through a text agree. */
#include "tests/fuzz/fuzz.h"

#include "remoting/base/assert.h"
#include "remoting/base/heap.h"
#include "remoting/base/json.h"

#include <string.h>

/* A writable copy in a block of exactly its size. */
static char *copy_of(const void *bytes, size_t n)
{
    char *copy = mq_malloc(n);

    MQ_ASSERT(copy != NULL);
    if (n != 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

/* What put_string writes reads back as the same bytes. */
static void check_string(struct mq_str text)
{
    struct mq_buf written = {0};
    struct mq_json json;

    MQ_ASSERT(mq_json_put_string(&written, text) == 0);
    mq_json_init(&json, (char *)written.base, written.len);
    MQ_ASSERT(mq_json_next(&json) == MQ_JSON_STRING);
    MQ_ASSERT(mq_str_eq(json.text, text));
    MQ_ASSERT(mq_json_next(&json) == MQ_JSON_END);
    mq_buf_free(&written);
}

static bool has_text(enum mq_json_kind kind)
{
    return kind >= MQ_JSON_KEY;
}

/* Reads to the end and returns the last kind: END or ERROR. Object keys are read by a reader of their own, which
 * cannot go deeper than the text is long. */
static enum mq_json_kind read_all(char *bytes, size_t n)
{
    struct mq_json json;
    enum mq_json_kind kind;
    size_t tokens = 0;

    mq_json_init(&json, bytes, n);
    do {
        kind = mq_json_next(&json);
        MQ_ASSERT(++tokens <= n + 1);
        MQ_ASSERT(json.depth <= MQ_JSON_DEPTH_MAX);
        MQ_ASSERT(json.at >= bytes && json.at <= bytes + n && json.end == bytes + n);
        MQ_ASSERT(has_text(kind) == (json.text.at != NULL));
        if (has_text(kind)) {
            MQ_ASSERT(json.text.at >= bytes && json.text.at + json.text.len <= json.at);
        }
        if (kind == MQ_JSON_STRING) {
            check_string(json.text);
        }
        if (kind == MQ_JSON_KEY && json.text.len > 1 && json.text.at[0] == '{' && json.at[-1] == ':') {
            char *key = copy_of(json.text.at, json.text.len);

            read_all(key, json.text.len);
            mq_free(key);
        }
    } while (kind != MQ_JSON_END && kind != MQ_JSON_ERROR);
    MQ_ASSERT(mq_json_next(&json) == kind);
    return kind;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = copy_of(bytes, n);
    bool whole = read_all(copy, n) == MQ_JSON_END;
    struct mq_json json;
    struct mq_str value;

    mq_free(copy);
    copy = copy_of(bytes, n);
    mq_json_init(&json, copy, n);
    MQ_ASSERT((mq_json_skip(&json) == 0 && mq_json_next(&json) == MQ_JSON_END) == whole);
    mq_free(copy);

    copy = copy_of(bytes, n);
    mq_json_init(&json, copy, n);
    MQ_ASSERT((mq_json_scalar(&json, &value) == 0 && mq_json_next(&json) == MQ_JSON_END) == whole);
    mq_free(copy);
    return 0;
}
