/* One step of a model: many tokens of many sequences through all layers, weights read once.
 *
 * A step is laid out by the caller as segments: runs of consecutive tokens of one sequence and one
 * phase. Each output is a function of its row, token, position, phase and KV only, never of what
 * else is in the step, of how a prompt was cut into segments, or of the number of threads. The
 * phase (phase.h) counts in class bf16 alone.
 *
 * Owned by the engine thread, which holds the team's lock during step_run. No allocation after
 * step_open. */
#ifndef ENGINE_STEP_H
#define ENGINE_STEP_H

#include <stdint.h>

#include "base/team.h"
#include "engine/kv.h"
#include "engine/model.h"

struct step_seg {
    const struct kv_seq *kv;
    int32_t pos; /* position of the first token */
    int32_t tok; /* its index in the step */
    int32_t n;   /* tokens, of one phase */
    int linked;  /* the step has another segment of this sequence, which may read this one's K and V
                  */
};

struct step_batch {
    const int32_t *token; /* [n_tok] */
    int32_t n_tok;
    int32_t n_answer; /* the first so many are of answers (or drafts), the others of prompts */
    const struct step_seg *seg;
    int32_t n_segs;
    const int32_t *out; /* [n_out] token indices whose logits are wanted */
    int32_t n_out;
};

struct step_config {
    const struct model *model;
    struct kv *kv;
    struct team *team;
    const struct kern_table *kern;
    enum engine_class cls;
    enum kern_kv kv_type;
    int32_t tok_max, seg_max, out_max; /* of a step */
    int32_t context;                   /* of the longest sequence: sizes work memory */
    _Atomic int64_t *beat_us;          /* set to clock_now_us() after every layer; may be NULL */
};

struct step;

/* Bytes step_open will take (untouched pages cost nothing until used). */
size_t step_bytes(const struct step_config *c);
int step_open(struct step **ret, const struct step_config *c, struct err *e);
void step_close(struct step *s);

/* Run it. Logits of out[i] are at step_logits(s, i) until the next run, n_vocab floats. Returns the
 * source bytes of weights read. */
uint64_t step_run(struct step *s, const struct step_batch *b);
float *step_logits(struct step *s, int32_t i);

#endif
