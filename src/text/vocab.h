/* Vocabulary: the tokens of one model, text -> token ids and back.
 *
 * Owns: token bytes, kinds and scores, merge ranks, special tokens, the pretokenizer. Two families:
 * byte-level BPE (GGUF model "gpt2") and SentencePiece BPE with byte fallback ("llama").
 *
 * Threads: open and close on one thread; everything else only reads and may run on any number of
 * threads at once (scratch belongs to the call).
 *
 * Text from users never becomes a control token: control tokens are recognised only inside spans
 * that the caller declares trusted (text of the template), and neither merges nor whole-word
 * look-ups can end in one. User-defined tokens are found in all text, as the reference tokenizers
 * do; tokens that a file calls user-defined or normal but that look like markers of a dialogue
 * (<|...|>, end-of-generation names) count as control.
 *
 * Any bytes are text. Where they are not UTF-8, the malformed stretch is a piece of its own: byte
 * tokens, merged by rank in byte-level vocabularies. Encoding then decoding gives the same bytes,
 * but for what the reference tokenizers themselves do not keep: NFC where the model normalises
 * (qwen2); U+2581 in SentencePiece, which reads as a space; bytes for which a byte-level vocabulary
 * has no token, which are left out (SmolLM2 lacks 21: six control characters, the rest hardly or
 * never in UTF-8).
 *
 * Known limit: character classes are those of the installed PCRE2 (Unicode 14 on Debian 12);
 * letters added to Unicode later split as symbols do. */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/patience.h"

#define VOCAB_TOKENS_MAX    (1u << 20) /* tokens of a vocabulary */
#define VOCAB_MERGES_MAX    (1u << 21) /* merges of a vocabulary */
#define VOCAB_TOKEN_LEN_MAX 4096u      /* bytes of one token's text */
#define VOCAB_TEXT_MAX      (1u << 29) /* bytes of one text to encode */
#define VOCAB_WORD_MAX      (8u << 20) /* bytes of one stretch without a border (scratch: ~40 x) */

struct vocab;

/* ---- what a model file says ------------------------------------------------------------------ */

struct vocab_str {
    const char *p;
    size_t n;
};

/* The values of GGUF's tokenizer.ggml.token_type. */
enum vocab_type {
    VOCAB_NORMAL = 1,
    VOCAB_UNKNOWN = 2,
    VOCAB_CONTROL = 3,
    VOCAB_USER_DEFINED = 4,
    VOCAB_UNUSED = 5,
    VOCAB_BYTE = 6
};

/* Plain arrays, as read from the file; nothing in them is trusted, and nothing is kept after
 * vocab_open. Start from vocab_source_init (absent = -1, NULL, ""). */
struct vocab_source {
    char model[64];                 /* "gpt2" or "llama" */
    char pre[64];                   /* pretokenizer name; "": "default" */
    const struct vocab_str *tokens; /* n_tokens texts, as the file spells them */
    size_t n_tokens;
    const float *scores; /* n_scores (n_tokens) or NULL */
    size_t n_scores;
    const int32_t *types; /* n_types (n_tokens) of enum vocab_type, or NULL: all normal */
    size_t n_types;
    const struct vocab_str *merges; /* "left right", best first */
    size_t n_merges;
    int64_t bos, eos, eot, eom, unk;        /* token ids; -1: absent */
    int add_bos, add_eos, add_space_prefix; /* 0, 1; -1: absent, the family's default */
};

void vocab_source_init(struct vocab_source *s);

/* ---- lifecycle ------------------------------------------------------------------------------- */

/* ERR_UNSUPPORTED: an unknown model or pretokenizer (the sentence lists what is supported);
 * ERR_FORMAT: counts that disagree, duplicate tokens, merges of unknown tokens, ids out of range;
 * ERR_LIMIT; ERR_NOMEM. */
int vocab_open(struct vocab **ret, const struct vocab_source *s, struct err *e);
void vocab_close(struct vocab *v); /* accepts NULL */

/* ---- tokens ---------------------------------------------------------------------------------- */

int32_t vocab_n(const struct vocab *v);
int32_t vocab_bos(const struct vocab *v); /* -1: none; likewise below */
int32_t vocab_eos(const struct vocab *v);
int vocab_adds_bos(const struct vocab *v);  /* the model wants BOS before a text */
size_t vocab_memory(const struct vocab *v); /* bytes held */

/* The bytes that a token stands for (control and user-defined tokens: their text). Not terminated;
 * may be empty, may be a part of a UTF-8 sequence. id out of range: "" and 0. */
const char *vocab_piece(const struct vocab *v, int32_t id, size_t *ret_n);
int vocab_is_control(const struct vocab *v,
                     int32_t id);                    /* control or unknown: shown only on demand */
int vocab_is_eog(const struct vocab *v, int32_t id); /* ends a generation; may be several ids */
/* The id whose text in the file is exactly this ("<|im_start|>"), or -1. */
int32_t vocab_find(const struct vocab *v, const char *text, size_t n);

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes [begin, end) of a text that come from the model's own template. */
struct vocab_span {
    size_t begin, end;
};

enum {
    VOCAB_ADD_BOS = 1, /* where the model wants one */
    VOCAB_ADD_EOS = 2, /* where the model wants one */
};

/* Tokens of n bytes. Control tokens are recognised only where the whole match lies inside one of
 * the trusted spans (ascending, not overlapping, may touch; else ERR_ARG). What lies between
 * special tokens is tokenised as one text, wherever spans begin or end. *ret_id is malloc'd (free
 * it), never NULL on success. More than max tokens: ERR_LIMIT. Work grows with the text as n log n
 * at most; when the patience (may be NULL) is over: ERR_CANCELLED or ERR_TIMEOUT. */
int vocab_encode(const struct vocab *v, const char *text, size_t n,
                 const struct vocab_span *trusted, size_t n_trusted, unsigned flags, size_t max,
                 const struct patience *patience, int32_t **ret_id, size_t *ret_n, struct err *e);

/* The same, and mark the tokens whose last byte lies in one of the spans. Where tokens do not have
 * the bytes of the text (after NFC, or where bytes have no token) the border of a span may be off
 * by some bytes up to the next special token, but always in the same way. */
struct vocab_marks {
    const struct vocab_span *span;
    size_t n_spans;
    uint32_t *bits; /* for the caller to free: bit i % 32 of word i / 32 is token i's */
};
int vocab_encode_marked(const struct vocab *v, const char *text, size_t n,
                        const struct vocab_span *trusted, size_t n_trusted, unsigned flags,
                        size_t max, const struct patience *patience, int32_t **ret_id,
                        size_t *ret_n, struct vocab_marks *marks, struct err *e);

/* Exact bytes of tokens appended to `out`; control tokens as their text when `special`, else as
 * nothing. The space that encoding put before a text is dropped again. For text that is streamed
 * to people use detok.h. ERR_ARG: an id out of range. */
int vocab_decode(const struct vocab *v, const int32_t *id, size_t n, int special, struct buf *out,
                 struct err *e);

#endif
