/* From megawatts to tokens: what so many watts make of a contract's basket, computed from what was
 * measured of its rows at several loads. Pure.
 *
 * A load is a number of requests that are under way at once; at each, every row i of the basket was
 * run by itself. R_i is its rate in output tokens/s, J_i its energy in joules for an output token
 * (that of the input which belongs to it is in it), w_i its weight, W the sum of all weights. The
 * weight is the row's share of the basket's *output tokens*. Then, at that load,
 *
 *     R = W / sum(w_i / R_i)      J = sum(w_i J_i) / W      T(P) = P / J
 *
 * R is a harmonic mean: of N tokens of the basket N w_i/W are of row i, they take N w_i/(W R_i)
 * seconds, one row after the other, and R is N by the sum of these. J is the joules of the N tokens
 * by N. T(P) tokens/s is what P watts make with as many machines like the measured ones as P feeds,
 * each at that load: they use P joules a second, and J for each token. P/(R J) is how many there
 * are, so that C P/(R J) requests are under way on all of them, C being the load.
 *
 * The *entitlement* is T(P) at the load that makes most of it while every row keeps its limits at
 * p99. Energy falls with the load and waiting grows, so it is the fullest load that is still fast
 * enough. Sums are exact but for R, which is rounded to a thousandth; entitlements are rounded down
 * and energy up. Limits: as below. */
#ifndef POLICY_BASKET_H
#define POLICY_BASKET_H

#include "policy/contract.h"

#define BASKET_LEVELS_MAX      16
#define BASKET_CONCURRENCY_MAX 1024
#define BASKET_UNKNOWN         (-1)
#define BASKET_MTPS_MAX        INT64_C(1000000000000000)
#define BASKET_UJ_MAX          INT64_C(1000000000000000) /* of a token: a gigajoule */
/* The formula as it is printed. */
#define BASKET_FORMULA                                                                             \
    "R = W / sum(w_i / R_i); J = sum(w_i J_i) / W; entitlement = P / J at the best load that "     \
    "keeps all limits"

/* One row at one load. Of what was not measured: 0, and of energy BASKET_UNKNOWN. */
struct basket_point {
    int64_t rate_mtps;            /* thousandths of output tokens/s; 0: it made none */
    int64_t token_uj;             /* microjoules for an output token; < 0: not known */
    int32_t uncertainty_permille; /* of that */
    int64_t ttft_p99_us, tpot_p99_us;
};

struct basket_measured {
    int n_levels, n_rows; /* rows: as many as the contract's basket has */
    int32_t concurrency[BASKET_LEVELS_MAX];
    struct basket_point point[BASKET_LEVELS_MAX][CONTRACT_LOADS_MAX];
};

/* The basket at one load. */
struct basket_level {
    int32_t concurrency;
    int64_t rate_mtps;            /* R; 0: a row made none */
    int64_t token_uj;             /* J; < 0: of a row it is not known */
    int32_t uncertainty_permille; /* of J: all meters may be wrong in the same direction */
    int i_broken; /* the first row that does not keep its limits (what makes no tokens
                     does not); -1: all do */
};

/* Of a power: the whole of it, in watts of the boundary in which the energy was measured. */
struct basket_entitlement {
    int i_level;         /* whose it is; -1: there is none, and `why` says so */
    int64_t rate_mtps;   /* T(P) */
    int64_t low_mtps;    /* the same if J is greater by its uncertainty */
    int64_t concurrency; /* requests at once, at most */
    const char *why;     /* a sentence that lives for ever, or NULL */
};

/* i < m->n_levels; m->n_rows is c->n_loads, and not 0. */
void basket_level(const struct contract *c, const struct basket_measured *m, int i,
                  struct basket_level *ret);
/* Thousandths of tokens/s of so many watts at so many microjoules for a token (> 0); at most
 * INT64_MAX. */
int64_t basket_rate(int64_t watts, int64_t token_uj);
/* What so many watts entitle to. */
void basket_entitlement(const struct contract *c, const struct basket_measured *m, int64_t watts,
                        struct basket_entitlement *ret);
/* The same J for machines that hold so many watts while they make R: for power that is known
 * otherwise than by a meter. rate_mtps > 0. */
int64_t basket_token_uj(int64_t watts, int64_t rate_mtps);
/* The least of n sorted values (n > 0) which at least `permille` of them do not exceed: 990 is p99.
 * Nearest rank. */
int64_t basket_percentile(const int64_t *sorted, int64_t n, int32_t permille);

#endif
