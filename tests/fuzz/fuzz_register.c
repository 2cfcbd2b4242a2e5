/* Registration bodies of any bytes, as JSON, as what a deflated body contains, and as a deflated body. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_register.h"

#include <zlib.h>

static void check_table(const struct proto_topic_table *table, const void *bytes, size_t n)
{
    MQ_ASSERT(table->topics.count <= PROTO_TOPICS_MAX);
    for (uint32_t i = 0; i < table->topics.count; i++) {
        MQ_ASSERT(exact_inside(table->topics.items[i].name, bytes, n));
        MQ_ASSERT(exact_inside(table->topics.items[i].attributes, bytes, n));
    }
}

/* What we write of a table reads back as the same table. */
static void check_rewritten(const struct proto_topic_table *table)
{
    struct proto_register again;
    struct mq_buf buf = {0};

    MQ_ASSERT(proto_register_encode(&buf, table) == 0);
    MQ_ASSERT(proto_register_decode((char *)buf.base, buf.len, false, &again) == 0);
    MQ_ASSERT(again.table.topics.count == table->topics.count);
    MQ_ASSERT(proto_data_version_compare(&again.table.version, &table->version) == 0);
    for (uint32_t i = 0; i < table->topics.count; i++) {
        const struct proto_topic_config *a = &table->topics.items[i], *b = &again.table.topics.items[i];

        MQ_ASSERT(mq_str_eq(a->name, b->name) && mq_str_eq(a->attributes, b->attributes) && a->perm == b->perm &&
                  a->multi_tag == b->multi_tag && a->order == b->order && a->sys_flag == b->sys_flag);
    }
    proto_register_free(&again);
    mq_buf_free(&buf);
}

static void run(const uint8_t *bytes, size_t n, bool compressed)
{
    char *body = exact_copy(bytes, n);
    struct proto_register reg;
    int rc = proto_register_decode(body, n, compressed, &reg);

    MQ_ASSERT(rc == 0 || rc == MQ_EBADMSG || rc == MQ_ETOOBIG);
    if (compressed) {
        check_table(&reg.table, reg.inflated.base, reg.inflated.len);
    } else {
        check_table(&reg.table, body, n);
    }
    if (rc == 0) {
        check_rewritten(&reg.table);
    }
    proto_register_free(&reg);
    mq_free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uLongf deflated_bytes = compressBound(n);
    uint8_t *deflated = mq_malloc(deflated_bytes);

    MQ_ASSERT(deflated != NULL && compress2(deflated, &deflated_bytes, bytes, n, 1) == Z_OK);
    run(bytes, n, false);
    run(bytes, n, true);
    run(deflated, deflated_bytes, true);
    mq_free(deflated);
    return 0;
}
