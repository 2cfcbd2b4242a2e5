/* The JSON header. One pass over the bytes, made for what clients write: an object of known keys, and in it one of
 * short strings. Everything rare (escapes beyond \u00XX, numbers in odd forms, nested values) is handed to the
 * general reader of base/json.h, so that there is one grammar. Source: RocketMQ's RemotingCommand. */
#include "remoting/base/err.h"
#include "remoting/base/json.h"
#include "remoting/base/json_bytes.h"
#include "remoting/protocol/command_codec.h"

struct scan {
    char *at, *end;
};

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void skip_space(struct scan *s)
{
    while (s->at < s->end && is_space(*s->at)) {
        s->at++;
    }
}

/* Moves behind @c, which must be the next byte that is not white space. */
static inline bool take_byte(struct scan *s, char c)
{
    if (s->at < s->end && *s->at == c) {
        s->at++;
        return true;
    }
    skip_space(s);
    if (s->at < s->end && *s->at == c) {
        s->at++;
        return true;
    }
    return false;
}

/* A scalar, or a container that is skipped and gives an absent text, by the general reader. */
static bool take_any(struct scan *s, struct mq_str *out)
{
    struct mq_json json;

    mq_json_init(&json, s->at, (size_t)(s->end - s->at));
    if (mq_json_scalar(&json, out) != 0) {
        return false;
    }
    s->at = json.at;
    return true;
}

static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes \u00XX below 80, which separates properties, at @at into @byte. */
static inline bool take_separator(const char *at, const char *end, char *byte)
{
    int high, low;

    if (end - at < 6 || memcmp(at, "\\u00", 4) != 0) {
        return false;
    }
    high = hex_digit(at[4]);
    low = hex_digit(at[5]);
    if (high < 0 || high > 7 || low < 0) {
        return false;
    }
    *byte = (char)(high << 4 | low);
    return true;
}

/* Any other escape at @from, while what was decoded so far ends at @to: the general reader takes the rest as a string
 * of its own. Its opening quote goes into the gap that decoded escapes left, or is the string's own if there is none.
 */
static bool take_rest(struct scan *s, char *start, char *to, char *from, struct mq_str *out)
{
    struct mq_str rest;

    if (to == from) {
        s->at = start - 1;
        return take_any(s, out);
    }
    s->at = from - 1;
    *s->at = '"';
    if (!take_any(s, &rest)) {
        return false;
    }
    memmove(to, rest.at, rest.len);
    *out = (struct mq_str){start, (uint32_t)(to - start) + rest.len};
    return true;
}

/* A string whose first backslash is at @from. */
static bool take_escaped(struct scan *s, char *start, char *from, struct mq_str *out)
{
    char *to = from;

    while (from < s->end && *from == '\\') {
        char byte, *stop;

        if (!take_separator(from, s->end, &byte)) {
            return take_rest(s, start, to, from, out);
        }
        *to++ = byte;
        stop = mq_json_find_special(from + 6, s->end);
        memmove(to, from + 6, (size_t)(stop - from - 6));
        to += stop - from - 6;
        from = stop;
    }
    if (from == s->end) {
        return false;
    }
    *out = (struct mq_str){start, (uint32_t)(to - start)};
    s->at = from + 1;
    return true;
}

/* The string whose opening quote is the next byte. */
static inline bool take_string(struct scan *s, struct mq_str *out)
{
    char *start = s->at + 1;
    char *stop = mq_json_find_special(start, s->end);

    if (stop == s->end) {
        return false;
    }
    if (*stop == '\\') {
        return take_escaped(s, start, stop, out);
    }
    *out = (struct mq_str){start, (uint32_t)(stop - start)};
    s->at = stop + 1;
    return true;
}

/* Any value as text; null and containers are absent. */
static inline bool take_value(struct scan *s, struct mq_str *out)
{
    if (s->at < s->end && *s->at == '"') {
        return take_string(s, out);
    }
    skip_space(s);
    if (s->at < s->end && *s->at == '"') {
        return take_string(s, out);
    }
    return take_any(s, out);
}

/* The next member's key with its ':'. Returns 1, 0 behind the object's last member, or MQ_EBADMSG. @first: none was
 * read yet. */
static inline int take_key(struct scan *s, bool first, struct mq_str *key)
{
    if (take_byte(s, '}')) {
        return 0;
    }
    if (!first && !take_byte(s, ',')) {
        return MQ_EBADMSG;
    }
    skip_space(s);
    if (s->at == s->end || *s->at != '"' || !take_string(s, key) || !take_byte(s, ':')) {
        return MQ_EBADMSG;
    }
    return 1;
}

