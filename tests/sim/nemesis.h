/* Faults. Each seed uses a random subset of the kinds below, with random strength and at random times. */
#ifndef SIM_NEMESIS_H
#define SIM_NEMESIS_H

#include "tests/sim/cluster.h"
#include "tests/sim/marks.h"

/* A kind of fault. To add one: a constant, a row in nemesis.c. */
enum fault_kind {
    FAULT_KILL,
    FAULT_KILL_LEADER,
    FAULT_POWER_ONE,
    FAULT_POWER_ALL,
    FAULT_PAUSE,
    FAULT_RESTART,
    FAULT_AT_MOMENT,
    FAULT_PARTITION,
    FAULT_LEADER_CUT_OFF,
    FAULT_ONE_WAY,
    FAULT_FLAPPING,
    FAULT_SLOW_LINKS,
    FAULT_RESETS,
    FAULT_CORRUPT_LINK,
    FAULT_ACCEPTS,
    FAULT_DISK_HUNG,
    FAULT_DISK_SLOW,
    FAULT_WRITE_FAILS,
    FAULT_DISK_FULL,
    FAULT_META_FLIP,
    FAULT_LOG_FLIP,
    FAULT_SNAPSHOT_FLIP,
    FAULT_MISDIRECT,
    FAULT_CLOCK_JUMP,
    FAULT_CLOCK_DRIFT,
    FAULT_SLOW_PROCESSOR,
    FAULT_TRANSFER,
    FAULT_TRANSFER_STORM,
    FAULT_WIPE,
    FAULT_ADD,
    FAULT_REMOVE,
    FAULT_SEALED_FLIP,
    FAULT_KINDS
};

/* Whether what this kind needs is there in this build. */
bool fault_is_offered(enum fault_kind kind);
/* Whether it can strike again and again. */
bool fault_repeats(enum fault_kind kind);
const char *fault_name(enum fault_kind kind);

/* Steps of a member at which a fault may be set to strike. */
enum moment { MOMENT_VOTE, MOMENT_STAND, MOMENT_ACK, MOMENT_LEAD, MOMENT_TRUNCATE, MOMENT_OPENED, MOMENTS };

/* From the checks, inside: @node does this now. */
void nemesis_moment(struct node *node, enum moment moment);

/* Faults begin now. */
void nemesis_open(const struct plan *plan);
uint32_t nemesis_faults(void); /* so far */
/* No further faults; everything is made whole, but for disks that lost something for good. */
void nemesis_heal(void);
void nemesis_close(void);

/* One fault at once, for scenarios and for the heal of a part. */
void nemesis_strike(enum fault_kind kind);

#endif
