#include "cmd/contract_basket.h"

#include <stdio.h>
#include <string.h>

#include "base/day.h"
#include "cmd/cmd.h"

#define MILLE   1000
#define MICRO   1e6
#define WATT_MW 1000000

static double thousandth(int64_t v)
{
    return (double)v / MILLE;
}

static int is_stale(const struct measurement *m, const struct basket_shown *s)
{
    return s->engine && strcmp(s->engine, m->engine) != 0;
}

/* ---- for people ------------------------------------------------------------------------------ */

static const char *or_dash(const char *s)
{
    return s ? s : "-";
}

static void print_head(const struct contract_file *f, const struct measurement *m,
                       const struct basket_shown *s)
{
    char day[DAY_TEXT_MAX];

    if (s->id)
        printf("measurement %lld, ", (long long)s->id);
    cmd_line(stdout, "contract %s, %s %s, hardware %s, engine %s%s", m->contract,
             m->site ? "site" : "region", or_dash(m->site ? m->site : m->region),
             or_dash(m->hardware), m->engine,
             is_stale(m, s) ? ": STALE, another version is in force" : "");
    cmd_line(stdout, "  on %s, %lld s%s%s", day_show(m->from_s, contract_file_zone(f), day),
             (long long)(m->until_s - m->from_s), s->actor ? ", recorded by " : "",
             s->actor ? s->actor : "");
    if (m->stated_w)
        printf("  energy: %lld W were stated, boundary %s\n", (long long)m->stated_w,
               energy_boundary_name(m->boundary));
    else if (m->method)
        printf("  energy: by %s, boundary %s\n", energy_method_name(m->method),
               energy_boundary_name(m->boundary));
    else
        puts("  energy: not known, so that no power can be said to make so many tokens");
}

static void print_row(const struct measurement *m, int i, int k)
{
    const struct measurement_point *p = &m->point[i][k];
    char joules[32] = "-";

    if (p->energy_uj >= 0 && p->output_tokens)
        snprintf(joules, sizeof joules, "%.4f",
                 (double)p->energy_uj / MICRO / (double)p->output_tokens);
    cmd_line(stdout, "  %7d  %2d %-25s %6lld %9.1f %10s %9.1f %9.1f %9.2f %9.2f", m->concurrency[i],
             k + 1, m->row[k].model, (long long)p->requests,
             (double)p->window_tokens * MICRO / (double)p->window_us, joules,
             (double)p->ttft_p50_us / MILLE, (double)p->ttft_p99_us / MILLE,
             (double)p->tpot_p50_us / MILLE, (double)p->tpot_p99_us / MILLE);
}

static void print_level(const struct contract *c, const struct basket_measured *b, int i)
{
    struct basket_level l;
    char joules[32] = "-", watt[32] = "-", doubt[32] = "-";

    basket_level(c, b, i, &l);
    if (l.token_uj >= 0) {
        snprintf(joules, sizeof joules, "%.4f", (double)l.token_uj / MICRO);
        snprintf(doubt, sizeof doubt, "%.1f %%", (double)l.uncertainty_permille / 10);
        snprintf(watt, sizeof watt, "%.0f", thousandth(basket_rate(WATT_MW, l.token_uj)));
    }
    cmd_line(stdout, "  %7d %12.1f %10s %8s %16s  %s%s", l.concurrency, thousandth(l.rate_mtps),
             joules, doubt, watt, l.i_broken < 0 ? "kept" : "not kept: ",
             l.i_broken < 0 ? "" : c->load[l.i_broken].model);
}

static void print_entitlement(const struct contract *c, const struct measurement *m,
                              const struct basket_shown *s, const struct tranche *t)
{
    struct basket_measured b;
    struct basket_entitlement n;

    measurement_entitlement(m, c, t->watts, &b, &n);
    if (n.why)
        cmd_line(stdout, "  tranche %s: nothing, as %s", t->name, n.why);
    else
        cmd_line(stdout,
                 "  tranche %s: %.6g MW make %.1f tokens/s (%.1f at least), %lld requests at once, "
                 "at load %d%s",
                 t->name, (double)t->watts / WATT_MW, thousandth(n.rate_mtps),
                 thousandth(n.low_mtps), (long long)n.concurrency, b.concurrency[n.i_level],
                 is_stale(m, s) ? "; it counts for nothing, as it is stale" : "");
}

