/* The configuration and the contracts of examples/, and what the script puts into them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo/world.h"

extern const unsigned char demo_portfolio[], demo_fast[], demo_backstop[], demo_spread[];
extern const size_t demo_portfolio_len, demo_fast_len, demo_backstop_len, demo_spread_len;

/* In place of a text that must be there once. */
struct edit {
    int stage; /* of a contract: from its change of that number on; 0: from the beginning */
    const char *find, *put;
};

static int apply(struct buf *b, const struct edit *edit, int n, int stage, const char *name,
                 struct err *e)
{
    for (int i = 0; i < n; i++) {
        const char *at = strstr(b->data, edit[i].find);
        struct buf out;
        if (edit[i].stage > stage)
            continue;
        if (!at || strstr(at + 1, edit[i].find))
            return err_set(e, ERR_FORMAT, "examples/%s has not '%s' once", name, edit[i].find);
        buf_init(&out, DEMO_TEXT_MAX);
        buf_add(&out, b->data, (size_t)(at - b->data));
        buf_add_str(&out, edit[i].put);
        buf_add_str(&out, at + strlen(edit[i].find));
        buf_done(b);
        *b = out;
        if (b->failed)
            return err_set(e, b->failed, "out of memory");
    }
    return 0;
}

/* ---- contracts ------------------------------------------------------------------------------- */

/* Tranches of regions are split into their sites, each with what it entitles to in admission. */
#define FAST_1                                                                                     \
    "hardware: wse-3, target: 2026-03-01, longstop: 2026-09-01, delivered: 2026-04-12, price: "    \
    "1480.00}"
#define FAST_2(more) "hardware: wse-3, target: 2027-01-01, longstop: 2027-07-01," more " price: "
#define RATE         "tokens_per_second: 130, concurrency: 8, "
static const struct edit fast_edits[] = {
    {0, "title: ", "title: SIMULATED. "},
    {0, "take_or_pay: 0.9", "take_or_pay: 1"},
    {0,
     "{name: year-1, mw: 150, region: us-central, hardware: wse-3, target: 2026-03-01,\n     "
     "longstop: 2026-09-01, delivered: 2026-04-12, price: 1480.00}",
     "{name: year-1-a, mw: 54, site: sioux-1, " FAST_1 "\n  - {name: year-1-b, mw: 50, site: "
     "sioux-2, " RATE FAST_1 "\n  - {name: year-1-c, mw: 46, site: sioux-3, " RATE FAST_1},
    {0,
     "{name: year-2, mw: 250, region: us-south, hardware: wse-3, target: 2027-01-01,\n     "
     "longstop: 2027-07-01, price: ",
     "{name: year-2-a, mw: 120, site: abilene-2, " RATE
         FAST_2("") "1440.00}\n  - {name: year-2-b, mw: 120, site: abilene-3, " RATE FAST_2(
             "") "1440.00}\n  - {name: year-2-c, mw: 10, site: abilene-1, " FAST_2("")},
    {1, "abilene-2, " RATE FAST_2(""), "abilene-2, " RATE FAST_2(" delivered: 2027-03-08,")},
    {1, "abilene-3, " RATE FAST_2(""), "abilene-3, " RATE FAST_2(" delivered: 2027-03-08,")},
    {1, "abilene-1, " FAST_2(""), "abilene-1, " FAST_2(" delivered: 2027-03-08,")},
    {2, "exercise_until: 2028-01-01,", "exercise_until: 2028-01-01, exercised: 2027-08-16,"},
};
static const struct edit backstop_edits[] = {
    {0, "title: ", "title: SIMULATED. "},
    {0,
     "{name: unsold, mw: 60, region: us-east, target: 2025-10-01, delivered: 2025-10-01, price: "
     "210.00}",
     "{name: unsold-a, mw: 36, site: ashburn-1, target: 2025-10-01, delivered: 2025-10-01, price: "
     "210.00}\n  - {name: unsold-b, mw: 24, site: ashburn-2, target: 2025-10-01, delivered: "
     "2025-10-01, price: 210.00}"},
};
static const struct edit spread_edits[] = {
    {0, "title: ", "title: SIMULATED. "},
    {0, "take_or_pay: 0.6", "take_or_pay: 1"},
    {0, "{name: base, mw: 12, region: eu-north,", "{name: base, mw: 12, site: lulea-1, " RATE},
    {0, "{name: base, mw: 20, region: eu-north,", "{name: base, mw: 20, site: lulea-1, " RATE},
    {1, "longstop: 2027-12-01,", "longstop: 2027-12-01, delivered: 2027-06-01,"},
};

static const struct {
    const char *name, *file;
    const unsigned char *text;
    const size_t *len;
    const struct edit *edit;
    int n_edits;
} contracts[DEMO_CONTRACTS] = {
    {"fast-750", "contracts/fast-750.yaml", demo_fast, &demo_fast_len, fast_edits,
     sizeof fast_edits / sizeof *fast_edits},
    {"backstop-2032", "contracts/backstop.yaml", demo_backstop, &demo_backstop_len, backstop_edits,
     sizeof backstop_edits / sizeof *backstop_edits},
    {"spread-3", "contracts/spread-3.yaml", demo_spread, &demo_spread_len, spread_edits,
     sizeof spread_edits / sizeof *spread_edits},
};

const char *demo_contract_name(int i)
{
    return contracts[i].name;
}

int scenery_contract(int i, int stage, struct buf *out, struct err *e)
{
    buf_add(out, contracts[i].text, *contracts[i].len);
    if (out->failed)
        return err_set(e, out->failed, "out of memory");
    return apply(out, contracts[i].edit, contracts[i].n_edits, stage, contracts[i].file, e);
}

