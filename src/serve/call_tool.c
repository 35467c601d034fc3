/* Text tools: what they read, on the thread of call_prep, and their answers, on the io thread. An
 * answer can be many times as large as the request, so it is written as it is read: what is kept is
 * the tokens, or the plain text. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "serve/server.h"

#define WHOLE_MAX      ((size_t)256 << 10) /* answers up to this are sent with their length */
#define TOKENS_AT_ONCE 256
#define TEXT_MAX       (API_BODY_MAX * 4)

/* ---- reading --------------------------------------------------------------------------------- */

static const char *body_of(const struct call *c)
{
    return c->body.data ? c->body.data : "";
}

int call_parse_tokenize(struct call *c, const struct api_options *o, struct err *e)
{
    struct api_tokenize *q = &c->tool.tokenize;
    int r = api_parse_tokenize(q, body_of(c), c->body.len, &c->heads, o, e);

    c->req.model = q->model;
    c->tool.with_pieces = q->with_pieces;
    return r;
}

int call_parse_detokenize(struct call *c, const struct api_options *o, struct err *e)
{
    struct api_detokenize *q = &c->tool.detokenize;
    int r = api_parse_detokenize(q, &c->arena, body_of(c), c->body.len, &c->heads, o, e);

    c->req.model = q->model;
    c->tool.key = "content";
    return r;
}

int call_parse_template(struct call *c, const struct api_options *o, struct err *e)
{
    struct api_template *q = &c->tool.template;
    int r = api_parse_template(q, body_of(c), c->body.len, &c->heads, o, e);

    c->req.model = q->model;
    c->tool.key = "prompt";
    return r;
}

/* ---- working --------------------------------------------------------------------------------- */

static int check_tokens(const struct call *c, struct err *e)
{
    if (call_reads_tokens(c))
        return 0;
    return err_set_param(e, ERR_UNSUPPORTED, "model",
                         "Nobody who knows the tokens of this model offers it now.");
}

int call_prepare_tokenize(struct call *c, struct err *e)
{
    const struct api_tokenize *q = &c->tool.tokenize;
    int r = check_tokens(c, e);

    if (!r)
        r = c->sup->ops->tokenize(c->sup, q->content, q->n_content, q->parse_special,
                                  q->add_special, API_BODY_MAX, &c->patience, &c->tool.tokens, e);
    api_tokenize_done(&c->tool.tokenize);
    return r;
}

int call_prepare_detokenize(struct call *c, struct err *e)
{
    int32_t n_vocab = c->sup->ops->facts(c->sup)->n_vocab;
    const struct api_detokenize *q = &c->tool.detokenize;
    int r = check_tokens(c, e);

    for (int32_t i = 0; !r && i < q->n; i++) {
        if (q->id[i] >= n_vocab)
            r = err_set_param(e, ERR_SCHEMA, "tokens",
                              "tokens.%d: %d is not in the vocabulary of %d tokens", i, q->id[i],
                              n_vocab);
    }
    buf_init(&c->text, TEXT_MAX);
    return r ? r : c->sup->ops->detokenize(c->sup, q->id, q->n, &c->text, e);
}

int call_prepare_template(struct call *c, struct err *e)
{
    const struct api_template *q = &c->tool.template;
    const struct chat chat = {.messages = q->messages,
                              .kwargs = q->template_kwargs,
                              .continue_final = q->continue_final,
                              .no_generation_prompt = q->no_generation_prompt,
                              .patience = &c->patience};
    struct tokens t = {0};
    int r = check_tokens(c, e);

    if (!r)
        r = call_check_chat(c, e);
    buf_init(&c->text, TEXT_MAX);
    if (!r)
        r = c->sup->ops->render(c->sup, &chat, &c->text, &t, e);
    tokens_done(&t);
    api_template_done(&c->tool.template);
    return r;
}

size_t call_tool_bytes(const struct call *c)
{
    return c->text.cap + (size_t)c->tool.tokens.n * sizeof(int32_t);
}

void call_tool_done(struct call *c)
{
    api_tokenize_done(&c->tool.tokenize);
    api_template_done(&c->tool.template);
    tokens_done(&c->tool.tokens);
    buf_done(&c->text);
}

/* ---- answering ------------------------------------------------------------------------------- */

static int more_tokens(struct call *c)
{
    const struct tokens *t = &c->tool.tokens;
    struct api_piece piece[TOKENS_AT_ONCE];
    int32_t at = (int32_t)c->tool.at, n = t->n - at;

    if (n > TOKENS_AT_ONCE)
        n = TOKENS_AT_ONCE;
    for (int32_t i = 0; i < n && c->tool.with_pieces; i++)
        piece[i].s = c->sup->ops->token_bytes(c->sup, t->id[at + i], &piece[i].n);
    api_tokens_part(&c->out, t->id, t->n, at, n, c->tool.with_pieces ? piece : NULL);
    c->tool.at += (size_t)n;
    return c->tool.at == (size_t)t->n;
}

/* Into c->out; 1 when that was the last. */
static int more(struct call *c)
{
    if (!c->tool.key)
        return more_tokens(c);
    c->tool.at = api_text_part(&c->out, c->tool.key, c->text.data ? c->text.data : "", c->text.len,
                               c->tool.at);
    return c->tool.at == c->text.len;
}

void call_tell(struct call *c)
{
    struct net_exchange *x = c->x;
    int done = 0;

    c->code = 0;
    while (!done && c->out.len < WHOLE_MAX && !c->out.failed)
        done = more(c);
    c->n_worked += c->out.len;
    if (done && c->state != CALL_TELL && !c->out.failed) {
        call_reply_buf(c, 200, "application/json", &c->out);
        return;
    }
    if (c->state != CALL_TELL)
        call_begin(c, 200, "application/json");
    c->state = CALL_TELL;
    if (c->out.failed) {
        c->x = NULL;
        c->state = CALL_OVER;
        c->code = c->out.failed;
        net_abort(x);
        return;
    }
    net_stream_write(x, c->out.data, c->out.len); /* cut: on_gone follows */
    buf_clear(&c->out);
    if (!done) {
        net_want_room(x);
        return;
    }
    c->x = NULL;
    c->state = CALL_OVER;
    net_stream_end(x);
}
