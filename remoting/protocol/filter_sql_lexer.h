/* The words of an SQL92 expression. */
#ifndef MQ_PROTOCOL_FILTER_SQL_LEXER_H
#define MQ_PROTOCOL_FILTER_SQL_LEXER_H

#include "remoting/base/text.h"

enum sql_token_kind {
    SQL_END,
    SQL_BAD, /* no word begins like this */
    SQL_NAME,
    SQL_STRING, /* with its quotes */
    SQL_INTEGER,
    SQL_FLOAT,
    SQL_EQ,
    SQL_NE,
    SQL_LT,
    SQL_LE,
    SQL_GT,
    SQL_GE,
    SQL_PLUS,
    SQL_MINUS,
    SQL_OPEN,
    SQL_CLOSE,
    SQL_COMMA,
    SQL_NOT, /* keywords, in any case, from here on */
    SQL_AND,
    SQL_OR,
    SQL_BETWEEN,
    SQL_IN,
    SQL_TRUE,
    SQL_FALSE,
    SQL_NULL,
    SQL_IS,
    SQL_CONTAINS,
    SQL_STARTSWITH,
    SQL_ENDSWITH
};

struct sql_token {
    enum sql_token_kind kind;
    struct mq_str text; /* borrowed from the expression */
    uint32_t at;        /* offset of its first byte */
};

/* The next word at or after @offset. The longest one that fits, as JavaCC's scanner has it: `0L` is the number 0 and
 * the name L, `5.` is a float, `--` is a comment only with a line end behind it. */
struct sql_token sql_lex(struct mq_str expression, uint32_t offset);

#endif
