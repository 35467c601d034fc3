/* From logits to a token. Pure functions of the request, the choice and the position: other
 * sequences in the step cannot change a draw (random numbers are counter-based), and every CPU
 * draws the same token.
 *
 * Order: log-probabilities are taken from the raw logits (temperature 1, before everything below);
 * then tokens that may not end yet, bias, repetition (prompt and answer), frequency and presence
 * (answer only) penalties, temperature, top_k, top_p among what is left, min_p, the draw.
 * Several threads may sample at once, each with its own scratch. */
#ifndef ENGINE_SAMPLE_H
#define ENGINE_SAMPLE_H

#include "job/sampling.h"
#include "kern/kern.h"

struct sample_scratch {
    int32_t n_vocab;
    int32_t *count; /* [n_vocab], all zero between calls */
    float *z;       /* [n_vocab] */
    int32_t *cand;  /* [n_vocab] */
};

int sample_scratch_init(struct sample_scratch *s, int32_t n_vocab); /* 0 or ERR_NOMEM */
void sample_scratch_done(struct sample_scratch *s);

struct sample_in {
    const struct sampling *p;
    uint64_t choice, position; /* with p->seed: what the draw depends on */
    const int32_t *history;    /* prompt, then the answer so far */
    int32_t n_prompt, n_history;
    const int32_t *banned; /* may not be drawn now (end-of-generation before min_tokens) */
    int32_t n_banned;
};

struct sample_top {
    int32_t token;
    float logprob;
};

struct sample_out {
    int32_t token;
    float logprob; /* where p->logprobs */
    int32_t n_top;
    struct sample_top top[SAMPLING_TOP_MAX];
};

/* logits: n_vocab floats, changed by penalties and bias. 0, or ERR_NUMERIC for a value that is not
 * finite. */
int sample_token(const struct kern_table *k, float *logits, const struct sample_in *in,
                 struct sample_scratch *s, struct sample_out *ret);

/* Log-probability of `token` and the n_top best alternatives of raw logits. 0 or ERR_NUMERIC. */
int sample_logprobs(const struct kern_table *k, const float *logits, int32_t n_vocab, int32_t token,
                    int32_t n_top, struct sample_out *ret);

#endif
