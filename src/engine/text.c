/* The door's text functions: a model's vocabulary and template, behind text's. Any thread. */
#include "engine/engine_int.h"

static struct prompt_maker maker(const struct engine *e)
{
    return (struct prompt_maker){.vocab = e->vocab,
                                 .jinja = e->jinja,
                                 .bos_text = e->info.bos_text,
                                 .eos_text = e->info.eos_text};
}

int engine_tokenize(const struct engine *e, const char *text, size_t n, unsigned flags,
                    size_t max_tokens, const struct patience *patience, struct tokens *ret,
                    struct err *err)
{
    struct prompt_maker m = maker(e);

    return prompt_tokenize(&m, text, n, flags, max_tokens, patience, ret, err);
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

int engine_render(const struct engine *e, const struct chat *chat, struct buf *ret_text,
                  struct tokens *ret_tokens, struct err *err)
{
    struct prompt_maker m = maker(e);

    if (!e->jinja)
        return err_set(err, ERR_UNSUPPORTED, "%s", e->info.no_template_why);
    return prompt_render(&m, chat, ret_text, ret_tokens, err);
}
