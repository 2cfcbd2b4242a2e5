/* An expression, a zero byte, and the properties of a message. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/assert.h"
#include "remoting/protocol/filter_sql.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, 0, size);
    size_t n = end != NULL ? (size_t)(end - data) : size;
    size_t left = end != NULL ? size - n - 1 : 0;
    char *text = exact_copy(data, n);
    char *properties = exact_copy(data + size - left, left);
    struct mq_buf problem = {0};
    struct proto_sql *sql;
    int rc = proto_sql_compile((struct mq_str){text, (uint32_t)n}, &sql, &problem);

    MQ_ASSERT((rc == 0) == (problem.len == 0));
    if (rc == 0) {
        (void)proto_sql_match(sql, (struct mq_str){properties, (uint32_t)left});
        proto_sql_free(sql);
    }
    mq_buf_free(&problem);
    mq_free(text);
    mq_free(properties);
    return 0;
}
