/* What must hold after every event, looked at from outside the members: their structs, their messages, their disks.
 * A check that fails ends the run with the name of what was broken as the first word.
 *
 * one-leader        at most one leader in a term
 * log-matching      same index and term, same bytes and position, on all members at any time (I3)
 * committed         a committed entry never changes, and is in the log of every later leader
 * majority          what is called committed lies on the platters of a majority (I1)
 * commit-falls      the commit mark of a process never falls
 * applied           nothing is applied that is not committed and on this member's disk (I2, I6)
 * visible           nothing is readable that is not committed (I2)
 * promise           no message goes out whose term, vote or entries its sender could forget in a power cut
 * vote              no member votes twice in a term, or goes back behind a term it has spoken in
 * state             equal states at equal indexes (I6), also of what was loaded from a snapshot
 * queues            consume queues find the committed records, all that the log holds and no others
 * scrub             what a scrub calls bad was spoilt, and what it repaired is what was committed
 * begin             a log begins behind a committed entry that snapshots stand for, and not above the group's start
 * read              what is held and applied can be read, what is not held is refused
 * offsets           the state says what the committed entries say
 * ended             a process ended that had no reason to
 * identical         all members have the same bytes in the end
 * liveness          a leader, and a committed proposal, in bounded time
 * lost, I7, qoff, exactly-once, order, batch, refused-but-committed: history.c
 * short             a seed in which too little happened to say anything: run.c */
#ifndef SIM_INVARIANTS_H
#define SIM_INVARIANTS_H

#include "tests/sim/cluster.h"

void invariants_reset(void);
/* What was committed may be lost from now on: nothing more is looked at in this run. */
void invariants_forgive(void);
bool invariants_forgiven(void);

/* Inside: the log was opened, nothing is applied yet. */
void invariants_opened(struct member_run *run);
/* Inside: a snapshot that ends with @entry is about to be loaded; it was; what the log proves was applied, too. */
void invariants_restore(struct member_run *run, const struct rlog_entry *entry, uint32_t crc);
void invariants_restored(struct member_run *run);
void invariants_replayed(struct member_run *run);
/* Inside: something may have changed (the end of a turn, before a message, before an entry is applied). */
void invariants_look(struct member_run *run);
/* Inside: before and after fsm.apply. */
void invariants_apply(struct member_run *run, const struct rlog_entry *entry);
void invariants_applied(struct member_run *run, const struct rlog_entry *entry);
/* Inside: before a message goes out. */
void invariants_send(struct member_run *run, const struct core_message *message);
/* Outside: a process ended. */
void invariants_ended(struct node *node, enum process_end how, int code);

/* Outside: whether the machine has the entry that was committed at @index, or a snapshot that stands for it. */
bool invariants_holds(const struct node *node, uint64_t index);

/* Outside, all members at rest and level: states and platters are equal. */
void invariants_equal(void);

#endif
