/* Attention: the exact order of its arithmetic, and how a KV page lies in memory.
 *
 * A page holds 32 tokens of one KV head: K transposed [head_dim][32] (a lane is a token), then V
 * [32][head_dim] (a lane is an output), both f16, f32 or q8_0. q8_0 is GGUF's block of 32 values
 * that share a scale, here along a token's dimensions and with the scale in float: int8 K and V
 * as above, then K's scales [blocks][32] and V's [32][blocks], blocks = head_dim / 32 rounded up.
 * Its k and v below are (float)int8 * scale, rounded once.
 *
 * Each query row (token t, query head h) stands alone: its result is a function of q, of the keys
 * and values that it sees, and of nothing else. Row at position p sees [lo, p], lo = 0 or, with a
 * window, max(0, p - window + 1). Positions are cut into blocks of KERN_ATTN_BLOCK; each block that
 * the row sees gives, from its slots [a, b) that the row sees,
 *
 *     s[j]  = 0, then fmaf(q[d], k[d][j], s[j]) for d in order; k = scale * log2(e);
 *     m     = k * max of s[a .. b)               (x > y ? x : y; order does not matter)
 *     p[j]  = exp2(fmaf(s[j], k, -m))            for j in [a, b)
 *     l[i]  = 0, then l[j % 16] += p[j]          for j in order
 *     o[d]  = 0, then fmaf(p[j], v[j][d], o[d])  for j in order
 *
 * and the blocks are joined in order of position, from M = -inf, L[] = 0, O[] = 0:
 *
 *     M'    = max(M, m);  C = exp2(M - M');  c = exp2(m - M');  M = M'
 *     L[i]  = fmaf(l[i], c, L[i] * C)
 *     O[d]  = fmaf(o[d], c, O[d] * C)
 *
 * So a block needs nothing of its neighbours, and threads can share a sequence (kern_attn.part).
 * Slots outside [a, b) are never multiplied by: they may hold any bits. (A sum l[] to which they
 * add +0 is the same sum, l[] being >= 0.) At the end, with a sink x = sinks[h] * log2(e):
 * M' = max(M, x), C = exp2(M - M'), L and O times C, then
 *
 *     sum = L folded (L[i] += L[i + 8], + 4, + 2, + 1);  with a sink: sum += exp2(x - M')
 *     out[d] = O[d] * (1 / sum)
 *
 * In bf16 (kern_table.attn_bf16) q, k and v are rounded to bf16 as kern.h says, and the block's
 * sums have the order of AMX's tiles: for each 32 dimensions, s[j] += even + odd, sums of q[d] *
 * k[d][j] over their even and odd d in order; p[j] is rounded to bf16 before it counts for l and o;
 * for each page, o[d] += even + odd, sums of p[j] * v[j][d] over its even and odd slots in order. A
 * slot that no row of a call sees still may hold any bits; one that another row sees is multiplied
 * by p = 0. Maxima, exponentials and joins are the same.
 *
 * exp2 and tanh are kern/kmath.h's. Limits: head_dim a multiple of 16, at most ATTN_DIM_MAX.
 *
 * A row's part (kern_attn_part_floats): l[16], m, 15 unused, o[head_dim]. */
#ifndef KERN_ATTN_H
#define KERN_ATTN_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"
#include "kern/kmath.h"

#define ATTN_DIM_MAX     512
#define ATTN_BLOCK_PAGES (KERN_ATTN_BLOCK / KERN_PAGE)
#define ATTN_PART_M      16 /* where a part has its m, and its o */
#define ATTN_PART_O      32

/* q8_0: scales of a token, and where those of K and of V begin (bytes). */
static inline int32_t attn_kv_blocks(int32_t head_dim)
{
    return (head_dim + 31) / 32;
}

static inline size_t attn_k_scales(int32_t head_dim)
{
    return (size_t)2 * KERN_PAGE * (size_t)head_dim;
}

static inline size_t attn_v_scales(int32_t head_dim)
{
    return attn_k_scales(head_dim) + sizeof(float) * KERN_PAGE * (size_t)attn_kv_blocks(head_dim);
}

/* First position that a query at position p sees. */
static inline int32_t attn_first(const struct kern_attn *a, int32_t p)
{
    return a->window > 0 && p >= a->window ? p - a->window + 1 : 0;
}

/* Row i's part of a block. */
static inline float *attn_part(const struct kern_attn *a, int32_t block, int32_t i)
{
    size_t rows = (size_t)a->n_tok * (size_t)a->n_group;
    size_t at = (size_t)(block - attn_first(a, a->pos) / KERN_ATTN_BLOCK) * rows + (size_t)i;
    return a->part + at * kern_attn_part_floats(a->head_dim);
}

/* The k of the comment above. */
static inline float attn_k(const struct kern_attn *a)
{
    return a->scale * KMATH_LOG2E;
}

#endif
