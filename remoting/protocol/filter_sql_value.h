/* Values of SQL92 expressions and Java's rules for comparing them. */
#ifndef MQ_PROTOCOL_FILTER_SQL_VALUE_H
#define MQ_PROTOCOL_FILTER_SQL_VALUE_H

#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum sql_value_kind {
    SQL_VALUE_NONE, /* absent, unknown */
    SQL_VALUE_BOOL,
    SQL_VALUE_I32,
    SQL_VALUE_I64,
    SQL_VALUE_F64,
    SQL_VALUE_TEXT,
    SQL_VALUE_FAILED /* Java threw: the whole expression has no value */
};

struct sql_value {
    enum sql_value_kind kind;
    union {
        bool truth;
        int64_t i64; /* also of SQL_VALUE_I32 */
        double f64;
        struct mq_str text; /* borrowed */
    };
};

enum sql_order { SQL_LESS, SQL_SAME, SQL_GREATER, SQL_NO_ORDER /* Java would throw */ };

/* A decimal number as Long.valueOf reads it: SQL_VALUE_I32 where it fits. False: it is none, or too large. */
bool sql_value_whole(struct mq_str text, struct sql_value *out);
/* As Double.valueOf reads it: spaces around it, NaN, Infinity, hexadecimal, a suffix f or d. False: it is none. */
bool sql_value_float(struct mq_str text, struct sql_value *out);

/* Turns the sign of a number, in its own width. False: not a number. */
bool sql_value_negate(struct sql_value *value);

/* How two values that are there compare, text being converted to the other side's type. */
enum sql_order sql_value_order(const struct sql_value *left, const struct sql_value *right);

#endif
