/* Text -> nodes in one array, operands before their operators -> evaluated from the root. Constant operands are
 * checked while compiling, as Java's factory methods do it; that is where most errors come from. */
#include "remoting/protocol/filter_sql.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/filter_sql_lexer.h"
#include "remoting/protocol/filter_sql_value.h"
#include "remoting/protocol/properties.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum node_op {
    NODE_CONSTANT, /* value */
    NODE_PROPERTY, /* name */
    NODE_NEGATE,   /* left */
    NODE_NOT,      /* left */
    NODE_CAST,     /* left: a property where a condition is wanted */
    NODE_AND,      /* left, right, like all that follow */
    NODE_OR,
    NODE_EQ,
    NODE_LT,
    NODE_LE,
    NODE_GT,
    NODE_GE,
    NODE_IN,       /* left: the property; right: the first NODE_ITEM */
    NODE_ITEM,     /* value; right: the next one, or 0 */
    NODE_CONTAINS, /* left; right: a constant */
    NODE_STARTSWITH,
    NODE_ENDSWITH
};

struct node {
    uint8_t op;
    bool negated; /* of NODE_IN and the searches in text */
    uint16_t left, right;
    uint16_t name; /* of NODE_PROPERTY */
    struct sql_value value;
};

struct proto_sql {
    uint32_t n_nodes, n_names;
    uint16_t root;
    char *text; /* what names and strings point into */
    struct mq_str names[PROTO_SQL_NAMES_MAX];
    struct node nodes[]; /* n_nodes; number 0 is used by none, so that 0 can mean none */
};

/* ---- compiling ---- */

struct compiler {
    struct mq_str text;
    struct sql_token token; /* the next one */
    struct proto_sql *sql;
    char *strings; /* where the next unquoted string goes, in sql->text */
    uint32_t depth;
    struct mq_buf *problem;
    int rc; /* the first failure: everything returns from then on */
};

static uint16_t parse_or(struct compiler *c);

__attribute__((format(printf, 3, 4))) static uint16_t fail(struct compiler *c, int rc, const char *fmt, ...)
{
    va_list args;
    char line[160];

    if (c->rc == 0) {
        c->rc = rc;
        va_start(args, fmt);
        vsnprintf(line, sizeof(line), fmt, args);
        va_end(args);
        mq_buf_printf(c->problem, "at position %u: %s", (unsigned)c->token.at + 1, line);
    }
    return 0;
}

/* What stands there, for the eyes of whoever wrote it. */
static uint16_t expected(struct compiler *c, const char *what)
{
    struct mq_str found = c->token.text;

    found.len = found.len < 32 ? found.len : 32;
    if (c->token.kind == SQL_END) {
        return fail(c, MQ_EINVAL, "expected %s, found the end", what);
    }
    return fail(c, MQ_EINVAL, "expected %s, found \"" MQ_STR_FMT "\"", what, MQ_STR_ARG(found));
}

static void advance(struct compiler *c)
{
    c->token = sql_lex(c->text, c->token.at + c->token.text.len);
}

static bool accept(struct compiler *c, enum sql_token_kind kind)
{
    if (c->rc != 0 || c->token.kind != kind) {
        return false;
    }
    advance(c);
    return true;
}

static uint16_t add(struct compiler *c, struct node node)
{
    if (c->rc != 0) {
        return 0;
    }
    if (c->sql->n_nodes == PROTO_SQL_NODES_MAX) {
        return fail(c, MQ_ETOOBIG, "the expression has more than %u operators and operands", PROTO_SQL_NODES_MAX - 1);
    }
    c->sql->nodes[c->sql->n_nodes] = node;
    return (uint16_t)c->sql->n_nodes++;
}

static const struct node *at(const struct compiler *c, uint16_t i)
{
    return &c->sql->nodes[i];
}

/* Java's BooleanExpression: what yields true, false or unknown. */
static bool is_condition(const struct compiler *c, uint16_t i)
{
    const struct node *node = at(c, i);

    switch (node->op) {
    case NODE_CONSTANT:
        return node->value.kind == SQL_VALUE_BOOL || node->value.kind == SQL_VALUE_NONE;
    case NODE_PROPERTY:
    case NODE_NEGATE:
        return false;
    default:
        return true;
    }
}

