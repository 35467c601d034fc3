/* The admin API's curtailments: calls of the grid for a site, what they would cost and earn, and
 * what came of them. Runs on prep threads, as it waits for databases. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/day.h"
#include "base/json.h"
#include "cloud/accounts.h"
#include "cloud/site.h"
#include "policy/derate.h"
#include "serve/curtail_cost.h"
#include "serve/server.h"

#define BODY_MAX  ((size_t)4096)
#define LISTED_S  (INT64_C(366) * 86400)
#define FOR_MAX_S SITE_CURTAIL_MAX_S

static int64_t wall_s(void)
{
    return clock_wall_us() / 1000000;
}

/* ---- showing --------------------------------------------------------------------------------- */

static json_t *moment_or_null(int64_t at_s)
{
    char text[DAY_TEXT_MAX];

    return at_s ? json_string(day_show_moment(at_s, NULL, text)) : json_null();
}

static const char *state_of(const struct site_terms *t, const struct site_call *call,
                            int64_t now_us)
{
    struct curtail_event v = site_call_event(t, now_us / 1000000, call);
    struct curtail_now n = curtail_look(&v, now_us);

    if (n.phase != CURTAIL_NONE)
        return curtail_phase_name(n.phase);
    if (call->cancelled_s)
        return "cancelled";
    return now_us < v.from_us ? "called" : "over";
}

static json_t *call_json(const struct site_terms *t, const struct site_call *call)
{
    const struct site_target *to = &call->target;

    return json_pack(
        "{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:f, s:o, s:o, s:b}", "object", "curtailment",
        "id", call->id ? json_integer(call->id) : json_null(), "site", call->site, "state",
        state_of(t, call, clock_wall_us()), "called_at", moment_or_null(call->called_s), "from",
        moment_or_null(call->from_s), "until", moment_or_null(call->until_s), "cancelled_at",
        moment_or_null(call->cancelled_s), "ramp_seconds", (double)call->ramp_us / 1e6, "target_mw",
        to->watts < 0 ? json_null() : json_real((double)to->watts / 1e6), "target_share",
        to->watts < 0 ? json_real((double)to->ppm / DERATE_ALL) : json_null(), "short_notice",
        call->is_short);
}

