#include "raft-log/core/member.h"

#include "raft-log/core/member.pb-c.h"
#include "raft-log/core/pb_arena.h"
#include "remoting/base/err.h"

#include <string.h>

static int copy_text(char *to, const char *from)
{
    size_t n = strlen(from);

    if (n > MEMBER_TEXT_MAX) {
        return MQ_ETOOBIG;
    }
    memcpy(to, from, n + 1);
    return 0;
}

int membership_init(struct membership *membership, const char *group)
{
    memset(membership, 0, sizeof(*membership));
    return copy_text(membership->group, group);
}

int membership_add(struct membership *membership, uint32_t id, const char *address, uint64_t incarnation)
{
    struct member member = {.id = id, .incarnation = incarnation};
    uint32_t at;
    int rc;

    if (id == 0 || id > (1u << 31)) {
        return MQ_EINVAL;
    }
    if (membership->n == RLOG_MEMBERS_MAX) {
        return MQ_ETOOBIG;
    }
    rc = copy_text(member.address, address);
    if (rc != 0) {
        return rc;
    }
    for (at = 0; at < membership->n && membership->members[at].id < id; at++) {
    }
    if (at < membership->n && membership->members[at].id == id) {
        return MQ_EEXIST;
    }
    memmove(&membership->members[at + 1], &membership->members[at],
            (membership->n - at) * sizeof(membership->members[0]));
    membership->members[at] = member;
    membership->n++;
    return 0;
}

const struct member *membership_find(const struct membership *membership, uint32_t id)
{
    for (uint32_t i = 0; i < membership->n; i++) {
        if (membership->members[i].id == id) {
            return &membership->members[i];
        }
    }
    return NULL;
}

bool membership_equal(const struct membership *a, const struct membership *b)
{
    if (a->n != b->n || strcmp(a->group, b->group) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->members[i].id != b->members[i].id || a->members[i].incarnation != b->members[i].incarnation ||
            strcmp(a->members[i].address, b->members[i].address) != 0) {
            return false;
        }
    }
    return true;
}

int membership_encode(const struct membership *membership, struct mq_buf *out)
{
    Rlog__Member members[RLOG_MEMBERS_MAX];
    Rlog__Member *list[RLOG_MEMBERS_MAX];
    Rlog__Membership pb = RLOG__MEMBERSHIP__INIT;
    size_t n;
    int rc;

    for (uint32_t i = 0; i < membership->n; i++) {
        rlog__member__init(&members[i]);
        members[i].id = membership->members[i].id;
        members[i].address = (char *)membership->members[i].address; /* packing only reads it */
        members[i].incarnation = membership->members[i].incarnation;
        list[i] = &members[i];
    }
    pb.group = (char *)membership->group;
    pb.n_members = membership->n;
    pb.members = list;
    n = rlog__membership__get_packed_size(&pb);
    rc = mq_buf_reserve(out, n);
    if (rc != 0) {
        return rc;
    }
    out->len += rlog__membership__pack(&pb, out->base + out->len);
    return 0;
}

int membership_decode(const uint8_t *bytes, size_t n, struct membership *out)
{
    struct pb_arena arena;
    struct membership got;
    const Rlog__Membership *pb = rlog__membership__unpack(pb_arena_reset(&arena), n, bytes);

    if (pb == NULL || pb->n_members == 0 || membership_init(&got, pb->group) != 0) {
        return MQ_EBADMSG;
    }
    for (size_t i = 0; i < pb->n_members; i++) {
        const Rlog__Member *m = pb->members[i];

        if ((i > 0 && m->id <= pb->members[i - 1]->id) ||
            membership_add(&got, m->id, m->address, m->incarnation) != 0) {
            return MQ_EBADMSG;
        }
    }
    *out = got;
    return 0;
}
