/* Door of the kernel room: arithmetic on arrays. Knows no model and no token.
 *
 * One table of functions, filled once at start from the CPU (kern_open), read-only after. All
 * kernels are pure, re-entrant and allocate nothing; threads split work by ranges.
 *
 * Numbers. Every kernel has a scalar C reference, and every SIMD version is bit-exact to it. That
 * is possible because each result is defined down to the order of its roundings:
 *  - matrix products: a lane owns one output row. q8: for each 32-weight block in order of k the
 *    integer dot product (exact in any order), then
 *        acc = fmaf((float)dot, w_scale * a_scale, acc)
 *    and, for formats with a minimum, acc = fmaf(w_min, a_scale * (float)a_sum, acc) after it.
 *    Q6_K, whose scales cover 16 weights: with d0 and d1 of the halves,
 *        acc = fmaf(fmaf((float)d1, w_scale1, (float)d0 * w_scale0), a_scale, acc).
 *    Offsets (unsigned nibbles and such) are taken out in integers, before the conversion.
 *    f32: acc = fmaf(w, a[k], acc) for k in order, w the exactly dequantised weight.
 *    bf16: what AMX does with w and a rounded to bf16 (to nearest even; below 2^-50: 0), for each
 *    32 inputs in order of k
 *        even = sum of w[k] * a[k] over even k in order, odd the same, acc = acc + (even + odd)
 *    each addition rounded to nearest even, each product finite. Source: TDPBF16PS in Intel's
 * Software Developer's Manual, volume 2.
 *  - reductions over a vector (norms, softmax sums): 16 lanes, element i goes to lane i % 16, fma
 * or add in order, then lanes fold l += l+8, l+4, l+2, l+1.
 *  - exp, tanh: one polynomial (kern/kmath.h), explicit fma, no libm.
 * The build uses -ffp-contract=off everywhere, so no compiler adds an fma of its own. */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KERN_LANES 16 /* output rows interleaved in a repacked group */
#define KERN_BLOCK 32 /* activations quantised together */
#define KERN_PAGE  32 /* tokens in a KV page */

/* ---- formats ------------------------------------------------------------------------------- */

enum kern_fmt {
    KERN_F32,
    KERN_F16,
    KERN_BF16,
    KERN_Q4_0,
    KERN_Q4_1,
    KERN_Q5_0,
    KERN_Q5_1,
    KERN_Q8_0,
    KERN_Q4_K,
    KERN_Q5_K,
    KERN_Q6_K,
    KERN_MXFP4,
    KERN_N_FMT
};

struct kern_fmt_info {
    const char *name;
    int block;       /* weights in a source block (1, 32 or 256) */
    int block_bytes; /* bytes of a source block in a GGUF file */
    int ggml_type;   /* GGUF's number for it */
    int is_float;    /* F32, F16, BF16: used with float activations in both classes */
};

const struct kern_fmt_info *kern_fmt_info(enum kern_fmt fmt);
/* GGUF type number -> format, or -1. */
int kern_fmt_from_ggml(uint32_t ggml_type);

/* A matrix in the repacked layout: groups of 16 output rows, one after the other; inside a group
 * the weights in the order that the kernels stream them (kern/repack.h draws it). rows is the true
 * count; the last group is padded with zero rows. cols is a multiple of the format's block. */
struct kern_mat {
    enum kern_fmt fmt;
    int32_t rows, cols;
    const uint8_t *data; /* 64-byte aligned */
};

static inline int kern_mat_groups(const struct kern_mat *m)
{
    return (m->rows + KERN_LANES - 1) / KERN_LANES;
}

/* Bytes of one group of 16 rows (a multiple of 64) and of a whole matrix. At most 1.05 x the
 * source's bytes for rows that are a multiple of 16. */
size_t kern_group_bytes(enum kern_fmt fmt, int32_t cols);
size_t kern_mat_bytes(enum kern_fmt fmt, int32_t rows, int32_t cols);
/* Bytes of one source row. */
size_t kern_row_bytes(enum kern_fmt fmt, int32_t cols);

/* Does matmul_bf16 take it? Quantised formats and BF16; F32 and F16 would lose bits. */
static inline int kern_takes_bf16(const struct kern_mat *m)
{
    return (m->fmt == KERN_BF16 || !kern_fmt_info(m->fmt)->is_float) && m->cols % KERN_BLOCK == 0;
}

/* Repack groups [g0, g1) of a matrix whose rows lie one after another in GGUF's layout at src
 * (any alignment) into dst, the repacked matrix's first byte. */
void kern_repack(enum kern_fmt fmt, const void *src, int32_t rows, int32_t cols, int32_t g0,
                 int32_t g1, uint8_t *dst);
/* One row of a repacked matrix as floats (embedding look-up, tests); exact dequantisation. */
void kern_row_f32(const struct kern_mat *m, int32_t row, float *out);

