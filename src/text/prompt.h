/* From a text, or a conversation, to the tokens of a prompt: a model's template before its
 * vocabulary. Any thread; nothing here changes. */
#ifndef TEXT_PROMPT_H
#define TEXT_PROMPT_H

#include "base/buf.h"
#include "base/err.h"
#include "job/chat.h"
#include "job/tokens.h"
#include "text/jinja.h"
#include "text/vocab.h"

struct prompt_maker {
    const struct vocab *vocab;
    const struct jinja *jinja;       /* NULL: the model has no template */
    const char *bos_text, *eos_text; /* their spelling; "": none */
};

enum {
    /* Parse control tokens in the text (never set for text that users wrote). No EOS is added then,
     * and no BOS if the text begins with it. */
    PROMPT_SPECIAL = 1,
    PROMPT_BOS = 2, /* add BOS (and EOS) where the model wants them */
};
/* At most max_tokens, else ERR_LIMIT. */
int prompt_tokenize(const struct prompt_maker *m, const char *text, size_t n, unsigned flags,
                    size_t max_tokens, const struct patience *patience, struct tokens *ret,
                    struct err *err);
/* Run the template, which must be there: the prompt's text (or NULL) and its tokens. Text that came
 * from `chat` never becomes a control token. What messages of the assistant say is of answers, all
 * else of the prompt. */
int prompt_render(const struct prompt_maker *m, const struct chat *chat, struct buf *ret_text,
                  struct tokens *ret_tokens, struct err *err);

#endif
