/* Calls of the grid at rest, in the store of accounts: a row each, which only a cancelling changes,
 * and a line of the audit log for either. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "base/put.h"
#include "cloud/accounts_sql.h"

#define NANO_PER_WATT 1000 /* of a megawatt */

/* Watts as megawatts, or a part of the whole: "20 MW", "0.5". */
static void show_target(const struct site_target *t, char ret[MONEY_TEXT_MAX + 4])
{
    char text[MONEY_TEXT_MAX];

    if (t->watts < 0) {
        site_factor_show(t->ppm, text);
        put_text(ret, MONEY_TEXT_MAX + 4, text);
    } else {
        snprintf(ret, MONEY_TEXT_MAX + 4, "%s MW", money_show(t->watts * NANO_PER_WATT, text));
    }
}

static int read_target(const char *text, struct site_target *ret)
{
    char number[MONEY_TEXT_MAX];
    const char *unit = strstr(text, " MW");
    struct err none;
    int64_t nano;

    *ret = (struct site_target){-1, 0};
    if (!unit)
        return site_factor_parse(text, &ret->ppm, &none);
    if ((size_t)(unit - text) >= sizeof number)
        return ERR_FORMAT;
    snprintf(number, sizeof number, "%.*s", (int)(unit - text), text);
    if (money_parse(number, &nano, &none) || nano < 0)
        return ERR_FORMAT;
    ret->watts = nano / NANO_PER_WATT;
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

#define COLUMNS "id, site, called_s, from_s, until_s, cancelled_s, ramp_us, target, is_short"

/* A row; ERR_FORMAT: another version wrote what this one does not know, or it was tampered with. */
static int read_call(const struct sql_row *r, struct site_call *ret)
{
    *ret = (struct site_call){.id = sql_number(r, 0),
                              .called_s = sql_number(r, 2),
                              .from_s = sql_number(r, 3),
                              .until_s = sql_number(r, 4),
                              .cancelled_s = sql_number(r, 5),
                              .ramp_us = sql_number(r, 6),
                              .is_short = (int)sql_number(r, 8)};
    put_text(ret->site, sizeof ret->site, sql_text(r, 1));
    if (ret->from_s < 0 || ret->until_s <= ret->from_s ||
        ret->until_s - ret->from_s > SITE_CURTAIL_MAX_S || ret->ramp_us < 0 ||
        ret->ramp_us > CURTAIL_RAMP_MAX_US)
        return ERR_FORMAT;
    return read_target(sql_text(r, 7), &ret->target);
}

struct reading {
    int (*each)(void *arg, const struct site_call *call);
    void *arg;
    struct err *e;
};

static int take(void *arg, const struct sql_row *r)
{
    const struct reading *x = arg;
    struct site_call call;

    if (read_call(r, &call))
        return err_set(x->e, ERR_FORMAT, "the store's curtailment %" PRId64 " cannot be read",
                       sql_number(r, 0));
    return x->each(x->arg, &call);
}

int accounts_calls(struct accounts *a, int64_t since_s,
                   int (*each)(void *arg, const struct site_call *call), void *arg, struct err *e)
{
    struct reading x = {each, arg, e};

    return sql_each(a->db,
                    "SELECT " COLUMNS " FROM curtailment WHERE until_s >= $1 ORDER BY from_s, id",
                    (struct sql_value[]){SQL_NUMBER(since_s)}, 1, take, &x, e);
}

static int take_number(void *arg, const struct sql_row *r)
{
    *(int64_t *)arg = sql_number(r, 0);
    return 0;
}

/* ---- changing -------------------------------------------------------------------------------- */

/* As a line of the log has it. */
static void show(const struct site_call *c, char ret[ACCOUNTS_AUDIT_MAX])
{
    char target[MONEY_TEXT_MAX + 4], cancelled[48] = "";

    show_target(&c->target, target);
    if (c->cancelled_s)
        snprintf(cancelled, sizeof cancelled, ",\"cancelled_s\":%" PRId64, c->cancelled_s);
    snprintf(ret, ACCOUNTS_AUDIT_MAX,
             "{\"curtailment\":%" PRId64 ",\"from_s\":%" PRId64 ",\"until_s\":%" PRId64
             ",\"ramp_us\":%" PRId64 ",\"target\":\"%s\"%s}",
             c->id, c->from_s, c->until_s, c->ramp_us, target, cancelled);
}

/* How many calls of its site begin in a time and were not cancelled before they did. */
static int count(struct accounts *a, const struct site_call *io, int64_t from_s, int64_t until_s,
                 int64_t *ret, struct err *e)
{
    return sql_each(
        a->db,
        "SELECT count(*) FROM curtailment WHERE site = $1 AND from_s >= $2 AND"
        " from_s < $3 AND (cancelled_s = 0 OR cancelled_s > from_s)",
        (struct sql_value[]){SQL_TEXT(io->site), SQL_NUMBER(from_s), SQL_NUMBER(until_s)}, 3,
        take_number, ret, e);
}

static int check_counts(struct accounts *a, const struct site_call *io,
                        const struct site_call_limit *limit, struct err *e)
{
    int64_t n = 0, open = 0;
    int r = count(a, io, limit->from_s, limit->until_s, &n, e);

    if (!r && limit->n >= 0 && n >= limit->n)
        return err_set(e, ERR_EXISTS,
                       "%.64s: %" PRId64 " calls begin in that year, as many as were agreed",
                       io->site, n);
    if (!r)
        r = sql_each(a->db,
                     "SELECT count(*) FROM curtailment WHERE site = $1 AND until_s >= $2 AND"
                     " cancelled_s = 0",
                     (struct sql_value[]){SQL_TEXT(io->site), SQL_NUMBER(io->called_s)}, 2,
                     take_number, &open, e);
    if (!r && open >= SITE_CALLS_MAX)
        r = err_set(e, ERR_EXISTS, "%.64s: %d calls are not over, and there may be no more",
                    io->site, SITE_CALLS_MAX);
    return r;
}

static int put(struct accounts *a, struct site_call *io, struct err *e)
{
    char target[MONEY_TEXT_MAX + 4];
    int r = sql_each(a->db, "SELECT coalesce(max(id), 0) + 1 FROM curtailment", NULL, 0,
                     take_number, &io->id, e);

    show_target(&io->target, target);
    if (r)
        return r;
    return sql_run(
        a->db, "INSERT INTO curtailment (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8)",
        (struct sql_value[]){SQL_NUMBER(io->id), SQL_TEXT(io->site), SQL_NUMBER(io->called_s),
                             SQL_NUMBER(io->from_s), SQL_NUMBER(io->until_s),
                             SQL_NUMBER(io->ramp_us), SQL_TEXT(target), SQL_NUMBER(io->is_short)},
        8, NULL, e);
}

int accounts_call_new(struct accounts *a, const struct account_who *w, struct site_call *io,
                      const struct site_call_limit *limit, struct err *e)
{
    char after[ACCOUNTS_AUDIT_MAX];
    int64_t generation;
    int r = accounts_sql_begin(a->db, &generation, e);

    if (r)
        return r;
    r = check_counts(a, io, limit, e);
    if (!r)
        r = put(a, io, e);
    show(io, after);
    if (!r)
        r = accounts_sql_log(a->db, w, "curtail", ACCOUNT_OF_SITE, io->site, "", after, e);
    if (!r)
        return sql_commit(a->db, e);
    sql_rollback(a->db);
    return r;
}

struct one {
    struct site_call call;
    int n, code;
};

static int take_one(void *arg, const struct sql_row *r)
{
    struct one *x = arg;

    x->n++;
    x->code = read_call(r, &x->call);
    return 0;
}

/* In a transaction. */
static int cancel(struct accounts *a, const struct account_who *w, int64_t id, struct one *x,
                  struct err *e)
{
    char before[ACCOUNTS_AUDIT_MAX], after[ACCOUNTS_AUDIT_MAX];
    int r = sql_each(a->db, "SELECT " COLUMNS " FROM curtailment WHERE id = $1",
                     (struct sql_value[]){SQL_NUMBER(id)}, 1, take_one, x, e);

    if (r)
        return r;
    if (!x->n || x->code)
        return err_set(e, ERR_NOTFOUND, "There is no curtailment %" PRId64 ".", id);
    if (x->call.cancelled_s || x->call.until_s <= w->now_s)
        return err_set(e, ERR_EXISTS, "The curtailment %" PRId64 " %s.", id,
                       x->call.cancelled_s ? "was cancelled before" : "is over");
    show(&x->call, before);
    x->call.cancelled_s = w->now_s;
    show(&x->call, after);
    r = sql_run(a->db, "UPDATE curtailment SET cancelled_s = $1 WHERE id = $2",
                (struct sql_value[]){SQL_NUMBER(w->now_s), SQL_NUMBER(id)}, 2, NULL, e);
    return r ? r
             : accounts_sql_log(a->db, w, "cancel", ACCOUNT_OF_SITE, x->call.site, before, after,
                                e);
}

int accounts_call_cancel(struct accounts *a, const struct account_who *w, int64_t id,
                         struct site_call *ret, struct err *e)
{
    struct one x = {0};
    int64_t generation;
    int r = accounts_sql_begin(a->db, &generation, e);

    if (r)
        return r;
    r = cancel(a, w, id, &x, e);
    if (!r)
        r = sql_commit(a->db, e);
    else
        sql_rollback(a->db);
    if (!r)
        *ret = x.call;
    return r;
}
