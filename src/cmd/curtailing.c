#include "cmd/curtailing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "cloud/site.h"
#include "cmd/cmd.h"

int curtail_is_said(const struct curtail_opts *o)
{
    return o->to || o->from || o->lasts || o->ramp || o->cancel || o->call || o->is_dry;
}

const char *curtail_opts_fault(const struct curtail_opts *o)
{
    int is_new = o->to || o->from || o->lasts || o->ramp || o->is_dry;

    if (is_new + (o->cancel > 0) + (o->call > 0) > 1)
        return "--to, --cancel or --call: one of them";
    if (is_new && (!o->to || !o->lasts))
        return "a curtailment wants --to and --for";
    return NULL;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

/* "90s", "1h" as seconds. */
static int read_time(const char *option, const char *text, double *ret, struct err *e)
{
    static const struct config_setting rows[] = {
        {"time", CONFIG_TIME, 0, NULL, 0, 2678400000.0, "TIME", "a time"}, {0}};
    int64_t ms = 0;
    struct err why = {0};

    if (config_set(rows, &ms, "time", text, NULL, &why))
        return err_set(e, ERR_ARG, "--%s: wants a time such as 90s, 30m or 1h, of 31 days at most",
                       option);
    *ret = (double)ms / 1000;
    return 0;
}

/* "20", "20MW" or "50%". */
static int put_target(json_t *body, const char *text, struct err *e)
{
    char *end;
    double f = strtod(text, &end);

    if (end != text && f >= 0 && (!*end || !strcmp(end, "MW") || !strcmp(end, " MW")))
        return json_object_set_new(body, "target_mw", json_real(f)) ? ERR_NOMEM : 0;
    if (end != text && f >= 0 && f <= 100 && !strcmp(end, "%"))
        return json_object_set_new(body, "target_share", json_real(f / 100)) ? ERR_NOMEM : 0;
    return err_set(e, ERR_ARG, "--to: wants megawatts, or a part of them: 20, or 50%%");
}

static int make_body(const struct curtail_opts *o, json_t **ret, struct err *e)
{
    json_t *body = json_pack("{s:b}", "dry_run", o->is_dry);
    double seconds = 0;
    int r = put_target(body, o->to, e);

    if (!r)
        r = read_time("for", o->lasts, &seconds, e);
    if (!r)
        json_object_set_new(body, "for_seconds", json_real(seconds));
    if (!r && o->ramp)
        r = read_time("ramp", o->ramp, &seconds, e);
    if (!r && o->ramp)
        json_object_set_new(body, "ramp_seconds", json_real(seconds));
    if (!r && o->from && strcmp(o->from, "now") != 0)
        json_object_set_new(body, "from", json_string(o->from));
    if (r)
        json_decref(body);
    else
        *ret = body;
    return r;
}

/* ---- showing --------------------------------------------------------------------------------- */

static const char *target(const json_t *c, char out[48])
{
    const json_t *share = json_object_get(c, "target_share");

    if (!json_is_number(share))
        return admin_number(c, "target_mw", " MW", out);
    snprintf(out, 48, "%.6g%%", json_number_value(share) * 100);
    return out;
}

static void print_row(const json_t *c)
{
    char id[48], to[48];

    cmd_line(stdout, "%-6s %-10s %-21s %-21s %-10s %s", admin_number(c, "id", "", id),
             admin_told(c, "state"), admin_told(c, "from"), admin_told(c, "until"), target(c, to),
             json_is_true(json_object_get(c, "short_notice")) ? "short notice" : "");
}

static void print_baseline(const json_t *b)
{
    char power[48], days[48];

    cmd_line(stdout, "  %-26s %s, by %s%s%s%s", "without it", admin_number(b, "mw", " MW", power),
             admin_told(b, "method"), json_is_integer(json_object_get(b, "days")) ? " (" : "",
             json_is_integer(json_object_get(b, "days")) ? admin_number(b, "days", " days", days)
                                                         : "",
             json_is_integer(json_object_get(b, "days")) ? ")" : "");
}

static void print_estimate(const json_t *j)
{
    const json_t *list = json_object_get(j, "contracts"), *row;
    char a[48], b[48];
    size_t i;

    print_baseline(json_object_get(j, "baseline"));
    cmd_line(stdout, "  %-26s %s", "capacity lost",
             admin_number(j, "capacity_lost_mwh", " MWh", a));
    cmd_line(stdout, "  %-26s %s", "less used", admin_number(j, "reduced_mwh", " MWh", a));
    cmd_line(stdout, "  %-26s %s %s", "it earns", admin_told(j, "credit"),
             admin_told(j, "currency"));
    cmd_line(stdout, "  %-26s %s %s", "clawback at most", admin_told(j, "clawback_at_most"),
             admin_told(j, "currency"));
    cmd_line(stdout, "  %-26s %s, credits of %s before any cap", "contracts are short of",
             admin_number(j, "shortfall_mwh", " MWh", a), admin_told(j, "shortfall_credits"));
    json_array_foreach(list, i, row)
    {
        cmd_line(stdout, "    %s/%s: %s, short of %s, credit %s %s", admin_told(row, "contract"),
                 admin_told(row, "tranche"), admin_number(row, "mw", " MW", a),
                 admin_number(row, "short_mwh", " MWh", b), admin_told(row, "credit"),
                 admin_told(row, "currency"));
    }
}

static void print_settled(const json_t *j)
{
    char a[48], b[48], c[48];

    cmd_line(stdout, "  what came of it, while it held:");
    print_baseline(json_object_get(j, "baseline"));
    cmd_line(stdout, "  %-26s %s of %s, %s above", "used", admin_number(j, "used_mwh", " MWh", a),
             admin_number(j, "allowed_mwh", " MWh", b), admin_number(j, "over_mwh", " MWh", c));
    cmd_line(stdout, "  %-26s %s, credit %s, clawback %s", "less than without it",
             admin_number(j, "reduced_mwh", " MWh", a), admin_told(j, "credit"),
             admin_told(j, "clawback"));
}

static void print_whole(const json_t *c)
{
    char to[48], ramp[48], id[48];

    cmd_line(stdout, "curtailment %s of %s: %s", admin_number(c, "id", "", id),
             admin_told(c, "site"),
             json_is_integer(json_object_get(c, "id")) ? admin_told(c, "state")
                                                       : "DRY RUN, nothing is taken");
    cmd_line(
        stdout, "  %-26s %s from %s until %s, ramp %s%s", "at most", target(c, to),
        admin_told(c, "from"), admin_told(c, "until"), admin_number(c, "ramp_seconds", " s", ramp),
        json_is_true(json_object_get(c, "short_notice")) ? ", at shorter notice than agreed" : "");
    if (json_is_string(json_object_get(c, "cancelled_at")))
        cmd_line(stdout, "  %-26s %s", "cancelled", admin_told(c, "cancelled_at"));
    print_estimate(json_object_get(c, "estimate"));
    if (json_is_object(json_object_get(c, "settled")))
        print_settled(json_object_get(c, "settled"));
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int list(const struct admin_server *at, const char *path, int json, struct err *e)
{
    json_t *root = NULL, *row;
    int r = admin_ask(at, NULL, path, NULL, &root, e);
    size_t i;

    if (r)
        return r;
    if (!json && json_array_size(json_object_get(root, "data")))
        printf("%-6s %-10s %-21s %-21s %-10s\n", "id", "state", "from", "until", "at most");
    json_array_foreach(json_object_get(root, "data"), i, row)
    {
        if (!json)
            print_row(row);
        else if (!r)
            r = cmd_json(json_incref(row), JSON_COMPACT);
    }
    json_decref(root);
    return r;
}

int curtail_run(const struct admin_server *at, const char *site, const struct curtail_opts *o,
                int json, struct err *e)
{
    char path[80 + SITE_NAME_MAX];
    json_t *body = NULL, *got = NULL;
    char *send;
    int r;

    snprintf(path, sizeof path, "/admin/v1/sites/%s/curtailments", site);
    if (!curtail_is_said(o))
        return list(at, path, json, e);
    if (o->cancel || o->call) {
        snprintf(path, sizeof path, "/admin/v1/curtailments/%" PRId64,
                 o->cancel ? o->cancel : o->call);
        r = admin_ask(at, o->cancel ? "DELETE" : NULL, path, NULL, &got, e);
    } else {
        r = make_body(o, &body, e);
        if (r)
            return r;
        send = json_dumps(body, JSON_COMPACT);
        r = send ? admin_ask(at, "POST", path, send, &got, e) : ERR_NOMEM;
        free(send);
        json_decref(body);
    }
    if (r)
        return r;
    if (json)
        return cmd_json(got, JSON_COMPACT);
    print_whole(got);
    json_decref(got);
    return 0;
}
