/* What a GGUF file says of its vocabulary. */
#ifndef ENGINE_VOCAB_GGUF_H
#define ENGINE_VOCAB_GGUF_H

#include "base/err.h"
#include "engine/gguf.h"
#include "text/vocab.h"

/* Read the tokenizer.ggml.* keys. The strings stay the file's; the arrays made for them are
 * released by vocab_source_done. ERR_FORMAT names the key. */
int vocab_source_from_gguf(struct vocab_source *ret, const struct gguf *g, struct err *e);
void vocab_source_done(struct vocab_source *s); /* accepts NULL; only after _from_gguf */

#endif
