/* Reads key=value files into a struct described by a table.
 *
 * The line reader is ours and not inih, because what Debian builds of inih cannot read RocketMQ's files: it reports
 * no line number to its handler, ends a value at " ;" (dLegerPeers separates nodes with ';'), cuts lines at 200
 * bytes, takes '!' comments for keys, and joins indented lines to the one before. */
#include "remoting/base/conf.h"

#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/text.h"

#include <inttypes.h>
#include <stdbool.h>

#define FILE_BYTES_MAX (1024u * 1024)
#define NAME_BYTES_MAX 127 /* of a key that gets a suggestion */

/* Where a message comes from, and where it goes. */
struct reading {
    const char *origin; /* borrowed: a path, or "command line" */
    int line;           /* 0: none */
    struct mq_buf *problem, *warnings;
};

/* Puts "origin:line: " or "origin: ". */
static int put_origin(const struct reading *r, struct mq_buf *to)
{
    if (r->line == 0) {
        return mq_buf_printf(to, "%s: ", r->origin);
    }
    return mq_buf_printf(to, "%s:%d: ", r->origin, r->line);
}

/* Ends a refusal: MQ_EINVAL when its message could be written, @rc otherwise. */
static int refuse(int rc)
{
    return rc != 0 ? rc : MQ_EINVAL;
}

/* Begins the problem line "origin:line: key: \"value\" ". */
static int put_bad_value(const struct reading *r, const struct mq_conf_key *key, struct mq_str value)
{
    int rc = put_origin(r, r->problem);

    return rc != 0 ? rc : mq_buf_printf(r->problem, "%s: \"" MQ_STR_FMT "\" ", key->name, MQ_STR_ARG(value));
}

static int refuse_value(const struct reading *r, const struct mq_conf_key *key, struct mq_str value, const char *why)
{
    int rc = put_bad_value(r, key, value);

    return refuse(rc != 0 ? rc : mq_buf_printf(r->problem, "%s\n", why));
}

static int set_str(const struct reading *r, const struct mq_conf_key *key, struct mq_str value, char **field)
{
    char *copy;

    for (uint32_t i = 0; i < value.len; i++) {
        if ((uint8_t)value.at[i] < 0x20 && value.at[i] != '\t') {
            return refuse_value(r, key, MQ_STR("..."), "contains a control character");
        }
    }
    copy = mq_strndup(value.at, value.len);
    if (copy == NULL) {
        return MQ_ENOMEM;
    }
    mq_free(*field);
    *field = copy;
    return 0;
}

static int set_i64(const struct reading *r, const struct mq_conf_key *key, struct mq_str value, int64_t *field)
{
    int64_t number;
    int rc;

    if (mq_str_to_i64(value, &number) != 0) {
        return refuse_value(r, key, value, "is not a whole number of 64 bits");
    }
    if (number < key->min || number > key->max) {
        rc = put_bad_value(r, key, value);
        return refuse(
            rc != 0 ? rc : mq_buf_printf(r->problem, "is outside %" PRId64 "..%" PRId64 "\n", key->min, key->max));
    }
    *field = number;
    return 0;
}

static int set_bool(const struct reading *r, const struct mq_conf_key *key, struct mq_str value, bool *field)
{
    bool on = mq_str_to_bool(value);

    if (!on && !mq_str_eq_nocase(value, MQ_STR("false"))) {
        return refuse_value(r, key, value, "is neither true nor false");
    }
    *field = on;
    return 0;
}

static int set_enum(const struct reading *r, const struct mq_conf_key *key, struct mq_str value, int *field)
{
    int rc;

    for (int i = 0; key->names[i] != NULL; i++) {
        if (mq_str_eq_nocase(value, mq_str_of(key->names[i]))) {
            *field = i;
            return 0;
        }
    }
    rc = put_bad_value(r, key, value);
    if (rc == 0) {
        rc = mq_buf_put_str(r->problem, MQ_STR("is not one of"));
    }
    for (int i = 0; rc == 0 && key->names[i] != NULL; i++) {
        rc = mq_buf_printf(r->problem, "%s %s", i == 0 ? "" : ",", key->names[i]);
    }
    return refuse(rc != 0 ? rc : mq_buf_put_u8(r->problem, '\n'));
}