/* ---- activations --------------------------------------------------------------------------- */

/* n rows of activations. `f` is always there; the quantised form (q, scale, sum) is filled by
 * `quantize` when a q8 product will read it. Quantised: per 32 values, amax = max |x|,
 * inv = amax >= 2^-100 ? 127 / amax : 0, q = round to nearest even of x * inv, scale = amax / 127.
 * A block with an infinity or a NaN has q = 0 and scale = NaN, so that every product that reads it
 * is NaN and the logits tell. */
struct kern_act {
    int32_t n, cols;
    const float *f;  /* row i at f + i * f_stride */
    size_t f_stride; /* in floats */
    int8_t *q;       /* [n][cols], in [-127, 127] */
    float *scale;    /* [n][cols / 32] */
    int16_t *sum;    /* [n][cols / 16], sums of q */
};

/* ---- attention ----------------------------------------------------------------------------- */

enum kern_kv { KERN_KV_F32, KERN_KV_F16, KERN_KV_Q8_0 };
#define KERN_KV_WORDS "f32|f16|q8_0" /* their names, in this order */

/* KV page for one KV head, 32 tokens: K transposed [head_dim][32], so that a lane is a token, then
 * V [32][head_dim], so that a lane is an output; q8_0 (8 bits, a float scale per token and 32
 * dimensions): then their scales. kern_kv_head_bytes() tells its size, kern/attn.h draws it. */
struct kern_attn {
    enum kern_kv kv;
    int32_t head_dim;    /* a multiple of 16, at most 512 */
    int32_t n_group;     /* query heads that share the KV head (any number >= 1) */
    int32_t pos;         /* position of the first query token */
    int32_t n_tok;       /* query tokens, at consecutive positions of one sequence */
    int32_t window;      /* > 0: query at p sees keys in (p - window, p]; 0: all of [0, p] */
    float scale;         /* on q . k */
    const float *sinks;  /* [n_group] or NULL: joins the softmax denominator only */
    const uint8_t *base; /* page p of this KV head lies at base + page[p] * page_stride */
    size_t page_stride;  /* bytes */
    const int32_t *page; /* page[i] holds positions [32 i, 32 i + 32) */
    const float *q;      /* head h of token t at q + t * q_stride + h * head_dim */
    size_t q_stride;     /* floats */
    float *out;          /* like q, with out_stride */
    size_t out_stride;
    /* A call may be cut along the positions, so that several threads share one sequence. With part
     * set, only the blocks [block0, block1) of KERN_ATTN_BLOCK positions are computed, and each
     * block's result is left in part for attn_join. part holds kern_attn_part_floats() for each of
     * the call's n_tok * n_group rows and for each block, counted from the first that the call's
     * first token sees. */
    float *part;
    int32_t block0, block1;
};

#define KERN_ATTN_BLOCK 256 /* positions that share a maximum: a constant, for it shows in bits */

static inline size_t kern_attn_part_floats(int32_t head_dim)
{
    return (size_t)head_dim + 32;
}

size_t kern_kv_head_bytes(enum kern_kv kv, int32_t head_dim);
const char *kern_kv_name(enum kern_kv kv); /* "f32", "f16", "q8_0" */

/* ---- the table ----------------------------------------------------------------------------- */

enum kern_act_fn { KERN_SILU, KERN_GELU_TANH, KERN_SWIGLU_OAI };

struct kern_table {
    const char *name; /* kern_isa_name of the last set that filled it */

    /* Quantise row i of `a` (reads a->f, writes q, scale, sum). cols % 32 == 0. */
    void (*quantize)(const struct kern_act *a, int32_t i);

    /* out[t * out_stride + r] = sum_k W[r][k] * A[row t][k] for the rows of groups [g0, g1) and the
     * n tokens; token t uses activation row rows[t] (rows == NULL: t). Rows past m->rows are not
     * written. q8: quantised formats read q/scale/sum, float formats read f.
     * f32: reads f, always. */
    void (*matmul_q8)(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                      const int32_t *rows, int32_t n, float *out, size_t out_stride);
    void (*matmul_f32)(const struct kern_mat *m, int32_t g0, int32_t g1, const struct kern_act *a,
                       const int32_t *rows, int32_t n, float *out, size_t out_stride);

    /* The same product with activations in bf16, for matrices that kern_takes_bf16: row t at
     * x + t * x_stride. x is aligned to 64 bytes and x_stride a multiple of 32; rows may be read
     * (not used) up to a multiple of 16. fast_bf16: matrix units do it; else it is the reference,
     * for comparison. */
    void (*matmul_bf16)(const struct kern_mat *m, int32_t g0, int32_t g1, const uint16_t *x,
                        size_t x_stride, int32_t n, float *out, size_t out_stride);
    int fast_bf16;
    /* y[i] = x[i] as bf16, as kern.h's head defines it; a NaN is 0x7fc0. */
    void (*to_bf16)(const float *x, int32_t n, uint16_t *y);