int demo_contract(int i, struct buf *out, struct err *e)
{
    return scenery_contract(i, 0, out, e);
}

/* ---- the configuration ----------------------------------------------------------------------- */

/* Sites that are energised within the year. */
static const struct edit site_edits[] = {
    {0,
     "contracted_mw: 120, energised_mw: 0, lifecycle: [{state: commissioning, planned: 2026-09-14, "
     "actual: 2026-09-14}, {state: acceptance, planned: 2027-01-18}]",
     "power: [{from: 2026-09-14, contracted_mw: 120, energised_mw: 0}, {from: 2027-02-22, "
     "contracted_mw: 120, energised_mw: 120}], lifecycle: [{state: commissioning, planned: "
     "2026-09-14, actual: 2026-09-14}, {state: acceptance, planned: 2026-12-14, actual: "
     "2027-02-22}, {state: active, planned: 2027-01-01, actual: 2027-03-08}]"},
    {0,
     "contracted_mw: 120, energised_mw: 0, lifecycle: [{state: commissioning, planned: 2026-11-02, "
     "actual: 2026-11-02}, {state: acceptance, planned: 2027-04-05}]",
     "power: [{from: 2026-11-02, contracted_mw: 120, energised_mw: 0}, {from: 2027-02-22, "
     "contracted_mw: 120, energised_mw: 120}], lifecycle: [{state: commissioning, planned: "
     "2026-11-02, actual: 2026-11-02}, {state: acceptance, planned: 2026-12-14, actual: "
     "2027-02-22}, {state: active, planned: 2027-01-01, actual: 2027-03-08}]"},
    {0,
     "contracted_mw: 90, energised_mw: 0, lifecycle: [{state: acceptance, planned: 2026-11-09, "
     "actual: 2026-11-09}, {state: active, planned: 2026-12-14}]",
     "power: [{from: 2026-11-09, contracted_mw: 90, energised_mw: 0}, {from: 2026-12-14, "
     "contracted_mw: 90, energised_mw: 30}], lifecycle: [{state: acceptance, planned: 2026-11-09, "
     "actual: 2026-11-09}, {state: active, planned: 2026-12-14, actual: 2026-12-14}]"},
};

/* A thermometer, whose limits are as made up as what it says. */
static int add_weather(const struct demo_world *w, int i, struct buf *b, struct err *e)
{
    char find[80], put[400];
    struct edit one = {0, find, put};

    snprintf(find, sizeof find, "{name: %s, ", demo_site_name(i));
    snprintf(put, sizeof put,
             "{name: %s, environment_dwell: 2s, environment: [{name: weather, quantity: dry_bulb, "
             "url: \"http://127.0.0.1:%d/weather/%s\", path: celsius, high: 36, high_allowed: 46, "
             "factor_beyond: 0.2, max_age: 60s}], ",
             demo_site_name(i), w->port, demo_site_name(i));
    return apply(b, &one, 1, 0, "portfolio.yaml", e);
}

static int put_sites(const struct demo_world *w, struct buf *out, struct err *e)
{
    const char *at = strstr((const char *)demo_portfolio, "\nsites:\n");
    struct buf b;
    int r = at ? 0 : err_set(e, ERR_FORMAT, "examples/portfolio.yaml has no sites");

    buf_init(&b, DEMO_TEXT_MAX);
    if (!r && buf_add(&b, at, demo_portfolio_len - (size_t)(at - (const char *)demo_portfolio)))
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r)
        r = apply(&b, site_edits, sizeof site_edits / sizeof *site_edits, 0, "portfolio.yaml", e);
    for (int i = 0; !r && i < DEMO_SITES; i++)
        r = add_weather(w, i, &b, e);
    if (!r)
        buf_add(out, b.data, b.len);
    buf_done(&b);
    return r;
}

static void put_suppliers(const struct demo_world *w, struct buf *out)
{
    buf_add_str(out, "suppliers:\n");
    for (int i = w->setup.model ? 1 : 0; i < DEMO_SITES; i++) /* sioux-1 has the real engine */
        buf_addf(out,
                 "  - {name: simulated-%s, base_url: \"http://127.0.0.1:%d/sites/%s/v1\", models: "
                 "[" DEMO_MODEL "], site: %s, concurrency: 16, first_byte_timeout: 10s}\n",
                 demo_site_name(i), w->port, demo_site_name(i), demo_site_name(i));
}

int demo_config(const struct demo_world *w, const struct demo_places *p, struct buf *out,
                struct err *e)
{
    buf_addf(out,
             "# Made by gaufre demo: everything that it tells is simulated.\n"
             "host: \"%s\"\nport: %d\naccounts: \"%s/accounts.db\"\nledger: \"%s/ledger.db\"\n"
             "receipt_key: \"%s/receipts.key\"\nlog_file: \"%s/gaufre.log\"\nledger_sync: normal\n"
             "currency: USD\nhedge_tiers: [default, priority]\nhedge_after: 600ms\n"
             "hedge_percent: 20\ndrain_timeout: 10s\n"
             "prices:\n"
             "  - {model: " DEMO_MODEL ", input: 0.15, output: 0.60}\n",
             p->host, p->port, p->home, p->home, p->home, p->home);
    if (w->setup.model)
        buf_addf(out,
                 "  - {model: %s, input: 0.02, output: 0.05}\n"
                 "models:\n  - {model: \"%s\", id: %s, context: 2048, batch: 4}\nsite: sioux-1\n",
                 w->setup.model, p->model_file, w->setup.model);
    put_suppliers(w, out);
    return out->failed ? err_set(e, out->failed, "out of memory") : put_sites(w, out, e);
}