static uint16_t as_condition(struct compiler *c, uint16_t i)
{
    if (c->rc != 0 || is_condition(c, i)) {
        return i;
    }
    if (at(c, i)->op == NODE_PROPERTY) {
        return add(c, (struct node){.op = NODE_CAST, .left = i});
    }
    return fail(c, MQ_EINVAL, "what stands before is not a condition, but a number or a text");
}

static bool is_number(const struct sql_value *value)
{
    return value->kind == SQL_VALUE_I32 || value->kind == SQL_VALUE_I64 || value->kind == SQL_VALUE_F64;
}

static uint16_t compare(struct compiler *c, enum node_op op, uint16_t left, uint16_t right)
{
    const uint16_t sides[] = {left, right};

    for (size_t k = 0; k < ARRAY_SIZE(sides) && c->rc == 0; k++) {
        const struct node *side = at(c, sides[k]);

        if (side->op == NODE_CONSTANT ? !is_number(&side->value) : is_condition(c, sides[k])) {
            return fail(c, MQ_EINVAL, "only numbers and properties can be compared by <, <=, >, >= and BETWEEN");
        }
    }
    return add(c, (struct node){.op = (uint8_t)op, .left = left, .right = right});
}

static uint16_t negate_condition(struct compiler *c, uint16_t i)
{
    return add(c, (struct node){.op = NODE_NOT, .left = i});
}

static uint16_t equal(struct compiler *c, uint16_t left, uint16_t right, bool negated)
{
    uint16_t i;

    if (c->rc != 0) {
        return 0;
    }
    if ((at(c, left)->op == NODE_CONSTANT && at(c, left)->value.kind == SQL_VALUE_NONE) ||
        (at(c, right)->op == NODE_CONSTANT && at(c, right)->value.kind == SQL_VALUE_NONE)) {
        return fail(c, MQ_EINVAL, "nothing equals NULL: write IS NULL or IS NOT NULL");
    }
    if (at(c, left)->op == NODE_CONSTANT && at(c, right)->op == NODE_CONSTANT && is_condition(c, left) &&
        !is_condition(c, right)) {
        return fail(c, MQ_EINVAL, "TRUE and FALSE cannot be compared with numbers and texts");
    }
    i = add(c, (struct node){.op = NODE_EQ, .left = left, .right = right});
    return negated ? negate_condition(c, i) : i;
}

static uint16_t is_null(struct compiler *c, uint16_t left)
{
    bool negated;
    uint16_t i;

    advance(c);
    negated = accept(c, SQL_NOT);
    if (!accept(c, SQL_NULL)) {
        return expected(c, negated ? "NULL" : "NULL or NOT NULL");
    }
    i = add(c, (struct node){.op = NODE_CONSTANT, .value = {.kind = SQL_VALUE_NONE}});
    i = add(c, (struct node){.op = NODE_EQ, .left = left, .right = i});
    return negated ? negate_condition(c, i) : i;
}

/* A string with its quotes gone, in the memory of the expression. */
static struct mq_str take_string(struct compiler *c)
{
    struct mq_str quoted = c->token.text;
    struct mq_str out = {c->strings, 0};

    if (c->token.kind != SQL_STRING) {
        expected(c, "a text in single quotes");
        return (struct mq_str){"", 0};
    }
    for (uint32_t i = 1; i + 1 < quoted.len; i++) {
        if (quoted.at[i] == '\'') {
            i++;
        }
        c->strings[out.len++] = quoted.at[i];
    }
    c->strings += out.len;
    advance(c);
    return out;
}

static uint16_t string_constant(struct compiler *c, enum node_op op)
{
    struct mq_str text = take_string(c);

    return add(c, (struct node){.op = (uint8_t)op, .value = {.kind = SQL_VALUE_TEXT, .text = text}});
}

static uint16_t name_of(struct compiler *c, struct mq_str name)
{
    struct proto_sql *sql = c->sql;

    for (uint32_t i = 0; i < sql->n_names; i++) {
        if (mq_str_eq(sql->names[i], name)) {
            return (uint16_t)i;
        }
    }
    if (sql->n_names == PROTO_SQL_NAMES_MAX) {
        return fail(c, MQ_ETOOBIG, "the expression names more than %u properties", PROTO_SQL_NAMES_MAX);
    }
    memcpy(c->strings, name.at, name.len);
    sql->names[sql->n_names] = (struct mq_str){c->strings, name.len};
    c->strings += name.len;
    return (uint16_t)sql->n_names++;
}

