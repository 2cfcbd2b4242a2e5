/* A bucket counts in thousandths, so that a second's rate is what a millisecond brings. It may fall below zero by the
 * request that was taken last. */
#include "broker/store/hash.h"

#include "broker/flow/quota.h"

#include "remoting/base/err.h"

#define GROUP_BYTES_MAX 255
#define FULL_MS 1000

struct bucket {
    int64_t level; /* thousandths */
};

/* What one group or one connection has left. */
struct quota_account {
    struct bucket messages, bytes;
    uint64_t filled_ms;     /* when it was filled up last, monotonic */
    char *name;             /* owned; key of a group */
    struct net_channel *ch; /* key of a connection; borrowed until it closes */
    UT_hash_handle hh;
};

struct quota {
    struct quota_rules rules;
    struct quota_account *groups, *connections;
    struct quota_account others; /* of the groups beyond QUOTA_GROUPS_MAX */
};

static bool is_limited(const struct quota_limits *limits)
{
    return limits->messages != 0 || limits->bytes != 0;
}

int quota_new(const struct quota_rules *rules, struct quota **out)
{
    struct quota *quota;

    *out = NULL;
    if (!is_limited(&rules->group) && !is_limited(&rules->connection)) {
        return 0;
    }
    quota = mq_calloc(1, sizeof(*quota));
    if (quota == NULL) {
        return MQ_ENOMEM;
    }
    quota->rules = *rules;
    *out = quota;
    return 0;
}

static void remove_account(struct quota_account **accounts, struct quota_account *account)
{
    HASH_DEL(*accounts, account);
    mq_free(account->name);
    mq_free(account);
}

static void remove_all(struct quota_account **accounts)
{
    struct quota_account *account, *tmp;

    HASH_ITER (hh, *accounts, account, tmp) {
        remove_account(accounts, account);
    }
}

void quota_free(struct quota *quota)
{
    if (quota != NULL) {
        remove_all(&quota->groups);
        remove_all(&quota->connections);
        mq_free(quota);
    }
}

/* --- accounts --- */

static void fill(struct bucket *bucket, int64_t per_second, uint64_t elapsed_ms)
{
    int64_t full = per_second * 1000;
    int64_t missing = full - bucket->level;

    /* No product that overflows: what comes in a longer time than fills it is not counted. */
    if (per_second == 0 || elapsed_ms >= (uint64_t)(missing / per_second + 1)) {
        bucket->level = full;
    } else {
        bucket->level += per_second * (int64_t)elapsed_ms;
    }
}

static void fill_account(struct quota_account *account, const struct quota_limits *limits, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - account->filled_ms;

    fill(&account->messages, limits->messages, elapsed_ms);
    fill(&account->bytes, limits->bytes, elapsed_ms);
    account->filled_ms = now_ms;
}

/* What is full is as a new one. */
static void forget_full_groups(struct quota *quota, uint64_t now_ms)
{
    const struct quota_limits *limits = &quota->rules.group;
    struct quota_account *account, *tmp;

    HASH_ITER (hh, quota->groups, account, tmp) {
        fill_account(account, limits, now_ms);
        if (account->messages.level == limits->messages * 1000 && account->bytes.level == limits->bytes * 1000) {
            remove_account(&quota->groups, account);
        }
    }
}

static struct quota_account *account_new(uint64_t now_ms)
{
    struct quota_account *account = mq_calloc(1, sizeof(*account));

    if (account != NULL) {
        account->filled_ms = now_ms - FULL_MS;
    }
    return account;
}

static struct quota_account *group_account(struct quota *quota, struct mq_str group, uint64_t now_ms)
{
    struct quota_account *account;

