/* gaufre tranche: the tranches of all contracts that hold, planned against actual, and what was
 * measured of them. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/day.h"
#include "cloud/accepted.h"
#include "cmd/account_opts.h"
#include "cmd/cmd.h"
#include "cmd/contract_source.h"

#define DAY_S   86400
#define MILLE   1000
#define WATT_MW 1e6

struct tranche_opts {
    const char *accounts, *as_of, *known_on, *engine;
    int json;
};

static const struct opt opts[] = {
    OPT_STR(0, "as-of", "DAY", NULL, tranche_opts, as_of, "as it held on that day (today)"),
    OPT_STR(0, "known-on", "DAY", NULL, tranche_opts, known_on,
            "without what was recorded after that day"),
    OPT_STR(0, "engine", "VERSION", NULL, tranche_opts, engine,
            "the version in force: what was measured with another is stale"),
    OPT_FLAG(0, "json", tranche_opts, json, "one JSON object a line"),
    OPT_STR('a', "accounts", "FILE|URL", NULL, tranche_opts, accounts,
            "the store, as in 'gaufre tenant'"),
    OPT_END,
};

#define CONTRACTS_MAX 4096

struct listing {
    const struct tranche_opts *o;
    int64_t known_s;
    const char *contract, *tranche; /* only these; NULL: all */
    struct contract_file *file[CONTRACTS_MAX];
    int n_files, n_shown;
    struct err *e;
};

/* A tranche with all that is known of it. */
struct told {
    const struct contract_file *file;
    const struct contract *contract;
    const struct tranche *tranche;
    int64_t now_s;
    enum tranche_state state;
    int64_t days_late;    /* of its delivery, or so far; 0: it is not late, or nobody owes it */
    const char *measured; /* "yes", "stale", "no" */
    struct accepted accepted;
    int64_t rate_mtps; /* what it is entitled to by that; < 0: nothing */
};

/* Whole days, the begun one counts. */
static int64_t days_late(const struct told *x)
{
    const struct tranche *t = x->tranche;
    int is_open = x->state == TRANCHE_LATE || x->state == TRANCHE_OVERDUE;
    int64_t at = is_open ? x->now_s : t->delivered_s <= x->now_s ? t->delivered_s : 0;

    return at > t->target_s ? (at - t->target_s + DAY_S - 1) / DAY_S : 0;
}

static int look(struct accounts *a, const struct listing *l, struct told *x, struct err *e)
{
    struct measurement *m = NULL;
    struct basket_measured points;
    struct basket_entitlement n;
    int is_stale = 0;
    int r = accounts_measured_on(a, x->contract->name, x->tranche, l->o->engine, x->now_s,
                                 l->known_s, &m, &is_stale, e);

    x->state = tranche_state(x->contract, x->tranche, x->now_s);
    x->days_late = days_late(x);
    x->rate_mtps = -1;
    x->measured = r ? "no" : is_stale ? "stale" : "yes";
    if (r)
        return r == ERR_NOTFOUND ? 0 : r;
    measurement_entitlement(m, x->contract, x->tranche->watts, &points, &n);
    if (!n.why && !is_stale)
        x->rate_mtps = n.rate_mtps;
    measurement_free(m);
    return 0;
}

/* ---- showing --------------------------------------------------------------------------------- */

static const char *day(const struct told *x, int64_t s, char out[DAY_TEXT_MAX])
{
    return s ? day_show(s, contract_file_zone(x->file), out) : "-";
}

static const char *rate(const struct told *x, char out[32])
{
    if (x->rate_mtps < 0)
        return "-";
    snprintf(out, 32, "%.1f", (double)x->rate_mtps / MILLE);
    return out;
}

static void print_head(void)
{
    printf("%-20s %-14s %-6s %10s %-14s %-9s %-10s %-10s %5s %-8s %-10s %12s\n", "contract",
           "tranche", "kind", "MW", "where", "state", "target", "delivered", "late", "measured",
           "accepted", "tokens/s");
}

