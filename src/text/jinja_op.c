/* Operators with Python's rules. Integers have 64 bits; leaving them is an error, never a wrap. */
#include "text/jinja_core.h"

#include <math.h>
#include <string.h>

static const char *op_text(enum jop op)
{
    static const char *const text[] = {
        "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
    return text[op];
}

_Noreturn static void bad_operands(struct jctx *c, enum jop op, struct jval a, struct jval b)
{
    jval_need_defined(c, a);
    jval_need_defined(c, b);
    jctx_fail(c, ERR_FORMAT, "unsupported operand type(s) for %s: '%s' and '%s'", op_text(op),
              jval_type_name(a), jval_type_name(b));
}

_Noreturn static void overflow(struct jctx *c)
{
    jctx_fail(c, ERR_LIMIT, "an integer does not fit in 64 bits");
}

double jop_double(struct jval v)
{
    return v.type == JV_FLOAT ? v.f : (double)v.i;
}

static int64_t floor_div(struct jctx *c, int64_t a, int64_t b)
{
    if (!b)
        jctx_fail(c, ERR_FORMAT, "integer division or modulo by zero");
    if (b == -1 && a == INT64_MIN)
        overflow(c);
    return a / b - (a % b && (a < 0) != (b < 0));
}

static int64_t floor_mod(struct jctx *c, int64_t a, int64_t b)
{
    if (b == -1)
        return 0;
    return a - floor_div(c, a, b) * b;
}

static int64_t power(struct jctx *c, int64_t a, int64_t b)
{
    int64_t r = 1;

    while (b) {
        if (b & 1 && __builtin_mul_overflow(r, a, &r))
            overflow(c);
        b >>= 1;
        if (b && __builtin_mul_overflow(a, a, &a))
            overflow(c);
    }
    return r;
}

static struct jval int_op(struct jctx *c, enum jop op, int64_t a, int64_t b)
{
    int64_t r = 0;
    int bad = 0;

    switch (op) {
    case JOP_ADD:
        bad = __builtin_add_overflow(a, b, &r);
        break;
    case JOP_SUB:
        bad = __builtin_sub_overflow(a, b, &r);
        break;
    case JOP_MUL:
        bad = __builtin_mul_overflow(a, b, &r);
        break;
    case JOP_DIV:
        if (!b)
            jctx_fail(c, ERR_FORMAT, "division by zero");
        return jval_float((double)((long double)a / (long double)b));
    case JOP_FLOORDIV:
        r = floor_div(c, a, b);
        break;
    case JOP_MOD:
        r = floor_mod(c, a, b);
        break;
    default:
        if (b < 0 && !a)
            jctx_fail(c, ERR_FORMAT, "0.0 cannot be raised to a negative power");
        if (b < 0)
            return jval_float(pow((double)a, (double)b));
        r = power(c, a, b);
    }
    if (bad)
        overflow(c);
    return jval_int(r);
}

static struct jval float_op(struct jctx *c, enum jop op, double a, double b)
{
    double r;

    switch (op) {
    case JOP_ADD:
        return jval_float(a + b);
    case JOP_SUB:
        return jval_float(a - b);
    case JOP_MUL:
        return jval_float(a * b);
    case JOP_POW:
        r = pow(a, b);
        if ((isinf(r) && !isinf(a) && !isinf(b)) || (isnan(r) && !isnan(a) && !isnan(b)))
            jctx_fail(c, ERR_FORMAT, "the power is out of range");
        return jval_float(r);
    default:
        break;
    }
    if (b == 0)
        jctx_fail(c, ERR_FORMAT, "float division by zero");
    if (op == JOP_DIV)
        return jval_float(a / b);
    r = fmod(a, b);
    if (r != 0 && (r < 0) != (b < 0))
        r += b;
    if (op == JOP_MOD)
        return jval_float(r == 0 ? copysign(0, b) : r);
    return jval_float(round((a - r) / b));
}

static struct jval repeat(struct jctx *c, struct jval v, int64_t times)
{
    if (v.type == JV_STR) {
        struct jsb *b = jsb_new(c, 16);
        for (int64_t i = 0; v.s->n && i < times; i++)
            jsb_add_str(c, b, v.s);
        return jval_str(jstr_mark(c, jsb_str(c, b), v.s->markup));
    }
    struct jlist *l = jlist_new(c, 0);
    for (int64_t i = 0; v.l->n && i < times; i++) {
        for (size_t k = 0, n = v.l->n; k < n; k++)
            jlist_add(c, l, v.l->v[k]);
    }
    return jval_list(v.type, l);
}

static int is_sequence(struct jval v)
{
    return v.type == JV_STR || v.type == JV_LIST || v.type == JV_TUPLE;
}

static struct jval add_sequences(struct jctx *c, struct jval a, struct jval b)
{
    struct jlist *l;

    if (a.type == JV_STR) {
        const struct jstr *x = a.s, *y = b.s;
        if (x->markup != y->markup) {
            x = x->markup ? x : jstr_escape(c, x);
            y = y->markup ? y : jstr_escape(c, y);
        }
        return jval_str(jstr_mark(c, jstr_concat(c, x, y), x->markup));
    }
    l = jlist_new(c, a.l->n + b.l->n);
    for (size_t i = 0; i < a.l->n; i++)
        jlist_add(c, l, a.l->v[i]);
    for (size_t i = 0; i < b.l->n; i++)
        jlist_add(c, l, b.l->v[i]);
    return jval_list(a.type, l);
}

struct jval jop_binary(struct jctx *c, enum jop op, struct jval a, struct jval b)
{
    if (op >= JOP_EQ)
        return jval_bool(jop_compare(c, op, a, b));
    if (jval_is_integral(a) && jval_is_integral(b))
        return int_op(c, op, a.i, b.i);
    if (jval_is_number(a) && jval_is_number(b))
        return float_op(c, op, jop_double(a), jop_double(b));
    if (op == JOP_ADD && a.type == b.type && is_sequence(a))
        return add_sequences(c, a, b);
    if (op == JOP_MUL && is_sequence(a) && jval_is_integral(b))
        return repeat(c, a, b.i);
    if (op == JOP_MUL && is_sequence(b) && jval_is_integral(a))
        return repeat(c, b, a.i);
    if (op == JOP_MOD && a.type == JV_STR)
        return jval_str(jformat_percent(c, a.s, b));
    bad_operands(c, op, a, b);
}

int jop_compare(struct jctx *c, enum jop op, struct jval a, struct jval b)
{
    if (a.type == JV_FLOAT && isnan(a.f) && op >= JOP_LT && op <= JOP_GE && jval_is_number(b))
        return 0;
    if (b.type == JV_FLOAT && isnan(b.f) && op >= JOP_LT && op <= JOP_GE && jval_is_number(a))
        return 0;
    switch (op) {
    case JOP_EQ:
        return jval_eq(c, a, b);
    case JOP_NE:
        return !jval_eq(c, a, b);
    case JOP_LT:
        return jval_cmp(c, a, b, "<") < 0;
    case JOP_LE:
        return jval_cmp(c, a, b, "<=") <= 0;
    case JOP_GT:
        return jval_cmp(c, a, b, ">") > 0;
    case JOP_GE:
        return jval_cmp(c, a, b, ">=") >= 0;
    case JOP_IN:
        return jval_in(c, a, b);
    default:
        return !jval_in(c, a, b);
    }
}

struct jval jop_negate(struct jctx *c, struct jval v, int sign)
{
    if (v.type == JV_FLOAT)
        return jval_float(sign < 0 ? -v.f : v.f);
    if (!jval_is_integral(v)) {
        jval_need_defined(c, v);
        jctx_fail(c, ERR_FORMAT, "bad operand type for unary %c: '%s'", sign < 0 ? '-' : '+',
                  jval_type_name(v));
    }
    if (sign < 0 && v.i == INT64_MIN)
        overflow(c);
    return jval_int(sign < 0 ? -v.i : v.i);
}