    group.len = group.len < GROUP_BYTES_MAX ? group.len : GROUP_BYTES_MAX;
    HASH_FIND(hh, quota->groups, group.at, group.len, account);
    if (account != NULL) {
        return account;
    }
    if (HASH_COUNT(quota->groups) >= QUOTA_GROUPS_MAX && now_ms - quota->others.filled_ms >= FULL_MS) {
        forget_full_groups(quota, now_ms);
    }
    if (HASH_COUNT(quota->groups) >= QUOTA_GROUPS_MAX) {
        return &quota->others;
    }
    account = account_new(now_ms);
    if (account == NULL) {
        return NULL;
    }
    account->name = mq_strndup(group.at, group.len);
    if (account->name != NULL) {
        HASH_ADD_KEYPTR(hh, quota->groups, account->name, group.len, account);
    }
    if (account->hh.tbl == NULL) {
        mq_free(account->name);
        mq_free(account);
        return NULL;
    }
    return account;
}

static struct quota_account *connection_account(struct quota *quota, struct net_channel *ch, uint64_t now_ms)
{
    struct quota_account *account;

    HASH_FIND_PTR(quota->connections, &ch, account);
    if (account != NULL) {
        return account;
    }
    account = account_new(now_ms);
    if (account == NULL) {
        return NULL;
    }
    account->ch = ch;
    HASH_ADD_PTR(quota->connections, ch, account);
    if (account->hh.tbl == NULL) {
        mq_free(account);
        return NULL;
    }
    return account;
}

void quota_channel_closed(struct quota *quota, struct net_channel *ch)
{
    struct quota_account *account = NULL;

    if (quota != NULL) {
        HASH_FIND_PTR(quota->connections, &ch, account);
    }
    if (account != NULL) {
        remove_account(&quota->connections, account);
    }
}

/* --- taking --- */

static bool is_empty(const struct bucket *bucket, int64_t per_second, const char *whose, const char *unit,
                     struct quota_refusal *why)
{
    if (per_second == 0 || bucket->level >= 1000) {
        return false;
    }
    *why = (struct quota_refusal){whose, unit, per_second,
                                  (uint64_t)((1000 - bucket->level + per_second - 1) / per_second)};
    return true;
}

static bool has_some(struct quota_account *account, const struct quota_limits *limits, const char *whose,
                     uint64_t now_ms, struct quota_refusal *why)
{
    if (account == NULL) {
        return true;
    }
    fill_account(account, limits, now_ms);
    return !is_empty(&account->messages, limits->messages, whose, "messages", why) &&
           !is_empty(&account->bytes, limits->bytes, whose, "bytes", why);
}

static void charge(struct quota_account *account, uint32_t messages, uint32_t bytes)
{
    if (account != NULL) {
        account->messages.level -= (int64_t)messages * 1000;
        account->bytes.level -= (int64_t)bytes * 1000;
    }
}

bool quota_take(struct quota *quota, struct net_channel *ch, struct mq_str group, uint32_t messages, uint32_t bytes,
                uint64_t now_ms, struct quota_refusal *why)
{
    struct quota_account *of_group = NULL, *of_connection = NULL;

    if (quota == NULL) {
        return true;
    }
    if (is_limited(&quota->rules.group)) {
        of_group = group_account(quota, group, now_ms);
    }
    if (is_limited(&quota->rules.connection)) {
        of_connection = connection_account(quota, ch, now_ms);
    }
    if (!has_some(of_connection, &quota->rules.connection, "connection", now_ms, why) ||
        !has_some(of_group, &quota->rules.group, "producerGroup", now_ms, why)) {
        return false;
    }
    charge(of_group, messages, bytes);
    charge(of_connection, messages, bytes);
    return true;
}

void quota_charge(struct quota *quota, struct net_channel *ch, struct mq_str group, uint32_t bytes, uint64_t now_ms)
{
    if (quota != NULL && is_limited(&quota->rules.group)) {
        charge(group_account(quota, group, now_ms), 0, bytes);
    }
    if (quota != NULL && is_limited(&quota->rules.connection) && ch != NULL) {
        charge(connection_account(quota, ch, now_ms), 0, bytes);
    }
}
