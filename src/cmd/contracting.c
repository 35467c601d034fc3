/* gaufre contract: contracts as files and in the store: begin one, check it, record it and its
 * amendments, look at it as it was known on a day, compare two, hand it to other programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/day.h"
#include "cloud/accepted.h"
#include "cmd/account_opts.h"
#include "cmd/configured.h"
#include "cmd/contract_form.h"
#include "cmd/contract_opts.h"
#include "cmd/contract_report.h"
#include "cmd/input.h"
#include "cmd/ledger_path.h"

#define FILES_MAX 256
#define TEXT_MAX  ((size_t)1 << 20)

static const struct opt opts[] = {
    OPT_STR(0, "as-of", "DAY", NULL, contract_opts, as_of, "as it held on that day (today)"),
    OPT_STR(0, "known-on", "DAY", NULL, contract_opts, known_on,
            "of the store: without what was recorded after that day"),
    OPT_FILE('c', "config", NULL, contract_opts, config,
             "check: its sites must be in this configuration"),
    OPT_STR(0, "effective", "DAY", NULL, contract_opts, effective,
            "amend: it holds from then on (now; the first version since it was signed)"),
    OPT_STR(0, "reason", "TEXT", NULL, contract_opts, reason, "amend: why"),
    OPT_STR('a', "accounts", "FILE|URL", NULL, contract_opts, accounts,
            "the store, as in 'gaufre tenant'"),
    OPT_STR(0, "engine", "VERSION", NULL, contract_opts, engine,
            "measure, accept: the version (the server's own); else the one in force"),
    OPT_STR(0, "url", "URL", NULL, contract_opts, at.url, "measure, accept: the server"),
    OPT_STR(0, "key-env", "NAME", "GAUFRE_API_KEY", contract_opts, at.key_env,
            "measure, accept: environment variable with a key for it"),
    OPT_FILE(0, "key-file", NULL, contract_opts, at.key_file,
             "measure, accept: or a file with the key"),
    OPT_FILE(0, "ca", NULL, contract_opts, at.ca,
             "measure, accept: certificates to trust, for https"),
    OPT_STR(0, "site", "SITE", NULL, contract_opts, site, "measure, profiles: where it is"),
    OPT_STR(0, "region", "REGION", NULL, contract_opts, region,
            "measure, profiles: and in which region"),
    OPT_STR(0, "hardware", "NAME", NULL, contract_opts, hardware,
            "measure, profiles: its generation"),
    OPT_STR(0, "tranche", "NAME", NULL, contract_opts, tranche,
            "accept: the tranche; measure: whose site, region and hardware these are"),
    OPT_STR(0, "loads", "N,N", NULL, contract_opts, loads,
            "measure: requests at once, one load after the other (1,2,4,8); accept: one"),
    OPT_STR(0, "for", "TIME", NULL, contract_opts, time,
            "how long: measure for each row and load (30s), accept in all (24h)"),
    OPT_INT(0, "watts", "N", NULL, 0, CONTRACT_WATTS_MAX, contract_opts, watts,
            "measure, accept: the power that all of it holds, where no meter tells"),
    OPT_CHOICE(0, "boundary", "it|facility", NULL, contract_opts, boundary,
               "measure, accept: whose power --watts is (it)"),
    OPT_REAL(0, "pue", "RATIO", NULL, 1, 10, contract_opts, pue, "measure, accept: the site's PUE"),
    OPT_REAL(0, "promised", "N", NULL, 0.001, 1e12, contract_opts, promised,
             "accept: tokens/s (the contract's, or by what was measured)"),
    OPT_FLAG(0, "amend", contract_opts, amend, "accept: what has passed is delivered today"),
    OPT_FLAG(0, "record", contract_opts, record, "measure: keep it in the store"),
    OPT_STR(0, "month", "MONTH", NULL, contract_opts, month,
            "statement: of this month of the contract's zone: 2027-03 (else: so far)"),
    OPT_STR(0, "from", "DAY", NULL, contract_opts, from, "statement, rows: or from this day on"),
    OPT_STR(0, "until", "DAY", NULL, contract_opts, until, "statement, rows: and before this one"),
    OPT_LEDGER(contract_opts),
    OPT_FLAG(0, "json", contract_opts, json,
             "show, list, history, diff, report, measure, accept, measurements, profiles, "
             "statement, rows: as JSON"),
    OPT_FLAG(0, "csv", contract_opts, csv, "export: the tranches; statement: in FOCUS columns"),
    OPT_FLAG(0, "html", contract_opts, html, "report, statement: as a page to print"),
    OPT_END,
};

/* ---- check ----------------------------------------------------------------------------------- */

