#include "cmd/demo_summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/day.h"
#include "base/money.h"
#include "books/power_by_hour.h"
#include "cloud/settled.h"
#include "cmd/cmd.h"

#define MWH_UJ   3.6e15
#define NANO     1e9
#define OWED_MAX (SETTLE_KINDS * (POWER_CAUSES + 1))

/* What the lines of one kind and cause come to. */
struct owed {
    int kind, cause;
    contract_nano amount;
};

struct summary {
    const struct demo_home *home;
    const struct demo_story *story;
    char ledger[DEMO_PATH_MAX + 32];
    struct power_parts parts;
    struct accounts *accounts;
    json_t *json; /* NULL: it is printed */
    struct err *e;
};

/* ---- energies -------------------------------------------------------------------------------- */

static int add_place(void *arg, const char *place)
{
    struct summary *x = arg;
    const struct demo_story *s = x->story;
    struct power_hour *hour = NULL;
    size_t n = 0;
    int r = power_is_region(place) ? 0
                                   : power_hours(x->ledger, place, s->from_s * 1000000,
                                                 s->until_s * 1000000, &hour, &n, x->e);

    for (size_t i = 0; i < n; i++) {
        struct power_parts p;
        power_parts(&hour[i].sum, &hour[i].use, &p);
        power_parts_add(&x->parts, &p);
    }
    free(hour);
    return r;
}

static void print_power(const struct power_parts *p)
{
    printf("\nWhat the sites' power became (simulated)\n");
    for (int i = 0; i < POWER_PARTS; i++)
        printf("  %-12s %16.1f MWh %7.2f %%\n", power_part_name(i),
               (double)power_part(p, i) / MWH_UJ,
               p->energised ? 100.0 * (double)power_part(p, i) / (double)p->energised : 0.0);
}

static json_t *power_json(const struct power_parts *p)
{
    json_t *j = json_object();
    char text[POWER_UJ_TEXT_MAX], key[40];

    for (int i = 0; i < POWER_PARTS; i++) {
        snprintf(key, sizeof key, "%s_uj", power_part_name(i));
        json_object_set_new(j, key, json_string(power_uj_show(power_part(p, i), text)));
    }
    return j;
}

/* ---- statements ------------------------------------------------------------------------------ */

static int add_version(void *arg, const struct contract_version *v)
{
    struct settled *s = arg;
    struct err none = {0};

    return v->effective_s < s->until_s
               ? settled_add(s, v->name, v->version, v->effective_s, v->text, &none)
               : 0;
}

static int sum_lines(const struct settled *s, struct owed *out)
{
    int n = 0, k;

    for (int i = 0; i < s->n_lines; i++) {
        const struct settlement_line *l = &s->line[i];
        if (l->is_told) /* it has no amount */
            continue;
        for (k = 0; k < n && (out[k].kind != (int)l->kind || out[k].cause != l->cause); k++)
            ;
        if (k == n && n < OWED_MAX)
            out[n++] = (struct owed){(int)l->kind, l->cause, 0};
        if (k < n)
            out[k].amount += l->amount;
    }
    return n;
}

static const char *owed_name(const struct owed *o, char out[64])
{
    snprintf(out, 64, "%s%s%s", settlement_kind_name((enum settlement_kind)o->kind),
             o->cause >= 0 ? ", " : "",
             o->cause >= 0 ? power_cause_name((enum power_cause)o->cause) : "");
    return out;
}

static void print_statement(const struct settled *s, const struct owed *o, int n)
{
    const struct contract *c = settled_contract(s);
    char name[64];

    printf("\n");
    cmd_line(stdout, "Simulated statement of %s: %s to %s, without taxes", c->name,
             c->supplier.name, c->customer.name);
    for (int i = 0; i < n; i++)
        cmd_line(stdout, "  %-26s %18.2f %s", owed_name(&o[i], name), (double)o[i].amount / NANO,
                 c->currency);
    cmd_line(stdout, "  %-26s %18.2f %s", "total", (double)s->sum.total / NANO, c->currency);
}

