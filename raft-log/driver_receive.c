/* Messages of members: what they bring is compared with our log before the core hears of it. */
#include "raft-log/driver_inside.h"

#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

static int reserve_stand_ins(struct driver *driver, uint32_t n)
{
    struct core_entry *list;

    if (n <= driver->stand_ins_cap) {
        return 0;
    }
    list = mq_realloc(driver->stand_ins, n * sizeof(list[0]));
    if (list == NULL) {
        return MQ_ENOMEM;
    }
    driver->stand_ins = list;
    driver->stand_ins_cap = n;
    return 0;
}

/* The end of a log, as far as the next entry tells whether it belongs there. */
struct tail {
    bool known;
    uint64_t end; /* position */
    uint32_t crc; /* header CRC of the last entry */
};

static struct tail tail_before(const struct driver *driver, const struct core_message *message)
{
    struct rlog_base prev;

    if (commitlog_before(driver->options.log, message->append.prev_index + 1, &prev) != 0 ||
        prev.term != message->append.prev_term) {
        return (struct tail){0}; /* the core will reject the message, or what it has not is below the base */
    }
    return (struct tail){true, prev.end_pos, prev.crc};
}

static bool belongs_behind(const struct driver *driver, const struct tail *tail, const struct rlog_header *h)
{
    return !tail->known || RAFTMQ_DEFECT(PREV_NOT_CHECKED) ||
           (h->prev_crc == tail->crc && commitlog_has_place(driver->options.log, tail->end, h));
}

/* Whether we have an entry of this index and term: the same one, if nothing is wrong. */
static bool is_here(const struct driver *driver, const struct rlog_header *h, struct commitlog_entry *ours)
{
    return commitlog_term_of(driver->options.log, h->index) == h->term &&
           commitlog_get(driver->options.log, h->index, ours) == 0;
}

/* Whether the entries follow each other and, where we can tell, our log, so that the log will take those that the
 * core takes; whether those that we have are the same here; and whether the payloads of new ones hold. Where it
 * fails, I3 is broken between us and the sender, or the bytes are. */
static int check_entries(const struct driver *driver, const struct core_message *message,
                         const struct commitlog_entry *entries)
{
    struct tail tail = tail_before(driver, message);
    bool is_new = false; /* and so is all that follows */

    for (uint32_t i = 0; i < message->append.n; i++) {
        const struct rlog_header *h = &entries[i].header;
        struct commitlog_entry ours;

        if (h->index != message->append.prev_index + 1 + i) {
            return MQ_EBADMSG;
        }
        if (!belongs_behind(driver, &tail, h) || h->commit >= h->index) {
            return MQ_ECORRUPT;
        }
        is_new = is_new || !is_here(driver, h, &ours);
        if (is_new && RAFTMQ_DEFECT(PAYLOAD_NOT_CHECKED)) {
            continue;
        }
        if (is_new ? !rlog_entry_is_sound(h, entries[i].bytes) : ours.header.crc != h->crc) {
            return MQ_ECORRUPT;
        }
        tail = (struct tail){true, h->pos + entries[i].n, h->crc};
    }
    return 0;
}

/* Gives the message the stand-ins of its entries. */
static int stand_in(struct driver *driver, struct core_message *message, const struct commitlog_entry *entries)
{
    int rc = reserve_stand_ins(driver, message->append.n);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < message->append.n; i++) {
        const struct rlog_header *h = &entries[i].header;

        driver->stand_ins[i] = (struct core_entry){.term = h->term, .type = h->type};
        if (h->type == RLOG_CHANGE) {
            driver->stand_ins[i].change = entries[i].bytes + RLOG_HEADER_BYTES;
            driver->stand_ins[i].change_bytes = h->payload_bytes;
        }
    }
    message->append.entries = driver->stand_ins;
    return 0;
}

/* Whether the disk can take what a message brings: a log that cannot grow must not be made to. */
static bool has_space(const struct driver *driver, const struct core_message *message,
                      const struct commitlog_entry *entries)
{
    const struct commitlog_entry *last;

    if (message->append.n == 0) {
        return true;
    }
    last = &entries[message->append.n - 1];
    return commitlog_can_hold(driver->options.log, last->header.pos + last->n);
}

int driver_receive(struct driver *driver, struct core_message *message, const struct commitlog_entry *entries,
                   struct net_ref *ref)
{
    struct origin from = {.entries = entries, .ref = ref};
    struct core_update update;
    bool fetch;
    int rc;

    if (driver->core == NULL || driver->closing) {
        return 0;
    }
    if (message->type == CORE_APPEND) {
        rc = check_entries(driver, message, entries);
        if (rc == 0) {
            rc = stand_in(driver, message, entries);
        }
        if (rc != 0) {
            return rc;
        }
        if (!has_space(driver, message, entries)) {
            return 0; /* as if it had been lost: it is sent again, and taken when there is room */
        }
        from.first_index = message->append.prev_index + 1;
    }
    rc = core_receive(driver->core, driver_now(driver), message, &update);
    fetch = rc == 0 && update.fetch;
    if (rc == MQ_ECORRUPT) {
        driver_die("a leader's log contradicts what is committed here", message->append.prev_index);
    }
    if (rc != 0) {
        return rc;
    }
    driver_carry_out(driver, &update, &from);
    if (RAFTMQ_DEFECT(COMMIT_UNCLAMPED) && message->type == CORE_APPEND && message->append.commit > driver->commit) {
        driver->commit = message->append.commit;
    }
    driver_settle(driver);
    if (fetch && !driver->closing) {
        driver->options.env->need_snapshot(driver->options.env, message->peer, message->term,
                                           message->install.base_index);
    }
    return 0;
}
