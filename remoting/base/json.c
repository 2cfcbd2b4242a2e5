/* The JSON reader; the writers are in json_put.c. Request headers go through the reader once per message, so plain
 * bytes of strings are passed 16 at a time, and a string without escapes is a slice of the input that nobody wrote
 * to.
 *
 * The reader is a state machine over an explicit stack. States, and what may come next:
 *
 *   VALUE          a value                          (at the start, after ':')
 *   VALUE_OR_END   a value or ']'                   (after '[')
 *   KEY_OR_END     a key and its ':', or '}'        (after '{')
 *   NEXT_OR_END    ',' and a member, or the end    (after a value in a container)
 *   DONE           white space, then the end        (after the outermost value)
 *   FAILED         nothing; every step answers MQ_JSON_ERROR
 *
 * Stricter than fastjson: no comments, single quotes, trailing commas, NaN. Laxer than RFC 8259, as Java's readers
 * are: control bytes may stand raw in a string, and a lone surrogate (\uD800) becomes U+FFFD. Bytes from 0x80 on pass
 * as they are. No read goes beyond [at, end). */
#include "remoting/base/json.h"

#include "remoting/base/err.h"
#include "remoting/base/json_bytes.h"

/* The steps between two tokens are a few nanoseconds each; as calls they cost a tenth more. */
#define HOT static inline __attribute__((always_inline))

enum state { VALUE, VALUE_OR_END, KEY_OR_END, NEXT_OR_END, DONE, FAILED };

void mq_json_init(struct mq_json *json, char *bytes, size_t n)
{
    json->at = bytes;
    json->end = bytes + n;
    json->kind = MQ_JSON_NULL; /* nothing read yet; neither BEGIN, END nor ERROR */
    json->text = (struct mq_str){0};
    json->depth = 0;
    json->state = VALUE;
}

static enum mq_json_kind fail(struct mq_json *json)
{
    json->state = FAILED;
    json->text = (struct mq_str){0};
    return MQ_JSON_ERROR;
}

static inline bool is_space(char c)
{
    /* What the wire carries has no white space: one comparison is enough for all else. */
    return (uint8_t)c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t');
}

static inline bool is_digit(char c)
{
    return (unsigned)(uint8_t)c - '0' <= 9;
}

static inline char *skip_space(char *at, const char *end)
{
    while (at < end && is_space(*at)) {
        at++;
    }
    return at;
}

/* Values of hex digits; -1 for all other bytes. */
static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads the four digits of \uXXXX; -1 when they are not there. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t code = 0;

    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);

        if (digit < 0) {
            return -1;
        }
        code = code << 4 | digit;
    }
    return code;
}

/* Writes @code as UTF-8 and returns the place behind it: never more bytes than its escapes took. */
static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

/* Decodes what follows "\u" at *@from, a second escape included if the two are a surrogate pair. Moves *@from behind
 * it. Returns the place behind the decoded bytes at @to, or NULL. */
static char *take_unicode(char **from, const char *end, char *to)
{
    int32_t code = hex4(*from, end);
    int32_t low = -1;

    if (code < 0) {
        return NULL;
    }
    *from += 4;
    if (code >= 0xD800 && code <= 0xDFFF) {
        if (code < 0xDC00 && end - *from >= 6 && (*from)[0] == '\\' && (*from)[1] == 'u') {
            low = hex4(*from + 2, end);
        }
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *from += 6;
            code = 0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00);
        } else {
            code = 0xFFFD;
        }
    }
    return put_utf8(to, (uint32_t)code);
}

