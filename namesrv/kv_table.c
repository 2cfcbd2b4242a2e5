/* One array of entries, sorted by namespace and key: found by halving, listed and written in order. A change is made
 * in the array, then written; if the file refuses, the array is put back. */
#include "namesrv/kv_table.h"

#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/json.h"

#include <stdbool.h>
#include <string.h>

struct entry {
    uint32_t space_bytes, key_bytes, value_bytes;
    char text[]; /* namespace, key, value; no NULs */
};

struct kv_table {
    char *path;             /* owned; NULL: nothing is kept */
    struct entry **entries; /* owned, sorted */
    uint32_t count, cap;
    size_t text_bytes; /* of all entries */
};

static struct mq_str entry_space(const struct entry *e)
{
    return (struct mq_str){e->text, e->space_bytes};
}

static struct mq_str entry_key(const struct entry *e)
{
    return (struct mq_str){e->text + e->space_bytes, e->key_bytes};
}

static struct mq_str entry_value(const struct entry *e)
{
    return (struct mq_str){e->text + e->space_bytes + e->key_bytes, e->value_bytes};
}

static size_t entry_bytes(const struct entry *e)
{
    return (size_t)e->space_bytes + e->key_bytes + e->value_bytes;
}

static struct entry *entry_new(struct mq_str space, struct mq_str key, struct mq_str value)
{
    struct entry *e = mq_malloc(sizeof(*e) + space.len + key.len + value.len);

    if (e == NULL) {
        return NULL;
    }
    *e = (struct entry){space.len, key.len, value.len};
    memcpy(e->text, space.at, space.len);
    memcpy(e->text + space.len, key.at, key.len);
    if (value.len != 0) {
        memcpy(e->text + space.len + key.len, value.at, value.len);
    }
    return e;
}

