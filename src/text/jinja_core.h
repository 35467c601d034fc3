/* Inside the chat-template interpreter (jinja*.c): values, strings with provenance, nodes, context.
 *
 * Everything made by one compile or one render lives in that call's arena and dies with it, so an
 * error leaves by longjmp to the entry point: there is nothing to unwind, and no operation needs an
 * error path of its own. Functions below therefore never return a failure; they jump (jctx_fail).
 * Values are immutable except lists, dicts and namespaces. */
#ifndef TEXT_JINJA_CORE_H
#define TEXT_JINJA_CORE_H

#include <setjmp.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/patience.h"
#include "text/jinja.h"

enum {
    JCTX_PARSE_DEPTH = 100, /* nested brackets, operators and blocks in the source */
    JCTX_EVAL_DEPTH = 700,  /* nested nodes while running, macros included */
    JCTX_VALUE_DEPTH = 100, /* nested lists and dicts in input, comparison and output */
    JCTX_ARGS_MAX = 64,     /* arguments of one call */
};

/* One compile or one render. */
struct jctx {
    struct arena arena;
    jmp_buf jump;
    struct err *err;
    int code;
    uint32_t line;        /* of the node at work, for messages */
    uint64_t steps, look; /* steps so far; at which to look at the time next */
    int64_t until_us;     /* of clock_thread_us */
    const struct patience *patience;
    size_t mem_max;
    int depth; /* of nodes */
    int value_depth;
    int macro_depth;
    int64_t now_s;
    const struct jinja *prog;
    struct jscope *scope;
    struct jsb *out;         /* where text goes now */
    json_t *parsed;          /* what from_json read: strings point into it */
    struct jinja *made;      /* compile: freed on failure */
    struct jinja_out result; /* render: freed on failure */
};