static int warn_ignored(const struct reading *r, const struct mq_conf_key *key)
{
    int rc = put_origin(r, r->warnings);

    return rc != 0 ? rc : mq_buf_printf(r->warnings, "%s: has no meaning here, ignored\n", key->name);
}

static int set_field(const struct reading *r, const struct mq_conf_key *key, struct mq_str value, void *into)
{
    void *field = (char *)into + key->offset;

    switch (key->type) {
    case MQ_CONF_STR:
        return set_str(r, key, value, field);
    case MQ_CONF_I64:
        return set_i64(r, key, value, field);
    case MQ_CONF_BOOL:
        return set_bool(r, key, value, field);
    case MQ_CONF_ENUM:
        return set_enum(r, key, value, field);
    case MQ_CONF_IGNORED:
        return warn_ignored(r, key);
    }
    return MQ_EINVAL;
}

static const struct mq_conf_key *key_find(const struct mq_conf_key *keys, struct mq_str name)
{
    for (; keys->name != NULL; keys++) {
        if (mq_str_eq(name, mq_str_of(keys->name))) {
            return keys;
        }
    }
    return NULL;
}

/* The key nearest to @name, or NULL when nothing is similar: more than half of the letters would differ. */
static const char *key_nearest(const struct mq_conf_key *keys, struct mq_str name)
{
    char text[NAME_BYTES_MAX + 1];
    const char *nearest = NULL;
    unsigned limit = name.len / 2 + 1;

    if (name.len > NAME_BYTES_MAX) {
        return NULL;
    }
    memcpy(text, name.at, name.len);
    text[name.len] = '\0';
    for (; keys->name != NULL && limit > 0; keys++) {
        unsigned distance = mq_edit_distance(text, keys->name, limit - 1);

        if (distance < limit) {
            nearest = keys->name;
            limit = distance;
        }
    }
    return nearest;
}

static int refuse_key(const struct reading *r, const struct mq_conf_key *keys, struct mq_str name)
{
    const char *nearest = name.len != 0 ? key_nearest(keys, name) : NULL;
    int rc = put_origin(r, r->problem);

    if (rc == 0) {
        rc = mq_buf_printf(r->problem, MQ_STR_FMT ": unknown key", MQ_STR_ARG(name));
    }
    if (rc == 0 && nearest != NULL) {
        rc = mq_buf_printf(r->problem, ", did you mean %s?", nearest);
    }
    return refuse(rc != 0 ? rc : mq_buf_put_u8(r->problem, '\n'));
}

int mq_conf_set(const char *origin, int line, struct mq_str key, struct mq_str value, const struct mq_conf_key *keys,
                void *into, struct mq_buf *problem, struct mq_buf *warnings)
{
    struct reading r = {origin, line, problem, warnings};
    const struct mq_conf_key *known = key_find(keys, key);

    return known != NULL ? set_field(&r, known, value, into) : refuse_key(&r, keys, key);
}

int mq_conf_defaults(const struct mq_conf_key *keys, void *into)
{
    struct mq_buf unused = {0};
    struct reading r = {"preset", 0, &unused, &unused};
    int rc = 0;

    /* All fields first: a string field must be NULL or owned before it is set or freed. */
    for (const struct mq_conf_key *key = keys; key->name != NULL; key++) {
        static const size_t BYTES[] = {
            [MQ_CONF_STR] = sizeof(char *), [MQ_CONF_I64] = sizeof(int64_t), [MQ_CONF_BOOL] = sizeof(bool),
            [MQ_CONF_ENUM] = sizeof(int),   [MQ_CONF_IGNORED] = 0,
        };

        memset((char *)into + key->offset, 0, BYTES[key->type]);
    }
    for (const struct mq_conf_key *key = keys; key->name != NULL && rc == 0; key++) {
        if (key->preset != NULL && key->type != MQ_CONF_IGNORED) {
            rc = set_field(&r, key, mq_str_of(key->preset), into);
        }
    }
    mq_buf_free(&unused);
    if (rc != 0) {
        mq_conf_free(keys, into);
    }
    return rc;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f';
}

static struct mq_str trim(const char *at, const char *end)
{
    while (at < end && is_blank(*at)) {
        at++;
    }
    while (end > at && is_blank(end[-1])) {
        end--;
    }
    return (struct mq_str){at, (uint32_t)(end - at)};
}

