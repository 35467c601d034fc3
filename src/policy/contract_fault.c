/* What a contract must not say (contract.h): each rule is a row, so that every sentence stands
 * beside its condition. */
#include <stddef.h>
#include <string.h>

#include "policy/contract.h"

#define DAY_S      86400
#define TERM_MAX_S ((int64_t)CONTRACT_YEARS_MAX * 366 * DAY_S)
#define GROWTH_MAX 500000 /* millionths a year, up or down */
#define CREDIT_MAX (10 * (int64_t)CONTRACT_PPM)

struct rule {
    int is_broken;
    const char *field, *why;
};

/* The first that is broken. */
static const char *first(const struct rule *r, size_t n, struct contract_place *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (r[i].is_broken) {
            ret->field = r[i].field;
            return r[i].why;
        }
    }
    return NULL;
}

static int is_share(int64_t ppm)
{
    return ppm >= 0 && ppm <= CONTRACT_PPM;
}

static const char *terms_fault(const struct contract *c, struct contract_place *ret)
{
    int pays = c->spillover == SPILL_PAY;
    const struct rule rules[] = {
        {c->until_s <= c->from_s, "until", "is not later than 'from'"},
        {c->until_s - c->from_s > TERM_MAX_S, "until", "is more than 50 years after 'from'"},
        {!strcmp(c->supplier.name, c->customer.name), "customer", "is the supplier, too"},
        {c->indexation_ppm < -GROWTH_MAX || c->indexation_ppm > GROWTH_MAX, "indexation_percent",
         "is more than a half a year"},
        {c->indexation_from_s && !c->indexation_ppm, "indexation_from",
         "wants an indexation_percent"},
        {c->indexation_from_s &&
             (c->indexation_from_s < c->from_s || c->indexation_from_s >= c->until_s),
         "indexation_from", "is not within the contract's term"},
        {!is_share(c->take_or_pay_ppm), "take_or_pay", "is no share from 0 to 1"},
        {!is_share(c->credit_cap_ppm), "credit_cap", "is no share from 0 to 1"},
        {!is_share(c->lend_share_ppm), "lend_share", "is no share from 0 to 1"},
        {!is_share(c->unlent_ppm), "lend", "is no share from 0 to 1"},
        {c->borrow_ppm < 0, "borrow", "is below 0"},
        {c->borrow_ppm && c->spillover != SPILL_BORROW, "borrow",
         "limits what 'spillover: borrow' takes, and the spillover is another"},
        {c->late_credit_ppm < 0 || c->late_credit_ppm > CREDIT_MAX, "late_credit",
         "is not from 0 to 10"},
        {c->short_credit_ppm < 0 || c->short_credit_ppm > CREDIT_MAX, "shortfall_credit",
         "is not from 0 to 10"},
        {c->prepayment < 0, "prepayment", "is below 0"},
        {c->spill_input < 0 || c->spill_output < 0, "spillover_output", "is below 0"},
        {pays && !c->spill_input && !c->spill_output, "spillover",
         "wants spillover_input and spillover_output: what a million tokens above the contract "
         "cost"},
        {!pays && (c->spill_input || c->spill_output), "spillover",
         "is not 'pay', and yet there is a price for it"},
        {c->notice_days < 0, "termination_notice_days", "is below 0"},
        {c->termination_fee < 0, "termination_fee", "is below 0"},
        {c->termination_fee && !c->notice_days, "termination_fee",
         "wants termination_notice_days: without it nobody can end the contract early"},
        {c->n_tranches < 1, "tranches", "there is none"},
    };

    return first(rules, sizeof rules / sizeof *rules, ret);
}

/* Who takes what is left is promised nothing, and gets no credit. */
static const char *backstop_fault(const struct contract *c, struct contract_place *ret)
{
    const struct contract_backstop *b = &c->backstop;
    int is_promised = c->take_or_pay_ppm || c->late_credit_ppm || c->short_credit_ppm ||
                      c->credit_cap_ppm || c->lend_share_ppm || c->unlent_ppm || c->prepayment;
    const struct rule rules[] = {
        {!b->yearly_mwh && !b->yearly_money, "backstop",
         "wants yearly_mwh, yearly_money or both: how much it takes in a year at most"},
        {b->yearly_mwh < 0 || b->yearly_money < 0, "backstop", "is below 0"},
        {is_promised, "backstop",
         "promises nothing: take_or_pay, credits, lending and prepayment are of other contracts"},
        {c->spillover != SPILL_REJECT, "spillover",
         "is 'reject' for a backstop: what it does not take is not its own"},
    };

    return b->is_there ? first(rules, sizeof rules / sizeof *rules, ret) : NULL;
}

