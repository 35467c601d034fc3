/* gaufre contract accept: the basket at full power for a stated time; what was found is signed and
 * kept, and only then a tranche is delivered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/day.h"
#include "cloud/acceptance.h"
#include "cmd/account_opts.h"
#include "cmd/cmd.h"
#include "cmd/contract_basket.h"
#include "cmd/contract_load.h"
#include "cmd/progress.h"
#include "hub/hub.h"

#define MILLE        1000
#define ROUND_US     60000000 /* of a row, before it is the next one's turn */
#define KEY_PATH_MAX 4096

struct accepting {
    struct contract_opts *o;
    struct contract_file *file;
    int i_tranche;
    int64_t for_us, promised_mtps;
    int32_t concurrency;
    struct contract_run run;
};

/* ---- what is wanted -------------------------------------------------------------------------- */

static int find_tranche(struct accepting *x, struct err *e)
{
    const struct contract *c = contract_file_contract(x->file);

    x->i_tranche = x->o->tranche ? contract_tranche(c, x->o->tranche) : -1;
    if (!x->o->tranche)
        return err_set(e, ERR_ARG, "say which --tranche of contract %s", c->name);
    if (x->i_tranche < 0)
        return err_set(e, ERR_NOTFOUND, "contract %s has no tranche '%.64s'", c->name,
                       x->o->tranche);
    return 0;
}

static int read_options(struct accepting *x, struct err *e)
{
    int64_t load[1] = {0};
    int n = 0;
    int r = contract_time(x->o->time ? x->o->time : "24h", "--for", &x->for_us, e);

    if (!r && x->o->loads)
        r = opt_int_list(x->o->loads, "--loads", 1, BASKET_CONCURRENCY_MAX, load, 1, &n, e);
    x->concurrency = (int32_t)load[0];
    x->promised_mtps = (int64_t)(x->o->promised * MILLE + 0.5);
    return r;
}

/* What options and contract do not say is taken from what was measured before: the load at which
 * the tranche is full, and the tokens/s that its power makes. */
