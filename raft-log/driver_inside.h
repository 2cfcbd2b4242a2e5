/* What the files of the driver share. driver.c carries out one update after the other and takes what the loop brings;
 * driver_receive.c messages of members; driver_apply.c applies; driver_image.c tells the core of the log at a start;
 * driver_base.c moves what log and core begin behind. */
#ifndef RLOG_DRIVER_INSIDE_H
#define RLOG_DRIVER_INSIDE_H

#include "raft-log/driver.h"

/* The entries that an update speaks of, by where they come from. */
struct origin {
    const struct commitlog_entry *entries; /* received: those of the message ... */
    uint64_t first_index;                  /* ... the first of which has this index */
    struct net_ref *ref;
    bool appended; /* our own, in the log already */
};

static const struct origin NO_ORIGIN;

_Noreturn void driver_die(const char *what, uint64_t index);

static inline uint64_t driver_now(const struct driver *driver)
{
    return driver->options.env->now_ms(driver->options.env);
}

/* One step's update: term and vote, truncation, entries, messages, in this order. */
void driver_carry_out(struct driver *driver, const struct core_update *update, const struct origin *from);
/* What follows from steps and may call the owner: outside of any step, behind the last one. */
void driver_settle(struct driver *driver);
/* Asks to be woken for the core's next time-out. */
void driver_arm(struct driver *driver);

/* The log has CHANGE entry @index, whose payload the core has decoded. */
void driver_note_change(struct driver *driver, uint64_t index, const uint8_t *payload, uint32_t n);

/* driver_apply.c: as much as fits a turn of the loop. */
void driver_apply_slice(struct driver *driver);

#endif