static uint16_t number_constant(struct compiler *c)
{
    struct node node = {.op = NODE_CONSTANT};
    struct mq_str text = c->token.text;
    bool whole = c->token.kind == SQL_INTEGER;

    if (whole && (text.at[text.len - 1] == 'l' || text.at[text.len - 1] == 'L')) {
        text.len--;
    }
    if (whole ? !sql_value_whole(text, &node.value) : !sql_value_float(text, &node.value) || isinf(node.value.f64)) {
        return fail(c, MQ_EINVAL, "the number does not fit into %s", whole ? "64 bits" : "a double");
    }
    if (!whole && node.value.f64 <= 0) {
        return fail(c, MQ_EINVAL, "a number with a point must be above 0; write 0 without one");
    }
    advance(c);
    return add(c, node);
}

static uint16_t parse_primary(struct compiler *c)
{
    struct node node = {.op = NODE_CONSTANT};
    uint16_t i;

    switch (c->token.kind) {
    case SQL_STRING:
        return string_constant(c, NODE_CONSTANT);
    case SQL_INTEGER:
    case SQL_FLOAT:
        return number_constant(c);
    case SQL_TRUE:
    case SQL_FALSE:
        node.value = (struct sql_value){.kind = SQL_VALUE_BOOL, .truth = c->token.kind == SQL_TRUE};
        advance(c);
        return add(c, node);
    case SQL_NULL:
        advance(c);
        return add(c, node);
    case SQL_NAME:
        node = (struct node){.op = NODE_PROPERTY, .name = name_of(c, c->token.text)};
        advance(c);
        return add(c, node);
    case SQL_OPEN:
        advance(c);
        i = parse_or(c);
        return accept(c, SQL_CLOSE) ? i : expected(c, "\")\"");
    default:
        return expected(c, "a property, a value or \"(\"");
    }
}

static uint16_t parse_unary(struct compiler *c)
{
    uint16_t i = 0;

    if (c->rc != 0) {
        return 0;
    }
    if (++c->depth > PROTO_SQL_DEPTH_MAX) {
        return fail(c, MQ_ETOOBIG, "brackets and signs are nested more than %u deep", PROTO_SQL_DEPTH_MAX);
    }
    if (accept(c, SQL_PLUS)) {
        i = parse_unary(c);
    } else if (accept(c, SQL_MINUS)) {
        i = parse_unary(c);
        i = add(c, (struct node){.op = NODE_NEGATE, .left = i});
    } else if (accept(c, SQL_NOT)) {
        i = as_condition(c, parse_unary(c));
        i = negate_condition(c, i);
    } else {
        i = parse_primary(c);
    }
    c->depth--;
    return i;
}

static uint16_t parse_in(struct compiler *c, uint16_t left, bool negated)
{
    struct node in = {.op = NODE_IN, .negated = negated, .left = left};
    uint16_t last = 0;

    if (c->rc != 0) {
        return 0;
    }
    if (at(c, left)->op != NODE_PROPERTY) {
        return fail(c, MQ_EINVAL, "IN needs a property before it");
    }
    if (!accept(c, SQL_OPEN)) {
        return expected(c, "\"(\"");
    }
    do {
        uint16_t item = string_constant(c, NODE_ITEM);

        if (c->rc != 0) {
            return 0;
        }
        if (last == 0) {
            in.right = item;
        } else {
            c->sql->nodes[last].right = item;
        }
        last = item;
    } while (accept(c, SQL_COMMA));
    return accept(c, SQL_CLOSE) ? add(c, in) : expected(c, "\",\" or \")\"");
}

