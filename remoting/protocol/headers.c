/* Typed headers as tables of members, and two loops over them. Decoding goes once over the fields; each is looked for
 * from behind the member found last, because peers write their keys in an order of their own but always in the same.
 */
#include "remoting/protocol/headers.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

enum member_type { MEMBER_STR, MEMBER_I32, MEMBER_I64, MEMBER_BOOL };
enum member_need { REQUIRED, OPTIONAL };

struct member {
    const char *key;
    int64_t fallback;
    uint8_t key_bytes;
    uint8_t type; /* enum member_type */
    uint8_t need; /* enum member_need */
    uint16_t at;  /* offset in the header's struct */
};

#define MEMBERS_MAX 32 /* bits of the set of members seen */

struct members {
    const struct member *list;
    uint32_t count;
};

/* Puts @value, or the fallback when it is absent, into the header's member. Returns 0 or MQ_EBADMSG. */
static inline int store(const struct member *m, uint8_t *header, struct mq_str value)
{
    bool absent = value.at == NULL;
    uint8_t *to = header + m->at;
    int64_t number = m->fallback;
    int32_t small;
    bool truth;

    switch ((enum member_type)m->type) {
    case MEMBER_STR:
        memcpy(to, &value, sizeof(value));
        return 0;
    case MEMBER_BOOL:
        truth = absent ? m->fallback != 0 : mq_str_to_bool(value);
        memcpy(to, &truth, sizeof(truth));
        return 0;
    case MEMBER_I32:
    case MEMBER_I64:
        break;
    }
    if (!absent && mq_str_to_i64(value, &number) != 0) {
        return MQ_EBADMSG;
    }
    if (m->type == MEMBER_I64) {
        memcpy(to, &number, sizeof(number));
        return 0;
    }
    if (number < INT32_MIN || number > INT32_MAX) {
        return MQ_EBADMSG;
    }
    small = (int32_t)number;
    memcpy(to, &small, sizeof(small));
    return 0;
}

static int tell(struct proto_problem *why, const struct member *m, struct mq_str value, bool missing)
{
    if (why != NULL) {
        *why = (struct proto_problem){m->key, value, missing};
    }
    return MQ_EBADMSG;
}

/* What a decoder remembers between two fields. */
struct progress {
    uint32_t seen; /* bit i: member i has a value */
    uint32_t next; /* where to look first */
};

static inline int take(const struct members *members, uint32_t i, uint8_t *header, struct mq_str value,
                       struct progress *progress, struct proto_problem *why)
{
    const struct member *m = &members->list[i];

    if (value.at != NULL) {
        progress->seen |= 1u << i;
    } else {
        progress->seen &= ~(1u << i);
    }
    return store(m, header, value) == 0 ? 0 : tell(why, m, value, false);
}

static int check_required(const struct members *members, uint32_t seen, struct proto_problem *why)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->list[i].need == REQUIRED && (seen >> i & 1) == 0) {
            return tell(why, &members->list[i], (struct mq_str){0}, true);
        }
    }
    return 0;
}

/* The member of that key, or the count of members. */
static inline uint32_t find(const struct members *members, uint32_t from, struct mq_str key)
{
    for (uint32_t n = 0, i = from; n < members->count; n++, i++) {
        const struct member *m;

        i = i < members->count ? i : 0;
        m = &members->list[i];
        if (m->key_bytes == key.len && memcmp(m->key, key.at, key.len) == 0) {
            return i;
        }
    }
    return members->count;
}

static int decode(const struct members *members, const struct proto_fields *fields, uint8_t *header,
                  struct proto_problem *why)
{
    struct progress progress = {0};

    for (uint32_t n = 0; n < fields->count; n++) {
        uint32_t i = find(members, progress.next, fields->list[n].key);
        int rc;

        if (i == members->count) {
            continue;
        }
        rc = take(members, i, header, fields->list[n].value, &progress, why);
        if (rc != 0) {
            return rc;
        }
        progress.next = i + 1;
    }
    return check_required(members, progress.seen, why);
}

static void put_member(struct proto_writer *w, const struct member *m, struct mq_str key, const uint8_t *header)
{
    const uint8_t *from = header + m->at;
    struct mq_str text;
    int64_t number;
    int32_t small;
    bool truth;

    switch ((enum member_type)m->type) {
    case MEMBER_STR:
        memcpy(&text, from, sizeof(text));
        proto_put_str(w, key, text);
        return;
    case MEMBER_BOOL:
        memcpy(&truth, from, sizeof(truth));
        if (m->need == REQUIRED || truth != (m->fallback != 0)) {
            proto_put_bool(w, key, truth);
        }
        return;
    case MEMBER_I32:
        memcpy(&small, from, sizeof(small));
        number = small;
        break;
    case MEMBER_I64:
        memcpy(&number, from, sizeof(number));
        break;
    default:
        MQ_ASSERT(false);
        return;
    }
    if (m->need == REQUIRED || number != m->fallback) {
        proto_put_i64(w, key, number);
    }
}

