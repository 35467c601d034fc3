/* Tokens of a chat template, on demand. White space around tags is dealt with here, as Jinja2 does
 * under trim_blocks and lstrip_blocks; comments and raw blocks never reach the parser. */
#ifndef TEXT_JINJA_LEX_H
#define TEXT_JINJA_LEX_H

#include "text/jinja_core.h"

enum jtoken_type {
    JT_EOF,
    JT_DATA, /* text outside tags */
    JT_PRINT_BEGIN,
    JT_PRINT_END,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_NAME,
    JT_STR,
    JT_INT,
    JT_FLOAT,
    JT_OP /* op: its character; two of them as first << 8 | second */
};
#define JOP2(a, b) ((a) << 8 | (b))

struct jtoken {
    enum jtoken_type type;
    int op;
    uint32_t line;
    const char *p; /* source */
    size_t n;
    struct jval v; /* DATA, STR, INT, FLOAT */
};

enum { JLEX_NEST = 200 };

struct jlex {
    struct jctx *c;
    const char *p; /* newlines are all \n */
    size_t n, at;
    uint32_t line;
    int line_start;           /* the last token ended with a newline */
    enum jtoken_type tag;     /* JT_PRINT_BEGIN or JT_BLOCK_BEGIN: inside such a tag; else JT_EOF */
    enum jtoken_type pending; /* the tag after the data just given, or JT_EOF */
    char nest[JLEX_NEST];     /* brackets to be closed */
    int n_nest;
};

void jlex_init(struct jlex *x, struct jctx *c, const char *text, size_t n);
void jlex_next(struct jlex *x, struct jtoken *ret);

#endif