static uint16_t parse_between(struct compiler *c, uint16_t left, bool negated)
{
    uint16_t low = parse_unary(c), high, over, under;

    if (c->rc == 0 && !accept(c, SQL_AND)) {
        return expected(c, "AND and the upper bound");
    }
    high = parse_unary(c);
    if (c->rc != 0) {
        return 0;
    }
    if (!negated && at(c, low)->op == NODE_CONSTANT && at(c, high)->op == NODE_CONSTANT &&
        is_number(&at(c, low)->value) && is_number(&at(c, high)->value) &&
        sql_value_order(&at(c, high)->value, &at(c, low)->value) == SQL_LESS) {
        return fail(c, MQ_EINVAL, "the lower bound of BETWEEN is above the upper one");
    }
    over = compare(c, negated ? NODE_LT : NODE_GE, left, low);
    under = compare(c, negated ? NODE_GT : NODE_LE, left, high);
    return add(c, (struct node){.op = negated ? NODE_OR : NODE_AND, .left = over, .right = under});
}

static uint16_t parse_search(struct compiler *c, enum node_op op, uint16_t left, bool negated)
{
    uint16_t right = string_constant(c, NODE_CONSTANT);

    return add(c, (struct node){.op = (uint8_t)op, .negated = negated, .left = left, .right = right});
}

/* What may also stand behind NOT. Returns false when the next word is none of them. */
static bool parse_word_operator(struct compiler *c, uint16_t left, bool negated, uint16_t *out)
{
    if (accept(c, SQL_BETWEEN)) {
        *out = parse_between(c, left, negated);
    } else if (accept(c, SQL_IN)) {
        *out = parse_in(c, left, negated);
    } else if (accept(c, SQL_CONTAINS)) {
        *out = parse_search(c, NODE_CONTAINS, left, negated);
    } else if (accept(c, SQL_STARTSWITH)) {
        *out = parse_search(c, NODE_STARTSWITH, left, negated);
    } else if (accept(c, SQL_ENDSWITH)) {
        *out = parse_search(c, NODE_ENDSWITH, left, negated);
    } else {
        return false;
    }
    return true;
}

static uint16_t parse_comparison(struct compiler *c)
{
    uint16_t left = parse_unary(c);

    while (c->rc == 0) {
        if (accept(c, SQL_LT)) {
            left = compare(c, NODE_LT, left, parse_unary(c));
        } else if (accept(c, SQL_LE)) {
            left = compare(c, NODE_LE, left, parse_unary(c));
        } else if (accept(c, SQL_GT)) {
            left = compare(c, NODE_GT, left, parse_unary(c));
        } else if (accept(c, SQL_GE)) {
            left = compare(c, NODE_GE, left, parse_unary(c));
        } else if (accept(c, SQL_NOT)) {
            if (!parse_word_operator(c, left, true, &left)) {
                return expected(c, "BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH");
            }
        } else if (!parse_word_operator(c, left, false, &left)) {
            break;
        }
    }
    return left;
}

static uint16_t parse_equality(struct compiler *c)
{
    uint16_t left = parse_comparison(c);

    while (c->rc == 0) {
        if (accept(c, SQL_EQ)) {
            left = equal(c, left, parse_comparison(c), false);
        } else if (accept(c, SQL_NE)) {
            left = equal(c, left, parse_comparison(c), true);
        } else if (c->token.kind == SQL_IS) {
            left = is_null(c, left);
        } else {
            break;
        }
    }
    return left;
}

static uint16_t join(struct compiler *c, enum node_op op, uint16_t left, uint16_t right)
{
    left = as_condition(c, left);
    right = as_condition(c, right);
    return add(c, (struct node){.op = (uint8_t)op, .left = left, .right = right});
}

static uint16_t parse_and(struct compiler *c)
{
    uint16_t left = parse_equality(c);

    while (accept(c, SQL_AND)) {
        left = join(c, NODE_AND, left, parse_equality(c));
    }
    return left;
}

static uint16_t parse_or(struct compiler *c)
{
    uint16_t left = parse_and(c);

    while (accept(c, SQL_OR)) {
        left = join(c, NODE_OR, left, parse_and(c));
    }
    return left;
}

/* Gives back what a small expression does not need of the largest one's memory. */
static struct proto_sql *shrink(struct proto_sql *sql)
{
    struct proto_sql *small = mq_realloc(sql, sizeof(*sql) + sql->n_nodes * sizeof(sql->nodes[0]));

    return small != NULL ? small : sql;
}

