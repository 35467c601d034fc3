/* Door of the engine room: model file -> logits -> tokens.
 *
 *   struct engine   a loaded model: weights, KV cache, vocabulary, template, and the one thread
 * that owns sequences, KV and batch; struct job      one request on its way through it (job/job.h):
 * the caller's memory, the engine's to read until EVENT_DONE has been popped and engine_release
 * says so.
 *
 * Threads. engine_submit and engine_cancel: any thread. Events of a job are read by one thread, the
 * owner of the mailbox in the job. Text functions (tokenise, detokenise, render) and engine_info:
 * any thread at any time, they touch read-only state. open/close: one thread.
 *
 * Nothing here calls upward: events travel in a ring of the job, sized by what it asks for, and the
 * job is posted in its reader's mailbox, with one wake per step. When the ring is full the sequence
 * pauses until its reader has popped events. When others wait, its slot and pages go to them
 * meanwhile; it is computed again later, to the same answer. Pauses longer than stall_us_max end it
 * with ERR_SLOW_READER. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/patience.h"
#include "engine/class.h"
#include "job/chat.h"
#include "job/event.h"
#include "job/job.h"
#include "job/load.h"
#include "job/preset.h"
#include "job/tokens.h"
#include "text/prompt.h"

struct energy_meter;
struct engine;
struct team;

/* ---- lifecycle ----------------------------------------------------------------------------- */

/* The words of settings, "auto|q8|...": a word's index is what engine_config takes. */
extern const char engine_class_words[], engine_cpu_words[], engine_kv_words[];

/* Zero means "default" in every field. */
struct engine_config {
    const char *path;              /* GGUF file, or the first of a split one */
    const char *name;              /* for messages; default: the file's base name */
    const char *template_file;     /* overrides the file's chat template */
    const struct preset *sampling; /* what the catalogue recommends for the model, or NULL */
    enum engine_class cls;
    int cpu;             /* best instruction set to use: 0 any, else 1 + enum kern_isa */
    int kv;              /* 0: f16, in class f32 f32; else 1 + enum kern_kv */
    size_t kv_bytes_max; /* memory for KV pages; default: what is free, at most 1/2 of it */
    uint64_t reserved;   /* bytes of the machine's memory that are promised, not yet taken */
    int32_t context_max; /* default: trained length, lowered only by memory */
    int32_t output_max;  /* cap on generated tokens where the client sets none; 0: context */
    int32_t chunk;       /* prompt tokens in one step, default 512 */
    int32_t batch_max;   /* sequences decoded together, default 64 */
    int no_prefix_cache;
    int no_speculation;   /* one token of a sequence a step, always */
    int draft_always;     /* as many tokens as may be, whatever steps cost: for tests of answers */
    int64_t stall_us_max; /* default 30 s */
    int64_t give_way_us;  /* a sequence paused for longer gives way to others; default 250 ms */
    struct energy_meter *meter; /* what steps use is paid from it; NULL: energy is not known. Must
                                   outlive the engine; several share it */
    int describe_only;          /* no weights, no thread: info and text functions only */
};

/* Load a model and start its thread. On failure *ret is untouched, everything is freed, and `e`
 * says what and why (file, key, tensor). The team may be NULL with describe_only. */
int engine_open(struct engine **ret, const struct engine_config *c, struct team *t,
                engine_progress *progress, void *arg, struct err *e);
/* Stops the thread (running jobs end with ERR_DRAINING) and frees everything; nothing is being
 * submitted any more. Accepts NULL. */
void engine_close(struct engine *e);

/* Is this file complete, with every tensor inside it? One file of a split model counts by itself.
 * Only the file's tables are read. 0 or an error with a sentence. */
int engine_check_file(const char *path, struct err *e);

struct engine_info {
    const char *name, *path, *family, *general_name, *license,
        *formats;        /* formats: "Q4_1 + Q8_0" */
    const char *kernels; /* kernel table in use */
    const char *cls;     /* "q8", "bf16" or "f32" */
    const char *kv;      /* "f16", "f32" or "q8_0" */
    uint64_t file_bytes, tensor_bytes, weight_bytes, kv_bytes, work_bytes, vocab_bytes;
    uint64_t weights_print;    /* of the file's tensors; 0: it was described only */
    uint64_t kv_token_bytes;   /* KV cache of one token */
    uint64_t bytes_per_token;  /* source bytes of the tensors one decoded token reads */
    uint64_t step_bytes_dense; /* of which: read once by a step, whatever its batch */
    uint64_t expert_bytes;     /* one expert of one layer */
    uint64_t macs_per_token;   /* multiply-adds of a token in matrices, the output excepted */
    uint64_t macs_output;      /* and of the output, where logits are wanted */
    uint64_t n_params;
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_experts,
        n_experts_used;
    int32_t window;
    int32_t context_trained, context; /* context: what is served */
    int32_t output_max, chunk, batch_max, n_pages, page_tokens;
    int has_template;            /* chat is possible */
    const char *no_template_why; /* a sentence, when not */
    const char *no_room_why;     /* describe_only: why it could not be loaded now, or NULL */
    const char *template_text;   /* the chat template, or NULL */
    struct preset sampling;      /* recommended, not applied */
    const char *sampling_from;   /* "catalogue", "file" or "family" */
    const char *bos_text, *eos_text;
};
const struct engine_info *engine_info(const struct engine *e);