static void print_row(const struct told *x)
{
    const struct tranche *t = x->tranche;
    char a[DAY_TEXT_MAX], b[DAY_TEXT_MAX], c[DAY_TEXT_MAX], late[24] = "-", tokens[32];

    if (x->days_late)
        snprintf(late, sizeof late, "%lld d", (long long)x->days_late);
    cmd_line(stdout, "%-20s %-14s %-6s %10.3f %-14s %-9s %-10s %-10s %5s %-8s %-10s %12s",
             x->contract->name, t->name, t->is_option ? "option" : "firm",
             (double)t->watts / WATT_MW, t->site ? t->site : t->region,
             tranche_state_name(x->state), day(x, t->target_s, a), day(x, t->delivered_s, b), late,
             x->measured, day(x, x->accepted.id ? x->accepted.at_s : 0, c), rate(x, tokens));
}

static void print_line(const char *what, const char *value)
{
    cmd_line(stdout, "  %-14s %s", what, value);
}

static void print_all(const struct told *x)
{
    const struct tranche *t = x->tranche;
    const struct {
        const char *what;
        int64_t s;
    } days[] = {{"target", t->target_s},
                {"delivered", t->delivered_s},
                {"longstop", t->longstop_s},
                {"until", tranche_until(x->contract, t)},
                {"cancelled", t->cancelled_s},
                {"exercise from", t->exercise_from_s},
                {"exercise until", t->exercise_until_s},
                {"exercised", t->exercised_s}};
    char text[DAY_TEXT_MAX], number[32];

    cmd_line(stdout, "tranche %s of contract %s, %s to %s: %s", t->name, x->contract->name,
             x->contract->supplier.name, x->contract->customer.name, tranche_state_name(x->state));
    snprintf(number, sizeof number, "%.6g, %s", (double)t->watts / WATT_MW,
             t->is_option ? "option" : "firm");
    print_line("MW", number);
    print_line(t->site ? "site" : "region", t->site ? t->site : t->region);
    print_line("hardware", t->hardware ? t->hardware : "any");
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        if (days[i].s)
            print_line(days[i].what, day(x, days[i].s, text));
    }
    snprintf(number, sizeof number, "%lld", (long long)x->days_late);
    print_line("days late", number);
    print_line("measured", x->measured);
    print_line("accepted", x->accepted.id ? day(x, x->accepted.at_s, text) : "-");
    print_line("tokens/s", rate(x, number));
}

static json_t *day_json(const struct told *x, int64_t s)
{
    char text[DAY_TEXT_MAX];

    return s ? json_string(day(x, s, text)) : json_null();
}

static json_t *told_json(const struct told *x)
{
    const struct tranche *t = x->tranche;
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:f, s:s?, s:s?, s:s?, s:s}", "contract",
                          x->contract->name, "supplier", x->contract->supplier.name, "customer",
                          x->contract->customer.name, "tranche", t->name, "kind",
                          t->is_option ? "option" : "firm", "mw", (double)t->watts / WATT_MW,
                          "site", t->site, "region", t->region, "hardware", t->hardware, "state",
                          tranche_state_name(x->state));

    json_object_set_new(o, "target", day_json(x, t->target_s));
    json_object_set_new(o, "delivered", day_json(x, t->delivered_s));
    json_object_set_new(o, "longstop", day_json(x, t->longstop_s));
    json_object_set_new(o, "until", day_json(x, tranche_until(x->contract, t)));
    json_object_set_new(o, "cancelled", day_json(x, t->cancelled_s));
    json_object_set_new(o, "exercise_from", day_json(x, t->exercise_from_s));
    json_object_set_new(o, "exercise_until", day_json(x, t->exercise_until_s));
    json_object_set_new(o, "exercised", day_json(x, t->exercised_s));
    json_object_set_new(o, "days_late", json_integer(x->days_late));
    json_object_set_new(o, "measured", json_string(x->measured));
    json_object_set_new(o, "accepted", accepted_json(&x->accepted));
    json_object_set_new(o, "tokens_per_second",
                        x->rate_mtps < 0 ? json_null() : json_real((double)x->rate_mtps / MILLE));
    return o;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Contracts are read first: the store takes one question at a time. */