int proto_sql_compile(struct mq_str text, struct proto_sql **out, struct mq_buf *problem)
{
    struct compiler c = {.text = text, .problem = problem};
    uint16_t root;

    if (text.len > PROTO_SQL_TEXT_MAX) {
        mq_buf_printf(problem, "the expression has %u bytes, allowed are %u", (unsigned)text.len, PROTO_SQL_TEXT_MAX);
        return MQ_ETOOBIG;
    }
    c.sql = mq_calloc(1, sizeof(*c.sql) + PROTO_SQL_NODES_MAX * sizeof(c.sql->nodes[0]));
    if (c.sql == NULL) {
        return MQ_ENOMEM;
    }
    c.sql->n_nodes = 1;
    c.sql->text = mq_malloc(text.len + 1); /* every name and string once, each shorter than in the expression */
    if (c.sql->text == NULL) {
        mq_free(c.sql);
        return MQ_ENOMEM;
    }
    c.strings = c.sql->text;
    c.token = sql_lex(text, 0);
    root = as_condition(&c, parse_or(&c));
    if (c.rc == 0 && c.token.kind == SQL_BAD) {
        expected(&c, "an operator or the end");
    }
    if (c.rc != 0) {
        proto_sql_free(c.sql);
        return c.rc;
    }
    c.sql->root = root;
    *out = shrink(c.sql);
    return 0;
}

void proto_sql_free(struct proto_sql *sql)
{
    if (sql != NULL) {
        mq_free(sql->text);
        mq_free(sql);
    }
}

/* ---- matching ---- */

struct match {
    const struct proto_sql *sql;
    struct mq_str values[PROTO_SQL_NAMES_MAX]; /* of the names; at NULL: absent */
};

static const struct sql_value UNKNOWN = {.kind = SQL_VALUE_NONE};
static const struct sql_value FAILED = {.kind = SQL_VALUE_FAILED};

static struct sql_value truth(bool is_true)
{
    return (struct sql_value){.kind = SQL_VALUE_BOOL, .truth = is_true};
}

static struct sql_value evaluate(const struct match *m, uint16_t i);

/* AND decides at the first FALSE, OR at the first TRUE: then the other side is not evaluated, and cannot fail. */
static struct sql_value evaluate_logic(const struct match *m, const struct node *node)
{
    bool decides = node->op == NODE_OR;
    struct sql_value left = evaluate(m, node->left), right;

    if (left.kind == SQL_VALUE_FAILED || (left.kind == SQL_VALUE_BOOL && left.truth == decides)) {
        return left;
    }
    right = evaluate(m, node->right);
    if (right.kind == SQL_VALUE_FAILED || (right.kind == SQL_VALUE_BOOL && right.truth == decides)) {
        return right;
    }
    return left.kind == SQL_VALUE_NONE || right.kind == SQL_VALUE_NONE ? UNKNOWN : truth(!decides);
}

static struct sql_value evaluate_equal(const struct match *m, const struct node *node)
{
    struct sql_value left = evaluate(m, node->left);
    struct sql_value right = left.kind == SQL_VALUE_FAILED ? FAILED : evaluate(m, node->right);
    enum sql_order order;

    if (right.kind == SQL_VALUE_FAILED) {
        return FAILED;
    }
    if (left.kind == SQL_VALUE_NONE) {
        return right.kind == SQL_VALUE_NONE ? truth(true) : UNKNOWN;
    }
    if (right.kind == SQL_VALUE_NONE) {
        return truth(false);
    }
    order = sql_value_order(&left, &right);
    return order == SQL_NO_ORDER ? FAILED : truth(order == SQL_SAME);
}

static struct sql_value evaluate_order(const struct match *m, const struct node *node)
{
    struct sql_value left = evaluate(m, node->left), right;
    enum sql_order order;

    if (left.kind == SQL_VALUE_NONE || left.kind == SQL_VALUE_FAILED) {
        return left;
    }
    right = evaluate(m, node->right);
    if (right.kind == SQL_VALUE_NONE || right.kind == SQL_VALUE_FAILED) {
        return right;
    }
    if (left.kind == SQL_VALUE_TEXT && right.kind == SQL_VALUE_TEXT &&
        !(sql_value_float(left.text, &left) && sql_value_float(right.text, &right))) {
        return FAILED;
    }
    order = sql_value_order(&left, &right);
    switch (order) {
    case SQL_NO_ORDER:
        return FAILED;
    case SQL_LESS:
        return truth(node->op == NODE_LT || node->op == NODE_LE);
    case SQL_GREATER:
        return truth(node->op == NODE_GT || node->op == NODE_GE);
    default:
        return truth(node->op == NODE_LE || node->op == NODE_GE);
    }
}