static json_t *statement_json(const struct settled *s, const struct owed *o, int n)
{
    const struct contract *c = settled_contract(s);
    char amount[MONEY_SUM_TEXT_MAX];
    json_t *lines = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(
            lines,
            json_pack("{s:s, s:o, s:s}", "kind",
                      settlement_kind_name((enum settlement_kind)o[i].kind), "cause",
                      o[i].cause < 0 ? json_null()
                                     : json_string(power_cause_name((enum power_cause)o[i].cause)),
                      "amount", money_show_sum(o[i].amount, amount)));
    return json_pack("{s:s, s:s, s:s, s:o}", "contract", c->name, "currency", c->currency, "total",
                     money_show_sum(s->sum.total, amount), "lines", lines);
}

static int add_statement(struct summary *x, const char *name, json_t *to)
{
    struct settled *s = settled_new();
    struct owed owed[OWED_MAX];
    int n, r = s ? 0 : err_set(x->e, ERR_NOMEM, "out of memory");

    if (!r) {
        s->from_s = x->story->from_s;
        s->until_s = s->made_s = x->story->until_s;
        r = accounts_contract_versions(x->accounts, name, add_version, s, x->e);
    }
    if (!r)
        r = settled_end(s, x->ledger, x->e);
    if (!r)
        r = settled_make(s, x->ledger, x->e);
    if (!r) {
        n = sum_lines(s, owed);
        if (to)
            json_array_append_new(to, statement_json(s, owed, n));
        else
            print_statement(s, owed, n);
    }
    settled_free(s);
    return r;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void print_requests(const struct demo_story *s)
{
    const struct demo_counts *n = &s->counts;
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];

    printf("\nA simulated year, %s to %s\n", day_show(s->from_s, NULL, from),
           day_show(s->until_s, NULL, until));
    printf("\nRequests (of simulated tenants)\n");
    printf("  %-26s %10lld\n", "sent", (long long)n->n_sent);
    printf("  %-26s %10lld\n", "answered", (long long)n->n_answered);
    printf("  %-26s %10lld\n", "of these under a contract", (long long)n->n_within);
    printf("  %-26s %10lld\n", "and by the real engine", (long long)n->n_real);
    printf("  %-26s %10lld\n", "refused", (long long)n->n_refused);
    printf("  %-26s %10lld\n", "failed", (long long)n->n_failed);
}

static json_t *story_json(const struct demo_story *s)
{
    const struct demo_counts *n = &s->counts;
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];
    json_t *events = json_array();

    for (int i = 0; i < s->n_events; i++)
        json_array_append_new(events, json_pack("{s:s, s:o}", "at",
                                                day_show_moment(s->event[i].at_s, NULL, from),
                                                "text", cmd_json_str(s->event[i].text)));
    return json_pack("{s:s, s:b, s:s, s:s, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:o}", "object",
                     "demo", "simulated", 1, "from", day_show_moment(s->from_s, NULL, from),
                     "until", day_show_moment(s->until_s, NULL, until), "requests", "sent",
                     (json_int_t)n->n_sent, "answered", (json_int_t)n->n_answered, "under_contract",
                     (json_int_t)n->n_within, "by_the_real_engine", (json_int_t)n->n_real,
                     "refused", (json_int_t)n->n_refused, "failed", (json_int_t)n->n_failed,
                     "events", events);
}

int demo_summary(const struct demo_home *h, const struct demo_story *s, int is_json, struct err *e)
{
    struct summary x = {.home = h, .story = s, .e = e};
    char path[DEMO_PATH_MAX + 32];
    json_t *contracts = is_json ? json_array() : NULL;
    int r;

    demo_home_file(h, "ledger.db", x.ledger);
    r = power_log_places(x.ledger, add_place, &x, e);
    if (!r)
        r = accounts_open(&x.accounts, demo_home_file(h, ACCOUNTS_FILE, path), e);
    if (!r && is_json) {
        x.json = story_json(s);
        json_object_set_new(x.json, "power", power_json(&x.parts));
    } else if (!r) {
        print_requests(s);
        print_power(&x.parts);
    }
    for (int i = 0; !r && i < DEMO_CONTRACTS; i++)
        r = add_statement(&x, demo_contract_name(i), contracts);
    accounts_close(x.accounts);
    if (!is_json)
        return r;
    if (r) {
        json_decref(contracts);
        json_decref(x.json);
        return r;
    }
    json_object_set_new(x.json, "contracts", contracts);
    return cmd_json(x.json, JSON_INDENT(1)) ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}
