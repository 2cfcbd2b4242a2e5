/* raftmq group rescue DIR: makes a group of one from the directory of a survivor, when the majority is gone for ever.
 */
#include "client/tools/tool.h"
#include "raft-log/include/raftlog/rescue.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PHRASE_MAX 320

static void print_age(int64_t since_ms)
{
    int64_t s = (mq_clock_wall_ms() - since_ms) / 1000;

    printf("  its last entry was made    %" PRId64 " d %" PRId64 " h %" PRId64 " min %" PRId64 " s ago\n", s / 86400,
           s / 3600 % 24, s / 60 % 60, s % 60);
}

static void print_survivor(const struct rlog_survivor *s)
{
    printf("Member n%" PRIu32 " of group %s, a %s among %" PRIu32 " voters, has:\n", s->self - 1, s->group, s->role,
           s->voters);
    printf("  last entry                 %" PRIu64 " of term %" PRIu64 ", %" PRIu64 " bytes of log\n", s->last_index,
           s->last_term, s->end_pos);
    printf("  known to be committed      up to entry %" PRIu64 "\n", s->committed);
    printf("  highest term it heard of   %" PRIu64 "\n", s->term);
    print_age(s->last_store_ms);
    if (s->claimed_index > s->last_index) {
        printf("  LOST on its own disk       entries up to %" PRIu64 " that it may have acknowledged\n",
               s->claimed_index);
    }
    puts(
        "A rescue makes it a group of its own:\n"
        "  - whatever the other members acknowledged and this directory does not hold is lost: entries behind its "
        "last\n"
        "    one, and nobody can say how many. Look at the other directories first: rescue the one with the highest\n"
        "    term of its last entry, and of those the one with the highest last entry;\n"
        "  - entries that it holds and that were never acknowledged count as committed;\n"
        "  - the directories of the other members must never be started again: two of three would go on as the same\n"
        "    group without this one. Empty them, and take them in with `raftmq group add`.");
}

/* The phrase, typed in advance or now. */
static bool is_sure(const struct rlog_survivor *s, const char *phrase)
{
    char wanted[PHRASE_MAX], typed[PHRASE_MAX] = "";

    (void)snprintf(wanted, sizeof(wanted), "%s loses what only others had", s->group);
    if (phrase == NULL) {
        printf("To go on, type: %s\n> ", wanted);
        (void)fflush(stdout);
        if (fgets(typed, sizeof(typed), stdin) == NULL) {
            typed[0] = '\0';
        }
        typed[strcspn(typed, "\n")] = '\0';
        phrase = typed;
    }
    if (strcmp(phrase, wanted) == 0) {
        return true;
    }
    (void)tool_fail("group", "the phrase is \"%s\": nothing was changed", wanted);
    return false;
}

int group_rescue(const char *dir, const char *phrase)
{
    struct mq_buf problem = {0};
    struct rlog_rescue *rescue;
    int rc = rlog_rescue_open(dir, &rescue, &problem);
    int result = EXIT_FAILURE;

    if (rc != 0) {
        result = problem.len > 0 ? tool_fail("group", MQ_STR_FMT, MQ_STR_ARG(mq_buf_str(&problem)))
                                 : tool_fail("group", "%s: %s", dir, mq_strerror(rc));
        mq_buf_free(&problem);
        return result;
    }
    print_survivor(rlog_rescue_look(rescue));
    if (is_sure(rlog_rescue_look(rescue), phrase)) {
        rc = rlog_rescue_run(rescue);
        if (rc == 0) {
            puts("Done. Start this node: it leads alone. Then add the others, one by one, with empty directories.");
            result = EXIT_SUCCESS;
        } else {
            result = tool_fail("group", "%s: %s", dir, mq_strerror(rc));
        }
    }
    rlog_rescue_close(rescue);
    mq_buf_free(&problem);
    return result;
}