static int has_site(const struct serve_config *s, const struct tranche *t)
{
    for (int i = 0; i < s->n_sites; i++) {
        const char *region = s->sites[i].region;
        if (t->site ? !strcmp(s->sites[i].name, t->site) : region && !strcmp(region, t->region))
            return 1;
    }
    return 0;
}

/* What it names must be there. */
static int check_against(const struct contract_file *f, const struct serve_config *s, struct err *e)
{
    const struct contract *c = contract_file_contract(f);

    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        if (!has_site(s, t))
            return contract_file_err(f, i, t->site ? "site" : "region", e,
                                     "the configuration has no %s '%s'",
                                     t->site ? "site" : "region", t->site ? t->site : t->region);
    }
    return 0;
}

/* Names of contracts are unique among the files that are checked together, and a tenant is of one
 * contract at a time. */
static int check_names(struct contract_file *const *f, int n, char **argv, struct err *e)
{
    const struct contract *c = contract_file_contract(f[n]);

    for (int k = 0; k < n; k++) {
        const struct contract *o = contract_file_contract(f[k]);
        const char *tenant = contract_shared_tenant(c, o);
        if (!strcmp(o->name, c->name))
            return contract_file_err(f[n], -1, "contract", e, "%s has this name, too", argv[k]);
        if (tenant)
            return contract_file_err(f[n], -1, "customer", e,
                                     "the tenant '%s' is served by %s of %s at the same time",
                                     tenant, o->name, argv[k]);
    }
    return 0;
}

/* What is no fault, and is to be known. */
static void remark(const struct contract *c)
{
    int n = 0;

    for (int i = 0; i < c->n_tranches; i++)
        n += !c->tranche[i].tokens_per_s;
    if (n)
        cmd_note("%s: %d of its %d tranches declare no tokens_per_second: they entitle to nothing "
                 "in admission until they are measured",
                 c->name, n, c->n_tranches);
}

/* What of the store's acceptances there is to a contract of the store; of a file nothing. */
static int look_accepted(const struct contract_opts *o, const struct contract *c,
                         struct accepted ret[CONTRACT_TRANCHES_MAX], struct err *e)
{
    return o->source.version
               ? accounts_accepted(o->source.store, c, o->source.as_of_s, o->source.known_s, ret, e)
               : 0;
}

static int check_accepted(const struct contract_opts *o, const struct contract *c, struct err *e)
{
    struct accepted a[CONTRACT_TRANCHES_MAX];
    int r = look_accepted(o, c, a, e);

    for (int i = 0; !r && o->source.version && i < c->n_tranches; i++) {
        if (c->tranche[i].delivered_s && !a[i].id)
            cmd_note("%s: tranche %s is delivered, and no acceptance is on record", c->name,
                     c->tranche[i].name);
    }
    return r;
}

