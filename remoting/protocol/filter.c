/* Splitting follows Java's String.split("\\|\\|"): only an expression whose pieces are all empty is an error; pieces
 * of blanks are dropped, and when nothing else is left nothing passes. */
#include "remoting/protocol/filter.h"

#include "remoting/base/err.h"
#include "remoting/protocol/trim.h"

/* Takes what stands before the next "||" from the front of @rest; false when nothing is left. */
static bool next_piece(struct mq_str *rest, struct mq_str *piece)
{
    if (rest->at == NULL) {
        return false;
    }
    for (uint32_t i = 0; i + 1 < rest->len; i++) {
        if (rest->at[i] == '|' && rest->at[i + 1] == '|') {
            *piece = (struct mq_str){rest->at, i};
            *rest = (struct mq_str){rest->at + i + 2, rest->len - i - 2};
            return true;
        }
    }
    *piece = *rest;
    *rest = (struct mq_str){0};
    return true;
}

bool proto_tags_next(struct mq_str *rest, struct mq_str *tag)
{
    struct mq_str piece;

    while (next_piece(rest, &piece)) {
        piece = proto_trim(piece);
        if (piece.len != 0) {
            *tag = piece;
            return true;
        }
    }
    return false;
}

void proto_filter_add(struct proto_filter *filter, int32_t code)
{
    for (uint16_t i = 0; i < filter->count; i++) {
        if (filter->codes[i] == code) {
            return;
        }
    }
    if (filter->count == PROTO_FILTER_CODES_MAX) {
        filter->all = true;
        return;
    }
    filter->codes[filter->count++] = code;
}

static bool only_separators(struct mq_str expression)
{
    struct mq_str piece;

    while (next_piece(&expression, &piece)) {
        if (piece.len != 0) {
            return false;
        }
    }
    return true;
}

int proto_filter_parse(struct mq_str expression, struct proto_filter *out)
{
    struct mq_str tag;

    if (expression.len == 0 || mq_str_eq(expression, MQ_STR("*"))) {
        out->all = true;
        out->count = 0;
        return 0;
    }
    if (only_separators(expression)) {
        return MQ_EINVAL;
    }
    out->all = false;
    out->count = 0;
    while (!out->all && proto_tags_next(&expression, &tag)) {
        proto_filter_add(out, mq_java_hash(tag));
    }
    return 0;
}
