#include "policy/entitlement.h"

#define PPM  CONTRACT_PPM
#define MEAN 16 /* an answer moves the mean by a sixteenth of the difference */

__extension__ typedef __int128 wide;

const char *entitlement_basis_name(enum entitlement_basis b)
{
    return b == ENTITLES_MEASURED ? "measured" : b == ENTITLES_DECLARED ? "declared" : "none";
}

const char *entitlement_how_name(enum entitlement_how h)
{
    static const char *const names[ENTITLED_HOWS] = {
        [ENTITLED_NOT] = "none", [ENTITLED_WITHIN] = "within",   [ENTITLED_REFUSED] = "reject",
        [ENTITLED_PAID] = "pay", [ENTITLED_BORROWED] = "borrow", [ENTITLED_BACKSTOP] = "backstop",
    };

    return names[h];
}

static int64_t at_most(int64_t n)
{
    return n < ENTITLEMENT_MOST ? n : ENTITLEMENT_MOST;
}

enum entitlement_basis entitlement_full(const struct tranche *t, int64_t measured, int64_t *ret)
{
    *ret = at_most(measured >= 0 ? measured : t->tokens_per_s * 1000);
    if (measured >= 0)
        return ENTITLES_MEASURED;
    return *ret ? ENTITLES_DECLARED : ENTITLES_TO_NOTHING;
}

int64_t entitlement_rate(int64_t full, int32_t factor_ppm)
{
    return (int64_t)((wide)full * factor_ppm / PPM);
}

int32_t entitlement_factor(const struct entitlement_site *s, int n)
{
    wide sum = 0, watts = 0;
    int all_known = 1;

    for (int i = 0; i < n; i++)
        all_known &= s[i].watts >= 0;
    for (int i = 0; i < n; i++) {
        int64_t w = all_known ? s[i].watts : 1;
        sum += (wide)w * s[i].factor_ppm;
        watts += w;
    }
    return watts ? (int32_t)(sum / watts) : 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void sooner(int64_t *next, int64_t at_s, int64_t now_s)
{
    if (at_s > now_s && at_s < *next)
        *next = at_s;
}

int64_t entitlement_next(const struct contract *c, int64_t now_s)
{
    int64_t next = INT64_MAX;

    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        sooner(&next, t->delivered_s, now_s);
        sooner(&next, t->exercised_s, now_s);
        sooner(&next, t->cancelled_s, now_s);
        sooner(&next, tranche_until(c, t), now_s);
    }
    return next;
}

/* ---- a request ------------------------------------------------------------------------------- */

enum entitlement_how entitlement_decide(const struct entitlement_found *f,
                                        enum contract_spillover rule)
{
    if (!f->n_covered)
        return ENTITLED_NOT;
    if (f->n_room && f->is_taken)
        return ENTITLED_WITHIN;
    return rule == SPILL_PAY      ? ENTITLED_PAID
           : rule == SPILL_BORROW ? ENTITLED_BORROWED
                                  : ENTITLED_REFUSED;
}

int64_t entitlement_input(const struct contract *c)
{
    wide sum = 0, weight = 0;

    for (int i = 0; i < c->n_loads; i++) {
        const struct contract_load *l = &c->load[i];
        sum += (wide)l->weight * l->input * PPM / l->output;
        weight += l->weight;
    }
    if (!weight)
        return PPM;
    sum = (sum + weight - 1) / weight;
    return sum < 1 ? 1 : (int64_t)sum;
}

int64_t entitlement_tokens(int64_t input_ppm, int64_t n_prompt, int64_t n_output)
{
    int64_t n = (int64_t)(((wide)n_prompt * PPM + input_ppm - 1) / input_ppm);

    return n > n_output ? n : n_output;
}

int64_t entitlement_expect(int64_t n_most, int64_t mean)
{
    return mean && mean < n_most ? mean : n_most;
}

int64_t entitlement_mean(int64_t mean, int64_t n)
{
    int64_t next = mean ? mean + (n - mean) / MEAN : n;

    return next > 0 ? next : 1;
}

int entitlement_is_lent(int32_t places, int64_t sold_ppm, int64_t n_others, int64_t n)
{
    int64_t sold = sold_ppm < PPM ? sold_ppm : PPM;

    if (!sold)
        return 0;
    return (wide)(n_others + n) * PPM > (wide)places * (PPM - sold);
}

/* ---- limits of lending ----------------------------------------------------------------------- */

int32_t entitlement_kept(int32_t places, int64_t n_promised, int64_t unlent_ppm)
{
    int64_t unlent = ((int64_t)places * unlent_ppm + PPM - 1) / PPM;
    int64_t n = n_promised > unlent ? n_promised : unlent;

    n = n < places ? n : places - 1;
    return n > 0 ? (int32_t)n : 0;
}

int32_t entitlement_lendable(int32_t places, int64_t sold_ppm, int64_t unlent_ppm)
{
    int64_t lent = (sold_ppm < PPM ? sold_ppm : PPM) - unlent_ppm;

    return lent > 0 ? (int32_t)(places * lent / PPM) : 0;
}

int32_t entitlement_borrowable(int32_t lendable, int64_t share_ppm)
{
    return (int32_t)((lendable * share_ppm + PPM - 1) / PPM);
}

int64_t entitlement_borrow_rate(int64_t rate, int64_t borrow_ppm)
{
    return borrow_ppm ? at_most((int64_t)((wide)rate * borrow_ppm / PPM)) : 0;
}
