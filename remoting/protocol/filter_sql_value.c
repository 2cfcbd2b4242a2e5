#include "remoting/protocol/filter_sql_value.h"

#include <math.h>
#include <stdlib.h>

#define FLOAT_TEXT_MAX 1100 /* no double needs more digits; longer text is no number here */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Long.valueOf takes a sign of either kind and ASCII digits; other scripts' digits are no numbers here. */
bool sql_value_whole(struct mq_str text, struct sql_value *out)
{
    bool negative = text.len > 0 && text.at[0] == '-';
    uint64_t max = (uint64_t)INT64_MAX + negative;
    uint64_t value = 0;
    uint32_t i = negative || (text.len > 0 && text.at[0] == '+') ? 1 : 0;

    if (i == text.len) {
        return false;
    }
    for (; i < text.len; i++) {
        uint64_t digit = (uint64_t)(text.at[i] - '0');

        if (!is_digit(text.at[i]) || value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    out->i64 = (int64_t)(negative ? 0 - value : value);
    out->kind = out->i64 >= INT32_MIN && out->i64 <= INT32_MAX ? SQL_VALUE_I32 : SQL_VALUE_I64;
    return true;
}

static uint32_t skip(const char *at, uint32_t i, bool (*is_in)(char c))
{
    while (is_in(at[i])) {
        i++;
    }
    return i;
}

/* Behind a Java floating point literal without sign and suffix at the NUL-terminated @at; 0: there is none. */
static uint32_t skip_float(const char *at)
{
    bool hex = at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
    bool (*is_in)(char c) = hex ? is_hex : is_digit;
    uint32_t begin = hex ? 2 : 0;
    uint32_t i = skip(at, begin, is_in);
    uint32_t digits = i - begin;
    bool exponent;

    if (at[i] == '.') {
        uint32_t end = skip(at, i + 1, is_in);

        digits += end - i - 1;
        i = end;
    }
    exponent = hex ? at[i] == 'p' || at[i] == 'P' : at[i] == 'e' || at[i] == 'E';
    if (digits == 0 || (hex && !exponent)) {
        return 0; /* Java wants the exponent of a hexadecimal number */
    }
    if (exponent) {
        uint32_t first = at[i + 1] == '+' || at[i + 1] == '-' ? i + 2 : i + 1;
        uint32_t end = skip(at, first, is_digit);

        return end > first ? end : 0;
    }
    return i;
}

bool sql_value_float(struct mq_str text, struct sql_value *out)
{
    char copy[FLOAT_TEXT_MAX + 1];
    char *at = copy;
    uint32_t n;
    double value;
    bool negative;

    while (text.len > 0 && (unsigned char)text.at[0] <= ' ') {
        text.at++;
        text.len--;
    }
    while (text.len > 0 && (unsigned char)text.at[text.len - 1] <= ' ') {
        text.len--;
    }
    if (text.len == 0 || text.len > FLOAT_TEXT_MAX) {
        return false;
    }
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    negative = *at == '-';
    at += *at == '-' || *at == '+' ? 1 : 0;
    if (strcmp(at, "NaN") == 0) {
        value = NAN;
    } else if (strcmp(at, "Infinity") == 0) {
        value = INFINITY;
    } else {
        n = skip_float(at);
        if (n == 0 || !(at[n] == '\0' || (at[n + 1] == '\0' && strchr("fFdD", at[n]) != NULL))) {
            return false;
        }
        at[n] = '\0';
        value = strtod(at, NULL);
    }
    *out = (struct sql_value){.kind = SQL_VALUE_F64, .f64 = negative ? -value : value};
    return true;
}

bool sql_value_negate(struct sql_value *value)
{
    switch (value->kind) {
    case SQL_VALUE_I32:
        value->i64 = value->i64 == INT32_MIN ? INT32_MIN : -value->i64; /* Java's int wraps */
        return true;
    case SQL_VALUE_I64:
        value->i64 = (int64_t)(0 - (uint64_t)value->i64);
        return true;
    case SQL_VALUE_F64:
        value->f64 = -value->f64;
        return true;
    default:
        return false;
    }
}

static enum sql_order order_i64(int64_t left, int64_t right)
{
    return left < right ? SQL_LESS : left > right ? SQL_GREATER : SQL_SAME;
}

/* Double.compareTo: -0.0 is below 0.0, and NaN above everything and equal to itself. */
static enum sql_order order_f64(double left, double right)
{
    if (isnan(left) || isnan(right)) {
        return order_i64(isnan(left), isnan(right));
    }
    if (left == right) {
        return order_i64(!signbit(left), !signbit(right));
    }
    return left < right ? SQL_LESS : SQL_GREATER;
}

static double as_f64(const struct sql_value *value)
{
    return value->kind == SQL_VALUE_F64 ? value->f64 : (double)value->i64;
}

/* Converts text to the type of @like. False: Java would throw. */
static bool convert(struct mq_str text, const struct sql_value *like, struct sql_value *out)
{
    switch (like->kind) {
    case SQL_VALUE_BOOL:
        *out = (struct sql_value){.kind = SQL_VALUE_BOOL, .truth = mq_str_to_bool(text)};
        return true;
    case SQL_VALUE_I32:
        return sql_value_whole(text, out) && out->kind == SQL_VALUE_I32;
    case SQL_VALUE_I64:
        return sql_value_whole(text, out);
    default:
        return sql_value_float(text, out);
    }
}

enum sql_order sql_value_order(const struct sql_value *left, const struct sql_value *right)
{
    struct sql_value converted;

    if (left->kind == SQL_VALUE_TEXT && right->kind == SQL_VALUE_TEXT) {
        uint32_t n = left->text.len < right->text.len ? left->text.len : right->text.len;
        int order = n == 0 ? 0 : memcmp(left->text.at, right->text.at, n);

        return order != 0 ? order_i64(order, 0) : order_i64(left->text.len, right->text.len);
    }
    if (left->kind == SQL_VALUE_TEXT) {
        return convert(left->text, right, &converted) ? sql_value_order(&converted, right) : SQL_NO_ORDER;
    }
    if (right->kind == SQL_VALUE_TEXT) {
        /* Java casts a Boolean on the left to String here, and throws. */
        return left->kind != SQL_VALUE_BOOL && convert(right->text, left, &converted)
                   ? sql_value_order(left, &converted)
                   : SQL_NO_ORDER;
    }
    if (left->kind == SQL_VALUE_BOOL || right->kind == SQL_VALUE_BOOL) {
        return left->kind == right->kind ? order_i64(left->truth, right->truth) : SQL_LESS; /* never equal */
    }
    if (left->kind == SQL_VALUE_F64 || right->kind == SQL_VALUE_F64) {
        return order_f64(as_f64(left), as_f64(right));
    }
    return order_i64(left->i64, right->i64);
}
