/* The admin API's contracts: those that hold, one with its versions, one version more, and what all
 * of them oblige to. Runs on prep threads, as it waits for a database. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/day.h"
#include "base/json.h"
#include "cloud/accepted.h"
#include "cloud/contract_file.h"
#include "cloud/portfolio.h"
#include "serve/server.h"

#define BODY_MAX ((size_t)1 << 20)

/* What is asked for, and what is gathered of it. */
struct asked {
    struct cloud *cloud;
    const char *name; /* NULL: all */
    int64_t as_of_s, known_s;
    struct contract_version amend;
    struct account_who who;
    json_t *list, *report;
    struct err *e;
};

static json_t *version_json(const struct contract_version *v)
{
    char day[DAY_TEXT_MAX];

    return json_pack("{s:I, s:s, s:I, s:s, s:s}", "version", (json_int_t)v->version, "effective",
                     day_show(v->effective_s, NULL, day), "recorded_at", (json_int_t)v->recorded_s,
                     "actor", v->actor, "reason", v->reason);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* How it takes part in admission now; null: it does not. */
static json_t *admission_json(struct cloud *cloud, const char *name)
{
    struct cloud_contract_view v;

    if (cloud_view_contract(cloud, name, &v))
        return json_null();
    return json_pack("{s:f, s:f, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "tokens_per_second",
                     (double)v.rate / 1000, "tokens_per_second_full", (double)v.full / 1000,
                     "basis", v.basis, "spillover", v.spillover, "sequences",
                     (json_int_t)v.n_inside, "requests", (json_int_t)v.n_requests, "refused",
                     (json_int_t)v.n_refused, "tokens", (json_int_t)v.tokens, "tokens_paid",
                     (json_int_t)v.tokens_paid, "tokens_borrowed", (json_int_t)v.tokens_borrowed,
                     "tokens_lent", (json_int_t)v.tokens_lent);
}

static int add_view(void *arg, const struct contract_version *v)
{
    struct asked *x = arg;
    struct contract_file *f;
    json_t *j;
    int r = contract_file_parse(&f, v->name, v->text, strlen(v->text), x->e);

    if (r)
        return r;
    j = contract_view_json(f, x->as_of_s);
    contract_file_close(f);
    if (j) {
        json_object_set_new(j, "object", json_string("contract"));
        json_object_set_new(j, "version", json_integer(v->version));
        json_object_set_new(j, "admission", admission_json(x->cloud, v->name));
    }
    return json_array_append_new(x->list, j) ? ERR_NOMEM : 0;
}

static int add_version(void *arg, const struct contract_version *v)
{
    struct asked *x = arg;

    return json_array_append_new(x->list, version_json(v)) ? ERR_NOMEM : 0;
}

static int look(void *arg, struct accounts *a, struct err *e)
{
    struct asked *x = arg;
    json_t *views = x->list, *versions, *one;
    int r;

    x->e = e;
    r = x->name ? accounts_contract(a, x->name, 0, x->as_of_s, x->known_s, add_view, x, e)
                : accounts_contracts(a, x->as_of_s, x->known_s, add_view, x, e);
    if (!r)
        r = accounts_accepted_views(a, views, x->as_of_s, x->known_s, e);
    if (r || !x->name)
        return r;
    versions = json_array();
    x->list = versions;
    if (!r)
        r = accounts_contract_versions(a, x->name, add_version, x, e);
    x->list = views;
    one = json_array_get(views, 0);
    if (!r && json_object_set(one, "versions", versions))
        r = err_set(e, ERR_NOMEM, "No memory for the answer.");
    json_decref(versions);
    return r;
}

static int show(struct call *c, struct asked *x, struct err *e)
{
    int r = call_admin_day(c, "as_of", &x->as_of_s, e);

    if (!r)
        r = call_admin_day(c, "known_on", &x->known_s, e);
    if (!r)
        r = cloud_with_accounts(c->s->cloud, clock_now_us(), look, x, e);
    if (r)
        return r;
    if (x->name)
        return call_admin_answer(c, 200, json_incref(json_array_get(x->list, 0)), e);
    return call_admin_answer(c, 200, json_pack("{s:s, s:O}", "object", "list", "data", x->list), e);
}

/* ---- amending -------------------------------------------------------------------------------- */

static int read_day(const json_t *v, int64_t *ret, struct err *e)
{
    const char *text = json_string_value(v);

    if (!v || json_is_null(v) || (text && !day_read(text, NULL, ret)))
        return 0;
    return err_set_param(e, ERR_ARG, "effective", "effective: wants a day: 2026-12-01");
}

static int read_amendment(const struct call *c, json_t **ret_body, struct contract_version *ret,
                          struct err *e)
{
    const char *name, *text, *reason;
    json_t *body, *v;
    int r;

    if (c->body.len > BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "A body here has at most %zu bytes.", BODY_MAX);
    r = json_parse(ret_body, c->body.data ? c->body.data : "", c->body.len, 0, e);
    if (r)
        return r;
    body = *ret_body;
    if (!json_is_object(body))
        return err_set(e, ERR_SCHEMA, "The body is a JSON object.");
    json_object_foreach(body, name, v)
    {
        if (strcmp(name, "text") != 0 && strcmp(name, "effective") != 0 &&
            strcmp(name, "reason") != 0)
            return err_set_param(e, ERR_ARG, name, "%.60s: text, effective and reason are all",
                                 name);
    }
    v = json_object_get(body, "reason");
    text = json_string_value(json_object_get(body, "text"));
    reason = json_string_value(v);
    if (!text)
        return err_set_param(e, ERR_ARG, "text", "text: wants a contract, in YAML or JSON");
    if (v && !reason && !json_is_null(v))
        return err_set_param(e, ERR_ARG, "reason", "reason: wants a text");
    *ret = (struct contract_version){.name = "text", .text = text, .reason = reason ? reason : ""};
    return read_day(json_object_get(body, "effective"), &ret->effective_s, e);
}

static int put(void *arg, struct accounts *a, struct err *e)
{
    struct asked *x = arg;

    return accounts_amend(a, &x->who, &x->amend, e);
}

static int amend(struct call *c, struct asked *x, struct err *e)
{
    char actor[CALL_ACTOR_MAX];
    json_t *body = NULL;
    int r;

    x->who = call_admin_who(c, actor);
    r = read_amendment(c, &body, &x->amend, e);
    if (!r)
        r = cloud_with_accounts(c->s->cloud, clock_now_us(), put, x, e);
    json_decref(body);
    if (r)
        return r;
    return call_admin_answer(c, 201,
                             json_pack("{s:s, s:I}", "object", "contract.version", "version",
                                       (json_int_t)x->amend.version),
                             e);
}

/* ---- what they oblige to --------------------------------------------------------------------- */

static int report(void *arg, struct accounts *a, struct err *e)
{
    struct asked *x = arg;
    struct portfolio *p;
    int r = portfolio_new(&p, e);

    if (r)
        return r;
    r = portfolio_add_stored(p, a, x->as_of_s, x->known_s, e);
    if (!r) {
        report_make(&p->report, p->contract, p->n, x->as_of_s);
        x->report = report_json(&p->report);
        if (json_object_set_new(x->report, "object", json_string("obligations")))
            r = err_set(e, ERR_NOMEM, "No memory for the answer.");
    }
    portfolio_free(p);
    return r;
}

int call_admin_obligations(struct call *c, struct err *e)
{
    struct asked x = {.as_of_s = clock_wall_us() / 1000000, .known_s = INT64_MAX};
    int r = call_admin_day(c, "as_of", &x.as_of_s, e);

    if (!r)
        r = call_admin_day(c, "known_on", &x.known_s, e);
    if (!r)
        r = cloud_with_accounts(c->s->cloud, clock_now_us(), report, &x, e);
    if (!r)
        return call_admin_answer(c, 200, x.report, e);
    json_decref(x.report);
    return r;
}

/* ---- the door -------------------------------------------------------------------------------- */

int call_admin_contracts(struct call *c, struct err *e)
{
    struct asked x = {.cloud = c->s->cloud,
                      .name = c->route.id == API_ROUTE_ADMIN_CONTRACT ? c->route.arg : NULL,
                      .as_of_s = clock_wall_us() / 1000000,
                      .known_s = INT64_MAX,
                      .list = json_array()};
    int r = c->method == HTTP_POST ? amend(c, &x, e) : show(c, &x, e);

    json_decref(x.list);
    return r;
}
