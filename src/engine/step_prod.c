/* Matrix products of a step: which form each token's activations have, and how the work is divided
 * among the team's workers. */
#include "engine/step_int.h"

#define CLAIM_MANY 32 /* groups of a claim with more than FEW_TOKENS */
#define SERIAL_MAX 2  /* up to so many tokens, per-token work is done by the caller alone */

struct step_act step_act_from(const struct step_act *a, int32_t t)
{
    struct step_act v = *a;
    v.q.n -= t;
    v.q.f += (size_t)t * a->q.f_stride;
    v.q.q += (size_t)t * (size_t)a->q.cols;
    v.q.scale += (size_t)t * (size_t)(a->q.cols / 32);
    v.q.sum += (size_t)t * (size_t)(a->q.cols / 16);
    if (v.b)
        v.b += (size_t)t * a->b_stride;
    return v;
}

int step_reads_int8(const struct step *s, const struct kern_mat *m)
{
    return s->c.cls != ENGINE_F32 && !kern_fmt_info(m->fmt)->is_float;
}

void step_narrow(const struct step *s, struct step_act *a, int32_t t, int32_t tok, int want_int8)
{
    if (tok >= s->n_int8)
        s->k->to_bf16(a->q.f + (size_t)t * a->q.f_stride, a->q.cols,
                      a->b + (size_t)t * a->b_stride);
    else if (want_int8)
        s->k->quantize(&a->q, t);
}

void step_product(const struct step *s, const struct kern_mat *m, const float *bias, int32_t g0,
                  int32_t g1, const struct step_act *a, const int32_t *rows, int32_t n,
                  int32_t n_int8, float *out, size_t stride)
{
    int32_t r0 = g0 * KERN_LANES, r1 = g1 * KERN_LANES < m->rows ? g1 * KERN_LANES : m->rows;

    if (n_int8 < n && !kern_takes_bf16(m))
        n_int8 = n; /* this matrix takes no bf16: one product for all tokens */
    if (n_int8)
        s->mul(m, g0, g1, &a->q, rows, n_int8, out, stride);
    if (n_int8 < n)
        s->k->matmul_bf16(m, g0, g1, a->b + (size_t)n_int8 * a->b_stride, a->b_stride, n - n_int8,
                          out + (size_t)n_int8 * stride, stride);
    for (int32_t t = 0; bias && t < n; t++)
        s->k->add(out + (size_t)t * stride + r0, bias + r0, r1 - r0);
}

/* With bf16 tokens the work is cut by tokens, too: the activations of a block stay in a core's L2
 * while the core goes through its groups of weights. The first block has all int8 tokens. */
int32_t step_n_blocks(const struct step *s, int32_t size)
{
    int32_t n16 = s->b->n_tok - s->n_int8;
    return n16 ? (n16 + size - 1) / size : 1;
}

void step_block_tokens(const struct step *s, int32_t block, int32_t size, int32_t *ret_t0,
                       int32_t *ret_t1)
{
    int32_t t0 = s->n_int8 + block * size, n = s->b->n_tok;
    *ret_t0 = block ? t0 : 0;
    *ret_t1 = t0 + size < n ? t0 + size : n;
}

/* How many groups a worker claims at a time in a product of n_groups: enough that the fixed cost of
 * a call is negligible, a multiple of what the kernels stream side by side, and few enough that
 * each worker gets several claims. */
static int32_t claim_size(const struct step *s, int32_t n_groups, int32_t n_tok)
{
    int32_t even = n_groups / (team_size(s->c.team) * 3);
    int32_t most = n_tok > FEW_TOKENS ? CLAIM_MANY : s->k->chunk_groups;
    if (even > most)
        even = most;
    if (even >= STREAMED)
        even = even / STREAMED * STREAMED;
    if (even < 2 && s->n_int8 < s->b->n_tok)
        even = 2; /* AMX tiles take two groups at a time */
    return even > 0 ? even : 1;
}

/* Work that is done token by token: by the caller alone for few tokens, by the team for many. */
void step_per_token(struct step *s, team_fn *fn, int32_t n)
{
    if (n <= SERIAL_MAX)
        fn(s, 0, 0, n);
    else
        team_run(s->c.team, n, n > 64 ? 8 : 1, fn, s);
}

void step_product_block(const struct step *s, const struct kern_mat *m, const float *bias,
                        int32_t g0, int32_t g1, const struct step_act *a, int32_t t0, int32_t t1,
                        float *out)
{
    struct step_act in = step_act_from(a, t0);
    int32_t n_int8 = s->n_int8 < t0 ? 0 : s->n_int8 < t1 ? s->n_int8 - t0 : t1 - t0;
    step_product(s, m, bias, g0, g1, &in, NULL, t1 - t0, n_int8, out + (size_t)t0 * (size_t)m->rows,
                 (size_t)m->rows);
}

void step_run_product(struct step *s, team_fn *fn, int32_t n_groups, int32_t n_tok)
{
    team_run(s->c.team, n_groups, claim_size(s, n_groups, n_tok), fn, s);
}

/* Items: (block of tokens, group). */
static void ph_blocks(void *arg, int w, int32_t i0, int32_t i1)
{
    struct step *s = arg;

    (void)w;
    while (i0 < i1) {
        int32_t b = i0 / s->n_groups, g0 = i0 % s->n_groups, t0, t1;
        int32_t g1 = g0 + (i1 - i0) < s->n_groups ? g0 + (i1 - i0) : s->n_groups;
        step_block_tokens(s, b, TOKENS16, &t0, &t1);
        s->block(s, g0, g1, t0, t1);
        i0 += g1 - g0;
    }
}

void step_run_blocks(struct step *s, step_block_fn *fn, int32_t n_groups)
{
    s->block = fn;
    s->n_groups = n_groups;
    step_run_product(s, ph_blocks, step_n_blocks(s, TOKENS16) * n_groups, s->b->n_tok);
}
