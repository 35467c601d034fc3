/* gaufre site: the sites of a running server, and what an operator orders of them, by its admin
 * API. */
#include <stdio.h>
#include <string.h>

#include "cloud/site.h"
#include "cmd/admin_ask.h"
#include "cmd/cmd.h"
#include "cmd/curtailing.h"

struct site_opts {
    struct admin_server at;
    const char *factor, *state;
    struct curtail_opts curtail;
    int json;
};

static const struct opt opts[] = {
    ADMIN_OPTS(site_opts, at, ""),
    OPT_STR(0, "capacity-factor", "FACTOR", NULL, site_opts, factor,
            "set: the part of its places that may be used, 0 to 1; none: no order"),
    OPT_STR(0, "state", "STATE", NULL, site_opts, state,
            "set: active, draining, offline or another one; none: as its dates say"),
    OPT_STR(0, "to", "MW", NULL, site_opts, curtail.to,
            "curtail: what may be used at most: 20, or 50%"),
    OPT_STR(0, "from", "MOMENT", NULL, site_opts, curtail.from,
            "curtail: from then on: now, or 2026-12-01T18:00:00Z"),
    OPT_STR(0, "for", "TIME", NULL, site_opts, curtail.lasts, "curtail: so long: 1h"),
    OPT_STR(0, "ramp", "TIME", NULL, site_opts, curtail.ramp,
            "curtail: how long it goes down, and up; without it the site's"),
    OPT_FLAG(0, "dry-run", site_opts, curtail.is_dry,
             "curtail: show what it would cost and earn, and take nothing"),
    OPT_INT(0, "call", "ID", NULL, 0, 1e15, site_opts, curtail.call,
            "curtail: show this one, and what came of it"),
    OPT_INT(0, "cancel", "ID", NULL, 0, 1e15, site_opts, curtail.cancel,
            "curtail: this one is over from now on"),
    OPT_FLAG(0, "json", site_opts, json, "one JSON object a line"),
    OPT_END,
};

/* ---- asking the server ----------------------------------------------------------------------- */

/* One site, or all (NULL); `send`: what is ordered of it. */
static int ask(const struct site_opts *o, const char *name, const char *send, json_t **ret,
               struct err *e)
{
    char path[64 + SITE_NAME_MAX];

    snprintf(path, sizeof path, "/admin/v1/sites%s%s", name ? "/" : "", name ? name : "");
    return admin_ask(&o->at, send ? "PATCH" : NULL, path, send, ret, e);
}

/* ---- showing --------------------------------------------------------------------------------- */

static void print_head(void)
{
    printf("%-20s %-14s %-13s %7s %8s %8s %8s %9s %9s\n", "site", "region", "state", "factor",
           "running", "waiting", "places", "MW", "gCO2e/kWh");
}

static int print_row(const json_t *s)
{
    char factor[48], running[48], waiting[48], places[48], grams[48], free[48];

    cmd_line(stdout, "%-20s %-14s %-13s %7s %8s %8s %8s %9s %9s", admin_told(s, "name"),
             admin_told(s, "region"), admin_told(s, "state"),
             admin_number(s, "capacity_factor", "", factor),
             admin_number(s, "running", "", running), admin_number(s, "waiting", "", waiting),
             admin_number(s, "places", "", places), admin_number(s, "free_mw", "", free),
             admin_number(json_object_get(s, "carbon_grams_per_kwh"), "location", "", grams));
    return 0;
}

static void print_said(const json_t *said, const char *who, const char *name)
{
    const json_t *o = json_object_get(said, who);
    const char *state = json_string_value(json_object_get(o, "state"));
    const char *wrong = json_string_value(json_object_get(o, "error"));
    const char *cause = json_string_value(json_object_get(o, "cause"));
    char factor[48];

    cmd_line(stdout, "    %-22s %s%s%s", name, admin_number(o, "capacity_factor", "", factor),
             state ? ", " : "", state ? state : "");
    if (wrong)
        cmd_line(stdout, "    %-22s NOT READ: %s", "", wrong);
    if (cause)
        cmd_line(stdout, "    %-22s %s", "", cause);
}

