/* Attention: the exact order of its arithmetic, and how a KV page lies in memory.
 *
 * A page holds 32 tokens of one KV head: K transposed [head_dim][32] (a lane is a token), then V
 * [32][head_dim] (a lane is an output), both f16 or f32.
 *
 * Each query row (token t, query head h) stands alone: its result is a function of q, of the keys
 * and values that it sees, and of nothing else. Row at position p sees [lo, p], lo = 0 or, with a
 * window, max(0, p - window + 1). Its state is m = -inf, 16 sums l[] = 0, head_dim outputs o[] = 0.
 * For the pages lo / 32 .. p / 32 in order; a .. b the slots it sees in this page (a range):
 *
 *     s[j]  = 0, then fmaf(q[d], k[d][j], s[j]) for d in order; s[j] *= scale;
 *             with a softcap: s[j] = softcap * tanh(s[j] / softcap)
 *     m'    = max(m, max of s[a .. b))           (x > y ? x : y; order does not matter)
 *     c     = exp(m - m');  l[i] *= c;  o[d] *= c;  m = m'
 *     p[j]  = exp(s[j] - m) for j in [a, b)
 *     l[j % 16] += p[j]                          for j in order
 *     o[d]  = fmaf(p[j], v[j][d], o[d])          for j in order
 *
 * Slots outside [a, b) are never multiplied by: they may hold any bits. (A sum l[] to which they
 * add +0 is the same sum, l[] being >= 0.) At the end, with a sink x = sinks[h]:
 * m' = max(m, x), c = exp(m - m'), l and o scaled by c as above, then
 *
 *     sum = l folded (l[i] += l[i + 8], + 4, + 2, + 1);  with a sink: sum += exp(x - m')
 *     out[d] = o[d] * (1 / sum)
 *
 * exp and tanh are kern/kmath.h's. Limits: head_dim a multiple of 16, at most ATTN_DIM_MAX. */
#ifndef KERN_ATTN_H
#define KERN_ATTN_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

#define ATTN_DIM_MAX 512

/* First position that a query at position p sees. */
static inline int32_t attn_first(const struct kern_attn *a, int32_t p)
{
    return a->window > 0 && p >= a->window ? p - a->window + 1 : 0;
}

#endif
