/* Text in and out of a model: tokenise, detokenise, run the chat template. Any thread. */
#include "text/prompt.h"

#include <stdlib.h>
#include <string.h>

/* Must BOS be added to a text in which control tokens are parsed? Not if the text begins with it,
 * as most templates write it: there are never two. */
static unsigned missing_bos(const struct prompt_maker *m, const char *text, size_t n)
{
    size_t bos_len = strlen(m->bos_text);
    return bos_len && n >= bos_len && !memcmp(text, m->bos_text, bos_len) ? 0 : VOCAB_ADD_BOS;
}

int prompt_tokenize(const struct prompt_maker *m, const char *text, size_t n, unsigned flags,
                    size_t max_tokens, const struct patience *patience, struct tokens *ret,
                    struct err *err)
{
    struct vocab_span all = {0, n};
    int special = (flags & PROMPT_SPECIAL) != 0 && n > 0;
    unsigned f = special ? missing_bos(m, text, n) : VOCAB_ADD_BOS | VOCAB_ADD_EOS;
    int32_t *id;
    size_t n_id;
    int rc = vocab_encode(m->vocab, text, n, special ? &all : NULL, special ? 1 : 0,
                          flags & PROMPT_BOS ? f : 0, max_tokens, patience, &id, &n_id, err);

    if (!rc)
        *ret = (struct tokens){.id = id, .n = (int32_t)n_id};
    return rc;
}

/* {"bos_token": ..., "eos_token": ...}: the only strings from outside the template that may become
 * control tokens. */
static json_t *special_strings(const struct prompt_maker *m)
{
    return json_pack("{s:s, s:s}", "bos_token", m->bos_text, "eos_token", m->eos_text);
}

/* The last message: not the assistant's; the assistant's without text; or the assistant's with a
 * text that the answer continues. */
enum final { FINAL_NONE, FINAL_EMPTY, FINAL_OPEN };

static enum final final_message(const struct chat *chat)
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

/* The template's variables. What a request does not give is none, not undefined, as in the
 * reference implementation (Hugging Face transformers). A last message of the assistant without
 * text is left out: the model begins a new answer. */
static json_t *variables(const struct chat *chat, enum final final)
{
    json_t *messages = final == FINAL_EMPTY ? json_copy((json_t *)chat->messages)
                                            : json_incref((json_t *)chat->messages);

    if (messages && final == FINAL_EMPTY)
        json_array_remove(messages, json_array_size(messages) - 1);
    return json_pack("{s:o, s:O?, s:n, s:b}", "messages", messages, "tools", chat->tools,
                     "documents", "add_generation_prompt",
                     !chat->no_generation_prompt && final != FINAL_OPEN);
}

static struct vocab_span *spans_of(const struct jinja_span *s, size_t n)
{
    struct vocab_span *r = calloc(n + 1, sizeof *r);

    for (size_t i = 0; r && i < n; i++)
        r[i] = (struct vocab_span){s[i].at, s[i].at + s[i].n};
    return r;
}

/* Tokenise the output of a template. */
static int encode(const struct prompt_maker *m, const struct jinja_out *out,
                  const struct patience *patience, struct tokens *ret, struct err *err)
{
    struct vocab_span *trusted = spans_of(out->spans, out->n_spans);
    struct vocab_span *answers = spans_of(out->answers, out->n_answers);
    struct vocab_marks marks = {.span = answers, .n_spans = out->n_answers};
    const char *text = out->text.data ? out->text.data : "";
    int32_t *id;
    size_t n_id;
    int rc = ERR_NOMEM;

    if (!trusted || !answers)
        err_set(err, rc, "no memory to render the chat template");
    else
        rc = vocab_encode_marked(m->vocab, text, out->text.len, trusted, out->n_spans,
                                 missing_bos(m, text, out->text.len), (size_t)INT32_MAX / 8,
                                 patience, &id, &n_id, &marks, err);
    if (!rc)
        *ret = (struct tokens){.id = id, .answer = marks.bits, .n = (int32_t)n_id};
    free(trusted);
    free(answers);
    return rc;
}

int prompt_render(const struct prompt_maker *m, const struct chat *chat, struct buf *ret_text,
                  struct tokens *ret_tokens, struct err *err)
{
    enum final final = final_message(chat);
    struct jinja_input in = {
        .kwargs = chat->kwargs, .continue_final = final == FINAL_OPEN, .patience = chat->patience};
    struct jinja_out out = {0};
    struct tokens tokens = {0};
    json_t *globals, *special;
    int rc = ERR_NOMEM;

    in.trusted = special = special_strings(m);
    in.globals = globals = variables(chat, final);
    if (!special || !globals)
        err_set(err, rc, "no memory to render the chat template");
    else
        rc = jinja_render(m->jinja, &in, &out, err);
    if (!rc)
        rc = encode(m, &out, chat->patience, &tokens, err);
    if (!rc && ret_text && (rc = buf_add(ret_text, out.text.data, out.text.len))) {
        tokens_done(&tokens);
        err_set(err, rc, "the rendered prompt is too long");
    }
    if (!rc)
        *ret_tokens = tokens;
    jinja_out_done(&out);
    json_decref(globals);
    json_decref(special);
    return rc;
}