static int read_line(const struct reading *r, struct mq_str line, const struct mq_conf_key *keys, void *into)
{
    const char *end = line.at + line.len;
    const char *equals;
    int rc;

    if (line.len == 0 || line.at[0] == '#' || line.at[0] == '!') {
        return 0;
    }
    equals = memchr(line.at, '=', line.len);
    if (equals == NULL || equals == line.at) {
        rc = put_origin(r, r->problem);
        return refuse(
            rc != 0 ? rc
                    : mq_buf_printf(r->problem, MQ_STR_FMT ": is not of the form key=value\n", MQ_STR_ARG(line)));
    }
    return mq_conf_set(r->origin, r->line, trim(line.at, equals), trim(equals + 1, end), keys, into, r->problem,
                       r->warnings);
}

static int read_text(struct reading *r, struct mq_str text, const struct mq_conf_key *keys, void *into)
{
    const char *at = text.at;
    const char *end = at + text.len;
    int rc = 0;

    if (mq_str_starts(text, MQ_STR("\xEF\xBB\xBF"))) {
        at += 3; /* the byte order mark some editors put first */
    }
    while (at < end && rc == 0) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline != NULL ? newline : end;

        r->line++;
        rc = read_line(r, trim(at, stop), keys, into);
        at = newline != NULL ? newline + 1 : end;
    }
    return rc;
}

int mq_conf_read(const char *path, const struct mq_conf_key *keys, void *into, struct mq_buf *problem,
                 struct mq_buf *warnings)
{
    struct reading r = {path, 0, problem, warnings};
    struct mq_buf bytes = {0};
    int rc;

    rc = mq_file_read(path, FILE_BYTES_MAX, &bytes);
    if (rc == 0) {
        rc = read_text(&r, mq_buf_str(&bytes), keys, into);
    } else if (rc == MQ_ETOOBIG) {
        rc = refuse(mq_buf_printf(problem, "%s: is larger than %u bytes\n", path, FILE_BYTES_MAX));
    }
    mq_buf_free(&bytes);
    return rc;
}

/* The first key in the order of names behind @after; NULL means from the beginning, and none left. */
static const struct mq_conf_key *key_behind(const struct mq_conf_key *keys, const char *after)
{
    const struct mq_conf_key *next = NULL;

    for (; keys->name != NULL; keys++) {
        if ((after == NULL || strcmp(keys->name, after) > 0) &&
            (next == NULL || strcmp(keys->name, next->name) < 0)) {
            next = keys;
        }
    }
    return next;
}

static int print_value(const struct mq_conf_key *key, const void *field, struct mq_buf *out)
{
    switch (key->type) {
    case MQ_CONF_STR:
        return mq_buf_put_str(out, mq_str_of(*(char *const *)field));
    case MQ_CONF_I64:
        return mq_buf_put_i64_text(out, *(const int64_t *)field);
    case MQ_CONF_BOOL:
        return mq_buf_put_str(out, *(const bool *)field ? MQ_STR("true") : MQ_STR("false"));
    case MQ_CONF_ENUM:
        return mq_buf_put_str(out, mq_str_of(key->names[*(const int *)field]));
    case MQ_CONF_IGNORED:
        break;
    }
    return 0;
}

int mq_conf_print(const struct mq_conf_key *keys, const void *from, struct mq_buf *out)
{
    const struct mq_conf_key *key = NULL;
    int rc = 0;

    while (rc == 0 && (key = key_behind(keys, key != NULL ? key->name : NULL)) != NULL) {
        if (key->type == MQ_CONF_IGNORED) {
            continue;
        }
        rc = mq_buf_printf(out, "%s=", key->name);
        if (rc == 0) {
            rc = print_value(key, (const char *)from + key->offset, out);
        }
        if (rc == 0) {
            rc = mq_buf_put_u8(out, '\n');
        }
    }
    return rc;
}

void mq_conf_free(const struct mq_conf_key *keys, void *of)
{
    for (; keys->name != NULL; keys++) {
        if (keys->type == MQ_CONF_STR) {
            char **field = (char **)(void *)((char *)of + keys->offset);

            mq_free(*field);
            *field = NULL;
        }
    }
}
