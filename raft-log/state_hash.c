#include "raft-log/state_hash.h"

#include <string.h>

void state_hash_init(struct state_hash *watch, uint32_t self)
{
    memset(watch, 0, sizeof(*watch));
    watch->self = self;
}

void state_hash_voters(struct state_hash *watch, const uint32_t *ids, uint32_t n)
{
    uint32_t used = 0;

    memset(watch->members, 0, sizeof(watch->members));
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] != watch->self) {
            watch->members[used++].id = ids[i];
        }
    }
    watch->n_voters = n;
}

static const struct state_hashes *find(const struct state_hashes *ring, uint32_t n, uint64_t index)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ring[i].index == index) {
            return &ring[i];
        }
    }
    return NULL;
}

/* A section's hash in a member's report; false where it has none, or rows of another version. */
static bool hash_of(const struct state_hashes *said, uint16_t id, uint16_t version, uint64_t *out)
{
    for (uint32_t i = 0; i < said->n; i++) {
        if (said->sections[i].id == id && said->sections[i].version == version) {
            *out = said->sections[i].hash;
            return true;
        }
    }
    return false;
}

/* How many members have said @hash of section @k of @own; @who: one of them. */
static uint32_t count(const struct state_hash *watch, const struct state_hashes *own, uint32_t k, uint64_t hash,
                      uint32_t *who)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < RLOG_MEMBERS_MAX; i++) {
        const struct state_hash_member *member = &watch->members[i];
        const struct state_hashes *said = member->id != 0 ? find(member->heard, STATE_HASH_HEARD, own->index) : NULL;
        uint64_t got;

        if (said != NULL && hash_of(said, own->sections[k].id, own->sections[k].version, &got) && got == hash) {
            *who = member->id;
            n++;
        }
    }
    return n;
}

/* The hash of section @k that most of those have said who differ from us. Returns false when nobody does. */
static bool find_other(const struct state_hash *watch, const struct state_hashes *own, uint32_t k,
                       struct state_difference *out)
{
    *out =
        (struct state_difference){.index = own->index, .section = own->sections[k].id, .own = own->sections[k].hash};
    for (uint32_t i = 0; i < RLOG_MEMBERS_MAX; i++) {
        const struct state_hashes *said =
            watch->members[i].id != 0 ? find(watch->members[i].heard, STATE_HASH_HEARD, own->index) : NULL;
        uint64_t hash;
        uint32_t n, who = 0;

        if (said == NULL || !hash_of(said, out->section, own->sections[k].version, &hash) || hash == out->own) {
            continue;
        }
        n = count(watch, own, k, hash, &who);
        if (n > out->n_theirs) {
            out->theirs = hash;
            out->n_theirs = n;
            out->member = who;
        }
    }
    out->minority = out->n_theirs > watch->n_voters / 2;
    return out->n_theirs != 0;
}

/* A difference that makes us the minority is worth more than one that does not. */
static bool compare(const struct state_hash *watch, const struct state_hashes *own, struct state_difference *out)
{
    bool differs = false;

    for (uint32_t k = 0; k < own->n; k++) {
        struct state_difference found;

        if (find_other(watch, own, k, &found) && (!differs || found.minority)) {
            *out = found;
            differs = true;
            if (found.minority) {
                return true;
            }
        }
    }
    return differs;
}

bool state_hash_own(struct state_hash *watch, const struct state_hashes *own, struct state_difference *out)
{
    watch->own[watch->next] = *own;
    watch->next = (watch->next + 1) % STATE_HASH_OWN;
    for (uint32_t i = 0; i < RLOG_MEMBERS_MAX; i++) {
        watch->compared += watch->members[i].id != 0 && find(watch->members[i].heard, STATE_HASH_HEARD, own->index);
    }
    return compare(watch, own, out);
}

bool state_hash_heard(struct state_hash *watch, uint32_t member, const struct state_hashes *hashes,
                      struct state_difference *out)
{
    const struct state_hashes *own = find(watch->own, STATE_HASH_OWN, hashes->index);

    for (uint32_t i = 0; i < RLOG_MEMBERS_MAX && hashes->index != 0; i++) {
        struct state_hash_member *said = &watch->members[i];

        if (said->id == member && member != 0) {
            said->heard[said->next] = *hashes;
            said->next = (said->next + 1) % STATE_HASH_HEARD;
            watch->compared += own != NULL;
            return own != NULL && compare(watch, own, out);
        }
    }
    return false;
}

const struct state_hashes *state_hash_newest(const struct state_hash *watch)
{
    const struct state_hashes *newest = &watch->own[(watch->next + STATE_HASH_OWN - 1) % STATE_HASH_OWN];

    return newest->index != 0 ? newest : NULL;
}
