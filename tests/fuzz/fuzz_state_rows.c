/* The rows of a snapshot's sections against any bytes: what is not a row is refused in words, and what is taken makes
 * a state whose hash, kept up to date row by row, is the one that counting anew gives.
 *
 * The input is a list of pieces: a byte for the section, two for the length, the rows. */
#include "tests/fuzz/fuzz.h"

#include "broker/state/fsm.h"
#include "broker/store/store.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"

#include <stdlib.h>
#include <string.h>

static char dir[] = "/tmp/raftmq-fuzz-XXXXXX";

static void remove_dir(void)
{
    (void)mq_dir_remove(dir);
}

static void make_dir(void)
{
    static bool made;

    if (!made) {
        MQ_ASSERT(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
        made = true;
    }
}

/* Returns whether everything was taken. */
static bool restore(struct state *state, const uint8_t *bytes, size_t n, struct mq_buf *problem)
{
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    uint32_t n_sections = state_sections(state, sections);
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && n - at >= 3) {
        uint16_t section = sections[bytes[at] % n_sections].id;
        size_t length = (size_t)bytes[at + 1] << 8 | bytes[at + 2];
        uint8_t *rows;

        at += 3;
        length = length < n - at ? length : n - at;
        rows = mq_malloc(length + 1); /* of its own, so that reading beyond it is seen */
        MQ_ASSERT(rows != NULL);
        if (length != 0) {
            memcpy(rows, bytes + at, length);
        }
        rc = state_restore_rows(state, section, rows, length, problem);
        MQ_ASSERT((rc == 0) == (problem->len == 0));
        mq_free(rows);
        at += length;
    }
    return rc == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct rlog_entry entry = {.index = 7, .term = 1, .pos = 4096};
    struct mq_buf problem = {0};
    struct store store;
    struct state state;

    make_dir();
    MQ_ASSERT(store_init(&store, dir) == 0);
    MQ_ASSERT(state_init(&state, &store) == 0);
    MQ_ASSERT(state_restore_begin(&state, &entry, 1, NULL, 0, &problem) == 0);
    if (restore(&state, bytes, n, &problem)) {
        MQ_ASSERT(state_restore_end(&state, &problem) == 0);
        MQ_ASSERT(state.applied_index == entry.index);
        MQ_ASSERT(state_hash(&state) == state_recount(&state));
    }
    mq_buf_free(&problem);
    state_fini(&state);
    store_fini(&store);
    return 0;
}