    /* y = x / sqrt(mean(x^2) + eps) * w (w may be NULL: ones). y may be x. Any n. */
    void (*rmsnorm)(const float *x, const float *w, float eps, int32_t n, float *y);
    /* x += y */
    void (*add)(float *x, const float *y, int32_t n);
    /* x *= s */
    void (*scale)(float *x, float s, int32_t n);
    /* x += s * y (fma) */
    void (*axpy)(float *x, float s, const float *y, int32_t n);
    /* out = act(gate) * up. SWIGLU_OAI: g = min(gate, 7), u = clamp(up, -7, 7),
     * g * sigmoid(1.702 g) * (u + 1). */
    void (*glu)(enum kern_act_fn fn, const float *gate, const float *up, int32_t n, float *out);
    /* Rotate n_heads heads of head_dim (stride head_dim) by cos/sin[n_rot / 2]; the first n_rot
     * dimensions only. adjacent: pairs (2i, 2i+1), else (i, i + n_rot/2). */
    void (*rope)(float *x, int32_t n_heads, int32_t head_dim, int32_t n_rot, int adjacent,
                 const float *cos_, const float *sin_);

    /* Store one token's K and V (head_dim floats each) at slot 0..31 of a page of one KV head.
     * f16 rounds to nearest even; q8_0 quantises as activations are. */
    void (*kv_store)(enum kern_kv kv, uint8_t *page, int32_t head_dim, int32_t slot, const float *k,
                     const float *v);
    /* Softmax attention, block by block in order of position; scores: fma over d in order; see
     * kern/attn.h for the exact order. Result independent of n_tok and of how a range is cut. */
    void (*attn)(const struct kern_attn *a);
    /* Attention in bf16, for tokens of prompts: defined in kern/attn.h beside the other one. Fast
     * where fast_bf16 is set. */
    void (*attn_bf16)(const struct kern_attn *a);
    /* Join the parts that calls with `part` set have left, of all blocks that the rows see. */
    void (*attn_join)(const struct kern_attn *a);

    /* Index of the largest value (the first of equals) and 1 when all n values are finite, else 0.
     */
    int (*argmax)(const float *x, int32_t n, int32_t *ret_i);
    /* Sum over i of exp(x[i] - max): for log-probabilities; 16 lanes. */
    float (*sum_exp)(const float *x, float max, int32_t n);

    /* How many groups of 16 rows one call should cover, so that the cost of calls is negligible. */
    int32_t chunk_groups;
};

/* Instruction sets and their words, the later overriding the earlier: X(enum kern_isa, word). What
 * each needs of the CPU and which functions it brings: kern/isa.h. */
#define KERN_ISAS(X)                                                                               \
    X(KERN_ISA_SCALAR, "scalar")                                                                   \
    X(KERN_ISA_AVX2, "avx2")                                                                       \
    X(KERN_ISA_AVX_VNNI, "avx-vnni") /* AVX2 with vpdpbusd; CPUs with AVX-512 often lack it */     \
    X(KERN_ISA_AVX512, "avx512")                                                                   \
    X(KERN_ISA_AVX512_VNNI, "avx512-vnni")                                                         \
    X(KERN_ISA_AMX, "amx") /* AVX512_VNNI, and products and attention of bf16 in tiles */

#define KERN_ISA_ID(isa, word)     isa,
#define KERN_ISA_LISTED(isa, word) ", " word
#define KERN_ISA_CHOSEN(isa, word) "|" word
enum kern_isa { KERN_ISAS(KERN_ISA_ID) KERN_N_ISA };

/* For texts: ", scalar, avx2, ..." and, as settings list their words, "|scalar|avx2|...". */
#define KERN_ISA_LIST  KERN_ISAS(KERN_ISA_LISTED)
#define KERN_ISA_WORDS KERN_ISAS(KERN_ISA_CHOSEN)

/* The table of this CPU's sets up to and with `max_isa`; its name is the last one's. It is built at
 * the first call and read-only afterwards. Any thread. */
const struct kern_table *kern_open(enum kern_isa max_isa);
/* "auto" or a word of KERN_ISAS -> isa; ERR_ARG with the list for others, and ERR_UNSUPPORTED when
 * this CPU lacks it. */
int kern_isa_parse(const char *name, enum kern_isa *ret_isa, struct err *e);
const char *kern_isa_name(enum kern_isa isa);
int kern_isa_available(enum kern_isa isa);

/* Scalar math shared by callers that must give the same result on any CPU. */
float kern_exp(float x);
float kern_tanh(float x);
float kern_log(float x);

/* f16 <-> f32 (round to nearest even). */
float kern_f16_to_f32(uint16_t h);
uint16_t kern_f32_to_f16(float f);

#endif