/* extFields, null allowed. A second extFields object adds to the first. Keys and values are written where they stay:
 * a slice that is copied right after it was written in two parts stalls the load, once per field. */
static int decode_fields(struct scan *s, struct proto_fields *fields)
{
    struct proto_field *field = &fields->list[fields->count];
    struct proto_field *limit = &fields->list[PROTO_FIELDS_MAX];
    struct mq_str nothing, key;
    bool first = true;
    int rc;

    if (!take_byte(s, '{')) {
        return take_any(s, &nothing) && nothing.at == NULL ? 0 : MQ_EBADMSG;
    }
    while ((rc = take_key(s, first, field != limit ? &field->key : &key)) == 1) {
        if (field == limit) {
            return MQ_ETOOBIG;
        }
        if (!take_value(s, &field->value)) {
            return MQ_EBADMSG;
        }
        field++;
        first = false;
    }
    fields->count = (uint32_t)(field - fields->list);
    return rc;
}

/* Integers as every client writes them; the general reader takes the rest. */
static bool take_digits(struct scan *s, int32_t *out)
{
    bool negative = s->at < s->end && *s->at == '-';
    char *first = s->at + negative;
    char *at = first;
    int32_t value = 0;

    for (int i = 0; i < 9 && at < s->end && (uint8_t)(*at - '0') <= 9; i++) {
        value = value * 10 + (*at++ - '0');
    }
    if (at == first || at == s->end || (*at != ',' && *at != '}') || (*first == '0' && at - first > 1)) {
        return false;
    }
    *out = negative ? -value : value;
    s->at = at;
    return true;
}

static int decode_i32(struct scan *s, int32_t *out)
{
    struct mq_str text;

    if (take_digits(s, out)) {
        return 0;
    }
    if (!take_value(s, &text)) {
        return MQ_EBADMSG;
    }
    return text.at == NULL || mq_str_to_i32(text, out) == 0 ? 0 : MQ_EBADMSG;
}

static const struct {
    char name[8];
    uint8_t len;
} LANGUAGES[PROTO_LANGUAGE_COUNT] = {{"JAVA", 4},   {"CPP", 3},  {"DOTNET", 6}, {"PYTHON", 6}, {"DELPHI", 6},
                                     {"ERLANG", 6}, {"RUBY", 4}, {"OTHER", 5},  {"HTTP", 4},   {"GO", 2},
                                     {"PHP", 3},    {"OMS", 3},  {"RUST", 4},   {"NODE_JS", 7}};

struct mq_str proto_language_name(uint8_t language)
{
    uint8_t i = language < PROTO_LANGUAGE_COUNT ? language : PROTO_LANGUAGE_OTHER;

    return (struct mq_str){LANGUAGES[i].name, LANGUAGES[i].len};
}

/* By name or by code; what nobody knows counts as OTHER. */
static int decode_language(struct scan *s, uint8_t *out)
{
    struct mq_str text;
    int32_t code;

    if (!take_value(s, &text)) {
        return MQ_EBADMSG;
    }
    for (uint8_t i = 0; i < PROTO_LANGUAGE_COUNT; i++) {
        if (text.len == LANGUAGES[i].len && memcmp(text.at, LANGUAGES[i].name, text.len) == 0) {
            *out = i;
            return 0;
        }
    }
    if (text.len != 0 && mq_str_to_i32(text, &code) == 0 && code >= 0 && code < PROTO_LANGUAGE_COUNT) {
        *out = (uint8_t)code;
    }
    return 0;
}

static inline bool is_key(struct mq_str key, const char *name)
{
    return memcmp(key.at, name, key.len) == 0;
}

/* The value of the top-level member @key. */
static int decode_member(struct scan *s, struct mq_str key, struct proto_command *out)
{
    struct mq_str ignored;

    if (key.len == 9 && is_key(key, "extFields")) {
        return decode_fields(s, &out->fields);
    }
    if (key.len == 4 && is_key(key, "code")) {
        return decode_i32(s, &out->code);
    }
    if (key.len == 4 && is_key(key, "flag")) {
        return decode_i32(s, &out->flag);
    }
    if (key.len == 6 && is_key(key, "opaque")) {
        return decode_i32(s, &out->opaque);
    }
    if (key.len == 7 && is_key(key, "version")) {
        return decode_i32(s, &out->version);
    }
    if (key.len == 8 && is_key(key, "language")) {
        return decode_language(s, &out->language);
    }
    if (key.len == 6 && is_key(key, "remark")) {
        return take_value(s, &out->remark) ? 0 : MQ_EBADMSG;
    }
    return take_value(s, &ignored) ? 0 : MQ_EBADMSG;
}

