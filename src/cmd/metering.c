/* gaufre energy: which meters this machine has and what they say, and a model of it measured with
 * one of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cmd/calibrate.h"
#include "cmd/cmd.h"
#include "cmd/energy_opt.h"

#define LOOK_US 300000 /* a meter that is read at once is watched for so long */

struct metering_opts {
    const char *config;
    int64_t seconds;
    int json;
};

static const struct opt opts[] = {
    OPT_FILE('c', "config", NULL, metering_opts, config,
             "the server's configuration: its `energy` says which meter and where"),
    OPT_INT('s', "seconds", "N", "5", 1, 600, metering_opts, seconds,
            "calibrate: length of each of its loads"),
    OPT_FLAG(0, "json", metering_opts, json, "print JSON"),
    OPT_END,
};

/* ---- show ------------------------------------------------------------------------------------ */

struct meter_view {
    const char *name;
    int is_there, is_used;
    struct energy_look look;
    char about[512];
    struct err why;
};

/* Until it has told its power, or has failed, or should have. */
static void watch(struct energy_opt *o, struct meter_view *v)
{
    const struct serve_energy *s = &o->config.energy;
    struct energy_meter *m = energy_source_meter(o->source);
    int64_t until = clock_now_us() + LOOK_US, last;

    last = until + (3 * s->interval + 2 * s->timeout) * 1000;
    for (;;) {
        energy_meter_look(m, &v->look);
        energy_source_why(o->source, &v->why);
        if (v->why.code || clock_now_us() > last)
            return;
        if (v->look.n_readings > 1 && clock_now_us() > until)
            return;
        clock_sleep_us(20000);
    }
}

static void look_at(struct energy_opt *o, int kind, struct meter_view *v)
{
    v->is_there = !energy_opt_open(o, kind, &v->why);
    if (!v->is_there)
        return;
    snprintf(v->about, sizeof v->about, "%s", energy_source_about(o->source));
    watch(o, v);
    v->is_there = !v->why.code && v->look.n_readings > 0;
    if (!v->is_there && !v->why.code)
        err_set(&v->why, ERR_TIMEOUT, "it told nothing");
    energy_opt_close(o);
}

/* Meters over HTTP are looked at where they are configured. */
static int is_shown(const struct serve_energy *s, int kind)
{
    return kind == s->kind || (kind != SERVE_ENERGY_REDFISH && kind != SERVE_ENERGY_FEED);
}

static json_t *view_json(const struct meter_view *v)
{
    const struct energy *l = &v->look.label;

    if (!v->is_there)
        return json_pack("{s:s, s:b, s:b, s:o}", "meter", v->name, "available", 0, "used",
                         v->is_used, "why", cmd_json_str(v->why.text));
    return json_pack("{s:s, s:b, s:b, s:f, s:s, s:s, s:f, s:o}", "meter", v->name, "available", 1,
                     "used", v->is_used, "watts", (double)v->look.power_uw / 1e6, "boundary",
                     energy_boundary_name(l->boundary), "method", energy_method_name(l->method),
                     "uncertainty", (double)l->uncertainty_permille / 1000, "reads",
                     cmd_json_str(v->about));
}

static void print_view(const struct meter_view *v)
{
    const struct energy *l = &v->look.label;

    if (v->is_there)
        cmd_line(stdout, "%c %-8s %8.2f W  %-11s  +-%4.1f %%  %s", v->is_used ? '*' : ' ', v->name,
                 (double)v->look.power_uw / 1e6, energy_boundary_name(l->boundary),
                 (double)l->uncertainty_permille / 10, v->about);
    else
        cmd_line(stdout, "%c %-8s        -    %s", v->is_used ? '*' : ' ', v->name, v->why.text);
}

static int show(const struct cmd *cmd, struct energy_opt *o, int json)
{
    const struct serve_energy *s = &o->config.energy;
    json_t *all = json ? json_array() : NULL;
    struct meter_view v;
    int kind, is_used = 0, found = 0;

    (void)cmd;
    for (int i = 0; energy_source_kind(i, &v.name, &kind); i++) {
        const char *name = v.name;
        if (!is_shown(s, kind))
            continue;
        v = (struct meter_view){.name = name};
        look_at(o, kind, &v);
        v.is_used = s->kind == kind || (!s->kind && v.is_there && !is_used);
        is_used |= v.is_used;
        found |= v.is_used && v.is_there;
        if (json)
            json_array_append_new(all, view_json(&v));
        else
            print_view(&v);
    }
    if (json)
        cmd_json(all, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    else if (s->kind == SERVE_ENERGY_OFF)
        cmd_line(stdout, "* off: the energy of requests is not known");
    return found || s->kind == SERVE_ENERGY_OFF ? CMD_OK : CMD_FAILED;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int calibrate(const struct cmd *cmd, struct energy_opt *o, const struct metering_opts *in)
{
    struct err e = {0};
    int r = calibrate_run(o, in->seconds, in->json, &e);

    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct metering_opts *in = opts_;
    struct energy_opt *o;
    struct err e = {0};
    int code, is_show = !argc || !strcmp(argv[0], "show");

    if (!is_show && strcmp(argv[0], "calibrate"))
        return cmd_usage(cmd, "wants 'show' or 'calibrate'");
    o = calloc(1, sizeof *o);
    if (!o) {
        err_set(&e, ERR_NOMEM, "out of memory");
        return cmd_fail(cmd, &e);
    }
    if (energy_opt_read(o, in->config, &e)) {
        free(o);
        return cmd_fail(cmd, &e);
    }
    code = is_show ? show(cmd, o, in->json) : calibrate(cmd, o, in);
    energy_opt_done(o);
    free(o);
    return code;
}

const struct cmd cmd_energy = {
    .name = "energy",
    .help = "Show this machine's energy meters, or calibrate a model of its power",
    .args = "[show|calibrate]",
    .about = "'show' asks each meter that is there for its power; * is the one that 'serve' and\n"
             "'bench' use. 'calibrate' loads one thread, then two, and so on, while the meter is\n"
             "read, and keeps what was drawn in energy.json in gaufre's home: with it the energy\n"
             "is computed from CPU time where, later, there is no meter. It takes a minute or\n"
             "more, and the machine must have nothing else to do.",
    .opts = opts,
    .opts_size = sizeof(struct metering_opts),
    .n_args_min = 0,
    .n_args_max = 1,
    .run = run,
};