static struct sql_value evaluate_in(const struct match *m, const struct node *node)
{
    struct sql_value left = evaluate(m, node->left);
    bool found = false;

    if (left.kind != SQL_VALUE_TEXT) {
        return UNKNOWN;
    }
    for (uint16_t i = node->right; i != 0 && !found; i = m->sql->nodes[i].right) {
        found = mq_str_eq(m->sql->nodes[i].value.text, left.text);
    }
    return truth(found != node->negated);
}

static bool contains(struct mq_str text, struct mq_str part)
{
    return memmem(text.at, text.len, part.at, part.len) != NULL;
}

static bool ends_with(struct mq_str text, struct mq_str part)
{
    return text.len >= part.len && memcmp(text.at + text.len - part.len, part.at, part.len) == 0;
}

/* FALSE, and not unknown, also for NOT, where there is nothing to search in or for. */
static struct sql_value evaluate_search(const struct match *m, const struct node *node)
{
    struct mq_str part = m->sql->nodes[node->right].value.text;
    struct sql_value left;
    bool found;

    if (part.len == 0) {
        return truth(false);
    }
    left = evaluate(m, node->left);
    if (left.kind == SQL_VALUE_FAILED) {
        return FAILED;
    }
    if (left.kind != SQL_VALUE_TEXT) {
        return truth(false);
    }
    found = node->op == NODE_CONTAINS     ? contains(left.text, part)
            : node->op == NODE_STARTSWITH ? mq_str_starts(left.text, part)
                                          : ends_with(left.text, part);
    return truth(found != node->negated);
}

static struct sql_value evaluate_unary(const struct match *m, const struct node *node)
{
    struct sql_value value = evaluate(m, node->left);

    if (value.kind == SQL_VALUE_FAILED || value.kind == SQL_VALUE_NONE) {
        return value;
    }
    if (node->op == NODE_NEGATE) {
        return sql_value_negate(&value) ? value : UNKNOWN;
    }
    if (node->op == NODE_CAST) {
        return truth(value.kind == SQL_VALUE_BOOL && value.truth);
    }
    return truth(!value.truth);
}

static struct sql_value evaluate(const struct match *m, uint16_t i)
{
    const struct node *node = &m->sql->nodes[i];

    switch ((enum node_op)node->op) {
    case NODE_PROPERTY:
        return m->values[node->name].at == NULL
                   ? UNKNOWN
                   : (struct sql_value){.kind = SQL_VALUE_TEXT, .text = m->values[node->name]};
    case NODE_NEGATE:
    case NODE_NOT:
    case NODE_CAST:
        return evaluate_unary(m, node);
    case NODE_AND:
    case NODE_OR:
        return evaluate_logic(m, node);
    case NODE_EQ:
        return evaluate_equal(m, node);
    case NODE_LT:
    case NODE_LE:
    case NODE_GT:
    case NODE_GE:
        return evaluate_order(m, node);
    case NODE_IN:
        return evaluate_in(m, node);
    case NODE_CONTAINS:
    case NODE_STARTSWITH:
    case NODE_ENDSWITH:
        return evaluate_search(m, node);
    case NODE_CONSTANT:
    case NODE_ITEM:
        break;
    }
    return node->value;
}

bool proto_sql_match(const struct proto_sql *sql, struct mq_str properties)
{
    struct match m = {.sql = sql};
    struct mq_str name, value;
    struct sql_value result;

    while (proto_properties_next(&properties, &name, &value)) {
        for (uint32_t i = 0; i < sql->n_names; i++) {
            if (mq_str_eq(sql->names[i], name)) {
                m.values[i] = value; /* the last one counts, as in a Java map */
            }
        }
    }
    result = evaluate(&m, sql->root);
    return result.kind == SQL_VALUE_BOOL && result.truth;
}
