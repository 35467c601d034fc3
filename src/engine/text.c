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
                  size_t n_spans, unsigned flags, size_t max, const struct patience *patience,
                  struct engine_tokens *ret, struct err *err)
{
    int32_t *id;
    size_t n_id;
    int rc = vocab_encode(e->vocab, text, n, span, n_spans, flags, max, patience, &id, &n_id, err);

    if (rc)
        return rc;
    *ret = (struct engine_tokens){.id = id, .n = (int32_t)n_id, .cap = (int32_t)n_id};
    return 0;
}

/* BOS for a text in which control tokens are parsed: most templates write it themselves, and there
 * are never two. */
static unsigned missing_bos(const struct engine *e, const char *text, size_t n)
{
    size_t bos_len = strlen(e->info.bos_text);
    return bos_len && n >= bos_len && !memcmp(text, e->info.bos_text, bos_len) ? 0 : VOCAB_ADD_BOS;
}

int engine_tokenize(const struct engine *e, const char *text, size_t n, unsigned flags,
                    size_t max_tokens, const struct patience *patience, struct engine_tokens *ret,
                    struct err *err)
{
    struct vocab_span all = {0, n};
    int special = (flags & ENGINE_TOK_SPECIAL) != 0 && n > 0;
    unsigned f = special ? missing_bos(e, text, n) : VOCAB_ADD_BOS | VOCAB_ADD_EOS;

    return encode(e, text, n, special ? &all : NULL, special ? 1 : 0,
                  flags & ENGINE_TOK_BOS ? f : 0, max_tokens, patience, ret, err);
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

/* What of the last message goes on: the assistant said something, said nothing yet, or it is not
 * the assistant's turn. */
enum final { FINAL_NONE, FINAL_EMPTY, FINAL_OPEN };

static enum final final_message(const struct engine_chat *chat)
{
    size_t n = json_array_size(chat->messages);
    const json_t *m = n ? json_array_get(chat->messages, n - 1) : NULL;
    const char *role = json_string_value(json_object_get(m, "role"));

    if (!chat->continue_final || !role || strcmp(role, "assistant") != 0)
        return FINAL_NONE;
    return json_string_length(json_object_get(m, "content")) ||
                   json_string_length(json_object_get(m, "reasoning_content"))
               ? FINAL_OPEN
               : FINAL_EMPTY;
}

/* The template's variables. As the reference does: what a request does not give is none, not
 * undefined. A last message without a word is a new answer: it is left to the model to begin. */
static json_t *variables(const struct engine_chat *chat, enum final final)
{
    json_t *messages = final == FINAL_EMPTY ? json_copy((json_t *)chat->messages)
                                            : json_incref((json_t *)chat->messages);

    if (messages && final == FINAL_EMPTY)
        json_array_remove(messages, json_array_size(messages) - 1);
    return json_pack("{s:o, s:O?, s:n, s:b}", "messages", messages, "tools", chat->tools,
                     "documents", "add_generation_prompt",
                     !chat->no_generation_prompt && final != FINAL_OPEN);
}

int engine_render(const struct engine *e, const struct engine_chat *chat, struct buf *ret_text,
                  struct engine_tokens *ret_tokens, struct err *err)
{
    struct jinja_input in = {.kwargs = chat->kwargs};
    struct jinja_out out = {0};
    struct engine_tokens tokens = {0};
    enum final final = final_message(chat);
    json_t *globals = NULL, *special = NULL;
    struct vocab_span *span = NULL;
    int rc;

    if (!e->jinja)
        return err_set(err, ERR_UNSUPPORTED, "%s", e->info.no_template_why);
    special = special_strings(e);
    globals = variables(chat, final);
    rc = ERR_NOMEM;
    if (!special || !globals) {
        err_set(err, ERR_NOMEM, "no memory to render the chat template");
        goto done;
    }
    in.trusted = special;
    in.globals = globals;
    in.continue_final = final == FINAL_OPEN;
    in.patience = chat->patience;
    rc = jinja_render(e->jinja, &in, &out, err);
    if (rc)
        goto done;
    span = calloc(out.n_spans + 1, sizeof *span);
    if (!span) {
        rc = err_set(err, ERR_NOMEM, "no memory to render the chat template");
        goto done;
    }
    for (size_t i = 0; i < out.n_spans; i++)
        span[i] = (struct vocab_span){out.spans[i].at, out.spans[i].at + out.spans[i].n};
    rc = encode(e, out.text.data ? out.text.data : "", out.text.len, span, out.n_spans,
                missing_bos(e, out.text.data, out.text.len), (size_t)INT32_MAX / 8, chat->patience,
                &tokens, err);
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