static int check(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct contract_file *f[FILES_MAX] = {NULL};
    struct serve_config config;
    int r = 0;

    serve_config_init(&config);
    if (o->config)
        r = configured(&config, o->config, e);
    for (int i = 0; !r && i < n; i++) {
        r = contract_source_open(&o->source, argv[i], &f[i], e);
        if (!r)
            r = check_names(f, i, argv, e);
        if (!r && o->config)
            r = check_against(f[i], &config, e);
        if (!r)
            r = check_accepted(o, contract_file_contract(f[i]), e);
    }
    for (int i = 0; i < n; i++) {
        if (!r)
            remark(contract_file_contract(f[i]));
        contract_file_close(f[i]);
    }
    serve_config_done(&config);
    if (!r)
        cmd_note("%d contract%s without a fault", n, plural(n));
    return r;
}

/* ---- show, export ---------------------------------------------------------------------------- */

static int new_form(struct contract_opts *o, int n, char **argv, struct err *e)
{
    fputs(contract_form, stdout);
    return 0;
}

/* Each of those that are named, one after the other; i counts them. */
static int each(struct contract_opts *o, int n, char **argv,
                int (*one)(const struct contract_opts *o, const struct contract_file *f, int i,
                           struct err *e),
                struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < n; i++) {
        struct contract_file *f = NULL;
        r = contract_source_open(&o->source, argv[i], &f, e);
        if (!r && (r = one(o, f, i, e)) == ERR_NOMEM)
            err_set(e, r, "out of memory");
        contract_file_close(f);
    }
    return r;
}

static void print_accepted(const struct contract_file *f, const struct accepted *a)
{
    const struct contract *c = contract_file_contract(f);
    char day[DAY_TEXT_MAX];

    for (int i = 0; i < c->n_tranches; i++) {
        const char *name = c->tranche[i].name;
        if (a[i].id)
            cmd_line(stdout, "tranche %s: accepted on %s, measurement %lld, signed by %.16s...",
                     name, day_show(a[i].at_s, contract_file_zone(f), day), (long long)a[i].id,
                     a[i].key);
        else if (c->tranche[i].delivered_s)
            cmd_line(stdout, "tranche %s: delivered, and no acceptance is on record", name);
    }
}

static int show_one(const struct contract_opts *o, const struct contract_file *f, int i,
                    struct err *e)
{
    struct accepted a[CONTRACT_TRANCHES_MAX];
    json_t *view, *row;
    size_t k;
    int r = look_accepted(o, contract_file_contract(f), a, e);

    if (r)
        return r;
    if (!o->json) {
        if (i)
            printf("\n");
        contract_print(f, o->source.as_of_s);
        if (o->source.version)
            print_accepted(f, a);
        return 0;
    }
    view = contract_view_json(f, o->source.as_of_s);
    json_array_foreach(json_object_get(view, "tranches"), k, row)
    {
        if (o->source.version)
            json_object_set_new(row, "accepted", accepted_json(&a[k]));
    }
    return cmd_json(view, JSON_COMPACT | CONTRACT_JSON_FLAGS);
}

static int show(struct contract_opts *o, int n, char **argv, struct err *e)
{
    return each(o, n, argv, show_one, e);
}

static int export_one(const struct contract_opts *o, const struct contract_file *f, int i,
                      struct err *e)
{
    if (!o->csv)
        return cmd_json(contract_json(f), JSON_INDENT(2) | CONTRACT_JSON_FLAGS);
    if (!i)
        contract_csv_head();
    contract_csv(f, o->source.as_of_s);
    return 0;
}

static int export(struct contract_opts *o, int n, char **argv, struct err *e)
{
    return each(o, n, argv, export_one, e);
}

static int diff(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct contract_file *f[2] = {NULL};
    int r = 0;

    for (int i = 0; !r && i < 2; i++)
        r = contract_source_open(&o->source, argv[i], &f[i], e);
    if (!r)
        r = contract_print_diff(f[0], f[1], o->json, e);
    contract_file_close(f[0]);
    contract_file_close(f[1]);
    return r;
}

/* ---- the store ------------------------------------------------------------------------------- */