static void print_verdict(const struct measurement *m)
{
    const struct measurement_verdict *v = &m->verdict;

    if (!v->is_there)
        return;
    cmd_line(stdout, "  acceptance of tranche %s: %s; promised %.1f tokens/s, made %.1f",
             or_dash(m->tranche), v->has_passed ? "PASSED" : "FAILED", thousandth(v->promised_mtps),
             thousandth(v->made_mtps));
    for (int i = 0; i < v->n_reasons; i++)
        cmd_line(stdout, "    %s", v->reason[i]);
}

void contract_basket_print(const struct contract_file *f, const struct measurement *m,
                           const struct basket_shown *s)
{
    const struct contract *c = contract_file_contract(f);
    struct basket_measured b;
    const char *why = measurement_match(m, c, &b);

    print_head(f, m, s);
    printf("\n  %7s  %-28s %6s %9s %10s %9s %9s %9s %9s\n", "at once", "row", "done", "tokens/s",
           "J/token", "TTFT p50", "p99 (ms)", "TPOT p50", "p99 (ms)");
    for (int i = 0; i < m->n_levels; i++) {
        for (int k = 0; k < m->n_rows; k++)
            print_row(m, i, k);
    }
    if (why) {
        cmd_line(stdout, "\n  the basket: nothing, as %s", why);
    } else {
        printf("\n  %7s %12s %10s %8s %16s  limits\n", "at once", "tokens/s R", "J/token J", "+-",
               "tokens/s of 1 MW");
        for (int i = 0; i < b.n_levels; i++)
            print_level(c, &b, i);
        puts("\n  " BASKET_FORMULA);
    }
    print_verdict(m);
    for (int i = 0; i < c->n_tranches; i++) {
        if (measurement_is_of(m, &c->tranche[i]))
            print_entitlement(c, m, s, &c->tranche[i]);
    }
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static json_t *known(int64_t v, double by)
{
    return v < 0 ? json_null() : json_real((double)v / by);
}

static json_t *level_json(const struct contract *c, const struct basket_measured *b, int i)
{
    struct basket_level l;

    basket_level(c, b, i, &l);
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:b, s:o}", "concurrency", l.concurrency,
                     "tokens_per_second", known(l.rate_mtps, MILLE), "joules_per_token",
                     known(l.token_uj, MICRO), "uncertainty",
                     l.token_uj < 0 ? json_null() : known(l.uncertainty_permille, MILLE),
                     "tokens_per_second_per_megawatt",
                     l.token_uj < 0 ? json_null() : known(basket_rate(WATT_MW, l.token_uj), MILLE),
                     "keeps_limits", l.i_broken < 0, "too_slow",
                     l.i_broken < 0 ? json_null() : json_string(c->load[l.i_broken].model));
}

static json_t *entitlement_json(const struct contract *c, const struct measurement *m,
                                const struct tranche *t)
{
    struct basket_measured b;
    struct basket_entitlement n;

    measurement_entitlement(m, c, t->watts, &b, &n);
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "tranche", t->name, "watts",
                     (json_int_t)t->watts, "tokens_per_second",
                     n.why ? json_null() : known(n.rate_mtps, MILLE), "at_least",
                     n.why ? json_null() : known(n.low_mtps, MILLE), "requests_at_once",
                     n.why ? json_null() : json_integer(n.concurrency), "load",
                     n.why ? json_null() : json_integer(b.concurrency[n.i_level]), "why",
                     n.why ? json_string(n.why) : json_null());
}

json_t *contract_basket_json(const struct contract_file *f, const struct measurement *m,
                             const struct basket_shown *s)
{
    const struct contract *c = contract_file_contract(f);
    json_t *o = json_object(), *levels = json_array(), *tranches = json_array();
    struct basket_measured b;
    const char *why = measurement_match(m, c, &b);

    for (int i = 0; !why && i < b.n_levels; i++)
        json_array_append_new(levels, level_json(c, &b, i));
    for (int i = 0; i < c->n_tranches; i++) {
        if (measurement_is_of(m, &c->tranche[i]))
            json_array_append_new(tranches, entitlement_json(c, m, &c->tranche[i]));
    }
    if (s->id) {
        json_object_set_new(o, "id", json_integer(s->id));
        json_object_set_new(o, "recorded_at", json_integer(s->recorded_s));
        json_object_set_new(o, "actor", json_string(s->actor));
    }
    json_object_set_new(o, "is_stale", json_boolean(is_stale(m, s)));
    json_object_set_new(o, "formula", json_string(BASKET_FORMULA));
    json_object_set_new(o, "levels", levels);
    json_object_set_new(o, "not_matched", why ? json_string(why) : json_null());
    json_object_set_new(o, "entitlement", tranches);
    json_object_set_new(o, "record", measurement_json(m));
    return o;
}
