/* gaufre contract statement and rows: what is owed for a period of a contract, and the requests
 * that were served under it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/day.h"
#include "base/money.h"
#include "books/contract_use.h"
#include "cmd/cmd.h"
#include "cmd/contract_opts.h"
#include "cmd/input.h"
#include "cmd/ledger_path.h"
#include "cmd/progress.h"
#include "cmd/settled_form.h"

#define TEXT_MAX ((size_t)1 << 20)

/* ---- the period ------------------------------------------------------------------------------ */

/* --month, or --from and --until, by the contract's zone. */
static int read_period(const struct contract_opts *o, const struct zone *z, int64_t *ret_from,
                       int64_t *ret_until, struct err *e)
{
    char day[16];
    int64_t at;

    if (o->month && (o->from || o->until))
        return err_set(e, ERR_ARG, "--month, or --from and --until");
    if (o->month) {
        snprintf(day, sizeof day, "%.10s-01", o->month);
        if (strlen(o->month) != 7 || day_read(day, z, &at))
            return err_set(e, ERR_ARG, "--month wants a month: 2027-03");
        zone_window(z, ZONE_MONTH, at, ret_from, ret_until);
        return 0;
    }
    if (!o->from || !o->until)
        return err_set(e, ERR_ARG, "wants --month, or --from and --until");
    if (day_read_moment(o->from, z, ret_from) || day_read_moment(o->until, z, ret_until))
        return err_set(e, ERR_ARG, "--from and --until want days: 2027-03-01");
    return *ret_from < *ret_until ? 0 : err_set(e, ERR_ARG, "--until is not after --from");
}

/* ---- what it is of --------------------------------------------------------------------------- */

struct versions {
    struct settled *s;
    int64_t until_s, known_s;
    struct err *e;
};

/* The versions that are known and hold before the end; of those that hold from one time on the
 * last. */
static int take_version(void *arg, const struct contract_version *v)
{
    struct versions *x = arg;
    struct settled *s = x->s;

    if (v->recorded_s > x->known_s || v->effective_s >= x->until_s)
        return 0;
    return settled_add(s, v->name, v->version, v->effective_s, v->text, x->e);
}

static int read_file(struct settled *s, const char *path, struct err *e)
{
    struct buf text;
    int r;

    buf_init(&text, TEXT_MAX);
    r = input_file(&text, path, e);
    if (!r && text.len && memchr(text.data, 0, text.len))
        r = err_set(e, ERR_FORMAT, "%s: has a NUL", path);
    if (!r)
        r = settled_add(s, path, 0, 0, text.len ? text.data : "", e);
    buf_done(&text);
    return r;
}

/* What was measured of each tranche, by the store. */
static int read_measured(struct contract_opts *o, struct settled_version *v, struct err *e)
{
    const struct contract *c = contract_file_contract(v->file);
    struct basket_measured points;
    struct basket_entitlement x;
    int r = 0;

    for (int i = 0; !r && i < c->n_tranches; i++) {
        struct measurement *m = NULL;
        struct err none = {0};
        int is_stale = 0;
        r = accounts_measured(o->source.store, c->name, &c->tranche[i], o->engine, &m, &is_stale,
                              &none);
        if (!r && !is_stale) {
            measurement_entitlement(m, c, c->tranche[i].watts, &points, &x);
            v->measured[i] = x.i_level < 0 ? 0 : x.rate_mtps;
        }
        measurement_free(m);
        if (r == ERR_NOTFOUND)
            r = 0;
        else if (r)
            err_set(e, r, "%s", none.text);
    }
    return r;
}

static int read_store(struct contract_opts *o, struct settled *s, const char *name,
                      const struct contract_file *now, struct err *e)
{
    struct versions x = {s, s->until_s, o->source.known_s, e};
    int r = accounts_contract_versions(o->source.store, contract_file_contract(now)->name,
                                       take_version, &x, e);

    if (!r && !s->n_versions)
        r = err_set(e, ERR_NOTFOUND, "the store has no contract '%.64s' for that time", name);
    for (int i = 0; !r && i < s->n_versions; i++)
        r = read_measured(o, &s->version[i], e);
    return r;
}

