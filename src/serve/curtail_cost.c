#include "serve/curtail_cost.h"

#include <string.h>

#include "base/clock.h"
#include "base/money.h"
#include "cloud/accounts.h"
#include "cloud/contract_file.h"
#include "policy/derate.h"
#include "serve/server.h"

#define DAY_S          INT64_C(86400)
#define LOOK_BACK      63 /* days, for so many of one kind as are wanted */
#define DAYS_MAX       45
#define JOULES_PER_MWH 3.6e9

__extension__ typedef __int128 wide;

/* ---- words ----------------------------------------------------------------------------------- */

static json_t *mwh(int64_t joules)
{
    return joules < 0 ? json_null() : json_real((double)joules / JOULES_PER_MWH);
}

static json_t *mw(int64_t watts)
{
    return watts < 0 ? json_null() : json_real((double)watts / 1e6);
}

/* Money of so much energy; null where either is not known. */
static json_t *money_of(int64_t joules, int64_t price)
{
    char text[MONEY_TEXT_MAX];

    return joules < 0 || price < 0 ? json_null()
                                   : json_string(money_show(curtail_money(joules, price), text));
}

/* ---- what would be used ---------------------------------------------------------------------- */

/* A ledger, and what of it is asked. */
struct asking {
    struct books_reader *books; /* NULL: there is none */
    const struct site_terms *t;
};

static void open_books(struct asking *a, const struct server *s, const struct site_terms *t)
{
    const char *ledger = s->config->ledger;
    struct err none = {0};

    *a = (struct asking){NULL, t};
    if (*ledger && strcmp(ledger, "off") != 0)
        (void)books_reader_open(&a->books, ledger, &none);
}

/* What its requests used, on the basis of its power, in joules; -1: it is not known. */
static int64_t used_j(const struct asking *a, int64_t from_s, int64_t until_s)
{
    int64_t uj[ENERGY_BOUNDARIES], rows = 0, it, facility;
    struct err none = {0};

    if (!a->books ||
        books_site_energy(a->books, a->t->name, from_s * 1000000, until_s * 1000000, uj, &rows,
                          &none) ||
        !rows)
        return -1;
    it = uj[ENERGY_ACCELERATOR] + uj[ENERGY_IT];
    facility = uj[ENERGY_FACILITY];
    it = power_convert(it, POWER_IT, a->t->basis, it ? a->t->pue_permille : 1000);
    facility =
        power_convert(facility, POWER_FACILITY, a->t->basis, facility ? a->t->pue_permille : 1000);
    return it < 0 || facility < 0 ? -1 : (it + facility) / 1000000;
}

static int64_t local_day(const struct zone *z, int64_t at_s)
{
    int64_t local_s = at_s + zone_offset(z, at_s);

    return local_s / DAY_S - (local_s % DAY_S < 0);
}

/* The mean of the same hours of the last days of its kind that are over. */
static int64_t like_days_w(const struct asking *a, int64_t from_s, int64_t until_s, int64_t now_s,
                           int *ret_days)
{
    const struct zone *z = a->t->zone;
    int64_t joules[DAYS_MAX], today = local_day(z, from_s);
    int n = 0;

    *ret_days = 0;
    for (int back = 1; back <= LOOK_BACK && n < a->t->curtail.baseline_days; back++) {
        int64_t at_s = from_s - back * DAY_S;
        at_s += zone_offset(z, from_s) - zone_offset(z, at_s); /* the same hour by the clock */
        if (!curtail_like_days(today, today - back) || at_s + (until_s - from_s) > now_s)
            continue;
        joules[n] = used_j(a, at_s, at_s + (until_s - from_s));
        *ret_days += joules[n++] >= 0;
    }
    return curtail_mean_w(joules, n, until_s - from_s);
}

static int64_t baseline_w(const struct asking *a, const struct site_call *call, int64_t now_s,
                          int *ret_days)
{
    *ret_days = 0;
    if (a->t->curtail.baseline == CURTAIL_ENERGISED)
        return power_free_w(site_terms_power(a->t, call->from_s));
    return like_days_w(a, call->from_s, call->until_s, now_s, ret_days);
}

static json_t *baseline_json(const struct site_terms *t, int64_t watts, int days)
{
    return json_pack("{s:s, s:o, s:o}", "method", curtail_baseline_name(t->curtail.baseline), "mw",
                     mw(watts), "days",
                     t->curtail.baseline == CURTAIL_LIKE_DAYS ? json_integer(days) : json_null());
}

/* ---- contracts ------------------------------------------------------------------------------- */

/* Tranches at the site that are active then. */
struct promised {
    const struct site_terms *t;
    int64_t from_s;
    json_t *list;      /* NULL: only their sum is wanted */
    int64_t watts;     /* of all, on the site's basis */
    int64_t missing_j; /* of all */
    wide credit;
};

static int64_t tranche_watts(const struct promised *p, const struct contract *c,
                             const struct tranche *t)
{
    int64_t w = power_convert(t->watts, c->basis == CONTRACT_IT ? POWER_IT : POWER_FACILITY,
                              p->t->basis, p->t->pue_permille);

    return w == POWER_UNKNOWN ? t->watts : w;
}

