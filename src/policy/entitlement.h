/* What a contract entitles its customer to at a moment, and what becomes of a request. Pure.
 *
 * A tranche that is active entitles to so many tokens of output a second as its power makes when
 * its sites may use all of theirs, times their capacity factor; and to so many sequences at a time,
 * where it names a number. Rates are in thousandths of a token a second. To each token of output
 * belongs the input that the contract's basket has to it (policy/basket.h): a request with a longer
 * prompt counts as much output as belongs to that.
 *
 * A request is *within* the contract at a site where a tranche has room for the tokens that it will
 * probably need. What a site of the contract could serve and no tranche has room for is *above* it,
 * and the contract says what becomes of that. What none of its sites offers it does not cover. */
#ifndef POLICY_ENTITLEMENT_H
#define POLICY_ENTITLEMENT_H

#include <stdint.h>

#include "policy/contract.h"

/* A tranche that was idle for so long has saved up all that it can. */
#define ENTITLEMENT_WINDOW_S 60
#define ENTITLEMENT_MOST     INT64_C(1000000000000) /* thousandths of a token a second */

/* Is its rate known, and from whom? What was measured goes before what the contract declares. */
enum entitlement_basis { ENTITLES_TO_NOTHING, ENTITLES_DECLARED, ENTITLES_MEASURED };
const char *entitlement_basis_name(enum entitlement_basis b); /* "none", "declared", "measured" */
/* The rate of a tranche at full power. measured < 0: it was not; else thousandths of a token a
 * second for all of its watts. */
enum entitlement_basis entitlement_full(const struct tranche *t, int64_t measured, int64_t *ret);
/* The same at a capacity factor in millionths, rounded down. */
int64_t entitlement_rate(int64_t full, int32_t factor_ppm);

/* A site of a tranche: one, or those of its region. */
struct entitlement_site {
    int64_t watts;      /* that can be used there; < 0: not known */
    int32_t factor_ppm; /* 0 to 1,000,000 */
};
/* The factor of them together: each counts by its watts or, where one has none, as much as each
 * other. Rounded down; 0 without any. */
int32_t entitlement_factor(const struct entitlement_site *s, int n);

/* The next moment after now_s at which one of its tranches begins or ends to be active; INT64_MAX:
 * none does. */
int64_t entitlement_next(const struct contract *c, int64_t now_s);

/* What was found among the offers of a request's model. */
struct entitlement_found {
    int n_covered; /* offers at sites of active tranches */
    int n_room;    /* of these: where one has room */
    int is_taken;  /* one of those takes the request */
};
enum entitlement_how {
    ENTITLED_NOT,      /* there is no contract, or it does not cover the model */
    ENTITLED_WITHIN,   /* of the contract, and paid by its fee */
    ENTITLED_REFUSED,  /* above: refused */
    ENTITLED_PAID,     /* above: ordinary work, at the contract's price for that */
    ENTITLED_BORROWED, /* above: on what is idle */
    ENTITLED_BACKSTOP, /* of a buyer of last resort: on what nobody bought */
    ENTITLED_HOWS
};
const char *entitlement_how_name(enum entitlement_how h); /* "none", "within", "reject", ... */
enum entitlement_how entitlement_decide(const struct entitlement_found *f,
                                        enum contract_spillover rule);

/* Tokens of input that belong to a token of output in the contract's basket, in millionths: the
 * mean of its rows by their weights, rounded up. Without a basket one. */
int64_t entitlement_input(const struct contract *c);
/* What a request counts: its tokens of output, or those to which its prompt belongs if that is
 * longer than the basket's. input_ppm > 0. */
int64_t entitlement_tokens(int64_t input_ppm, int64_t n_prompt, int64_t n_output);
/* Tokens of an answer that may be so long, and is as long as answers are on the average (mean 0:
 * not known yet). */
int64_t entitlement_expect(int64_t n_most, int64_t mean);
/* The running mean after an answer of so many tokens (mean 0: the first). */
int64_t entitlement_mean(int64_t mean, int64_t n);

/* Is one more of n sequences that are no contract's borrowed? It is where they are then more than
 * the part of the places that is not sold: sold_ppm of the site's power is of active tranches. */
int entitlement_is_lent(int32_t places, int64_t sold_ppm, int64_t n_others, int64_t n);

/* ---- limits of lending ------------------------------------------------------------------------
 *
 * As in cohorts of queues a contract has what it is entitled to (nominal), lends at most a share of
 * what it leaves idle of that (lend), and takes at most a share more of what others leave idle
 * (borrow). Tiers have a limit of what they borrow, too. */

/* Of so many places those that are kept free for contracts' work: the sequences that they are
 * promised, or the part of the power that they do not lend, rounded up; all but one at most. */
int32_t entitlement_kept(int32_t places, int64_t n_promised, int64_t unlent_ppm);
/* The places that contracts lend, rounded down: their part of the power, less what they do not
 * lend. */
int32_t entitlement_lendable(int32_t places, int64_t sold_ppm, int64_t unlent_ppm);
/* Of these a borrower with that share may have so many, rounded up. */
int32_t entitlement_borrowable(int32_t lendable, int64_t share_ppm);
/* The tokens a second (in thousandths) that a contract with this entitlement may borrow; 0: any. */
int64_t entitlement_borrow_rate(int64_t rate, int64_t borrow_ppm);

#endif
