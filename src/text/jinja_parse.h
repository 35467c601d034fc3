/* The two halves of the parser: jinja_expr.c (expressions), jinja_parse.c (statements). */
#ifndef TEXT_JINJA_PARSE_H
#define TEXT_JINJA_PARSE_H

#include "text/jinja_lex.h"

/* A growing list of nodes. */
struct jnodes {
    struct jnode **v;
    uint32_t n, cap;
};

struct jparse {
    struct jctx *c;
    struct jlex lex;
    struct jtoken cur, ahead;
    int has_ahead;
    int depth;
    int loops; /* around this place, in this macro */
    int soft;  /* inside an `if`: unknown filters and tests fail only when they run */
    /* The first unknown filter or test of this statement that no condition guards so far. */
    const char *unknown_what;
    const struct jstr *unknown;
    uint32_t unknown_line;
    unsigned uses; /* enum jmacro_uses seen in this macro so far */
    const struct jstr **name;
    uint32_t n_names, names_cap;
    struct jnodes blocks;
};

_Noreturn void jparse_fail(struct jparse *p, const char *expected);
void jparse_next(struct jparse *p);
const struct jtoken *jparse_look(struct jparse *p); /* the token after the current one */
int jparse_is_op(const struct jparse *p, int op);
int jparse_is_name(const struct jparse *p, const char *name);
int jparse_skip_op(struct jparse *p, int op);
int jparse_skip_name(struct jparse *p, const char *name);
void jparse_expect_op(struct jparse *p, int op);
void jparse_enter(struct jparse *p); /* pairs with p->depth-- */
struct jnode *jparse_node(struct jparse *p, enum jnode_type type, uint32_t line);
uint32_t jparse_name_id(struct jparse *p, const char *s, size_t n);
const struct jstr *jparse_token_str(struct jparse *p); /* the current name, as a constant */

void jnodes_add(struct jparse *p, struct jnodes *l, struct jnode *n);

struct jnode *jexpr_parse(struct jparse *p);
enum { JEXPR_NO_COND = 1, JEXPR_PARENS = 2, JEXPR_STOP_RECURSIVE = 4 };
struct jnode *jexpr_parse_tuple(struct jparse *p, unsigned flags);
enum { JEXPR_STOP_IN = 1, JEXPR_NAMESPACE = 2 };
struct jnode *jexpr_parse_target(struct jparse *p, unsigned flags);
/* `| filter | filter` applied to n (NULL: a block's text); first_inline: the first bar is missing.
 */
struct jnode *jexpr_parse_filters(struct jparse *p, struct jnode *n, int first_inline);

#endif