_Noreturn void jctx_fail(struct jctx *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* raise_exception: the template's own words, without a line. */
_Noreturn void jctx_raise(struct jctx *c, const char *p, size_t n);
void *jctx_alloc(struct jctx *c, size_t n);
void *jctx_array(struct jctx *c, size_t n, size_t size);
/* Count memory that is not the arena's. */
void jctx_charge(struct jctx *c, size_t n);
/* Fails when there were too many steps, the time is over, or the client has left. */
void jctx_look(struct jctx *c);
/* Count n steps. Everything that may take long counts steps, so that jctx_look runs about every
 * millisecond. */
static inline void jctx_tick(struct jctx *c, uint64_t n)
{
    c->steps += n;
    if (__builtin_expect(c->steps >= c->look, 0))
        jctx_look(c);
}
enum { NUMBER_STEPS = 64 }; /* of writing a float */
/* Count work on n bytes: copied, searched or compared. */
static inline void jctx_tick_bytes(struct jctx *c, size_t n)
{
    jctx_tick(c, 1 + n / 64);
}
/* The same where each is looked at by itself. */
static inline void jctx_tick_each(struct jctx *c, size_t n)
{
    jctx_tick(c, 1 + n / 16);
}
void jctx_value_enter(struct jctx *c); /* pairs with c->value_depth-- */

/* ---- strings -------------------------------------------------------------------------------- */

/* Where bytes come from. */
enum {
    JFROM_TRUSTED = 1, /* the template's own text, or the model's file */
    JFROM_ANSWER = 2,  /* a message of the assistant */
    JFROM_END = 4,     /* marks the end of the message to continue */
    JFROM_MIXED = 128  /* the bytes differ: struct jstr's t has the place of each */
};

/* UTF-8 bytes, and where they come from: all from one place, or each byte as t says. */
struct jstr {
    const char *p; /* not NUL-terminated */
    const uint8_t *t;
    struct jsb *sb; /* the builder whose beginning this is, or NULL */
    uint32_t n;
    uint32_t hash; /* 0: not yet known */
    uint8_t from;
    uint8_t markup; /* made by |safe or |escape: `+` escapes what joins it, as in Jinja2 */
    int8_t ascii;   /* -1: not yet known */
};

/* A string being made. */
struct jsb {
    char *p;
    uint8_t *t; /* NULL while all bytes come from the place below */
    size_t n, cap;
    uint8_t from;
};

struct jsb *jsb_new(struct jctx *c, size_t cap);
void jsb_add(struct jctx *c, struct jsb *b, const char *p, size_t n, int from);
void jsb_add_cstr(struct jctx *c, struct jsb *b, const char *s); /* from elsewhere */
void jsb_add_str(struct jctx *c, struct jsb *b, const struct jstr *s);
void jsb_add_part(struct jctx *c, struct jsb *b, const struct jstr *s, size_t at, size_t n);
void jsb_add_cp(struct jctx *c, struct jsb *b, uint32_t cp, int from);
const struct jstr *jsb_str(struct jctx *c, struct jsb *b); /* the string so far */

const struct jstr *jstr_new(struct jctx *c, const char *p, size_t n, int from); /* no copy */
const struct jstr *jstr_copy(struct jctx *c, const char *p, size_t n, int from);
const struct jstr *jstr_part(struct jctx *c, const struct jstr *s, size_t at, size_t n);
const struct jstr *jstr_concat(struct jctx *c, const struct jstr *a, const struct jstr *b);
const struct jstr *jstr_mark(struct jctx *c, const struct jstr *s, int markup);
const struct jstr *jstr_escape(struct jctx *c, const struct jstr *s); /* HTML; result is markup */
int jstr_is(const struct jstr *s, const char *lit);
int jstr_eq(const struct jstr *a, const struct jstr *b);
int jstr_cmp(const struct jstr *a, const struct jstr *b);
uint32_t jstr_hash(const struct jstr *s);
int jstr_ascii(struct jctx *c, const struct jstr *s);
int jstr_from_at(const struct jstr *s, size_t i);
size_t jstr_length(struct jctx *c, const struct jstr *s);           /* code points */
size_t jstr_offset(struct jctx *c, const struct jstr *s, size_t i); /* byte of code point i */
/* Decode the code point at byte i < n; returns its length in bytes. */
int jstr_cp(const struct jstr *s, size_t i, uint32_t *ret_cp);
/* First occurrence at or after byte `from`, or SIZE_MAX. */
size_t jstr_find(struct jctx *c, const struct jstr *s, const struct jstr *what, size_t from);
/* The last occurrence within bytes [from, to), or SIZE_MAX. */
size_t jstr_rfind(struct jctx *c, const struct jstr *s, const struct jstr *what, size_t from,
                  size_t to);
int jstr_is_space(uint32_t cp);     /* Python's str.isspace */
int jstr_is_printable(uint32_t cp); /* Python's str.isprintable */
int jstr_is_alnum(uint32_t cp);     /* Python's str.isalnum */
/* Length in bytes of the white space at p (up to n bytes); 0: none. */
size_t jstr_space_at(const char *p, size_t n);
/* n without white space at the end. */
size_t jstr_rspace(const char *p, size_t n);

/* ---- values ---------------------------------------------------------------------------------- */

enum jtype {
    JV_ABSENT, /* an argument that was not given; never a template's value */
    JV_UNDEF,  /* s: its name, or NULL */
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_FLOAT,
    JV_STR,
    JV_LIST,
    JV_TUPLE,
    JV_RANGE, /* l: its items */
    JV_VIEW,  /* l: keys, values or items of a dict, as they were (sub: enum jview) */
    JV_ITER,  /* l: what a generator or iterator has left to give */
    JV_DICT,
    JV_NS, /* d: attributes of a namespace */
    JV_MACRO,
    JV_LOOP,
    JV_CYCLER, /* l: its items; at: the current one */
    JV_JOINER, /* l: its separator; at: whether it was called */
    JV_FUNC,   /* i: enum jfunc */
    JV_METHOD  /* m: a method of a value */
};

enum jview { JVIEW_KEYS, JVIEW_VALUES, JVIEW_ITEMS };

struct jval {
    uint8_t type, sub;
    union {
        int64_t i; /* JV_BOOL too */
        double f;
        const struct jstr *s;
        struct jlist *l;
        struct jdict *d;
        struct jmacro *macro;
        struct jloop *loop;
        struct jbound *m;
    };
};

struct jlist {
    struct jval *v;
    size_t n, cap;
    size_t at; /* JV_ITER: next; JV_CYCLER, JV_JOINER */
};

struct jentry {
    struct jval k, v;
    uint32_t hash;
};

struct jdict {
    struct jentry *e; /* in the order of insertion */
    size_t n, cap;
};

struct jmacro {
    const struct jnode *node; /* N_MACRO or N_CALL_BLOCK */
    struct jscope *scope;     /* where it was defined */
};

struct jloop {
    const struct jnode *node; /* N_FOR */
    struct jscope *outer;     /* where it stands */
    struct jlist *items;
    size_t i;
    int depth0;
    struct jval changed; /* of loop.changed() */
};

struct jbound {
    struct jval self;
    const struct jmethod *method;
};

#define JNONE  ((struct jval){.type = JV_NONE})
#define JUNDEF ((struct jval){.type = JV_UNDEF, .s = NULL})
static inline struct jval jval_bool(int b)
{
    return (struct jval){.type = JV_BOOL, .i = !!b};
}
static inline struct jval jval_int(int64_t i)
{
    return (struct jval){.type = JV_INT, .i = i};
}
static inline struct jval jval_float(double f)
{
    return (struct jval){.type = JV_FLOAT, .f = f};
}
static inline struct jval jval_str(const struct jstr *s)
{
    return (struct jval){.type = JV_STR, .s = s};
}
static inline struct jval jval_list(enum jtype type, struct jlist *l)
{
    return (struct jval){.type = (uint8_t)type, .l = l};
}
static inline struct jval jval_dict(struct jdict *d)
{
    return (struct jval){.type = JV_DICT, .d = d};
}
static inline int jval_is_number(struct jval v)
{
    return v.type == JV_BOOL || v.type == JV_INT || v.type == JV_FLOAT;
}
static inline int jval_is_integral(struct jval v)
{
    return v.type == JV_BOOL || v.type == JV_INT;
}
static inline int jval_is_listlike(struct jval v)
{
    return v.type >= JV_LIST && v.type <= JV_ITER;
}

struct jlist *jlist_new(struct jctx *c, size_t cap);
void jlist_add(struct jctx *c, struct jlist *l, struct jval v);
void jlist_insert(struct jctx *c, struct jlist *l, size_t at, struct jval v);
struct jval jlist_pair(struct jctx *c, struct jval a, struct jval b); /* a tuple */

struct jdict *jdict_new(struct jctx *c, size_t cap);
struct jval *jdict_find(struct jctx *c, const struct jdict *d, struct jval k); /* NULL: absent */
struct jval *jdict_find_str(struct jctx *c, const struct jdict *d, const struct jstr *k);
void jdict_set(struct jctx *c, struct jdict *d, struct jval k, struct jval v);
int jdict_del(struct jctx *c, struct jdict *d, struct jval k, struct jval *ret); /* 1: was there */
struct jdict *jdict_copy(struct jctx *c, const struct jdict *d);

const char *jval_type_name(struct jval v); /* Python's: "str", "NoneType" */
int jval_true(struct jval v);
int jval_eq(struct jctx *c, struct jval a, struct jval b);
int jval_cmp(struct jctx *c, struct jval a, struct jval b, const char *op); /* <0, 0, >0 */
int jval_in(struct jctx *c, struct jval v, struct jval seq);
int jval_same(struct jctx *c, struct jval a, struct jval b); /* Python's `is` */
/* Items as a list (a generator is used up); fails on what cannot be iterated. */
struct jlist *jval_items(struct jctx *c, struct jval v);
int jval_iterable(struct jval v);
int jval_length(struct jctx *c, struct jval v, size_t *ret); /* 0 when it has no length */
struct jval jval_from_json(struct jctx *c, const json_t *j, int from);
/* x.name and x[key], with Jinja's rules; own: without the items of a dict. */
struct jval jval_own_attr(struct jctx *c, struct jval v, const struct jstr *name);
struct jval jval_attr(struct jctx *c, struct jval v, const struct jstr *name);
struct jval jval_item(struct jctx *c, struct jval v, struct jval key);
struct jval jval_slice(struct jctx *c, struct jval v, struct jval lo, struct jval hi,
                       struct jval step);
/* Python slice bounds on n items: the first index, the step and how many. */
void jval_slice_bounds(struct jctx *c, size_t n, const struct jval *lo_hi_step, int64_t *ret_start,
                       int64_t *ret_step, size_t *ret_count);
/* Fails when v is undefined, else nothing. */
void jval_need_defined(struct jctx *c, struct jval v);

/* ---- text forms (jinja_text.c) --------------------------------------------------------------- */

const struct jstr *jval_text(struct jctx *c, struct jval v); /* str(v) */
void jval_add_text(struct jctx *c, struct jsb *b, struct jval v);
void jval_add_repr(struct jctx *c, struct jsb *b, struct jval v);
struct jjson {
    int ascii, sort;
    const struct jstr *indent; /* NULL: one line */
    const struct jstr *item_sep, *key_sep;
};
void jval_add_json(struct jctx *c, struct jsb *b, struct jval v, const struct jjson *o);
void jsb_add_float(struct jctx *c, struct jsb *b, double f); /* Python's repr */

/* ---- operators (jinja_op.c) ------------------------------------------------------------------ */

enum jop {
    JOP_ADD,
    JOP_SUB,
    JOP_MUL,
    JOP_DIV,
    JOP_FLOORDIV,
    JOP_MOD,
    JOP_POW,
    JOP_EQ,
    JOP_NE,
    JOP_LT,
    JOP_LE,
    JOP_GT,
    JOP_GE,
    JOP_IN,
    JOP_NOT_IN,
};
struct jval jop_binary(struct jctx *c, enum jop op, struct jval a, struct jval b);
int jop_compare(struct jctx *c, enum jop op, struct jval a, struct jval b);
struct jval jop_negate(struct jctx *c, struct jval v, int sign);
double jop_double(struct jval number);

/* ---- formatting (jinja_format.c) ------------------------------------------------------------- */

struct jargs;
const struct jstr *jformat_percent(struct jctx *c, const struct jstr *fmt, struct jval args);
const struct jstr *jformat_braces(struct jctx *c, const struct jstr *fmt, const struct jargs *args);

/* ---- calls ----------------------------------------------------------------------------------- */

struct jkw {
    const struct jstr *name;
    struct jval v;
};

struct jargs {
    const struct jval *pos;
    const struct jkw *kw;
    size_t n, n_kw;
};

enum { JBIND_MAX = 6 };
/* `params`: names separated by commas, `!` before a required one, `/` first when keywords are not
 * taken; NULL: the callee reads the arguments itself. out[i] is JV_ABSENT where not given. */
void jargs_bind(struct jctx *c, const char *what, const char *params, const struct jargs *a,
                struct jval out[JBIND_MAX]);
int64_t jargs_int(struct jctx *c, struct jval v, int64_t otherwise); /* absent: otherwise */
const struct jstr *jargs_str(struct jctx *c, struct jval v);         /* must be a string */
/* Absent or None. */
static inline int jargs_none(struct jval v)
{
    return v.type == JV_ABSENT || v.type == JV_NONE;
}

typedef struct jval jcallee(struct jctx *c, struct jval self, struct jval *a,
                            const struct jargs *raw);
struct jmethod {
    const char *name;
    const char *params;
    jcallee *call;
};

const struct jmethod *jfilter_find(const struct jstr *name);
const struct jmethod *jtest_find(const struct jstr *name);
/* A method of the value's type. NULL: none. One whose `call` is NULL exists in Python but not here;
 * so it is with filters. */
const struct jmethod *jmethod_find(struct jval self, const struct jstr *name);
extern const struct jmethod jmethod_str_table[];
struct jval jmethod_call(struct jctx *c, const struct jmethod *m, struct jval self,
                         const struct jargs *a);

enum jfunc {
    JFUNC_RANGE,
    JFUNC_NAMESPACE,
    JFUNC_DICT,
    JFUNC_RAISE,
    JFUNC_STRFTIME,
    JFUNC_CYCLER,
    JFUNC_JOINER,
    JFUNC_LIPSUM /* in Jinja2, not here */
};
int jfunc_find(const struct jstr *name); /* -1: no such global */
struct jval jfunc_call(struct jctx *c, enum jfunc f, const struct jargs *a);
struct jval jloop_attr(struct jctx *c, struct jloop *l, const struct jstr *name);
int jmacro_attr(struct jctx *c, const struct jnode *macro, const struct jstr *name,
                struct jval *ret); /* 1: it has one of this name */
struct jval jjoiner_call(struct jctx *c, struct jlist *joiner, const struct jargs *a);

/* ---- program --------------------------------------------------------------------------------- */

enum jnode_type {
    /* expressions */
    JN_CONST,   /* k */
    JN_NAME,    /* name */
    JN_LIST,    /* kid[] */
    JN_TUPLE,   /* kid[] */
    JN_DICT,    /* kid[]: key, value, key, value */
    JN_ATTR,    /* a, k */
    JN_ITEM,    /* a, b */
    JN_SLICE,   /* a; kid[3], NULL where left out */
    JN_CALL,    /* a; arguments in kid[], kw[] */
    JN_FILTER,  /* a (NULL: the block's text), method, k: its name; arguments */
    JN_TEST,    /* a, method, k; arguments */
    JN_UNARY,   /* a; op: -1, 1 */
    JN_NOT,     /* a */
    JN_BINARY,  /* a, b; op */
    JN_AND,     /* a, b */
    JN_OR,      /* a, b */
    JN_CONCAT,  /* kid[] */
    JN_COMPARE, /* a; kid[], ops[] */
    JN_COND,    /* a if b else c (NULL) */
    /* statements */
    JN_TEXT,         /* k */
    JN_PRINT,        /* a */
    JN_BODY,         /* kid[] */
    JN_IF,           /* kid[]: condition, body ...; a: else or NULL */
    JN_FOR,          /* a: target, b: iterable, c: condition or NULL; kid[]: body, else or NULL;
                      * op: recursive */
    JN_SET,          /* a: target, b */
    JN_SET_BLOCK,    /* a: target, b: filters or NULL, c: body */
    JN_NS_TARGET,    /* name, k: attribute */
    JN_MACRO,        /* name, kid[]: defaults or NULL, param[]; a: body; op: enum jmacro_uses */
    JN_CALL_BLOCK,   /* the same; b: the call */
    JN_FILTER_BLOCK, /* b: filters, a: body */
    JN_SCOPE,        /* a: body in a scope of its own; kid[], param[]: of `with` */
    JN_BLOCK,        /* a: body; op: 1 where it sees what stands around it */
    JN_BREAK,
    JN_CONTINUE
};

enum { JMACRO_CALLER = 1, JMACRO_KWARGS = 2, JMACRO_VARARGS = 4 };

struct jnode {
    uint8_t type;
    int8_t op;
    uint16_t n_kw;
    uint32_t line;
    uint32_t n; /* kids */
    uint32_t name;
    struct jnode *a, *b, *c;
    struct jnode **kid;
    struct jnode **kw; /* values of keyword arguments */
    const struct jstr **kw_name;
    union {
        uint32_t *param; /* names, n of them */
        uint8_t *ops;
        const struct jmethod *method;
    };
    struct jval k;
};

struct jinja {
    struct arena arena;
    struct jnode *root;
    const struct jstr **name; /* variables, by id */
    uint32_t n_names;
    uint32_t id_loop, id_caller, id_kwargs, id_varargs; /* JINJA_NO_ID: not in this template */
};
#define JINJA_NO_ID UINT32_MAX

/* Parse into c->arena; jumps on errors. */
struct jnode *jparse_template(struct jctx *c, const char *text, size_t n,
                              const struct jstr ***ret_name, uint32_t *ret_n_names);

/* Variables of one block. The outermost has one place for every name, others a short list. */
struct jscope {
    struct jscope *up;
    struct jslot {
        uint32_t name;
        struct jval v;
    } * slot;
    uint32_t n, cap;
};
void jeval_run(struct jctx *c, const struct jnode *n); /* into c->out */

#endif
