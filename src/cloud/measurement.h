/* A door of the cloud room: what was measured of a contract's basket (policy/basket.h), as one JSON
 * object, which is how it is kept. It has counts as they were taken and no quotient of them, so
 * that everything that follows can be computed again. docs/contracts.md says what its keys mean.
 *
 * One thread for each. What is read comes from anywhere, and every number is checked. Limits:
 * MEASUREMENT_TEXT_MAX, and BASKET_..._MAX. */
#ifndef CLOUD_MEASUREMENT_H
#define CLOUD_MEASUREMENT_H

#include "base/json.h"
#include "job/energy.h"
#include "policy/basket.h"

#define MEASUREMENT_TEXT_MAX    ((size_t)1 << 20)
#define MEASUREMENT_REASONS_MAX 16
#define MEASUREMENT_REASON_TEXT 200 /* bytes of one */

/* One row of the basket at one load, all requests together. */
struct measurement_point {
    int64_t requests;                    /* that came to their end */
    int64_t input_tokens, cached_tokens; /* of these */
    int64_t output_tokens;               /* of these */
    int64_t window_us, window_tokens;    /* the time in which all the load was there, and what was
                                            made in it */
    int64_t energy_uj;                   /* of these requests; < 0: not known */
    int32_t uncertainty_permille;
    int64_t ttft_p50_us, ttft_p99_us; /* from the sending to the first token */
    int64_t tpot_p50_us, tpot_p99_us; /* from token to token, the mean of each request */
};

/* What an acceptance found (docs/contracts.md). Texts live as long as the measurement. */
struct measurement_verdict {
    int is_there; /* it was one, and no mere measurement */
    int has_passed;
    int64_t promised_mtps; /* what the tranche was to make */
    int64_t made_mtps;     /* what it made, at these watts */
    int64_t held_w;        /* the power that it had meanwhile; < 0: not known */
    int n_reasons;         /* why it has not passed, or what could not be known */
    const char *reason[MEASUREMENT_REASONS_MAX];
};

/* Texts are NULL where nothing was said. */
struct measurement {
    const char *contract;
    int64_t contract_version; /* 0: it was a file */
    const char *site, *region, *tranche, *hardware;
    const char *engine; /* its version; never NULL */
    const char *url;
    int64_t from_s, until_s;
    enum energy_method method; /* ENERGY_UNKNOWN: the energy is not known of all points */
    enum energy_boundary boundary;
    int64_t stated_w;     /* the power that all of it held, as somebody said; 0: by a meter */
    int32_t pue_permille; /* of the site; 0: not said */
    int n_rows, n_levels;
    struct contract_load row[CONTRACT_LOADS_MAX]; /* the basket as it was then */
    const char *fingerprint[CONTRACT_LOADS_MAX];  /* of weights and engine; NULL: not said */
    int32_t concurrency[BASKET_LEVELS_MAX];
    struct measurement_point point[BASKET_LEVELS_MAX][CONTRACT_LOADS_MAX];
    struct measurement_verdict verdict;
    json_t *json; /* whose texts these are; NULL: the caller's own */
};

/* What is to be freed with measurement_free. ERR_FORMAT says which key is wrong; ERR_TOO_LARGE. */
int measurement_parse(struct measurement **ret, const char *text, size_t n, struct err *e);
void measurement_free(struct measurement *m); /* accepts NULL */
/* A new reference, which can be read again; NULL: no memory. */
json_t *measurement_json(const struct measurement *m);

/* Rate and energy of row k at level i: quotients of what was counted. */
struct basket_point measurement_quotients(const struct measurement *m, int i, int k);
/* Its points as the contract of today has its rows: by what is asked in them, while weights and
 * limits are those of the contract. NULL, or a sentence that lives for ever: a row was not
 * measured.
 */
const char *measurement_match(const struct measurement *m, const struct contract *c,
                              struct basket_measured *ret);
/* Is it of this place? Of a tranche: its site or region, and its hardware where it names one. */
int measurement_is_of(const struct measurement *m, const struct tranche *t);
/* What so many of the contract's watts entitle to by it: of a matching basket, and of energy that
 * was measured where the contract counts its watts, or brought there by the PUE. ret->why says why
 * there is nothing. ret_measured: where its points are left, with levels of ret's numbers. */
void measurement_entitlement(const struct measurement *m, const struct contract *c, int64_t watts,
                             struct basket_measured *ret_measured, struct basket_entitlement *ret);

#endif