/* The contract's versions and the period: a file, or a name of the store. */
static int gather(struct contract_opts *o, struct settled *s, const char *arg, struct err *e)
{
    struct contract_file *now = NULL;
    int r = contract_source_open(&o->source, arg, &now, e);

    if (!r)
        r = read_period(o, contract_file_zone(now), &s->from_s, &s->until_s, e);
    s->made_s = clock_wall_us() / 1000000;
    if (!r && s->from_s >= s->made_s)
        r = err_set(e, ERR_ARG, "the period has not begun");
    if (!r && s->until_s > s->made_s) {
        s->until_s = s->made_s;
        cmd_note("the period has not ended: a statement so far");
    }
    if (!r && s->until_s - s->from_s > SETTLED_DAYS_MAX * INT64_C(86400))
        r = err_set(e, ERR_ARG, "a period is at most a year");
    if (!r)
        r = o->source.version ? read_store(o, s, arg, now, e) : read_file(s, arg, e);
    contract_file_close(now);
    return r;
}

static void tell(void *arg, int64_t n_days)
{
    progress_set(arg, (uint64_t)n_days);
}

static int make(struct settled *s, const char *ledger, struct err *e)
{
    struct progress p;
    int r;

    s->progress = tell;
    s->arg = &p;
    progress_start(&p, "days", PROGRESS_COUNT, (uint64_t)((s->until_s - s->from_s) / 86400), 0);
    r = settled_make(s, ledger, e);
    progress_stop(&p, 1);
    return r;
}

int contract_statement(struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct settled *s = settled_new();
    char path[LEDGER_PATH_MAX];
    int is_new = 0, r = s ? 0 : err_set(e, ERR_NOMEM, "out of memory");

    if (!r)
        r = gather(o, s, argv[0], e);
    if (!r)
        r = ledger_path(o->ledger, path, &is_new, e);
    if (!r && is_new)
        r = err_set(e, ERR_NOTFOUND, "nothing is booked yet: 'gaufre serve' makes %s", path);
    if (!r)
        r = settled_end(s, path, e);
    if (!r)
        r = make(s, path, e);
    if (!r && o->json)
        r = cmd_json(settled_json(s), JSON_INDENT(1));
    else if (!r && (o->csv ? settled_csv(s) : o->html ? settled_page(s) : 0))
        r = err_set(e, ERR_NOMEM, "no memory for the statement");
    else if (!r && !o->csv && !o->html)
        settled_print(s);
    settled_free(s);
    return r;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int print_row(void *arg, int64_t seq, const struct books_row *r)
{
    static const char *const lent[BOOKS_LENT_N] = {"own", "borrowed", "above"};
    const struct contract_opts *o = arg;
    const char *how = r->lent >= 0 && r->lent < BOOKS_LENT_N ? lent[r->lent] : "?";
    char at[DAY_TEXT_MAX], charge[MONEY_TEXT_MAX];

    day_show_moment(r->at_us / 1000000, NULL, at);
    money_show(r->charge_nano, charge);
    if (!o->json) {
        cmd_line(stdout, "%8lld %-20s %-36s %-16s %-16s %-8s %9lld %9lld %14s %s", (long long)seq,
                 at, r->request_id, r->tenant, r->tranche, how, (long long)r->prompt_tokens,
                 (long long)r->completion_tokens,
                 r->charge_nano < 0 && !*r->corrects ? "-" : charge, r->currency);
        return 0;
    }
    return cmd_json(
        json_pack("{s:I, s:I, s:s, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "seq",
                  (json_int_t)seq, "at_us", (json_int_t)r->at_us, "request", r->request_id,
                  "corrects", *r->corrects ? json_string(r->corrects) : json_null(), "tenant",
                  r->tenant, "tranche", r->tranche, "power", how, "currency", r->currency,
                  "prompt_tokens", (json_int_t)r->prompt_tokens, "completion_tokens",
                  (json_int_t)r->completion_tokens, "charge_nano", (json_int_t)r->charge_nano,
                  "energy_uj", (json_int_t)(r->energy_method ? r->energy_uj : -1)),
        JSON_COMPACT);
}

int contract_rows(struct contract_opts *o, int n, char **argv, struct err *e)
{
    int64_t from_s = 0, until_s = INT64_C(1) << 40;
    struct contract_books *b = NULL;
    char path[LEDGER_PATH_MAX];
    int is_new = 0, r = 0;

    if ((o->from && day_read_moment(o->from, NULL, &from_s)) ||
        (o->until && day_read_moment(o->until, NULL, &until_s)))
        return err_set(e, ERR_ARG, "--from and --until want days: 2027-03-01");
    r = ledger_path(o->ledger, path, &is_new, e);
    if (r || is_new)
        return r;
    r = contract_books_open(&b, path, e);
    if (!r)
        r = contract_books_rows(b, argv[0], from_s * 1000000, until_s * 1000000, print_row, o, e);
    contract_books_close(b);
    return r;
}
