/* Text in and out of a model: tokenise, detokenise, run the chat template. Any thread. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_int.h"

void engine_tokens_done(struct engine_tokens *t)
{
    free(t->id);
    *t = (struct engine_tokens){0};
}

static int encode(const struct engine *e, const char *text, size_t n, const struct vocab_span *span,
                  size_t n_spans, unsigned flags, size_t max, struct engine_tokens *ret,
                  struct err *err)
{
    int32_t *id;
    size_t n_id;
    int rc = vocab_encode(e->vocab, text, n, span, n_spans, flags, max, &id, &n_id, err);

    if (rc)
        return rc;
    *ret = (struct engine_tokens){.id = id, .n = (int32_t)n_id, .cap = (int32_t)n_id};
    return 0;
}

int engine_tokenize(const struct engine *e, const char *text, size_t n, unsigned flags,
                    size_t max_tokens, struct engine_tokens *ret, struct err *err)
{
    struct vocab_span all = {0, n};
    unsigned f = flags & ENGINE_TOK_BOS ? VOCAB_ADD_BOS | VOCAB_ADD_EOS : 0;
    int special = (flags & ENGINE_TOK_SPECIAL) != 0 && n > 0;

    return encode(e, text, n, special ? &all : NULL, special ? 1 : 0, f, max_tokens, ret, err);
}

int engine_detokenize(const struct engine *e, const int32_t *id, int32_t n, int special,
                      struct buf *out, struct err *err)
{
    return vocab_decode(e->vocab, id, (size_t)n, special, out, err);
}

const char *engine_token_bytes(const struct engine *e, int32_t id, size_t *ret_n)
{
    return vocab_piece(e->vocab, id, ret_n);
}

/* {"bos_token": ..., "eos_token": ...}: the only strings from outside the template that may become
 * control tokens. */
static json_t *special_strings(const struct engine *e)
{
    return json_pack("{s:s, s:s}", "bos_token", e->info.bos_text, "eos_token", e->info.eos_text);
}

/* Content of the last message, where it is an assistant's and may be continued. */
static const char *final_content(const struct engine_chat *chat)
{
    size_t n = json_array_size(chat->messages);
    const json_t *m = n ? json_array_get(chat->messages, n - 1) : NULL;
    const char *role = json_string_value(json_object_get(m, "role"));
    return role && !strcmp(role, "assistant") ? json_string_value(json_object_get(m, "content"))
                                              : NULL;
}

/* Cut the text behind the last message's own content, so that the model goes on writing it. */
static int cut_after(struct buf *text, const char *content, struct err *err)
{
    size_t n = strlen(content);
    char *at = NULL, *p = text->data;

    while (n && strchr(" \t\r\n", content[n - 1])) /* templates trim */
        n--;
    for (size_t left = text->len; n && (p = memmem(p, left, content, n));
         p++, left = text->len - (size_t)(p - text->data))
        at = p;
    if (!at)
        return err_set(err, ERR_ARG,
                       "the chat template changes the last message, so it cannot be "
                       "continued");
    text->len = (size_t)(at - text->data) + n;
    text->data[text->len] = 0;
    return 0;
}

int engine_render(const struct engine *e, const struct engine_chat *chat, struct buf *ret_text,
                  struct engine_tokens *ret_tokens, struct err *err)
{
    struct jinja_input in = {.kwargs = chat->kwargs};
    struct jinja_out out = {0};
    struct engine_tokens tokens = {0};
    const char *final = chat->continue_final ? final_content(chat) : NULL;
    json_t *globals = NULL, *special = NULL;
    struct vocab_span *span = NULL;
    size_t n_spans = 0, bos_len = strlen(e->info.bos_text);
    unsigned flags = VOCAB_ADD_BOS;
    int rc;

    if (!e->jinja)
        return err_set(err, ERR_UNSUPPORTED, "%s", e->info.no_template_why);
    special = special_strings(e);
    /* As the reference does: what a request does not give is none, not undefined. */
    globals =
        json_pack("{s:O, s:O?, s:n, s:b}", "messages", chat->messages, "tools", chat->tools,
                  "documents", "add_generation_prompt", !chat->no_generation_prompt && !final);
    rc = ERR_NOMEM;
    if (!special || !globals) {
        err_set(err, ERR_NOMEM, "no memory to render the chat template");
        goto done;
    }
    in.trusted = special;
    in.globals = globals;
    rc = jinja_render(e->jinja, &in, &out, err);
    if (rc)
        goto done;
    if (final && (rc = cut_after(&out.text, final, err)))
        goto done;
    span = calloc(out.n_spans + 1, sizeof *span);
    if (!span) {
        rc = err_set(err, ERR_NOMEM, "no memory to render the chat template");
        goto done;
    }
    for (size_t i = 0; i < out.n_spans && out.spans[i].at < out.text.len; i++) {
        size_t end = out.spans[i].at + out.spans[i].n;
        span[n_spans++] =
            (struct vocab_span){out.spans[i].at, end < out.text.len ? end : out.text.len};
    }
    /* Most templates write BOS themselves: never two. */
    if (bos_len && out.text.len >= bos_len && !memcmp(out.text.data, e->info.bos_text, bos_len))
        flags = 0;
    rc = encode(e, out.text.data ? out.text.data : "", out.text.len, span, n_spans, flags,
                (size_t)INT32_MAX / 8, &tokens, err);
    if (rc)
        goto done;
    if (ret_text && (rc = buf_add(ret_text, out.text.data, out.text.len))) {
        engine_tokens_done(&tokens);
        err_set(err, rc, "the rendered prompt is too long");
        goto done;
    }
    *ret_tokens = tokens;
done:
    free(span);
    jinja_out_done(&out);
    json_decref(globals);
    json_decref(special);
    return rc;
}
