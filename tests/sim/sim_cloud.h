/* What the simulation of the cloud knows of its tenants and requests, beside the cloud, and what it
 * holds the cloud to. */
#ifndef TEST_SIM_CLOUD_H
#define TEST_SIM_CLOUD_H

#include <stdint.h>

#include "cloud/cloud.h"
#include "fakes.h"

#define SIM_SHORT     3 /* from this one on tenants allow an overshoot: their answers are short */
#define SIM_TENANTS   5
#define SIM_DEDICATED "acme"          /* one site serves nobody else */
#define SIM_FALLBACK  "small"         /* the model that takes what limits refuse for another */
#define SIM_MONEY     INT64_C(800000) /* nano-units: the budget of one of them */

#define SIM_ENERGY 2 /* this one has a budget of energy, for good */
#define SIM_UJ     INT64_C(180000)

/* One request, from its entry on. */
struct sim_use {
    char id[40];
    int i_tenant;
    int32_t n_seqs;
    int64_t most;             /* tokens that it may use */
    int64_t entered_us, held; /* those that it asks to hold: of most that are likely ... */
    int is_held;              /* ... and got */
    int64_t prompt, cached, completion;
    int64_t uj;                /* what was measured of it; < 0: nothing */
    int64_t uj_held;           /* what it was thought to take */
    int64_t lost;              /* tokens that its supplier is owed beside these */
    int64_t window_s, ended_s; /* of its budget, when it was held; wall clock */
    int is_pruned;             /* its row was taken out of the ledger */
    int is_corrected;
    int64_t charge_nano, cost_nano; /* as it was corrected last */
};

void sim_fail(const char *what) __attribute__((noreturn));

void sim_begin(void); /* an empty world, with a keys file */
const char *sim_key(int i_tenant);
void sim_began(struct sim_use *u);                    /* it was let in: fills its id */
void sim_held(struct sim_use *u);                     /* it got its tokens */
void sim_holds_energy(struct sim_use *u, int64_t uj); /* so much instead, as it has used it */
void sim_back(struct sim_use *u, int64_t used); /* what it did not use came back; if it held any */
/* What a hedge of it lost is the platform's to pay: a row of its own. */
void sim_hedged(const char *id, int64_t prompt, int64_t completion, int64_t uj);
/* It ended; is_settled: with a row for the ledger. Its end is counted against its limits. */
void sim_ended(struct sim_use *u, int is_settled);
void sim_written(int64_t n); /* so many rows of this life of the process are safe, as it says */
/* Somebody corrects one of the requests that are safe, or takes the rows before it out, beside the
 * process; where the disk fails, perhaps. `nth` says which one. */
void sim_correct(int64_t nth, int64_t charge_nano, int64_t cost_nano);
void sim_prune(int64_t nth, int with_pending);
/* The process has ended, and said how many rows it could not write; -1: it could say nothing.
 * Compares the ledger with what happened. */
void sim_judge(int64_t n_lost);
/* What budgets must count now, all together: of tokens, and of energy. */
void sim_enforced(int64_t *ret_settled, int64_t *ret_held);
void sim_enforced_energy(int64_t *ret_settled, int64_t *ret_held);
uint64_t sim_sum(void); /* of all that happened */

#endif
