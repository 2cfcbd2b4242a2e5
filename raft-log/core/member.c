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

int membership_put(struct membership *membership, const struct member *member)
{
    uint32_t at;

    if (member->id == 0 || member->id > (1u << 31)) {
        return MQ_EINVAL;
    }
    if (membership->n == RLOG_MEMBERS_MAX) {
        return MQ_ETOOBIG;
    }
    for (at = 0; at < membership->n && membership->members[at].id < member->id; at++) {
    }
    if (at < membership->n && membership->members[at].id == member->id) {
        return MQ_EEXIST;
    }
    memmove(&membership->members[at + 1], &membership->members[at],
            (membership->n - at) * sizeof(membership->members[0]));
    membership->members[at] = *member;
    membership->n++;
    return 0;
}

int membership_add(struct membership *membership, uint32_t id, const char *address, uint64_t incarnation)
{
    struct member member = {.id = id, .incarnation = incarnation, .role = MEMBER_VOTER};
    int rc = copy_text(member.address, address);

    return rc == 0 ? membership_put(membership, &member) : rc;
}

int membership_remove(struct membership *membership, uint32_t id)
{
    const struct member *member = membership_find(membership, id);
    size_t at;

    if (member == NULL) {
        return MQ_ENOTFOUND;
    }
    at = (size_t)(member - membership->members);
    membership->n--;
    memmove(&membership->members[at], &membership->members[at + 1],
            (membership->n - at) * sizeof(membership->members[0]));
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

bool membership_has(const struct membership *membership, uint32_t id, uint64_t incarnation)
{
    const struct member *member = membership_find(membership, id);

    return member != NULL && member->incarnation == incarnation;
}

uint32_t membership_voters(const struct membership *membership)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < membership->n; i++) {
        n += membership->members[i].role == MEMBER_VOTER;
    }
    return n;
}

const char *member_role_name(enum member_role role)
{
    static const char *const names[] = {"voter", "learner", "joining"};

    return names[role];
}

static bool member_equal(const struct member *a, const struct member *b)
{
    return a->id == b->id && a->incarnation == b->incarnation && a->role == b->role && a->added == b->added &&
           strcmp(a->address, b->address) == 0;
}

bool membership_equal(const struct membership *a, const struct membership *b)
{
    if (a->n != b->n || strcmp(a->group, b->group) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        if (!member_equal(&a->members[i], &b->members[i])) {
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
        members[i].role = (Rlog__Role)membership->members[i].role;
        members[i].added = membership->members[i].added;
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

static int decode_member(const Rlog__Member *pb, struct member *out)
{
    *out = (struct member){
        .id = pb->id,
        .incarnation = pb->incarnation,
        .role = (enum member_role)pb->role,
        .added = pb->added,
    };
    if (pb->role != RLOG__ROLE__VOTER && pb->role != RLOG__ROLE__LEARNER && pb->role != RLOG__ROLE__JOINING) {
        return MQ_EBADMSG;
    }
    return copy_text(out->address, pb->address);
}

int membership_decode(const uint8_t *bytes, size_t n, struct membership *out)
{
    struct pb_arena arena;
    struct membership got;
    const Rlog__Membership *pb = rlog__membership__unpack(pb_arena_reset(&arena), n, bytes);

    if (pb == NULL || membership_init(&got, pb->group) != 0) {
        return MQ_EBADMSG;
    }
    for (size_t i = 0; i < pb->n_members; i++) {
        struct member member;

        if ((i > 0 && pb->members[i]->id <= pb->members[i - 1]->id) || decode_member(pb->members[i], &member) != 0 ||
            membership_put(&got, &member) != 0) {
            return MQ_EBADMSG;
        }
    }
    if (membership_voters(&got) == 0) {
        return MQ_EBADMSG;
    }
    *out = got;
    return 0;
}