int proto_json_decode(char *header, size_t n, struct proto_command *out)
{
    struct scan s = {header, header + n};
    struct mq_str key;
    bool first = true;
    int rc;

    out->code = 0;
    out->language = PROTO_LANGUAGE_OTHER;
    out->version = 0;
    out->opaque = 0;
    out->flag = 0;
    out->remark = (struct mq_str){0};
    out->fields.count = 0;
    if (!take_byte(&s, '{')) {
        return MQ_EBADMSG;
    }
    while ((rc = take_key(&s, first, &key)) == 1) {
        rc = decode_member(&s, key, out);
        if (rc != 0) {
            return rc;
        }
        first = false;
    }
    skip_space(&s);
    return rc == 0 && s.at != s.end ? MQ_EBADMSG : rc;
}

static inline char *put_text(char *at, const char *text, size_t n)
{
    memcpy(at, text, n);
    return at + n;
}

#define PUT_LITERAL(at, literal) put_text(at, literal, sizeof(literal) - 1)

/* @s between quotes, with what must be escaped. @escapes: mq_json_count_escapes of it. */
static char *put_quoted(char *at, struct mq_str s, size_t escapes)
{
    static const char HEX[] = "0123456789abcdef";

    *at++ = '"';
    if (escapes == 0) {
        at = s.len != 0 ? put_text(at, s.at, s.len) : at;
        *at++ = '"';
        return at;
    }
    for (uint32_t i = 0; i < s.len; i++) {
        uint8_t byte = (uint8_t)s.at[i];

        if (byte >= ' ') {
            if (byte == '"' || byte == '\\') {
                *at++ = '\\';
            }
            *at++ = (char)byte;
        } else {
            at = PUT_LITERAL(at, "\\u00");
            *at++ = HEX[byte >> 4];
            *at++ = HEX[byte & 15];
        }
    }
    *at++ = '"';
    return at;
}

/* More than a quoted string of @s can take. */
static size_t quoted_max(struct mq_str s, size_t escapes)
{
    return (size_t)s.len + 2 + 5 * escapes;
}

/* The constant pieces of a header and four numbers of at most 11 characters, with room to spare. */
#define HEAD_BYTES_MAX 160

#define TEXT_OF(number) #number
#define VERSION_TEXT(number) TEXT_OF(number)

int proto_json_begin(struct proto_writer *w, const struct proto_head *head)
{
    struct mq_buf *out = w->out;
    size_t escapes = mq_json_count_escapes(head->remark.at, head->remark.len);
    char *at;
    int rc;

    rc = mq_buf_reserve(out, HEAD_BYTES_MAX + quoted_max(head->remark, escapes));
    if (rc != 0) {
        return rc;
    }
    at = (char *)out->base + out->len;
    at = PUT_LITERAL(at, "{\"code\":");
    at += mq_i64_to_text(head->code, at);
    at = PUT_LITERAL(at, ",\"flag\":");
    at += mq_i64_to_text(head->flag, at);
    at = PUT_LITERAL(at, ",\"language\":\"OTHER\",\"opaque\":");
    at += mq_i64_to_text(head->opaque, at);
    if (head->remark.at != NULL) {
        at = PUT_LITERAL(at, ",\"remark\":");
        at = put_quoted(at, head->remark, escapes);
    }
    at = PUT_LITERAL(at, ",\"version\":" VERSION_TEXT(PROTO_VERSION) ",\"extFields\":{");
    out->len = (size_t)((uint8_t *)at - out->base);
    return 0;
}

static int put_field(struct proto_writer *w, struct mq_str key, struct mq_str value, size_t escapes)
{
    struct mq_buf *out = w->out;
    char *at;
    int rc;

    rc = mq_buf_reserve(out, (size_t)key.len + 4 + quoted_max(value, escapes));
    if (rc != 0) {
        return rc;
    }
    at = (char *)out->base + out->len;
    if (!w->first) {
        *at++ = ',';
    }
    w->first = false;
    *at++ = '"';
    at = put_text(at, key.at, key.len);
    at = PUT_LITERAL(at, "\":");
    at = put_quoted(at, value, escapes);
    out->len = (size_t)((uint8_t *)at - out->base);
    return 0;
}

int proto_json_put_str(struct proto_writer *w, struct mq_str key, struct mq_str value)
{
    return put_field(w, key, value, mq_json_count_escapes(value.at, value.len));
}

int proto_json_put_plain(struct proto_writer *w, struct mq_str key, struct mq_str value)
{
    return put_field(w, key, value, 0);
}

int proto_json_end(struct proto_writer *w)
{
    return mq_buf_put(w->out, "}}", 2);
}
