/* Tests: what follows `is`. */
#include "text/jinja_core.h"

#include <math.h>

static struct jval is_defined(struct jctx *c, struct jval v, struct jval *a,
                              const struct jargs *raw)
{
    return jval_bool(v.type != JV_UNDEF);
}

static struct jval is_undefined(struct jctx *c, struct jval v, struct jval *a,
                                const struct jargs *raw)
{
    return jval_bool(v.type == JV_UNDEF);
}

static struct jval is_none(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(v.type == JV_NONE);
}

static struct jval is_boolean(struct jctx *c, struct jval v, struct jval *a,
                              const struct jargs *raw)
{
    return jval_bool(v.type == JV_BOOL);
}

static struct jval is_true(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(v.type == JV_BOOL && v.i);
}

static struct jval is_false(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(v.type == JV_BOOL && !v.i);
}

static struct jval is_integer(struct jctx *c, struct jval v, struct jval *a,
                              const struct jargs *raw)
{
    return jval_bool(v.type == JV_INT);
}

static struct jval is_float(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(v.type == JV_FLOAT);
}

static struct jval is_number(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(jval_is_number(v));
}

static struct jval is_string(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(v.type == JV_STR);
}

static struct jval is_mapping(struct jctx *c, struct jval v, struct jval *a,
                              const struct jargs *raw)
{
    return jval_bool(v.type == JV_DICT);
}

static struct jval is_iterable(struct jctx *c, struct jval v, struct jval *a,
                               const struct jargs *raw)
{
    return jval_bool(jval_iterable(v));
}

static struct jval is_sequence(struct jctx *c, struct jval v, struct jval *a,
                               const struct jargs *raw)
{
    return jval_bool(v.type == JV_STR || v.type == JV_DICT || v.type == JV_LIST ||
                     v.type == JV_TUPLE || v.type == JV_RANGE || v.type == JV_UNDEF);
}

static struct jval is_callable(struct jctx *c, struct jval v, struct jval *a,
                               const struct jargs *raw)
{
    return jval_bool(v.type == JV_MACRO || v.type == JV_FUNC || v.type == JV_METHOD ||
                     v.type == JV_LOOP || v.type == JV_JOINER || v.type == JV_UNDEF);
}

static struct jval is_escaped(struct jctx *c, struct jval v, struct jval *a,
                              const struct jargs *raw)
{
    return jval_bool(v.type == JV_STR && v.s->markup);
}

static struct jval is_sameas(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(jval_same(c, v, a[0]));
}

static struct jval case_is(struct jctx *c, struct jval v, const char *method)
{
    const struct jstr *s = jval_text(c, v);
    const struct jargs none = {0};
    return jmethod_call(c, jmethod_find(jval_str(s), jstr_new(c, method, 7, 1)), jval_str(s),
                        &none);
}

static struct jval is_lower(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return case_is(c, v, "islower");
}

static struct jval is_upper(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return case_is(c, v, "isupper");
}

static struct jval remainder_is(struct jctx *c, struct jval v, struct jval by, int want)
{
    struct jval r = jop_binary(c, JOP_MOD, v, by);
    return jval_bool(jval_is_number(r) && jop_double(r) == want);
}

static struct jval is_odd(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return remainder_is(c, v, jval_int(2), 1);
}

static struct jval is_even(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return remainder_is(c, v, jval_int(2), 0);
}

static struct jval is_divisible(struct jctx *c, struct jval v, struct jval *a,
                                const struct jargs *raw)
{
    return remainder_is(c, v, a[0], 0);
}

#define COMPARE(name, op)                                                                          \
    static struct jval is_##name(struct jctx *c, struct jval v, struct jval *a,                    \
                                 const struct jargs *raw)                                          \
    {                                                                                              \
        return jval_bool(jop_compare(c, op, v, a[0]));                                             \
    }
COMPARE(eq, JOP_EQ)
COMPARE(ne, JOP_NE)
COMPARE(gt, JOP_GT)
COMPARE(ge, JOP_GE)
COMPARE(lt, JOP_LT)
COMPARE(le, JOP_LE)
COMPARE(in, JOP_IN)

static struct jval is_filter(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(v.type == JV_STR && jfilter_find(v.s));
}

static struct jval is_test(struct jctx *c, struct jval v, struct jval *a, const struct jargs *raw)
{
    return jval_bool(v.type == JV_STR && jtest_find(v.s));
}

const struct jmethod *jtest_find(const struct jstr *name)
{
    static const struct jmethod table[] = {
        {"defined", "", is_defined},
        {"undefined", "", is_undefined},
        {"none", "", is_none},
        {"boolean", "", is_boolean},
        {"true", "", is_true},
        {"false", "", is_false},
        {"integer", "", is_integer},
        {"float", "", is_float},
        {"number", "", is_number},
        {"string", "", is_string},
        {"mapping", "", is_mapping},
        {"iterable", "", is_iterable},
        {"sequence", "", is_sequence},
        {"callable", "", is_callable},
        {"escaped", "", is_escaped},
        {"lower", "", is_lower},
        {"upper", "", is_upper},
        {"odd", "", is_odd},
        {"even", "", is_even},
        {"divisibleby", "!num", is_divisible},
        {"sameas", "!other", is_sameas},
        {"in", "!seq", is_in},
        {"filter", "", is_filter},
        {"test", "", is_test},
        {"==", "/!b", is_eq},
        {"eq", "/!b", is_eq},
        {"equalto", "/!b", is_eq},
        {"!=", "/!b", is_ne},
        {"ne", "/!b", is_ne},
        {">", "/!b", is_gt},
        {"gt", "/!b", is_gt},
        {"greaterthan", "/!b", is_gt},
        {">=", "/!b", is_ge},
        {"ge", "/!b", is_ge},
        {"<", "/!b", is_lt},
        {"lt", "/!b", is_lt},
        {"lessthan", "/!b", is_lt},
        {"<=", "/!b", is_le},
        {"le", "/!b", is_le},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (jstr_is(name, table[i].name))
            return &table[i];
    }
    return NULL;
}
