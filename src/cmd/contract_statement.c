/* gaufre contract statement and rows: what is owed for a period of a contract, and the requests
 * that were served under it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/day.h"
#include "base/money.h"
#include "books/contract_use.h"
#include "cloud/settled_stored.h"
#include "cmd/cmd.h"
#include "cmd/contract_opts.h"
#include "cmd/input.h"
#include "cmd/ledger_path.h"
#include "cmd/progress.h"
#include "cmd/settled_form.h"

#define TEXT_MAX ((size_t)1 << 20)

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

/* The contract's versions and the period: a file, or a name of the store. */
static int gather(struct contract_opts *o, struct settled *s, const char *arg, struct err *e)
{
    struct contract_file *now = NULL;
    const struct settled_wish wish = {o->month, o->from, o->until};
    int r = contract_source_open(&o->source, arg, &now, e);

    if (!r)
        r = settled_period(s, &wish, contract_file_zone(now), clock_wall_us() / 1000000,
                           o->source.known_s, e);
    if (r == 1) {
        cmd_note("the period has not ended%s: a statement so far",
                 o->known_on ? " by --known-on" : "");
        r = 0;
    }
    if (!r && o->source.version)
        r = settled_add_stored(s, o->source.store, contract_file_contract(now)->name, o->engine, e);
    else if (!r)
        r = read_file(s, arg, e);
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
    static const char *const lent[BOOKS_LENT_N] = {"own", "borrowed", "above", "backstop"};
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