static int compare_text(struct mq_str a, struct mq_str b)
{
    uint32_t n = a.len < b.len ? a.len : b.len;
    int order = n != 0 ? memcmp(a.at, b.at, n) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The place of (@space, @key), or where it would be put. */
static uint32_t place(const struct kv_table *table, struct mq_str space, struct mq_str key, bool *found)
{
    uint32_t low = 0;
    uint32_t high = table->count;

    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct entry *e = table->entries[middle];
        int order = compare_text(entry_space(e), space);

        order = order != 0 ? order : compare_text(entry_key(e), key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int room_for_one(struct kv_table *table)
{
    uint32_t cap = table->cap == 0 ? 8 : table->cap * 2;
    struct entry **grown;

    if (table->count < table->cap) {
        return 0;
    }
    if (table->count >= KV_ENTRIES_MAX) {
        return MQ_ETOOBIG;
    }
    grown = mq_realloc(table->entries, cap * sizeof(*grown));
    if (grown == NULL) {
        return MQ_ENOMEM;
    }
    table->entries = grown;
    table->cap = cap;
    return 0;
}

static void insert_at(struct kv_table *table, uint32_t at, struct entry *e)
{
    memmove(table->entries + at + 1, table->entries + at, (table->count - at) * sizeof(e));
    table->entries[at] = e;
    table->count++;
    table->text_bytes += entry_bytes(e);
}

static struct entry *remove_at(struct kv_table *table, uint32_t at)
{
    struct entry *e = table->entries[at];

    table->text_bytes -= entry_bytes(e);
    table->count--;
    memmove(table->entries + at, table->entries + at + 1, (table->count - at) * sizeof(e));
    return e;
}

/* -- The file ------------------------------------------------------------------------------------------------- */

static int put_member(struct mq_buf *out, struct mq_str name, struct mq_str before)
{
    int rc = mq_buf_put_str(out, before);

    if (rc == 0) {
        rc = mq_json_put_string(out, name);
    }
    return rc != 0 ? rc : mq_buf_put_u8(out, ':');
}

static int encode(const struct kv_table *table, struct mq_buf *out)
{
    int rc = mq_buf_put_str(out, MQ_STR("{\"configTable\":{"));

    for (uint32_t i = 0; i < table->count && rc == 0; i++) {
        const struct entry *e = table->entries[i];
        bool new_space = i == 0 || !mq_str_eq(entry_space(e), entry_space(table->entries[i - 1]));

        if (new_space) {
            rc = put_member(out, entry_space(e), i == 0 ? MQ_STR("") : MQ_STR("},"));
        }
        if (rc == 0) {
            rc = put_member(out, entry_key(e), new_space ? MQ_STR("{") : MQ_STR(","));
        }
        if (rc == 0) {
            rc = mq_json_put_string(out, entry_value(e));
        }
    }
    if (rc == 0 && table->count != 0) {
        rc = mq_buf_put_u8(out, '}');
    }
    return rc != 0 ? rc : mq_buf_put_str(out, MQ_STR("}}"));
}

/* The folder comes into being with the first change, not at start: a name server without KV leaves no traces. */
static int make_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder;
    int rc;

    if (slash == NULL || slash == path) {
        return 0;
    }
    folder = mq_strndup(path, (size_t)(slash - path));
    if (folder == NULL) {
        return MQ_ENOMEM;
    }
    rc = mq_dir_make(folder);
    mq_free(folder);
    return rc;
}

static int save(const struct kv_table *table)
{
    struct mq_buf text = {0};
    int rc;

    if (table->path == NULL) {
        return 0;
    }
    rc = encode(table, &text);
    if (rc == 0 && text.len > KV_BYTES_MAX) {
        rc = MQ_ETOOBIG;
    }
    if (rc == 0) {
        rc = make_folder(table->path);
    }
    if (rc == 0) {
        rc = mq_file_replace(table->path, text.base, text.len);
    }
    mq_buf_free(&text);
    return rc;
}

static int check(const struct kv_table *table, struct mq_str space, struct mq_str key, struct mq_str value)
{
    if (space.len == 0 || key.len == 0) {
        return MQ_EINVAL;
    }
    if (space.len > KV_NAME_MAX || key.len > KV_NAME_MAX || value.len > KV_VALUE_MAX) {
        return MQ_ETOOBIG;
    }
    return table->text_bytes + space.len + key.len + value.len > KV_BYTES_MAX ? MQ_ETOOBIG : 0;
}

/* Puts without saving; @old gets the entry that was replaced (the caller's now), or NULL. */
static int put(struct kv_table *table, struct mq_str space, struct mq_str key, struct mq_str value,
               struct entry **old)
{
    struct entry *e;
    uint32_t at;
    bool found;
    int rc = check(table, space, key, value);

    if (rc == 0) {
        rc = room_for_one(table);
    }
    if (rc != 0) {
        return rc;
    }
    e = entry_new(space, key, value);
    if (e == NULL) {
        return MQ_ENOMEM;
    }
    at = place(table, space, key, &found);
    *old = found ? remove_at(table, at) : NULL;
    insert_at(table, at, e);
    return 0;
}

static int read_space(struct kv_table *table, struct mq_json *json, struct mq_str space)
{
    int rc = 0;

    if (mq_json_next(json) != MQ_JSON_OBJECT_BEGIN) {
        return MQ_EBADMSG;
    }
    while (rc == 0 && mq_json_next(json) == MQ_JSON_KEY) {
        struct mq_str key = json->text;
        struct entry *old = NULL;
        struct mq_str value;

        rc = mq_json_scalar(json, &value);
        if (rc == 0 && value.at != NULL) {
            rc = put(table, space, key, value, &old);
            mq_free(old);
        }
    }
    return rc == 0 && json->kind != MQ_JSON_OBJECT_END ? MQ_EBADMSG : rc;
}

static int read_spaces(struct kv_table *table, struct mq_json *json)
{
    int rc = 0;

    if (mq_json_next(json) != MQ_JSON_OBJECT_BEGIN) {
        return MQ_EBADMSG;
    }
    while (rc == 0 && mq_json_next(json) == MQ_JSON_KEY) {
        rc = read_space(table, json, json->text);
    }
    return rc == 0 && json->kind != MQ_JSON_OBJECT_END ? MQ_EBADMSG : rc;
}

static int decode(struct kv_table *table, struct mq_buf *text)
{
    struct mq_json json;
    bool seen = false;
    int rc = 0;

    mq_json_init(&json, (char *)text->base, text->len);
    if (mq_json_next(&json) != MQ_JSON_OBJECT_BEGIN) {
        return MQ_EBADMSG;
    }
    while (rc == 0 && mq_json_next(&json) == MQ_JSON_KEY) {
        if (mq_str_eq(json.text, MQ_STR("configTable"))) {
            seen = true;
            rc = read_spaces(table, &json);
        } else {
            rc = mq_json_skip(&json);
        }
    }
    if (rc == 0 && (json.kind != MQ_JSON_OBJECT_END || mq_json_next(&json) != MQ_JSON_END || !seen)) {
        rc = MQ_EBADMSG;
    }
    return rc;
}

static int load(struct kv_table *table, struct mq_buf *problem)
{
    struct mq_buf text = {0};
    int rc, put_rc = 0;

    if (table->path == NULL || !mq_file_exists(table->path)) {
        return 0;
    }
    rc = mq_file_read(table->path, KV_BYTES_MAX, &text);
    if (rc == 0) {
        rc = decode(table, &text);
    }
    mq_buf_free(&text);
    if (rc == MQ_EBADMSG) {
        put_rc = mq_buf_printf(problem, "%s: is not {\"configTable\":{namespace:{key:value}}}\n", table->path);
    } else if (rc == MQ_ETOOBIG) {
        put_rc = mq_buf_printf(problem, "%s: is over a limit (%u bytes, %u entries, names of 1 to %u bytes)\n",
                               table->path, KV_BYTES_MAX, KV_ENTRIES_MAX, KV_NAME_MAX);
    } else if (rc != 0) {
        put_rc = mq_buf_printf(problem, "%s: %s\n", table->path, mq_strerror(rc));
    }
    return put_rc != 0 ? put_rc : rc;
}

int kv_table_open(const char *path, struct kv_table **out, struct mq_buf *problem)
{
    struct kv_table *table = mq_calloc(1, sizeof(*table));
    int rc;

    if (table == NULL) {
        return MQ_ENOMEM;
    }
    if (path != NULL && (table->path = mq_strdup(path)) == NULL) {
        mq_free(table);
        return MQ_ENOMEM;
    }
    rc = load(table, problem);
    if (rc != 0) {
        kv_table_free(table);
        return rc;
    }
    *out = table;
    return 0;
}

void kv_table_free(struct kv_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        mq_free(table->entries[i]);
    }
    mq_free(table->entries);
    mq_free(table->path);
    mq_free(table);
}

struct mq_str kv_table_get(const struct kv_table *table, struct mq_str space, struct mq_str key)
{
    bool found;
    uint32_t at = place(table, space, key, &found);

    return found ? entry_value(table->entries[at]) : (struct mq_str){0};
}

int kv_table_put(struct kv_table *table, struct mq_str space, struct mq_str key, struct mq_str value)
{
    struct mq_str held = kv_table_get(table, space, key);
    struct entry *old = NULL;
    uint32_t at;
    bool found;
    int rc;

    if (held.at != NULL && mq_str_eq(held, value)) {
        return 0;
    }
    rc = put(table, space, key, value, &old);
    if (rc != 0) {
        return rc;
    }
    rc = save(table);
    if (rc == 0) {
        mq_free(old);
        return 0;
    }
    at = place(table, space, key, &found);
    mq_free(remove_at(table, at));
    if (old != NULL) {
        insert_at(table, at, old);
    }
    return rc;
}

int kv_table_delete(struct kv_table *table, struct mq_str space, struct mq_str key)
{
    struct entry *old;
    bool found;
    uint32_t at = place(table, space, key, &found);
    int rc;

    if (!found) {
        return 0;
    }
    old = remove_at(table, at);
    rc = save(table);
    if (rc != 0) {
        insert_at(table, at, old);
        return rc;
    }
    mq_free(old);
    return 0;
}

int kv_table_list(const struct kv_table *table, struct mq_str space, struct proto_kvs *out)
{
    bool found;
    uint32_t first = place(table, space, (struct mq_str){"", 0}, &found);
    uint32_t at = first;

    for (; at < table->count && mq_str_eq(entry_space(table->entries[at]), space); at++) {
        struct proto_kv *kv = proto_kvs_add(out);

        if (kv == NULL) {
            return MQ_ENOMEM;
        }
        *kv = (struct proto_kv){entry_key(table->entries[at]), entry_value(table->entries[at])};
    }
    return at == first ? MQ_ENOTFOUND : 0;
}