static int amend(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct contract_version v = {.name = argv[0], .reason = o->reason ? o->reason : ""};
    const struct account_who who = account_cli_who();
    struct buf text;
    int r = 0;

    buf_init(&text, TEXT_MAX);
    if (o->effective && day_read_moment(o->effective, NULL, &v.effective_s))
        r = err_set(e, ERR_ARG, "--effective wants a day: 2026-12-01");
    if (!r)
        r = input_file(&text, argv[0], e);
    if (!r && text.len && memchr(text.data, 0, text.len))
        r = err_set(e, ERR_FORMAT, "%s: has a NUL", argv[0]);
    if (!r)
        r = contract_source_store(&o->source, e);
    v.text = text.len ? text.data : "";
    if (!r)
        r = accounts_amend(o->source.store, &who, &v, e);
    if (!r)
        cmd_note("%s is recorded: version %lld", argv[0], (long long)v.version);
    buf_done(&text);
    return r;
}

static void print_head(const struct contract_opts *o)
{
    if (!o->json)
        printf("%-24s %7s  %-10s  %-10s  %-16s %s\n", "contract", "version", "effective",
               "recorded", "by", "reason");
}

static int print_version(void *arg, const struct contract_version *v)
{
    const struct contract_opts *o = arg;
    char effective[DAY_TEXT_MAX], recorded[DAY_TEXT_MAX];

    day_show(v->effective_s, NULL, effective);
    day_show(v->recorded_s, NULL, recorded);
    if (o->json)
        return cmd_json(json_pack("{s:s,s:I,s:s,s:I,s:s,s:s}", "contract", v->name, "version",
                                  (json_int_t)v->version, "effective", effective, "recorded_at",
                                  (json_int_t)v->recorded_s, "actor", v->actor, "reason",
                                  v->reason),
                        JSON_COMPACT);
    cmd_line(stdout, "%-24s %7lld  %-10s  %-10s  %-16s %s", v->name, (long long)v->version,
             effective, recorded, v->actor, v->reason);
    return 0;
}

static int list(struct contract_opts *o, int n, char **argv, struct err *e)
{
    int r = contract_source_store(&o->source, e);

    if (r)
        return r;
    print_head(o);
    return accounts_contracts(o->source.store, o->source.as_of_s, o->source.known_s, print_version,
                              o, e);
}

static int history(struct contract_opts *o, int n, char **argv, struct err *e)
{
    int r = contract_source_store(&o->source, e);

    if (r)
        return r;
    print_head(o);
    return accounts_contract_versions(o->source.store, argv[0], print_version, o, e);
}

/* ---- the report ------------------------------------------------------------------------------ */

/* Those that are named; without names those that hold, of the store. */
static int gather(struct contract_opts *o, int n, char **argv, struct portfolio *p, struct err *e)
{
    int r = 0;

    if (!n) {
        r = contract_source_store(&o->source, e);
        return r ? r
                 : portfolio_add_stored(p, o->source.store, o->source.as_of_s, o->source.known_s,
                                        e);
    }
    for (int i = 0; !r && i < n; i++) {
        struct contract_file *f;
        r = contract_source_open(&o->source, argv[i], &f, e);
        if (!r && (r = portfolio_add(p, f, e)))
            contract_file_close(f);
    }
    return r;
}