/* What the letter behind a backslash stands for; 0 for none. 'u' is not among them. */
static char escaped_byte(char letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/':
        return letter;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

/* Decodes the escape whose backslash is at *@from. As take_unicode. */
static char *take_escape(char **from, const char *end, char *to)
{
    char letter;

    if (end - *from < 2) {
        return NULL;
    }
    letter = (*from)[1];
    *from += 2;
    if (letter == 'u') {
        return take_unicode(from, end, to);
    }
    *to = escaped_byte(letter);
    return *to != 0 ? to + 1 : NULL;
}

/* The rest of a string from its first backslash at @from on: escapes are decoded and plain runs moved down over the
 * gaps they leave. */
static bool take_escaped_string(struct mq_json *json, char *start, char *from)
{
    char *to = from;

    while (from < json->end && *from == '\\') {
        char *run;

        to = take_escape(&from, json->end, to);
        if (to == NULL) {
            return false;
        }
        run = from;
        from = mq_json_find_special(run, json->end);
        memmove(to, run, (size_t)(from - run));
        to += from - run;
    }
    if (from == json->end) {
        return false;
    }
    json->text = (struct mq_str){start, (uint32_t)(to - start)};
    json->at = from + 1;
    return true;
}

/* Reads a string whose opening quote is at json->at into json->text and moves behind the closing one. */
HOT bool take_string(struct mq_json *json)
{
    char *start = json->at + 1;
    char *stop;

    /* Keys of one letter, as most request headers have them, end where a branch can foretell it, so the processor
     * need not wait for the search to know where the next token begins. */
    if (json->end - start >= 2 && start[1] == '"' && start[0] != '\\' && start[0] != '"') {
        json->text = (struct mq_str){start, 1};
        json->at = start + 2;
        return true;
    }
    stop = mq_json_find_special(start, json->end);
    if (stop == json->end) {
        return false;
    }
    if (*stop == '\\') {
        return take_escaped_string(json, start, stop);
    }
    json->text = (struct mq_str){start, (uint32_t)(stop - start)};
    json->at = stop + 1;
    return true;
}

static inline char *skip_digits(char *at, const char *end)
{
    while (at < end && is_digit(*at)) {
        at++;
    }
    return at;
}

/* Passes the integer part at @at: '-'? (0 | [1-9][0-9]*). NULL when there is none. */
static inline char *skip_integer(char *at, const char *end)
{
    at += at < end && *at == '-';
    if (at == end || !is_digit(*at)) {
        return NULL;
    }
    return *at == '0' ? at + 1 : skip_digits(at, end);
}

/* Passes the digits that must stand at @at; NULL when there are none. */
static char *skip_some_digits(char *at, const char *end)
{
    char *stop = skip_digits(at, end);

    return stop != at ? stop : NULL;
}

HOT bool take_number(struct mq_json *json)
{
    char *end = json->end;
    char *at = skip_integer(json->at, end);

    if (at != NULL && at < end && *at == '.') {
        at = skip_some_digits(at + 1, end);
    }
    if (at != NULL && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        at = skip_some_digits(at, end);
    }
    if (at == NULL) {
        return false;
    }
    json->text = (struct mq_str){json->at, (uint32_t)(at - json->at)};
    json->at = at;
    return true;
}

/* fastjson's object keys: passes {...} and keeps it as raw text, escapes included. Only braces and strings are
 * looked at; whoever wants the members reads the text with a reader of its own, which checks the rest. */
static bool take_object_key(struct mq_json *json)
{
    char *at = json->at;
    unsigned depth = 0;

    while (at < json->end) {
        char c = *at++;

        if (c == '{' && ++depth > MQ_JSON_DEPTH_MAX) {
            return false;
        }
        if (c == '}' && --depth == 0) {
            json->text = (struct mq_str){json->at, (uint32_t)(at - json->at)};
            json->at = at;
            return true;
        }
        if (c == '"') {
            at = mq_json_find_special(at, json->end);
            while (at < json->end && *at == '\\') {
                at = json->end - at >= 2 ? mq_json_find_special(at + 2, json->end) : json->end;
            }
            at += at < json->end;
        }
    }
    return false;
}

static bool take_integer_key(struct mq_json *json)
{
    char *stop = skip_integer(json->at, json->end);

    if (stop == NULL) {
        return false;
    }
    json->text = (struct mq_str){json->at, (uint32_t)(stop - json->at)};
    json->at = stop;
    return true;
}

HOT enum mq_json_kind next_key(struct mq_json *json)
{
    bool ok;

    if (*json->at == '"') {
        ok = take_string(json);
    } else if (*json->at == '{') {
        ok = take_object_key(json);
    } else {
        ok = take_integer_key(json);
    }
    if (!ok) {
        return fail(json);
    }
    json->at = skip_space(json->at, json->end);
    if (json->at == json->end || *json->at != ':') {
        return fail(json);
    }
    json->at++;
    json->state = VALUE;
    return MQ_JSON_KEY;
}

static enum mq_json_kind open_container(struct mq_json *json, enum mq_json_kind kind)
{
    if (json->depth == MQ_JSON_DEPTH_MAX) {
        return fail(json);
    }
    json->stack[json->depth++] = (uint8_t)kind;
    json->state = kind == MQ_JSON_OBJECT_BEGIN ? KEY_OR_END : VALUE_OR_END;
    json->at++;
    return kind;
}

static inline uint8_t state_after_value(const struct mq_json *json)
{
    return json->depth == 0 ? DONE : NEXT_OR_END;
}

/* Closes the innermost container, whose bracket is at json->at. */
static enum mq_json_kind close_container(struct mq_json *json)
{
    enum mq_json_kind opened = (enum mq_json_kind)json->stack[--json->depth];

    json->at++;
    json->state = state_after_value(json);
    return opened == MQ_JSON_OBJECT_BEGIN ? MQ_JSON_OBJECT_END : MQ_JSON_ARRAY_END;
}

static enum mq_json_kind next_word(struct mq_json *json, struct mq_str word, enum mq_json_kind kind)
{
    if ((size_t)(json->end - json->at) < word.len || memcmp(json->at, word.at, word.len) != 0) {
        return fail(json);
    }
    json->text = (struct mq_str){json->at, word.len};
    json->at += word.len;
    json->state = state_after_value(json);
    return kind;
}

HOT enum mq_json_kind next_value(struct mq_json *json)
{
    switch (*json->at) {
    case '"':
        if (!take_string(json)) {
            return fail(json);
        }
        json->state = state_after_value(json);
        return MQ_JSON_STRING;
    case '{':
        return open_container(json, MQ_JSON_OBJECT_BEGIN);
    case '[':
        return open_container(json, MQ_JSON_ARRAY_BEGIN);
    case 't':
        return next_word(json, MQ_STR("true"), MQ_JSON_TRUE);
    case 'f':
        return next_word(json, MQ_STR("false"), MQ_JSON_FALSE);
    case 'n':
        return next_word(json, MQ_STR("null"), MQ_JSON_NULL);
    default:
        if (!take_number(json)) {
            return fail(json);
        }
        json->state = state_after_value(json);
        return MQ_JSON_NUMBER;
    }
}

/* After a value in a container: ',' and the next member, or the end of the container. */
HOT enum mq_json_kind next_member(struct mq_json *json)
{
    bool in_object = json->stack[json->depth - 1] == MQ_JSON_OBJECT_BEGIN;

    if (*json->at == (in_object ? '}' : ']')) {
        return close_container(json);
    }
    if (*json->at != ',') {
        return fail(json);
    }
    json->at = skip_space(json->at + 1, json->end);
    if (json->at == json->end) {
        return fail(json);
    }
    return in_object ? next_key(json) : next_value(json);
}

HOT enum mq_json_kind next_token(struct mq_json *json)
{
    json->at = skip_space(json->at, json->end);
    if (json->at == json->end) {
        return json->state == DONE ? MQ_JSON_END : fail(json);
    }
    switch ((enum state)json->state) {
    case NEXT_OR_END:
        return next_member(json);
    case VALUE:
        return next_value(json);
    case VALUE_OR_END:
        return *json->at == ']' ? close_container(json) : next_value(json);
    case KEY_OR_END:
        return *json->at == '}' ? close_container(json) : next_key(json);
    case DONE:
    case FAILED:
        break;
    }
    return fail(json);
}

enum mq_json_kind mq_json_next(struct mq_json *json)
{
    json->text = (struct mq_str){0};
    json->kind = next_token(json);
    return json->kind;
}

static bool is_begin(enum mq_json_kind kind)
{
    return kind == MQ_JSON_OBJECT_BEGIN || kind == MQ_JSON_ARRAY_BEGIN;
}

int mq_json_skip(struct mq_json *json)
{
    uint32_t outside;

    if (!is_begin(json->kind)) {
        switch (mq_json_next(json)) {
        case MQ_JSON_OBJECT_BEGIN:
        case MQ_JSON_ARRAY_BEGIN:
            break;
        case MQ_JSON_STRING:
        case MQ_JSON_NUMBER:
        case MQ_JSON_TRUE:
        case MQ_JSON_FALSE:
        case MQ_JSON_NULL:
            return 0;
        default:
            return MQ_EBADMSG;
        }
    }
    outside = json->depth - 1;
    while (json->depth != outside) {
        if (mq_json_next(json) == MQ_JSON_ERROR) {
            return MQ_EBADMSG;
        }
    }
    return 0;
}

int mq_json_scalar(struct mq_json *json, struct mq_str *out)
{
    struct mq_str text;

    switch (mq_json_next(json)) {
    case MQ_JSON_STRING:
    case MQ_JSON_NUMBER:
    case MQ_JSON_TRUE:
    case MQ_JSON_FALSE:
        text = json->text;
        break;
    case MQ_JSON_NULL:
        text = (struct mq_str){0};
        break;
    case MQ_JSON_OBJECT_BEGIN:
    case MQ_JSON_ARRAY_BEGIN:
        if (mq_json_skip(json) != 0) {
            return MQ_EBADMSG;
        }
        text = (struct mq_str){0};
        break;
    default:
        return MQ_EBADMSG;
    }
    *out = text;
    return 0;
}