/* ---- text (any thread) ---------------------------------------------------------------------- */

/* Flags are those of text/prompt.h. Text is any bytes. At most max_tokens, else ERR_LIMIT. The
 * patience may be NULL, as below. */
int engine_tokenize(const struct engine *e, const char *text, size_t n, unsigned flags,
                    size_t max_tokens, const struct patience *patience, struct tokens *ret,
                    struct err *err);
/* Bytes of the tokens, control tokens as their text when `special`, else as nothing. */
int engine_detokenize(const struct engine *e, const int32_t *id, int32_t n, int special,
                      struct buf *out, struct err *err);
/* Bytes of one token (read-only, length in *ret_n). */
const char *engine_token_bytes(const struct engine *e, int32_t id, size_t *ret_n);

/* Run the chat template: the prompt's text (or NULL) and its tokens. Text that came from `chat`
 * never becomes a control token. The contents of the assistant's messages have the phase of
 * answers, all other text that of the prompt (job/phase.h). */
int engine_render(const struct engine *e, const struct chat *chat, struct buf *ret_text,
                  struct tokens *ret_tokens, struct err *err);

/* ---- jobs ----------------------------------------------------------------------------------- */

/* Hand the job over. 0, or ERR_CONTEXT (prompt + 1 does not fit; the sentence has both numbers),
 * ERR_ARG, ERR_DRAINING, ERR_NOMEM; on failure the job stays the caller's and no event comes. */
int engine_submit(struct engine *e, struct job *j, struct err *err);
/* Ask for the end: within one step the job's KV is free and DONE (ERR_CANCELLED) is posted. */
void engine_cancel(struct engine *e, struct job *j);
/* How many that wait go before it, as it was a moment ago; -1: not known, as before it was seen.
 * What has begun is not asked. The reader's thread. */
int32_t engine_before(const struct job *j);
/* The oldest event, valid until engine_event_pop; NULL when none. Read in place: what it points to
 * is in the ring too. */
const struct event *engine_event_peek(struct job *j);
void engine_event_pop(struct engine *e, struct job *j);
/* After DONE was popped: 1 when the job is the caller's again. 0 when its item is in the reader's
 * mailbox once more: ask again when it comes out. */
int engine_release(struct job *j);

/* So many sequences may be computed together from now on, 0 to batch_max: none begins beyond them,
 * and those that have begun go on. With 0 jobs of which nothing has begun end with ERR_SITE_CLOSED.
 * [any] */
void engine_set_places(struct engine *e, int32_t n);
/* All but jobs that go first may have so many of them together; 0: all. [any] */
void engine_set_others_max(struct engine *e, int32_t n);

/* How busy it is; `state` is ready. Frozen: its thread has finished no layer and no idle tick
 * (every 250 ms) for 4 s. */
void engine_load(const struct engine *e, struct load *ret);

/* ---- offline evaluation (no thread involved; not while jobs run) ----------------------------- */

/* Log-probabilities over the vocabulary after each of the n tokens, evaluated alone from an empty
 * cache: row i (n_vocab floats) is handed to `row` in order, as raw logits. */
int engine_eval(struct engine *e, const int32_t *id, int32_t n,
                int (*row)(void *arg, int32_t i, const float *logits), void *arg, struct err *err);

/* Timed steps for `gaufre bench`, without the engine's thread: `batch` sequences of random tokens,
 * of which the first `depth` of each are in the KV cache. A prefill run computes n more tokens of
 * each sequence; a decode run computes n steps of one token each, with logits and the choice of the
 * best. Each run starts again at `depth`. same_prompt: the first `depth` tokens are the same in all
 * sequences, so that they share the full pages of the KV cache. */
struct engine_bench;
int engine_bench_open(struct engine_bench **ret, struct engine *e, int32_t depth, int32_t n_max,
                      int32_t batch, int same_prompt, struct err *err);
int engine_bench_run(struct engine_bench *p, int decode, int32_t n, int64_t *ret_us,
                     uint64_t *ret_weight_bytes, struct err *err);
void engine_bench_close(struct engine_bench *p); /* accepts NULL */

#endif
