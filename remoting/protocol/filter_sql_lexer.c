#include "remoting/protocol/filter_sql_lexer.h"

#include "remoting/base/assert.h"

static const struct {
    struct mq_str text;
    enum sql_token_kind kind;
} KEYWORDS[] = {
    {{"NOT", 3}, SQL_NOT},
    {{"AND", 3}, SQL_AND},
    {{"OR", 2}, SQL_OR},
    {{"BETWEEN", 7}, SQL_BETWEEN},
    {{"IN", 2}, SQL_IN},
    {{"TRUE", 4}, SQL_TRUE},
    {{"FALSE", 5}, SQL_FALSE},
    {{"NULL", 4}, SQL_NULL},
    {{"IS", 2}, SQL_IS},
    {{"CONTAINS", 8}, SQL_CONTAINS},
    {{"STARTSWITH", 10}, SQL_STARTSWITH},
    {{"ENDSWITH", 8}, SQL_ENDSWITH},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool begins_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

/* Byte @i, or NUL behind the end: no word contains one. */
static char byte_at(struct mq_str s, uint32_t i)
{
    return i < s.len ? s.at[i] : '\0';
}

/* Where the line that begins a comment at @i ends; 0: no line end, and so no comment. */
static uint32_t skip_line_comment(struct mq_str s, uint32_t i)
{
    for (i += 2; i < s.len; i++) {
        if (s.at[i] == '\n' || s.at[i] == '\r') {
            return i + 1;
        }
    }
    return 0;
}

static uint32_t skip_block_comment(struct mq_str s, uint32_t i)
{
    for (i += 2; i + 1 < s.len; i++) {
        if (s.at[i] == '*' && s.at[i + 1] == '/') {
            return i + 2;
        }
    }
    return 0;
}

static uint32_t skip_space(struct mq_str s, uint32_t i)
{
    for (;;) {
        char c = byte_at(s, i), d = byte_at(s, i + 1);
        uint32_t end = 0;

        if (i < s.len && (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f')) {
            end = i + 1;
        } else if (c == '-' && d == '-') {
            end = skip_line_comment(s, i);
        } else if (c == '/' && d == '*') {
            end = skip_block_comment(s, i);
        }
        if (end == 0) {
            return i;
        }
        i = end;
    }
}

static uint32_t skip_digits(struct mq_str s, uint32_t i)
{
    while (is_digit(byte_at(s, i))) {
        i++;
    }
    return i;
}

/* Behind an exponent at @i, or @i when there is none. */
static uint32_t skip_exponent(struct mq_str s, uint32_t i)
{
    uint32_t digits = i + 1;

    if (byte_at(s, i) != 'e' && byte_at(s, i) != 'E') {
        return i;
    }
    if (byte_at(s, digits) == '+' || byte_at(s, digits) == '-') {
        digits++;
    }
    return is_digit(byte_at(s, digits)) ? skip_digits(s, digits) : i;
}

static uint32_t lex_number(struct mq_str s, uint32_t i, enum sql_token_kind *kind)
{
    uint32_t whole = skip_digits(s, i);
    uint32_t end;

    *kind = SQL_FLOAT;
    if (byte_at(s, whole) == '.' && (whole > i || is_digit(byte_at(s, whole + 1)))) {
        return skip_exponent(s, skip_digits(s, whole + 1));
    }
    end = skip_exponent(s, whole);
    if (end > whole) {
        return end;
    }
    *kind = SQL_INTEGER;
    if (s.at[i] == '0') {
        return i + 1;
    }
    return byte_at(s, whole) == 'l' || byte_at(s, whole) == 'L' ? whole + 1 : whole;
}

static uint32_t lex_name(struct mq_str s, uint32_t i, enum sql_token_kind *kind)
{
    uint32_t end = i;
    struct mq_str word;

    while (begins_name(byte_at(s, end)) || is_digit(byte_at(s, end))) {
        end++;
    }
    word = (struct mq_str){s.at + i, end - i};
    *kind = SQL_NAME;
    for (size_t k = 0; k < ARRAY_SIZE(KEYWORDS); k++) {
        if (mq_str_eq_nocase(word, KEYWORDS[k].text)) {
            *kind = KEYWORDS[k].kind;
        }
    }
    return end;
}

/* A quote inside is written twice. Without a closing quote the last doubled one is cut in two, as the longest match;
 * returns @i when there is none of these either. */
static uint32_t lex_string(struct mq_str s, uint32_t i)
{
    uint32_t cut = i;

    for (uint32_t end = i + 1; end < s.len; end++) {
        if (s.at[end] != '\'') {
            continue;
        }
        if (byte_at(s, end + 1) != '\'') {
            return end + 1;
        }
        end++;
        cut = end;
    }
    return cut;
}

static uint32_t lex_sign(struct mq_str s, uint32_t i, enum sql_token_kind *kind)
{
    static const struct {
        char text[3];
        enum sql_token_kind kind;
    } SIGNS[] = {{"<>", SQL_NE},  {"<=", SQL_LE},   {">=", SQL_GE},  {"<", SQL_LT},    {">", SQL_GT},   {"=", SQL_EQ},
                 {"+", SQL_PLUS}, {"-", SQL_MINUS}, {"(", SQL_OPEN}, {")", SQL_CLOSE}, {",", SQL_COMMA}};

    for (size_t k = 0; k < ARRAY_SIZE(SIGNS); k++) {
        uint32_t n = SIGNS[k].text[1] != '\0' ? 2 : 1;

        if (s.at[i] == SIGNS[k].text[0] && (n == 1 || byte_at(s, i + 1) == SIGNS[k].text[1])) {
            *kind = SIGNS[k].kind;
            return i + n;
        }
    }
    return i;
}

struct sql_token sql_lex(struct mq_str expression, uint32_t offset)
{
    uint32_t i = skip_space(expression, offset);
    enum sql_token_kind kind = SQL_BAD;
    uint32_t end = i;
    char c;

    if (i >= expression.len) {
        return (struct sql_token){SQL_END, {expression.at + expression.len, 0}, expression.len};
    }
    c = expression.at[i];
    if (begins_name(c)) {
        end = lex_name(expression, i, &kind);
    } else if (is_digit(c) || (c == '.' && is_digit(byte_at(expression, i + 1)))) {
        end = lex_number(expression, i, &kind);
    } else if (c == '\'') {
        end = lex_string(expression, i);
        kind = end > i ? SQL_STRING : SQL_BAD;
    } else {
        end = lex_sign(expression, i, &kind);
    }
    if (end == i) {
        kind = SQL_BAD;
        end = i + 1;
    }
    return (struct sql_token){kind, {expression.at + i, end - i}, i};
}