static int keep(void *arg, const struct contract_version *v)
{
    struct listing *l = arg;
    int r;

    if (l->contract && strcmp(l->contract, v->name) != 0)
        return 0;
    if (l->n_files == CONTRACTS_MAX)
        return err_set(l->e, ERR_LIMIT, "more than %d contracts", CONTRACTS_MAX);
    r = contract_file_parse(&l->file[l->n_files], v->name, v->text, strlen(v->text), l->e);
    l->n_files += !r;
    return r;
}

static int show(struct listing *l, struct accounts *a, const struct contract_file *f, int64_t now_s)
{
    const struct contract *c = contract_file_contract(f);
    struct accepted accepted[CONTRACT_TRANCHES_MAX];
    int r = accounts_accepted(a, c, now_s, l->known_s, accepted, l->e);

    for (int i = 0; !r && i < c->n_tranches; i++) {
        struct told x = {.file = f,
                         .contract = c,
                         .tranche = &c->tranche[i],
                         .now_s = now_s,
                         .accepted = accepted[i]};
        if (l->tranche && strcmp(l->tranche, c->tranche[i].name) != 0)
            continue;
        r = look(a, l, &x, l->e);
        if (r)
            return r;
        if (l->o->json)
            r = cmd_json(told_json(&x), JSON_COMPACT | CONTRACT_JSON_FLAGS);
        else if (l->tranche)
            print_all(&x);
        else
            print_row(&x);
        l->n_shown++;
    }
    return r;
}

static int list(struct listing *l, int64_t as_of_s, int64_t known_s)
{
    struct contract_source s = {.accounts = l->o->accounts, .as_of_s = as_of_s, .known_s = known_s};
    int r = contract_source_store(&s, l->e);

    if (!r)
        r = accounts_contracts(s.store, as_of_s, known_s, keep, l, l->e);
    if (!r && !l->o->json && !l->tranche)
        print_head();
    for (int i = 0; !r && i < l->n_files; i++)
        r = show(l, s.store, l->file[i], as_of_s);
    if (!r && l->contract && !l->n_shown)
        r = err_set(l->e, ERR_NOTFOUND, "there is no tranche %.64s of contract %.64s that day",
                    l->tranche ? l->tranche : "", l->contract);
    for (int i = 0; i < l->n_files; i++)
        contract_file_close(l->file[i]);
    contract_source_done(&s);
    return r;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct tranche_opts *o = opts_;
    int64_t as_of_s = clock_wall_us() / 1000000, known_s = INT64_MAX;
    int is_show = !strcmp(argv[0], "show");
    struct err e = {0};
    struct listing l = {.o = o, .e = &e};

    if ((o->as_of && day_read_moment(o->as_of, NULL, &as_of_s)) ||
        (o->known_on && day_read_moment(o->known_on, NULL, &known_s)))
        return cmd_usage(cmd, "--as-of and --known-on want a day: 2026-12-01");
    if ((!is_show && strcmp(argv[0], "list")) || (is_show && argc != 3) || argc > 3 ||
        (!is_show && argc > 2))
        return cmd_usage(cmd, "wants list [CONTRACT], or show CONTRACT TRANCHE");
    l.known_s = known_s;
    l.contract = argc > 1 ? argv[1] : NULL;
    l.tranche = is_show ? argv[2] : NULL;
    return list(&l, as_of_s, known_s) ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_tranche = {
    .name = "tranche",
    .help = "The tranches of all contracts that hold: planned, actual, measured",
    .args = "list|show [CONTRACT [TRANCHE]]",
    .about = "Of each tranche its state, its dates, how late it is, and what was measured of it:\n"
             "yes, stale (with another version of the engine than --engine) or no. A tranche has\n"
             "the tokens/s that its megawatts make by what was measured ('gaufre contract\n"
             "measurements').\n\n"
             "  gaufre tranche list --as-of 2027-03-01\n"
             "  gaufre tranche show acme-2027 first --json",
    .opts = opts,
    .opts_size = sizeof(struct tranche_opts),
    .n_args_min = 1,
    .n_args_max = 3,
    .run = run,
};
