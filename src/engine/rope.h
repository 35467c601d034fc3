/* Rotary position embedding: frequencies and the cos/sin of a position.
 * RoPE: Su et al., arXiv:2104.09864. Linear: positions divided by a factor. YaRN: Peng et al.,
 * arXiv:2309.00071 (ramp between interpolated and original frequencies, and a factor on the
 * amplitude). llama3: GGUF stores the divisors as rope_freqs.weight.
 *
 * sin and cos are computed here, in double and without libm, so that every machine gets the same
 * bits. */
#ifndef ENGINE_ROPE_H
#define ENGINE_ROPE_H

#include <stdint.h>

struct rope {
    int32_t n_rot;   /* rotated dimensions of a head, even */
    double *freq;    /* [n_rot / 2] radians per position, scaling applied */
    float amplitude; /* on cos and sin (YaRN), else 1 */
};

struct rope_scaling {
    enum { ROPE_NONE, ROPE_LINEAR, ROPE_YARN } kind;
    float factor;      /* how many times longer than the original the context is; usually >= 1 */
    float attn_factor; /* further factor on the amplitude, 1 by default */
    float ext_factor;  /* 1 by default */
    float beta_fast, beta_slow;
    int32_t context_original;
};

/* freq: n_rot / 2 doubles of the caller; divisors: rope_freqs.weight or NULL. */
void rope_init(struct rope *r, double *freq, int32_t n_rot, float base,
               const struct rope_scaling *s, const float *divisors);

/* cos and sin of a position: n_rot / 2 floats each. */
void rope_angles(const struct rope *r, int32_t pos, float *cos_, float *sin_);

#endif