static void take_tranche(struct promised *p, const struct contract *c, const struct tranche *t)
{
    int64_t w = tranche_watts(p, c, t), short_j, credit;
    char text[MONEY_TEXT_MAX];

    if (!p->list) {
        p->watts += w;
        return;
    }
    short_j = p->watts ? (int64_t)((wide)p->missing_j * w / p->watts) : 0;
    credit = curtail_money(short_j, (int64_t)((wide)contract_price(c, t, p->from_s) *
                                              c->short_credit_ppm / CONTRACT_PPM));
    p->credit += credit;
    json_array_append_new(p->list,
                          json_pack("{s:s, s:s, s:o, s:o, s:s, s:s}", "contract", c->name,
                                    "tranche", t->name, "mw", mw(w), "short_mwh", mwh(short_j),
                                    "credit", money_show(credit, text), "currency", c->currency));
}

static int take_contract(void *arg, const struct contract_version *v)
{
    struct promised *p = arg;
    struct contract_file *f;
    const struct contract *c;
    struct err none = {0};

    if (contract_file_parse(&f, v->name, v->text, strlen(v->text), &none))
        return 0; /* what another version wrote is promised by that one */
    c = contract_file_contract(f);
    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        if (t->site && !strcmp(t->site, p->t->name) &&
            tranche_state(c, t, p->from_s) == TRANCHE_ACTIVE)
            take_tranche(p, c, t);
    }
    contract_file_close(f);
    return 0;
}

static int look_at_contracts(void *arg, struct accounts *a, struct err *e)
{
    struct promised *p = arg;

    return accounts_contracts(a, p->from_s, INT64_MAX, take_contract, p, e);
}

/* What contracts that hold would be short of: null where there is no store of them. */
static void add_contracts(struct server *s, const struct site_terms *t,
                          const struct site_call *call, const struct curtail_event *v,
                          int64_t free_w, json_t *to)
{
    struct promised p = {.t = t, .from_s = call->from_s};
    char text[MONEY_SUM_TEXT_MAX];
    struct err none = {0};
    int r = free_w < 0;

    if (!r)
        r = cloud_with_accounts(s->cloud, clock_now_us(), look_at_contracts, &p, &none);
    p.missing_j = r ? -1 : curtail_missing_j(v, free_w, p.watts);
    p.list = json_array();
    if (!r)
        r = cloud_with_accounts(s->cloud, clock_now_us(), look_at_contracts, &p, &none);
    json_object_set_new(to, "contracts", p.list);
    json_object_set_new(to, "shortfall_mwh", mwh(p.missing_j));
    json_object_set_new(to, "shortfall_credits",
                        r ? json_null() : json_string(money_show_sum(p.credit, text)));
}

/* ---- the whole ------------------------------------------------------------------------------- */

json_t *curtail_estimate_json(struct server *s, const struct site_terms *t,
                              const struct site_call *call, int64_t now_s)
{
    struct curtail_event v = site_call_event(t, call->from_s, call);
    const struct power_row *power = site_terms_power(t, call->from_s);
    int64_t free_w = power_free_w(power), base_w, reduced_j = -1;
    json_t *j = json_object();
    struct asking a;
    int days;

    open_books(&a, s, t);
    base_w = baseline_w(&a, call, now_s, &days);
    books_reader_close(a.books);
    if (free_w >= 0 && base_w >= 0)
        reduced_j = curtail_missing_j(&v, free_w, base_w);
    json_object_set_new(j, "capacity_lost_mwh",
                        free_w < 0
                            ? json_null()
                            : mwh(curtail_missing_j(&v, power->energised_w, power->energised_w)));
    json_object_set_new(j, "baseline", baseline_json(t, base_w, days));
    json_object_set_new(j, "reduced_mwh", mwh(reduced_j));
    json_object_set_new(j, "credit", money_of(reduced_j, t->curtail.credit));
    json_object_set_new(j, "clawback_at_most", money_of(reduced_j, t->curtail.clawback));
    json_object_set_new(j, "currency",
                        s->config->currency ? json_string(s->config->currency) : json_null());
    add_contracts(s, t, call, &v, free_w, j);
    return j;
}

int curtail_is_over(const struct site_terms *t, const struct site_call *call, int64_t now_us)
{
    struct curtail_event v = site_call_event(t, now_us / 1000000, call);

    return now_us >= v.until_us && curtail_look(&v, now_us).phase == CURTAIL_NONE &&
           v.until_us > v.from_us;
}

json_t *curtail_settled_json(struct server *s, const struct site_terms *t,
                             const struct site_call *call)
{
    struct curtail_event v = site_call_event(t, call->from_s, call);
    int64_t free_w = power_free_w(site_terms_power(t, call->from_s));
    int64_t from_s = (v.from_us + v.ramp_us + 999999) / 1000000, until_s = v.until_us / 1000000;
    int64_t lasts_s = until_s - from_s, used = -1, allowed = -1, base_w, over = -1, reduced = -1;
    struct asking a;
    int days;

    open_books(&a, s, t);
    base_w = baseline_w(&a, call, call->from_s, &days);
    if (lasts_s > 0)
        used = used_j(&a, from_s, until_s);
    books_reader_close(a.books);
    if (lasts_s > 0 && free_w >= 0)
        allowed = (int64_t)((wide)free_w * v.target_ppm / DERATE_ALL * lasts_s);
    if (used >= 0 && allowed >= 0)
        over = used > allowed ? used - allowed : 0;
    if (used >= 0 && base_w >= 0)
        reduced = (wide)base_w * lasts_s > used ? (int64_t)((wide)base_w * lasts_s - used) : 0;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "baseline",
                     baseline_json(t, base_w, days), "used_mwh", mwh(used), "allowed_mwh",
                     mwh(allowed), "over_mwh", mwh(over), "reduced_mwh", mwh(reduced), "credit",
                     money_of(reduced, t->curtail.credit), "clawback",
                     money_of(over, t->curtail.clawback));
}
