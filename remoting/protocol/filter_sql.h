/* SQL92 expressions over the properties of a message, compiled once and matched many times.
 *
 *   a > 5 AND (region = 'eu' OR region IS NULL) AND kind NOT IN ('x', 'y') AND name STARTSWITH 'ab'
 *
 * Operands are properties, which are text or absent, and literals. Operators: AND, OR, NOT, =, <>, <, <=, >, >=,
 * [NOT] BETWEEN, [NOT] IN, IS [NOT] NULL, [NOT] CONTAINS, [NOT] STARTSWITH, [NOT] ENDSWITH, and a sign before an
 * operand. There is no arithmetic and no LIKE. Three-valued logic and conversions are Java's, with the edges that
 * clients know, among them: what follows a complete expression is not looked at; text that does not convert to the
 * number it is compared with ends the evaluation without a match, also inside an OR; an absent property on the right
 * of
 * `=` makes it false, on the left unknown. Source: RocketMQ's SelectorParser and ComparisonExpression. */
#ifndef MQ_PROTOCOL_FILTER_SQL_H
#define MQ_PROTOCOL_FILTER_SQL_H

#include "remoting/base/buf.h"
#include "remoting/base/text.h"

#include <stdbool.h>

/* What one expression may cost. Java sets no limits; these are far above what people write. */
#define PROTO_SQL_TEXT_MAX 16384u /* bytes */
#define PROTO_SQL_NODES_MAX 1024u /* operators and operands: all of them at most once a message */
#define PROTO_SQL_NAMES_MAX 64u   /* different properties */
#define PROTO_SQL_DEPTH_MAX 64u   /* brackets and signs inside each other */

/* A compiled expression. It does not change, so any thread may match with it. */
struct proto_sql;

/* Compiles @text, which is not needed afterwards. Returns 0 with @out to be freed with proto_sql_free; MQ_EINVAL with
 * one line in @problem that names the position (from 1, in bytes); MQ_ETOOBIG with a line naming the limit; or
 * MQ_ENOMEM. */
int proto_sql_compile(struct mq_str text, struct proto_sql **out, struct mq_buf *problem);
void proto_sql_free(struct proto_sql *sql);

/* Whether a message with these properties (as its record has them) passes: true only if the expression is TRUE. */
bool proto_sql_match(const struct proto_sql *sql, struct mq_str properties);

#endif