/* A sensor: what it says, how old that is, what it leaves, and what is wrong with it. */
static void print_sensor(const json_t *s)
{
    const char *wrong = json_string_value(json_object_get(s, "error"));
    char value[48], age[48], factor[48];

    cmd_line(stdout, "    %-22s %-13s %9s %-3s %-9s age %-9s factor %-5s %s", admin_told(s, "name"),
             admin_told(s, "quantity"), admin_number(s, "value", "", value), admin_told(s, "unit"),
             admin_told(s, "quality"), admin_number(s, "age_seconds", " s", age),
             admin_number(s, "capacity_factor", "", factor), admin_told(s, "source"));
    if (wrong)
        cmd_line(stdout, "    %-22s NOT READ: %s", "", wrong);
}

/* Its state, and the steps of its life with their dates. */
static void print_life(const json_t *s)
{
    const json_t *steps = json_object_get(s, "lifecycle"), *step;
    char factor[48];
    size_t i;

    cmd_line(stdout, "  %-24s %s", "state", admin_told(s, "state"));
    json_array_foreach(steps, i, step)
    {
        cmd_line(stdout, "    %s %-20s planned %-22s actual %-22s%s%s%s",
                 json_is_true(json_object_get(step, "holds")) ? "*" : " ",
                 admin_told(step, "state"), admin_told(step, "planned"), admin_told(step, "actual"),
                 json_is_number(json_object_get(step, "capacity_factor")) ? " factor " : "",
                 json_is_number(json_object_get(step, "capacity_factor"))
                     ? admin_number(step, "capacity_factor", "", factor)
                     : "",
                 json_is_true(json_object_get(step, "late")) ? " LATE" : "");
    }
}

static void print_curtailment(const json_t *c)
{
    int is_call = json_is_integer(json_object_get(c, "id"));
    char id[48];

    if (json_is_object(c))
        cmd_line(stdout, "    %-22s %s until %s, by %s%s", "", admin_told(c, "phase"),
                 admin_told(c, "until"), is_call ? "call " : "a schedule",
                 is_call ? admin_number(c, "id", "", id) : "");
}

static void print_power(const json_t *s)
{
    const json_t *rows = json_object_get(s, "power"), *row;
    char a[48], b[48], c[48], d[48];
    size_t i;

    cmd_line(stdout, "  %-24s %s contracted, %s energised, %s encumbered, %s free (%s)", "power",
             admin_number(s, "contracted_mw", " MW", a), admin_number(s, "energised_mw", " MW", b),
             admin_number(s, "encumbered_mw", " MW", c), admin_number(s, "free_mw", " MW", d),
             admin_told(s, "power_basis"));
    json_array_foreach(rows, i, row)
    {
        if (json_is_string(json_object_get(row, "from")))
            cmd_line(stdout, "    from %-17s %9s contracted, %9s energised, %9s encumbered",
                     admin_told(row, "from"), admin_number(row, "contracted_mw", "", a),
                     admin_number(row, "energised_mw", "", b),
                     admin_number(row, "encumbered_mw", "", c));
    }
}

/* Its nodes that may be lent to Slurm, and which are. */
static void print_nodes(const json_t *n)
{
    const json_t *list = json_object_get(n, "list"), *node;
    const char *wrong = json_string_value(json_object_get(n, "error"));
    char all[48], lent[48], returning[48], wanted[48], keep[48], mw[48];
    size_t i;

    if (!json_is_object(n))
        return;
    cmd_line(stdout, "  %-24s %s: %s lent (%s), %s wanted (%s), %s returning; %s always serve",
             "nodes for Slurm", admin_number(n, "all", "", all), admin_number(n, "lent", "", lent),
             admin_number(n, "lent_mw", " MW", mw), admin_number(n, "wanted", "", wanted),
             admin_told(n, "cause"), admin_number(n, "returning", "", returning),
             admin_number(n, "keep", "", keep));
    json_array_foreach(list, i, node)
    {
        cmd_line(stdout, "    %-22s %-10s since %s", admin_told(node, "name"),
                 admin_told(node, "state"), admin_told(node, "since"));
    }
    if (wrong)
        cmd_line(stdout, "    %-22s %s: %s", "",
                 json_is_true(json_object_get(n, "answers")) ? "LATE" : "NO ANSWER", wrong);
}

