/* Tiny random-weight models, written as GGUF files by the tests themselves: no network, no other
 * language, small enough for sanitizers. */
#ifndef TESTS_TINY_H
#define TESTS_TINY_H

#include <stdint.h>

#include "base/buf.h"

enum tiny_arch { TINY_LLAMA, TINY_GEMMA3, TINY_QWEN3MOE };

struct tiny {
    enum tiny_arch arch;
    int window;      /* gemma3: sliding window */
    int all_windows; /* gemma3: in every layer, not in every other one */
    int context;
    int quantised; /* 1: Q4_0 and Q8_0 matrices, 0: F32 */
    int adds_bos;
    int ff; /* width of the feed-forward part; 0: 96 */
};

#define TINY_VOCAB 260 /* 256 bytes, then control tokens: <s>, </s>, <|im_start|>, <|im_end|> */

/* The whole file; b is initialised here. */
void tiny_write(struct buf *b, const struct tiny *t);
/* Bytes, or a model, into a file below the test's temporary folder; returns its path (static
 * memory, overwritten by the next call). */
const char *tiny_save(const void *data, size_t n, const char *name);
const char *tiny_file(const struct tiny *t, const char *name);

#endif
