/* The text tools: text <-> tokens, and messages -> text, over HTTP. */
#ifndef API_TEXT_TOOLS_H
#define API_TEXT_TOOLS_H

#include <stddef.h>
#include <stdint.h>

#include "api/request.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct api_tokenize {
    const char *content;
    size_t n_content;
    int add_special;   /* BOS (and EOS) where the model wants them; default no */
    int parse_special; /* control tokens in the text; default no */
    int with_pieces;   /* {"id","piece"} objects */
    const char *model; /* NULL when absent */
    json_t *root;
};
int api_parse_tokenize(struct api_tokenize *ret, const char *body, size_t n,
                       const struct api_request_headers *h, const struct api_options *o,
                       struct err *e);
void api_tokenize_done(struct api_tokenize *t);
struct api_piece {
    const char *s;
    size_t n;
};
/* {"tokens":[..]} in parts: n tokens beginning with `from` of all; their pieces, or NULL: plain
 * ids. 0 or the buffer's failure. */
int api_tokens_part(struct buf *out, const int32_t *id, int32_t all, int32_t from, int32_t n,
                    const struct api_piece *pieces);

/* {tokens:[...]} -> ids in the arena. */
struct api_detokenize {
    const int32_t *id;
    int32_t n;
    const char *model; /* in the arena, or NULL */
};
int api_parse_detokenize(struct api_detokenize *ret, struct arena *a, const char *body, size_t n,
                         const struct api_request_headers *h, const struct api_options *o,
                         struct err *e);
/* {"key": s} in parts: the one that begins at `from`, some 64 KiB. Where the next begins; `all`
 * after the last. */
size_t api_text_part(struct buf *out, const char *key, const char *s, size_t all, size_t from);

struct api_template {
    const char *model; /* NULL when absent */
    json_t *messages, *template_kwargs;
    int continue_final, no_generation_prompt;
    json_t *root;
};
int api_parse_template(struct api_template *ret, const char *body, size_t n,
                       const struct api_request_headers *h, const struct api_options *o,
                       struct err *e);
void api_template_done(struct api_template *t);

#endif