static void print_energy(const json_t *s)
{
    const json_t *e = json_object_get(s, "energy");
    char joules[48], off[48], unmetered[48];

    if (json_is_object(e))
        cmd_line(stdout, "  %-24s %s, %s, %s, off by %s of it at most; of %s requests not known",
                 "energy of these", admin_number(e, "joules", " J", joules),
                 admin_told(e, "boundary"), admin_told(e, "method"),
                 admin_number(e, "uncertainty", "", off),
                 admin_number(s, "requests_unmetered", "", unmetered));
    else
        cmd_line(stdout, "  %-24s not known", "energy of these");
}

static void print_whole(const json_t *s)
{
    const json_t *said = json_object_get(s, "said"), *tenants = json_object_get(s, "dedicated_to");
    const json_t *carbon = json_object_get(s, "carbon_grams_per_kwh");
    const char *wrong = json_string_value(json_object_get(carbon, "error"));
    const json_t *sensors = json_object_get(s, "sensors");
    char a[48], b[48], c[48];

    cmd_line(stdout, "site %s, region %s", admin_told(s, "name"), admin_told(s, "region"));
    if (json_array_size(tenants)) {
        for (size_t i = 0; i < json_array_size(tenants); i++) {
            const char *t = json_string_value(json_array_get(tenants, i));
            cmd_line(stdout, "  %-24s %s", i ? "" : "dedicated to", t ? t : "?");
        }
    } else {
        cmd_line(stdout, "  generally available");
    }
    print_life(s);
    cmd_line(stdout, "  %-24s %s, the lowest of:", "capacity factor",
             admin_number(s, "capacity_factor", "", a));
    print_said(said, "configuration", "configuration");
    print_said(said, "file", "capacity_file");
    print_said(said, "operator", "operator");
    print_said(said, "environment", "environment");
    print_said(said, "curtailment", "curtailment");
    print_curtailment(json_object_get(s, "curtailment"));
    if (json_array_size(json_object_get(s, "lifecycle")))
        print_said(said, "lifecycle", "lifecycle");
    if (json_array_size(sensors))
        cmd_line(stdout, "  sensors");
    for (size_t i = 0; i < json_array_size(sensors); i++)
        print_sensor(json_array_get(sensors, i));
    cmd_line(stdout, "  %-24s %s running, %s waiting, %s places, suppliers: %s", "now",
             admin_number(s, "running", "", a), admin_number(s, "waiting", "", b),
             admin_number(s, "places", "", c), admin_number(s, "suppliers", "", (char[48]){0}));
    cmd_line(stdout, "  %-24s %s since the start", "requests", admin_number(s, "requests", "", a));
    print_energy(s);
    print_power(s);
    print_nodes(json_object_get(s, "nodes"));
    cmd_line(stdout, "  %-24s %s%s", "PUE", admin_number(s, "pue", "", a),
             json_is_true(json_object_get(s, "pue_measured")) ? ", measured" : "");
    cmd_line(stdout, "  %-24s %s location-based, %s market-based", "gCO2e/kWh, this hour",
             admin_number(carbon, "location", "", a), admin_number(carbon, "market", "", b));
    if (wrong)
        cmd_line(stdout, "  %-24s NOT READ: %s", "", wrong);
    cmd_line(stdout, "  %-24s %s", "time zone", admin_told(s, "time_zone"));
}

/* ---- the verbs ------------------------------------------------------------------------------- */

static int list(const struct site_opts *o, struct err *e)
{
    json_t *root = NULL;
    const json_t *all;
    int r = ask(o, NULL, NULL, &root, e);

    if (r)
        return r;
    all = json_object_get(root, "data");
    if (!json_is_array(all))
        r = err_set(e, ERR_FORMAT, "the server's answer has no sites");
    if (!r && !json_array_size(all))
        cmd_note("the server has no sites: they are listed under 'sites' in its configuration");
    else if (!r && !o->json)
        print_head();
    for (size_t i = 0; !r && i < json_array_size(all); i++)
        r = o->json ? cmd_json(json_incref(json_array_get(all, i)), JSON_COMPACT)
                    : print_row(json_array_get(all, i));
    json_decref(root);
    return r;
}

static int show(const struct site_opts *o, const char *name, const char *send, struct err *e)
{
    json_t *site = NULL;
    int r = ask(o, name, send, &site, e);

    if (r)
        return r;
    if (o->json)
        return cmd_json(site, JSON_COMPACT);
    print_whole(site);
    json_decref(site);
    return 0;
}

