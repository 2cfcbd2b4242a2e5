/* What the commands of `raftmq` share: a loop with a client on it, and calls that run the loop until their answer is
 * there. */
#ifndef CLIENT_TOOLS_TOOL_H
#define CLIENT_TOOLS_TOOL_H

#include "client/include/raftmq/raftmq.h"
#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct tool {
    struct net_loop loop;
    struct rmq_client *client;
};

/* An answer that was copied out of its frame. */
struct tool_answer {
    int status; /* as rmq_answer_cb's */
    int32_t code;
    struct mq_buf remark, body; /* owned */
};

struct tool_members {
    struct rmq_member *list; /* owned, with their strings in text */
    uint32_t n;
    char *text;
};

/* Prints "raftmq COMMAND: ..." and a line end on stderr; returns 1, the exit status. */
int tool_fail(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Returns 0, or a negative code with nothing open. */
int tool_open(struct tool *tool, const struct rmq_options *options);
void tool_close(struct tool *tool);

/* Runs the loop until @done (set by a callback) or for @timeout_ms; returns *@done. */
bool tool_wait(struct tool *tool, const bool *done, uint32_t timeout_ms);

/* Asks and waits. @out: free with tool_answer_free in any case. */
void tool_ask(struct tool *tool, const char *addr, int32_t code, const struct rmq_field *fields, uint32_t n,
              uint32_t timeout_ms, struct tool_answer *out);
/* As tool_ask; on code 0 also reads ext field @key as a number into @number, which stays as it is without one. */
void tool_ask_field(struct tool *tool, const char *addr, int32_t code, const struct rmq_field *fields, uint32_t n,
                    uint32_t timeout_ms, const char *key, int64_t *number, struct tool_answer *out);
void tool_answer_free(struct tool_answer *answer);

/* All members of all groups. 0 or the code of rmq_members; free in any case. */
int tool_members(struct tool *tool, struct tool_members *out);
void tool_members_free(struct tool_members *members);

/* Makes sure that the name servers know the topic: creates it with @queues queues on every leader unless it exists,
 * and waits until it has a route. Returns 0, MQ_ENOTFOUND (no leader), MQ_ETIMEDOUT, or MQ_EUNSUPPORTED with what the
 * broker said in @remark (may be NULL). @queues_out: how many queues it really has. */
int tool_topic_make(struct tool *tool, const char *topic, uint32_t queues, uint32_t timeout_ms, struct mq_buf *remark,
                    uint32_t *queues_out);

/* What is wanted of a topic, and who gets it. */
struct proto_record;
struct tool_range {
    const char *command; /* for messages on stderr */
    const char *topic;
    int64_t queue; /* of each broker group; -1: all */
    int64_t qoff;  /* from this offset of each queue on */
    int64_t count; /* at most so many of each queue */
    void (*take)(void *data, struct mq_str broker_name, const struct proto_record *record);
    void *data;
};

/* Gives what lies in the topic now, queue by queue, to take. Returns 0, MQ_ENOTFOUND (no route), MQ_EUNSUPPORTED
 * after a line on stderr (a broker refused), MQ_EBADMSG, or the code of the last pull without an answer. */
int tool_read_topic(struct tool *tool, const struct tool_range *range);

/* Reads a decimal number in [@min, @max]; returns false (after a line on stderr that names @what) otherwise. */
bool tool_number(const char *command, const char *what, const char *text, int64_t min, int64_t max, int64_t *out);

/* The members of a flat JSON object, one call a member: false at the end. Members that are objects or arrays are
 * skipped. */
struct mq_json;
bool tool_json_next(struct mq_json *json, struct mq_str *key, struct mq_str *value);

/* The commands. Each gets its own arguments, with its name as argv[0], and returns the exit status. */
int cmd_try(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_group(int argc, char **argv);
/* cmd_rescue.c: group rescue @dir; @phrase: typed in advance, or NULL. */
int group_rescue(const char *dir, const char *phrase);
int cmd_log(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_transaction(int argc, char **argv);

#endif
