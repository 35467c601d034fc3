/* gaufre contract measure: a contract's basket on a site, at several loads. */
#include <stdlib.h>

#include "cmd/account_opts.h"
#include "cmd/cmd.h"
#include "cmd/contract_basket.h"
#include "cmd/contract_load.h"
#include "cmd/progress.h"

struct wanted {
    int64_t loads[BASKET_LEVELS_MAX], for_us;
    int n_loads;
};

static int read_wanted(const struct contract_opts *o, struct wanted *w, struct err *e)
{
    int r = opt_int_list(o->loads ? o->loads : "1,2,4,8", "--loads", 1, BASKET_CONCURRENCY_MAX,
                         w->loads, BASKET_LEVELS_MAX, &w->n_loads, e);

    return r ? r : contract_time(o->time ? o->time : "30s", "--for", &w->for_us, e);
}

static int run_levels(struct contract_run *run, const struct wanted *w, struct err *e)
{
    struct progress bar;
    int r = 0;

    progress_start(&bar, "measuring", PROGRESS_COUNT, (uint64_t)w->n_loads, 0);
    for (int i = 0; !r && i < w->n_loads; i++) {
        r = contract_run_rows(run, (int32_t)w->loads[i], w->for_us, e);
        if (!r)
            contract_run_level(run, (int32_t)w->loads[i]);
        progress_set(&bar, (uint64_t)i + 1);
    }
    progress_stop(&bar, 1);
    if (!r)
        contract_run_end(run);
    return r;
}

static int keep(struct contract_opts *o, const struct measurement *m, struct basket_shown *s,
                struct err *e)
{
    const struct account_who who = account_cli_who();
    struct measured_row row = {.signature = "", .public_key = ""};
    int r = contract_source_store(&o->source, e);

    if (!r)
        r = accounts_measure(o->source.store, &who, m, &row, e);
    if (r)
        return r;
    *s = (struct basket_shown){.id = row.id, .recorded_s = who.now_s, .actor = who.actor};
    cmd_note("measurement %lld of contract %s is recorded", (long long)row.id, m->contract);
    return 0;
}

int contract_measure(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct contract_run *run = calloc(1, sizeof *run);
    struct basket_shown shown = {0};
    struct contract_file *f = NULL;
    struct wanted w = {.n_loads = 0};
    int r = run ? read_wanted(o, &w, e) : err_set(e, ERR_NOMEM, "no memory for a measurement");

    if (!r)
        r = contract_source_open(&o->source, argv[0], &f, e);
    if (!r && o->record && !o->source.version)
        r = err_set(e, ERR_ARG, "--record wants the name of a contract in the store, not a file");
    if (!r)
        r = contract_run_begin(run, o, f, e);
    if (!r)
        r = run_levels(run, &w, e);
    if (!r && o->record)
        r = keep(o, &run->measurement, &shown, e);
    if (!r && o->json)
        r = cmd_json(contract_basket_json(f, &run->measurement, &shown),
                     JSON_COMPACT | CONTRACT_JSON_FLAGS);
    else if (!r)
        contract_basket_print(f, &run->measurement, &shown);
    if (run)
        contract_run_done(run);
    free(run);
    contract_file_close(f);
    return r;
}