/* What is asked for as JSON; members that were not given are missing, "none" is null. */
static int order(const struct site_opts *o, char ret[128], struct err *e)
{
    char factor[SITE_FACTOR_TEXT] = "null", state[32] = "null";
    int32_t ppm;

    if (o->factor && strcmp(o->factor, "none")) {
        if (site_factor_parse(o->factor, &ppm, e))
            return e->code;
        site_factor_show(ppm, factor);
    }
    if (o->state && strcmp(o->state, "none")) {
        if (lifecycle_find(o->state) < 0)
            return err_set(e, ERR_ARG, "--state: none, or one of " LIFECYCLE_STATE_WORDS);
        snprintf(state, sizeof state, "\"%s\"", o->state);
    }
    snprintf(ret, 128, "{%s%s%s%s%s}", o->factor ? "\"capacity_factor\":" : "",
             o->factor ? factor : "", o->factor && o->state ? "," : "",
             o->state ? "\"state\":" : "", o->state ? state : "");
    return 0;
}

static int curtail(const struct cmd *cmd, const struct site_opts *o, const char *name)
{
    const char *why = curtail_opts_fault(&o->curtail);
    struct err e = {0};

    if (why)
        return cmd_usage(cmd, "%s", why);
    return curtail_run(&o->at, name, &o->curtail, o->json, &e) ? cmd_fail(cmd, &e) : CMD_OK;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct site_opts *o = opts_;
    const char *name = argc > 1 ? argv[1] : NULL;
    struct err e = {0};
    char body[128];
    int is_set = !strcmp(argv[0], "set"), is_show = !strcmp(argv[0], "show");
    int is_curtail = !strcmp(argv[0], "curtail");

    if (strcmp(argv[0], "list") && !is_set && !is_show && !is_curtail)
        return cmd_usage(cmd, "wants list, show, set or curtail, not '%s'", argv[0]);
    if ((argc > 1) != (is_set || is_show || is_curtail))
        return cmd_usage(cmd, argc > 1 ? "'%s' wants no name" : "'%s' wants a name", argv[0]);
    if (name && !site_name_ok(name))
        return cmd_usage(cmd, "a site's name is letters, digits and - _ .");
    if (is_set != (o->factor || o->state))
        return cmd_usage(cmd, is_set ? "nothing to set: give --capacity-factor or --state"
                                     : "--capacity-factor and --state are for 'set'");
    if (!is_curtail && curtail_is_said(&o->curtail))
        return cmd_usage(cmd, "--to, --from, --for, --ramp, --dry-run, --call and --cancel are for "
                              "'curtail'");
    if (is_curtail)
        return curtail(cmd, o, name);
    if (is_set && order(o, body, &e))
        return cmd_usage(cmd, "%s", e.text);
    return (name ? show(o, name, is_set ? body : NULL, &e) : list(o, &e)) ? cmd_fail(cmd, &e)
                                                                          : CMD_OK;
}

const struct cmd cmd_site = {
    .name = "site",
    .help = "Show the sites of a server, and order what they may do",
    .args = "list|show|set|curtail [NAME]",
    .about =
        "Works on a running server by its admin API. What is set is in force at once, survives a\n"
        "restart and is written into the log of changes ('gaufre audit --changes'); the value\n"
        "none takes it back. Of the factors that the configuration, the site's file, the\n"
        "operator, the site's sensors, its dates and curtailments say, the lowest holds.\n\n"
        "'curtail' takes a call of the grid: from a moment on the site goes down to --to, holds\n"
        "it --for so long, and goes up again. With --dry-run it only shows what that costs and\n"
        "earns; without --to it lists the calls of the site.\n\n"
        "  export GAUFRE_ADMIN_KEY=...\n"
        "  gaufre site list\n"
        "  gaufre site set fra1 --capacity-factor 0.5\n"
        "  gaufre site set fra1 --state draining\n"
        "  gaufre site curtail fra1 --to 20 --from 2026-12-01T17:00:00Z --for 2h --dry-run",
    .opts = opts,
    .opts_size = sizeof(struct site_opts),
    .n_args_min = 1,
    .n_args_max = 2,
    .run = run,
};