/* With what it costs and earns, and what came of it where it is over. */
static json_t *whole_json(struct call *c, const struct site_terms *t, const struct site_call *call)
{
    json_t *j = call_json(t, call);

    if (j)
        json_object_set_new(j, "estimate", curtail_estimate_json(c->s, t, call, wall_s()));
    if (j && call->id && curtail_is_over(t, call, clock_wall_us()))
        json_object_set_new(j, "settled", curtail_settled_json(c->s, t, call));
    return j;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct asked {
    struct site_call call;
    int is_dry;
    int64_t lasts_s; /* 0: not said */
};

static int read_moment(const json_t *v, const char *name, int64_t *ret, struct err *e)
{
    const char *text = json_string_value(v);

    if (json_is_null(v))
        return 0;
    return text && !day_read_moment(text, NULL, ret)
               ? 0
               : err_set_param(e, ERR_ARG, name, "%s: wants a moment: 2026-12-01T18:00:00Z", name);
}

static int read_number(const json_t *v, const char *name, double most, double *ret, struct err *e)
{
    double f = json_number_value(v);

    if (!json_is_number(v) || !(f >= 0) || f > most)
        return err_set_param(e, ERR_ARG, name, "%s: wants a number from 0 to %.0f", name, most);
    *ret = f;
    return 0;
}

static int read_member(struct asked *a, const char *name, const json_t *v, struct err *e)
{
    struct site_call *to = &a->call;
    double f = 0;
    int r = 0;

    if (!strcmp(name, "from")) {
        r = read_moment(v, name, &to->from_s, e);
    } else if (!strcmp(name, "until")) {
        r = read_moment(v, name, &to->until_s, e);
    } else if (!strcmp(name, "for_seconds")) {
        r = read_number(v, name, FOR_MAX_S, &f, e);
        a->lasts_s = (int64_t)ceil(f);
    } else if (!strcmp(name, "ramp_seconds")) {
        r = read_number(v, name, (double)CURTAIL_RAMP_MAX_US / 1e6, &f, e);
        to->ramp_us = llround(f * 1e6);
    } else if (!strcmp(name, "target_mw")) {
        r = read_number(v, name, (double)POWER_WATTS_MAX / 1e6, &f, e);
        to->target.watts = llround(f * 1e6);
    } else if (!strcmp(name, "target_share")) {
        r = read_number(v, name, 1, &f, e);
        to->target.ppm = (int32_t)floor(f * DERATE_ALL + 1e-6);
    } else if (!strcmp(name, "dry_run")) {
        a->is_dry = json_is_true(v);
        r = json_is_boolean(v) ? 0
                               : err_set_param(e, ERR_ARG, name, "dry_run: wants true or false");
    } else {
        r = err_set_param(e, ERR_ARG, name,
                          "%.60s: from, until, for_seconds, ramp_seconds, target_mw, target_share "
                          "and dry_run are all",
                          name);
    }
    return r;
}

static int read_body(const struct call *c, const struct site_terms *t, struct asked *ret,
                     struct err *e)
{
    json_t *body = NULL, *v;
    const char *name;
    int r;

    *ret = (struct asked){.call = {.ramp_us = t->curtail.ramp_us, .target = {-1, -1}}};
    snprintf(ret->call.site, sizeof ret->call.site, "%s", t->name);
    if (c->body.len > BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "A body here has at most %zu bytes.", BODY_MAX);
    r = json_parse(&body, c->body.data ? c->body.data : "", c->body.len, 0, e);
    if (!r && !json_is_object(body))
        r = err_set(e, ERR_SCHEMA, "The body is a JSON object.");
    json_object_foreach(r ? NULL : body, name, v)
    {
        r = read_member(ret, name, v, e);
        if (r)
            break;
    }
    json_decref(body);
    if (r)
        return r;
    if ((ret->call.target.watts < 0) == (ret->call.target.ppm < 0))
        return err_set_param(e, ERR_ARG, "target_mw", "target_mw or target_share: one of them");
    if (!ret->call.until_s == !ret->lasts_s)
        return err_set_param(e, ERR_ARG, "until", "until or for_seconds: one of them");
    if (!ret->call.from_s)
        ret->call.from_s = wall_s();
    if (ret->lasts_s)
        ret->call.until_s = ret->call.from_s + ret->lasts_s;
    return 0;
}

/* ---- the doors ------------------------------------------------------------------------------- */

/* What the configuration says of a site. ERR_NOTFOUND. */
static int terms_of(struct call *c, const char *name, const struct site_terms **ret, struct err *e)
{
    struct site_view v;

    if (cloud_view_site(c->s->cloud, wall_s(), name, &v))
        return err_set(e, ERR_NOTFOUND, "There is no site '%.64s'.", name);
    *ret = v.terms;
    return 0;
}

static int take(struct call *c, const struct site_terms *t, struct err *e)
{
    char actor[CALL_ACTOR_MAX];
    struct account_who who = call_admin_who(c, actor);
    struct asked a;
    int r = read_body(c, t, &a, e);

    if (!r)
        r = a.is_dry ? cloud_check_call(c->s->cloud, who.now_s, &a.call, e)
                     : cloud_call_site(c->s->cloud, clock_now_us(), &who, &a.call, e);
    if (r)
        return r;
    return call_admin_answer(c, 200, whole_json(c, t, &a.call), e);
}

/* Those of a site, or the one of an id. */
struct listing {
    const struct site_terms *t;
    int64_t id;
    json_t *list;
    struct site_call found;
    int64_t since_s;
};

static int list_one(void *arg, const struct site_call *call)
{
    struct listing *l = arg;

    if (call->id == l->id)
        l->found = *call;
    if (l->t && !strcmp(l->t->name, call->site))
        return json_array_append_new(l->list, call_json(l->t, call)) ? ERR_NOMEM : 0;
    return 0;
}

static int list_all(void *arg, struct accounts *a, struct err *e)
{
    struct listing *l = arg;

    return accounts_calls(a, l->since_s, list_one, l, e);
}

/* Calls of the last year, in the store. */
static int look(struct call *c, struct listing *l, struct err *e)
{
    l->since_s = wall_s() - LISTED_S;
    return cloud_with_accounts(c->s->cloud, clock_now_us(), list_all, l, e);
}

int call_admin_curtailments(struct call *c, struct err *e)
{
    struct listing l = {.list = json_array()};
    const struct site_terms *t = NULL;
    int r = terms_of(c, c->route.arg, &t, e);

    if (!r && c->method == HTTP_POST) {
        json_decref(l.list);
        return take(c, t, e);
    }
    l.t = t;
    if (!r)
        r = look(c, &l, e);
    if (r) {
        json_decref(l.list);
        return r;
    }
    return call_admin_answer(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", l.list), e);
}

int call_admin_curtailment(struct call *c, struct err *e)
{
    char actor[CALL_ACTOR_MAX], *end;
    struct account_who who = call_admin_who(c, actor);
    const struct site_terms *t = NULL;
    struct listing l = {0};
    int r;

    l.id = strtoll(c->route.arg, &end, 10);
    if (end == c->route.arg || *end || l.id <= 0)
        return err_set(e, ERR_NOTFOUND, "There is no curtailment '%.40s'.", c->route.arg);
    r = look(c, &l, e);
    if (!r && !l.found.id)
        r = err_set(e, ERR_NOTFOUND, "There is no curtailment %" PRId64 ".", l.id);
    if (!r && c->method == HTTP_DELETE)
        r = cloud_cancel_call(c->s->cloud, clock_now_us(), &who, l.id, &l.found, e);
    if (!r)
        r = terms_of(c, l.found.site, &t, e);
    return r ? r : call_admin_answer(c, 200, whole_json(c, t, &l.found), e);
}