static void encode(const struct members *members, struct proto_writer *w, const uint8_t *header)
{
    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *m = &members->list[i];

        put_member(w, m, (struct mq_str){m->key, m->key_bytes}, header);
    }
}

/* For each noun its table, <noun>_members(). */
/* clang-format off */
#define HEADER(noun)                                                                                                 \
    static const struct members *noun##_members(void)                                                                \
    {                                                                                                                \
        typedef struct proto_##noun##_header self;                                                                   \
        static const struct member list[] = {
#define MEMBER(type, member, key, need, fallback) {key, fallback, sizeof(key) - 1, type, need, offsetof(self, member)},
#define STR(member, key, need) MEMBER(MEMBER_STR, member, key, need, 0)
#define I32(member, key, need, fallback) MEMBER(MEMBER_I32, member, key, need, fallback)
#define I64(member, key, need, fallback) MEMBER(MEMBER_I64, member, key, need, fallback)
#define BOOL(member, key, need, fallback) MEMBER(MEMBER_BOOL, member, key, need, fallback)
#define END(noun)                                                                                                    \
        };                                                                                                           \
        static const struct members all = {list, ARRAY_SIZE(list)};                                                  \
        _Static_assert(ARRAY_SIZE(list) <= MEMBERS_MAX, "too many members");                                         \
        return &all;                                                                                                 \
    }
#include "remoting/protocol/headers.def"
#undef HEADER
#undef MEMBER
#undef STR
#undef I32
#undef I64
#undef BOOL
#undef END

/* And its public functions. */
#define HEADER(noun)                                                                                                 \
    int proto_##noun##_header_decode(const struct proto_fields *fields, struct proto_##noun##_header *out,           \
                                     struct proto_problem *why)                                                      \
    {                                                                                                                \
        *out = proto_##noun##_header_defaults();                                                                     \
        return decode(noun##_members(), fields, (uint8_t *)out, why);                                                \
    }                                                                                                                \
    void proto_##noun##_header_encode(struct proto_writer *w, const struct proto_##noun##_header *header)            \
    {                                                                                                                \
        encode(noun##_members(), w, (const uint8_t *)header);                                                        \
    }                                                                                                                \
    struct proto_##noun##_header proto_##noun##_header_defaults(void)                                                \
    {                                                                                                                \
        return (struct proto_##noun##_header){
#define STR(member, key, need) .member = {NULL, 0},
#define I32(member, key, need, fallback_value) .member = fallback_value,
#define I64(member, key, need, fallback_value) .member = fallback_value,
#define BOOL(member, key, need, fallback_value) .member = fallback_value,
#define END(noun)                                                                                                    \
        };                                                                                                           \
    }
#include "remoting/protocol/headers.def"
#undef HEADER
#undef STR
#undef I32
#undef I64
#undef BOOL
#undef END

/* clang-format on */

static const char V2_KEYS[] = "abcdefghijklmn"; /* in the order of the members of send */

int proto_send_header_v2_decode(const struct proto_fields *fields, struct proto_send_header *out,
                                struct proto_problem *why)
{
    const struct members *members = send_members();
    struct progress progress = {0};

    *out = proto_send_header_defaults();
    for (uint32_t n = 0; n < fields->count; n++) {
        const struct proto_field *field = &fields->list[n];
        uint32_t i = field->key.len == 1 ? (uint8_t)field->key.at[0] - (uint32_t)'a' : members->count;
        int rc;

        if (i >= members->count) {
            continue;
        }
        rc = take(members, i, (uint8_t *)out, field->value, &progress, why);
        if (rc != 0) {
            return rc;
        }
    }
    return check_required(members, progress.seen, why);
}

void proto_send_header_v2_encode(struct proto_writer *w, const struct proto_send_header *header)
{
    const struct members *members = send_members();

    MQ_ASSERT(members->count == sizeof(V2_KEYS) - 1);
    for (uint32_t i = 0; i < members->count; i++) {
        put_member(w, &members->list[i], (struct mq_str){V2_KEYS + i, 1}, (const uint8_t *)header);
    }
}