static const char *load_fault(const struct contract_load *l, struct contract_place *ret)
{
    const struct rule rules[] = {
        {l->input < 1, "input", "is not one token or more"},
        {l->output < 1, "output", "is not one token or more"},
        {!is_share(l->cached_ppm), "cached", "is no share from 0 to 1"},
        {l->weight < 1, "weight", "is not 1 or more"},
    };

    return first(rules, sizeof rules / sizeof *rules, ret);
}

static const char *option_fault(const struct contract *c, const struct tranche *t,
                                struct contract_place *ret)
{
    const struct rule not_option[] = {
        {t->exercise_from_s || t->exercise_until_s, "exercise_until",
         "is of an option, and this tranche is firm"},
        {t->exercised_s != 0, "exercised", "is of an option, and this tranche is firm"},
    };
    const struct rule option[] = {
        {!t->exercise_until_s, "kind", "an option wants exercise_until"},
        {t->exercise_from_s >= t->exercise_until_s, "exercise_until",
         "is not later than exercise_from"},
        {t->exercise_until_s > t->target_s, "exercise_until",
         "is later than the target date: it could be exercised after it is due"},
        {t->exercised_s &&
             (t->exercised_s < t->exercise_from_s || t->exercised_s >= t->exercise_until_s),
         "exercised", "is outside its window"},
        {t->exercised_s && !c->signed_s, "exercised", "of a contract that is not signed"},
        {t->delivered_s && !t->exercised_s, "delivered", "an option that was not exercised"},
        {t->exercised_s && t->delivered_s && t->delivered_s < t->exercised_s, "delivered",
         "is before the option was exercised"},
    };

    return t->is_option ? first(option, sizeof option / sizeof *option, ret)
                        : first(not_option, sizeof not_option / sizeof *not_option, ret);
}

static const char *tranche_fault(const struct contract *c, const struct tranche *t,
                                 struct contract_place *ret)
{
    int64_t end = tranche_until(c, t);
    const struct rule rules[] = {
        {!t->site == !t->region, t->site ? "region" : "site",
         "a tranche has a site or a region, one of them"},
        {t->watts < 1 || t->watts > CONTRACT_WATTS_MAX, "mw", "is not from a watt to 100 GW"},
        {t->price < 0 || t->price > CONTRACT_PRICE_MAX, "price", "is not from 0 to 100 million"},
        {t->target_s < c->from_s || t->target_s >= c->until_s, "target",
         "is not within the contract's term"},
        {end <= t->target_s, "until", "is not later than the target date"},
        {end > c->until_s, "until", "is later than the contract's end"},
        {t->longstop_s && t->longstop_s < t->target_s, "longstop", "is before the target date"},
        {t->delivered_s && !c->signed_s, "delivered", "of a contract that is not signed"},
        {t->delivered_s && t->delivered_s < c->signed_s, "delivered",
         "is before the contract was signed"},
        {t->delivered_s >= end, "delivered", "is not before its end"},
        {t->cancelled_s && !c->signed_s, "cancelled", "of a contract that is not signed"},
        {t->cancelled_s && t->cancelled_s < c->signed_s, "cancelled",
         "is before the contract was signed"},
        {c->backstop.is_there && t->is_option, "kind", "of a backstop no tranche is an option"},
        {c->backstop.is_there && (t->tokens_per_s || t->concurrency), "tokens_per_second",
         "of a backstop no tranche entitles to anything"},
    };
    const char *why = first(rules, sizeof rules / sizeof *rules, ret);

    return why ? why : option_fault(c, t, ret);
}

/* Parts of one tranche follow each other. */
static int overlaps(const struct contract *c, const struct tranche *a, const struct tranche *b)
{
    return !strcmp(a->name, b->name) && a->target_s < tranche_until(c, b) &&
           b->target_s < tranche_until(c, a);
}

static const char *overlap_fault(const struct contract *c, int i, struct contract_place *ret)
{
    for (int k = 0; k < i; k++) {
        if (overlaps(c, &c->tranche[k], &c->tranche[i])) {
            ret->field = "name";
            return "overlaps with another tranche of this name: tranches that add up have names "
                   "of their own";
        }
    }
    return NULL;
}

const char *contract_fault(const struct contract *c, struct contract_place *ret)
{
    const char *why;

    *ret = (struct contract_place){.i_tranche = -1, .i_load = -1};
    why = terms_fault(c, ret);
    if (!why)
        why = backstop_fault(c, ret);
    for (int i = 0; !why && i < c->n_loads; i++) {
        ret->i_load = i;
        why = load_fault(&c->load[i], ret);
    }
    if (why)
        return why;
    ret->i_load = -1;
    for (int i = 0; !why && i < c->n_tranches; i++) {
        ret->i_tranche = i;
        why = tranche_fault(c, &c->tranche[i], ret);
        if (!why)
            why = overlap_fault(c, i, ret);
    }
    return why;
}
