/* What lies on the members' disks. */
#include "tests/sim/invariants_inside.h"

#include "raft-log/log/little.h"
#include "raft-log/log/meta.h"
#include "remoting/base/crc.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The log from @pos on as it lies on the platter, or in the page cache: @bytes up to the end of the segment. NULL:
 * not there. */
static const uint8_t *rest_of_segment(const struct node *node, bool cached, uint64_t pos, uint64_t *bytes)
{
    char path[] = CLUSTER_LOG_DIR "/log/00000000000000000000";
    uint64_t first = pos - pos % cluster_plan->segment_bytes, size = 0;
    struct disk *disk = machine_disk(node->machine);
    const uint8_t *at;

    for (uint64_t left = first, i = sizeof(path) - 1; left != 0; left /= 10) {
        path[--i] = (char)('0' + left % 10);
    }
    at = cached ? disk_file(disk, path, &size) : disk_platter(disk, path, &size);
    if (at == NULL || pos - first >= size) {
        return NULL;
    }
    *bytes = size - (pos - first);
    return at + (pos - first);
}

const uint8_t *disk_bytes(const struct node *node, bool cached, uint64_t pos, uint64_t n)
{
    uint64_t bytes;
    const uint8_t *at = rest_of_segment(node, cached, pos, &bytes);

    return at != NULL && n <= bytes ? at : NULL;
}

/* Whether the member has entry @pos so that it may say so: on its platter, or written where entries are flushed late.
 */
static bool entry_is_held(const struct node *node, uint64_t pos, uint32_t crc)
{
    uint64_t bytes;
    const uint8_t *at = rest_of_segment(node, cluster_plan->flush_ms != 0, pos, &bytes);
    struct rlog_header header;

    return at != NULL && bytes >= RLOG_HEADER_BYTES && rlog_le32_load(at + 4) == crc &&
           rlog_header_decode(at, RLOG_HEADER_BYTES, &header) == 0 && header.pos == pos &&
           bytes >= rlog_entry_bytes(header.payload_bytes) && rlog_entry_is_sound(&header, at);
}

/* A damaged disk, or one that was taken away, did have it: that it lost something is the one fault that the others
 * stand in for. */
static bool has_held(const struct member *member, uint64_t index, uint64_t pos, uint32_t crc)
{
    const struct node *node = &nodes[member->id - 1];

    if (member->incarnation != node->incarnation) {
        return member->incarnation == node->former_incarnation && pos <= node->wiped_pos;
    }
    return node->damaged || node->seen.base >= index || pos <= node->lost_pos || entry_is_held(node, pos, crc);
}

bool majority_holds(const struct membership *members, uint64_t index, uint64_t pos, uint32_t crc)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < members->n; i++) {
        const struct member *member = &members->members[i];

        n += member->role == MEMBER_VOTER && has_held(member, index, pos, crc);
    }
    return n > membership_voters(members) / 2;
}

/* Everything up to @index, as the member has it, lies on its own platter. */
bool own_platter_holds(struct node *node, uint64_t index)
{
    struct seen *seen = &node->seen;

    while (seen->on_platter < index) {
        uint64_t next = seen->on_platter + 1;

        if (next > seen->last ||
            (next > seen->base && !node->damaged && !entry_is_held(node, seen->poss[next], seen->crcs[next]))) {
            return false;
        }
        seen->on_platter = next;
    }
    return true;
}

/* What the weaker of the two copies on the platter says; where one was made bad, the stronger. */
struct term_and_vote platter_vote(const struct node *node)
{
    static const char *const paths[2] = {CLUSTER_LOG_DIR "/meta-0", CLUSTER_LOG_DIR "/meta-1"};
    struct term_and_vote out = {node->meta_flipped ? 0 : UINT64_MAX, 0};

    for (int k = 0; k < 2; k++) {
        uint64_t size = 0, term = 0;
        const uint8_t *at = disk_platter(machine_disk(node->machine), paths[k], &size);
        bool good = at != NULL && size >= 64 && rlog_le32_load(at + 4) == mq_crc32c(0, at + 8, 56);

        term = good ? rlog_le64_load(at + 24) : 0;
        if (node->meta_flipped ? term >= out.term : term < out.term) {
            out = (struct term_and_vote){term, good ? rlog_le32_load(at + 12) : 0};
        }
    }
    return out;
}

bool invariants_holds(const struct node *node, uint64_t index)
{
    return index <= node->seen.base || entry_is_held(node, history_at(index)->pos, history_at(index)->crc);
}

struct snapshot_files {
    struct disk *disk;
    uint64_t from; /* only those at or above this index */
    uint32_t n;
};

static void count_snapshot(void *data, const char *path, uint64_t bytes)
{
    static const char dir[] = CLUSTER_LOG_DIR "/snapshot/";
    struct snapshot_files *files = data;
    char *end;
    uint64_t index, size;

    (void)bytes;
    if (strncmp(path, dir, sizeof(dir) - 1) != 0) {
        return;
    }
    index = strtoull(path + sizeof(dir) - 1, &end, 10);
    files->n += *end == '\0' && index >= files->from && disk_platter(files->disk, path, &size) != NULL;
}

uint32_t snapshots_on_platter(const struct node *node, uint64_t from)
{
    struct snapshot_files files = {machine_disk(node->machine), from, 0};

    disk_each(files.disk, count_snapshot, &files);
    return files.n;
}