static int report(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct portfolio *p;
    int r = portfolio_new(&p, e);

    if (r)
        return r;
    r = gather(o, n, argv, p, e);
    if (!r)
        report_make(&p->report, p->contract, p->n, o->source.as_of_s);
    if (!r && o->json)
        r = cmd_json(report_json(&p->report), JSON_COMPACT | CONTRACT_JSON_FLAGS);
    else if (!r && o->html && report_page(&p->report))
        r = err_set(e, ERR_NOMEM, "no memory for the page");
    else if (!r && !o->html)
        report_print(&p->report);
    portfolio_free(p);
    return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct verb {
    const char *name, *wants;
    int n_min, n_max;
    int (*run)(struct contract_opts *o, int n, char **argv, struct err *e);
} verbs[] = {
    {"new", "nothing", 0, 0, new_form},
    {"check", "files or names", 1, FILES_MAX, check},
    {"amend", "one file", 1, 1, amend},
    {"list", "nothing", 0, 0, list},
    {"history", "the name of a contract", 1, 1, history},
    {"show", "files or names", 1, FILES_MAX, show},
    {"diff", "two files or names", 2, 2, diff},
    {"export", "files or names", 1, FILES_MAX, export},
    {"report", "files or names", 0, FILES_MAX, report},
    {"measure", "a file or name", 1, 1, contract_measure},
    {"accept", "the name of a contract", 1, 1, contract_accept},
    {"record", "a file that measure has printed", 1, 1, contract_record},
    {"statement", "a file or name", 1, 1, contract_statement},
    {"rows", "the name of a contract", 1, 1, contract_rows},
    {"measurements", "the name of a contract", 1, 1, contract_measurements},
    {"profiles", "the name of a contract, or nothing", 0, 1, contract_profiles},
};

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    struct contract_opts *o = opts_;
    struct contract_source *s = &o->source;
    const struct verb *v = NULL;
    struct err e = {0};
    int r;

    *s = (struct contract_source){
        .accounts = o->accounts, .as_of_s = clock_wall_us() / 1000000, .known_s = INT64_MAX};
    if ((o->as_of && day_read_moment(o->as_of, NULL, &s->as_of_s)) ||
        (o->known_on && day_read_moment(o->known_on, NULL, &s->known_s)))
        return cmd_usage(cmd, "--as-of and --known-on want a day: 2026-12-01");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        v = strcmp(verbs[i].name, argv[0]) ? v : &verbs[i];
    if (!v)
        return cmd_usage(cmd,
                         "there is no '%s': wants new, check, amend, list, history, show, diff, "
                         "export, report, measure, accept, record, measurements, profiles, "
                         "statement or rows",
                         argv[0]);
    if (argc - 1 < v->n_min || argc - 1 > v->n_max)
        return cmd_usage(cmd, "%s wants %s", v->name, v->wants);
    r = v->run(o, argc - 1, argv + 1, &e);
    contract_source_done(s);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_contract = {
    .name = "contract",
    .help = "Contracts for power in dated tranches: begin, check, record, show and compare them",
    .args = "VERB [CONTRACT]...",
    .about =
        "CONTRACT is a file, or NAME or NAME@VERSION of the store.\n\n"
        "'new' prints a commented contract to begin with. 'check' exits with 1 at the first fault\n"
        "and says where it is. 'amend' records a file in the store as one version more of its\n"
        "contract; versions are never changed, and 'gaufre audit --changes' proves it. 'show' has\n"
        "power, tranches and what is owed by the year; with --as-of nothing that happened later\n"
        "counts. 'diff' lists the fields in which two differ. What 'export' writes as JSON can be\n"
        "read again as a contract. 'report' has what is still to come of all that hold, or of "
        "those\n"
        "that are named, and on whom it depends. 'measure' runs a contract's basket against a\n"
        "server at several loads and says what so many megawatts entitle to; 'record' keeps what\n"
        "it has printed, 'measurements' shows what is kept, 'profiles' the rates and\n"
        "joules of each site and hardware. 'accept' holds a load for long, signs\n"
        "what it found, and delivers the tranche (--amend) if it has passed. 'statement'\n"
        "says what is owed for a period by the ledger, 'rows' lists its requests.\n\n"
        "  gaufre contract new > acme.yaml\n"
        "  gaufre contract amend acme.yaml --reason 'signed'\n"
        "  gaufre contract diff acme-2027@1 acme-2027@2\n"
        "  gaufre contract measure acme-2027 --tranche first --url http://site:8080 --record",
    .opts = opts,
    .opts_size = sizeof(struct contract_opts),
    .n_args_min = 1,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
