/* How busy a supplier is. */
#ifndef JOB_LOAD_H
#define JOB_LOAD_H

#include <stdint.h>

#include "job/tier.h"

enum supplier_state { SUPPLIER_LOADING, SUPPLIER_READY, SUPPLIER_FAILED };

struct load {
    enum supplier_state state;
    int frozen;                  /* makes no progress, for a time that the supplier chooses */
    int32_t n_waiting;           /* jobs not yet begun */
    int32_t n_running;           /* sequences under way */
    int32_t n_inside;            /* sequences handed over that have not ended */
    int32_t capacity;            /* sequences it runs together */
    int32_t pages_used, n_pages; /* KV memory, 0 where unknown */
    int32_t pages_shared, pages_free;
    int32_t batch_tokens, batch_seqs; /* of the last step */
    int32_t turn[TIER_AUTO]; /* by rank: tenant that began last in the tier; the next follows */
    int64_t rtt_us;          /* a round trip to it; 0: not measured, or it is here */
    double progress;         /* LOADING: 0..1 */
    uint64_t n_steps, prompt_tokens, cached_tokens, generated_tokens, preemptions, bytes_read;
    uint64_t draft_tokens, draft_accepted; /* speculation: proposed, and of these right */
    uint64_t energy_uj;                    /* that its jobs used; 0 without a meter */
};

#endif
