/* Who used the energy of a step: it is split over the sequences of the batch by their work. Pure
 * arithmetic in integers; the parts add up to the whole exactly.
 *
 * The work of a sequence in a step is what its part alone would have cost: what a step of so many
 * of its tokens, prefill or decode, was measured to take (policy/draft.h), lengthened by the KV
 * cache that its tokens read, as much as the weights they read. */
#ifndef POLICY_ENERGY_SPLIT_H
#define POLICY_ENERGY_SPLIT_H

#include <stdint.h>

#include "policy/draft.h"

struct energy_share {
    uint64_t work; /* of any unit, the same for all; see ENERGY_WORK_MAX */
    int64_t uj;    /* filled by energy_split */
};

#define ENERGY_WORK_MAX (UINT64_C(1) << 40)
#define ENERGY_UJ_MAX   (INT64_C(1) << 60)

/* Split uj, 0..ENERGY_UJ_MAX, over n shares. Each gets its part to within a microjoule, and the sum
 * of all is uj exactly. Returns what nobody got: uj where no share has any work, else 0. Linear in
 * n. */
int64_t energy_split(int64_t uj, struct energy_share *share, int n);

/* What tokens read, in bytes: the weights of one token, the KV cache of one token of its context.
 */
struct energy_reads {
    uint64_t weight_bytes, kv_token_bytes;
};

/* The work of n > 0 tokens from position `pos` on: 1..ENERGY_WORK_MAX, in nanoseconds where cost
 * knows anything, else in tokens. */
uint64_t energy_work(const struct draft_cost *cost, const struct energy_reads *reads, int32_t pos,
                     int32_t n);

#endif