static int fill_in(struct accepting *x, struct err *e)
{
    const struct contract *c = contract_file_contract(x->file);
    const struct tranche *t = &c->tranche[x->i_tranche];
    struct measurement *m = NULL;
    struct basket_measured b;
    struct basket_entitlement n = {.why = "nothing was measured of it"};
    struct err none = {0};
    int is_stale = 0, r;

    if (!x->promised_mtps)
        x->promised_mtps = t->tokens_per_s * MILLE;
    if (x->concurrency && x->promised_mtps)
        return 0;
    r = accounts_measured(x->o->source.store, c->name, t, x->run.measurement.engine, &m, &is_stale,
                          &none);
    if (r && r != ERR_NOTFOUND) {
        *e = none;
        return r;
    }
    if (!r)
        measurement_entitlement(m, c, t->watts, &b, &n);
    measurement_free(m);
    if (is_stale)
        n.why = "it was measured with another version of the engine";
    if (n.why)
        return err_set(e, ERR_ARG, "say %s: it cannot be had from a measurement, as %s",
                       x->concurrency     ? "--promised"
                       : x->promised_mtps ? "--loads"
                                          : "--promised and --loads",
                       n.why);
    if (!x->promised_mtps)
        x->promised_mtps = n.rate_mtps;
    if (!x->concurrency && (n.concurrency < 1 || n.concurrency > BASKET_CONCURRENCY_MAX))
        return err_set(
            e, ERR_LIMIT,
            "the tranche is full with %lld requests at once, and this command holds 1 to "
            "%d; say --loads",
            (long long)n.concurrency, BASKET_CONCURRENCY_MAX);
    if (!x->concurrency)
        x->concurrency = (int32_t)n.concurrency;
    return 0;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* Rows take turns, so that what changes in the course of a day is seen by all of them. */
static int hold(struct accepting *x, struct err *e)
{
    int64_t each_us = x->for_us / x->run.contract->n_loads;
    int64_t rounds = (each_us + ROUND_US - 1) / ROUND_US;
    struct progress bar;
    int r = 0;

    cmd_note("%d requests at once for %lld s, %.1f tokens/s are promised", x->concurrency,
             (long long)(x->for_us / 1000000), (double)x->promised_mtps / MILLE);
    progress_start(&bar, "accepting", PROGRESS_COUNT, (uint64_t)rounds, 0);
    for (int64_t i = 0; !r && i < rounds; i++) {
        r = contract_run_rows(&x->run, x->concurrency, each_us / rounds, e);
        progress_set(&bar, (uint64_t)i + 1);
    }
    progress_stop(&bar, 1);
    if (r)
        return r;
    contract_run_level(&x->run, x->concurrency);
    contract_run_end(&x->run);
    acceptance_judge(&x->run.measurement, x->run.contract, &x->run.contract->tranche[x->i_tranche],
                     x->promised_mtps, x->run.busy_us);
    return 0;
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

static int key_path(char ret[KEY_PATH_MAX], struct err *e)
{
    struct hub *h = NULL;
    int r = hub_open(&h, e);

    if (!r)
        r = hub_make_home(h, e);
    if (!r && snprintf(ret, KEY_PATH_MAX, "%s/" ACCEPTANCE_KEY_FILE, hub_home(h)) >= KEY_PATH_MAX)
        r = err_set(e, ERR_ARG, "the key has too long a name");
    hub_close(h);
    return r;
}

static int keep(struct accepting *x, struct basket_shown *ret, struct err *e)
{
    const struct account_who who = account_cli_who();
    char path[KEY_PATH_MAX], signature[ACCEPTANCE_SIGNATURE_TEXT] = "";
    char key[ACCEPTANCE_PUBLIC_TEXT] = "";
    struct measured_row row = {.signature = signature, .public_key = key};
    json_t *json = measurement_json(&x->run.measurement);
    struct buf text;
    int r = key_path(path, e);

    buf_init(&text, MEASUREMENT_TEXT_MAX);
    if (!r && (!json || json_put_tree(&text, json)))
        r = err_set(e, ERR_NOMEM, "no memory for what was found");
    if (!r)
        r = acceptance_sign(path, text.data, signature, key, e);
    row.text = text.data;
    if (!r)
        r = accounts_measure(x->o->source.store, &who, &x->run.measurement, &row, e);
    if (!r) {
        *ret = (struct basket_shown){.id = row.id, .recorded_s = who.now_s, .actor = who.actor};
        cmd_note("measurement %lld is recorded, signed by %s", (long long)row.id, key);
    }
    json_decref(json);
    buf_done(&text);
    return r;
}

/* The contract as it holds, with the tranche delivered today, is its next version. */
static int amend(struct accepting *x, int64_t id, struct err *e)
{
    const struct account_who who = account_cli_who();
    json_t *json = contract_json(x->file);
    json_t *t = json_array_get(json_object_get(json, "tranches"), (size_t)x->i_tranche);
    char day[DAY_TEXT_MAX], reason[100], *text;
    struct contract_version v = {.name = x->run.contract->name, .reason = reason};
    int r = 0;

    snprintf(reason, sizeof reason, "acceptance of tranche %.40s: measurement %lld", x->o->tranche,
             (long long)id);
    day_show(who.now_s, contract_file_zone(x->file), day);
    json_object_set_new(t, "delivered", json_string(day));
    text = json_dumps(json, JSON_INDENT(2) | CONTRACT_JSON_FLAGS);
    v.text = text;
    if (!text)
        r = err_set(e, ERR_NOMEM, "no memory for the amendment");
    if (!r)
        r = accounts_amend(x->o->source.store, &who, &v, e);
    if (!r)
        cmd_note("tranche %s is delivered: version %lld", x->o->tranche, (long long)v.version);
    else
        err_prefix(e, "the acceptance is recorded, but it cannot be amended");
    free(text);
    json_decref(json);
    return r;
}

static int accept(struct accepting *x, const char *name, struct err *e)
{
    const struct measurement *m = &x->run.measurement;
    struct basket_shown shown = {0};
    int r = read_options(x, e);

    if (!r && strchr(name, '@'))
        r = err_set(e, ERR_ARG, "%.80s: what is accepted is the contract as it holds, no version",
                    name);
    if (!r)
        r = contract_source_stored(&x->o->source, name, &x->file, e);
    if (!r)
        r = find_tranche(x, e);
    if (!r && x->o->amend && contract_file_contract(x->file)->tranche[x->i_tranche].delivered_s)
        r = err_set(e, ERR_ARG, "--amend: the tranche has a day of delivery");
    if (!r)
        r = contract_run_begin(&x->run, x->o, x->file, e);
    if (!r)
        r = fill_in(x, e);
    if (!r)
        r = hold(x, e);
    if (!r)
        r = keep(x, &shown, e);
    if (!r && x->o->json)
        r = cmd_json(contract_basket_json(x->file, m, &shown), JSON_COMPACT | CONTRACT_JSON_FLAGS);
    else if (!r)
        contract_basket_print(x->file, m, &shown);
    if (!r && !m->verdict.has_passed)
        r = err_set(e, ERR_LIMIT, "tranche %.64s is not accepted: %s", x->o->tranche,
                    m->verdict.reason[0]);
    if (!r && x->o->amend)
        r = amend(x, shown.id, e);
    return r;
}

int contract_accept(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct accepting *x = calloc(1, sizeof *x);
    int r;

    if (!x)
        return err_set(e, ERR_NOMEM, "no memory for an acceptance");
    x->o = o;
    r = accept(x, argv[0], e);
    contract_run_done(&x->run);
    contract_file_close(x->file);
    free(x);
    return r;
}
