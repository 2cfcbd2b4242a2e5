/* What a node had written and not yet synced when its power went: taken from the page cache before the cut, and put
 * back afterwards sector by sector as a disk may have done it. Sectors of 512 bytes are whole or absent; no order
 * among them is promised. Works with a node that was started through call_gate, whose report says what was written.
 */
#ifndef TESTS_RAFTLOG_TORN_H
#define TESTS_RAFTLOG_TORN_H

#include <stdbool.h>
#include <stdint.h>

struct torn_write {
    struct torn_write *next;
    char path[192]; /* below the node's directory of the log */
    uint64_t pos;
    uint32_t bytes;
    uint8_t data[];
};

/* Reads from the files below @dir what @report says was written without a sync. Returns the list, owned; NULL:
 * nothing. */
struct torn_write *torn_take(const char *report, const char *dir);

/* Puts some sectors of it back into the files below @dir, chosen with @random, and syncs them; frees the list.
 * Returns how many sectors were put back, with all there were in @sectors; negative: -errno. */
int64_t torn_give(struct torn_write *list, const char *dir, uint64_t random, uint64_t *sectors);

#endif
