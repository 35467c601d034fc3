#include "books/invoice.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/day.h"
#include "base/money.h"
#include "books/ledger_file.h"

__extension__ typedef __int128 wide;

/* ---- comparing ------------------------------------------------------------------------------- */

const char *invoice_why_name(enum invoice_why why)
{
    static const char *const names[INVOICE_WHY_N] = {
        [INVOICE_SAME] = "same",         [INVOICE_TOKENS] = "tokens",
        [INVOICE_PRICE] = "price",       [INVOICE_UNPRICED] = "unpriced",
        [INVOICE_CURRENCY] = "currency", [INVOICE_TWICE] = "billed twice",
        [INVOICE_NOT_OURS] = "not ours", [INVOICE_NOT_THEIRS] = "not billed"};

    return names[why];
}

static int differs(int64_t ours, int64_t theirs)
{
    return theirs >= 0 && ours != theirs;
}

static int64_t narrow(wide v)
{
    return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

static enum invoice_why find_why(const struct invoice_line *l, int is_request)
{
    const struct invoice_side *o = &l->ours, *t = &l->theirs;

    if (!o->n)
        return INVOICE_NOT_OURS;
    if (!t->n)
        return INVOICE_NOT_THEIRS;
    if (is_request && t->n > 1)
        return INVOICE_TWICE;
    if (differs(o->input, t->input) || differs(o->cached, t->cached) ||
        differs(o->output, t->output))
        return INVOICE_TOKENS;
    if (l->n_unpriced)
        return INVOICE_UNPRICED;
    if (strcmp(o->currency, t->currency))
        return INVOICE_CURRENCY;
    return o->amount_nano == t->amount_nano ? INVOICE_SAME : INVOICE_PRICE;
}

/* Fills why and the amounts behind it from both sides. */
static void compare_sides(struct invoice_line *l)
{
    const struct invoice_side *o = &l->ours, *t = &l->theirs;
    wide more = (wide)t->amount_nano - o->amount_nano, tokens = 0;
    int64_t had = o->input + o->output, more_tokens = 0;

    l->why = find_why(l, !*l->model);
    l->more_nano = l->from_tokens_nano = l->from_price_nano = 0;
    if (o->n && t->n && strcmp(o->currency, t->currency))
        return;
    if (!o->n || !t->n)
        tokens = more;
    else if (l->why == INVOICE_TOKENS && had > 0) {
        more_tokens =
            (t->input < 0 ? 0 : t->input - o->input) + (t->output < 0 ? 0 : t->output - o->output);
        tokens = (wide)o->amount_nano * more_tokens / had;
    }
    l->more_nano = narrow(more);
    l->from_tokens_nano = narrow(tokens);
    l->from_price_nano = narrow(more - tokens);
}

/* ---- reading an invoice ---------------------------------------------------------------------- */

enum column { C_REQUEST, C_DAY, C_MODEL, C_INPUT, C_CACHED, C_OUTPUT, C_AMOUNT, C_CURRENCY, C_N };
static const char *const column_names[C_N] = {"request_id",   "day",           "model",
                                              "input_tokens", "cached_tokens", "output_tokens",
                                              "amount",       "currency"};

struct invoice {
    struct csv csv;
    int at[C_N]; /* which field; -1: none */
    int n_fields;
};

static int bad(const struct invoice *in, const char *what, struct err *e)
{
    return err_set(e, ERR_FORMAT, "line %lld: %s", (long long)in->csv.line, what);
}

static int find_column(const char *name)
{
    for (int i = 0; i < C_N; i++) {
        if (!strcmp(name, column_names[i]))
            return i;
    }
    return -1;
}

static int read_head(struct invoice *in, struct err *e)
{
    int r = csv_next(&in->csv, e);

    if (r <= 0)
        return r ? r
                 : err_set(e, ERR_FORMAT, "an invoice has a head with the names of its columns");
    for (int i = 0; i < C_N; i++)
        in->at[i] = -1;
    in->n_fields = in->csv.n_fields;
    for (int i = 0; i < in->n_fields; i++) {
        int c = find_column(in->csv.field[i]);
        if (c >= 0 && in->at[c] >= 0)
            return bad(in, "a column is there twice", e);
        if (c >= 0)
            in->at[c] = i;
    }
    if (in->at[C_REQUEST] < 0 && (in->at[C_DAY] < 0 || in->at[C_MODEL] < 0))
        return bad(in, "wants a column 'request_id', or 'day' and 'model'", e);
    if (in->at[C_AMOUNT] < 0 || in->at[C_CURRENCY] < 0)
        return bad(in, "wants the columns 'amount' and 'currency'", e);
    return 0;
}

static const char *field(const struct invoice *in, enum column c)
{
    return in->at[c] < 0 ? "" : in->csv.field[in->at[c]];
}

/* A count, or -1 where it is not told. */
static int read_count(const char *s, int64_t *ret)
{
    size_t n = strspn(s, "0123456789");

    *ret = -1;
    if (!*s)
        return 0;
    if (s[n] || n > 15)
        return -1;
    *ret = strtoll(s, NULL, 10);
    return 0;
}

/* What a line says, where it says it well. */
struct told {
    const char *key, *model;
    int64_t count[3]; /* input, cached, output */
    int64_t amount_nano;
    const char *currency;
};

/* 1: a line was read; 0: there are no more. */
static int read_line(struct invoice *in, struct told *t, struct err *e)
{
    static const enum column counts[] = {C_INPUT, C_CACHED, C_OUTPUT};
    struct err why = {0};
    int64_t day_s;
    int r = csv_next(&in->csv, e);

    if (r <= 0)
        return r;
    if (in->csv.n_fields != in->n_fields)
        return bad(in, "not as many fields as the head has", e);
    t->key = field(in, in->at[C_REQUEST] >= 0 ? C_REQUEST : C_DAY);
    t->model = in->at[C_REQUEST] >= 0 ? "" : field(in, C_MODEL);
    if (in->at[C_REQUEST] < 0 && day_read(t->key, NULL, &day_s))
        return bad(in, "'day' is no day: 2026-12-01", e);
    if (!*t->key || strlen(t->key) >= BOOKS_NAME_MAX)
        return bad(in, "'request_id' is empty, or too long", e);
    if (in->at[C_REQUEST] < 0 && (!*t->model || strlen(t->model) >= 2 * BOOKS_NAME_MAX))
        return bad(in, "'model' is empty, or too long", e);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        if (read_count(field(in, counts[i]), &t->count[i]))
            return bad(in, "a number of tokens is none", e);
    }
    if (money_parse(field(in, C_AMOUNT), &t->amount_nano, &why))
        return bad(in, why.text, e);
    t->currency = field(in, C_CURRENCY);
    if (!money_is_currency(t->currency))
        return bad(in, "'currency' is none: three capital letters, as EUR", e);
    return 1;
}

/* ---- both sides beside each other ------------------------------------------------------------ */

/* A database in memory, of this comparison alone. Days are numbers since 1970 there. */
static const char make_sides[] =
#define SIDE                                                                                       \
    " (k TEXT NOT NULL, m TEXT NOT NULL, line BIGINT, n BIGINT NOT NULL, input BIGINT,"            \
    " cached BIGINT, output BIGINT, amount BIGINT NOT NULL, unpriced BIGINT NOT NULL,"             \
    " low TEXT NOT NULL, high TEXT NOT NULL, PRIMARY KEY (k, m)) WITHOUT ROWID;"
    "CREATE TABLE ours" SIDE "CREATE TABLE theirs" SIDE;
#undef SIDE
/* What was not told once is not told of the sum. */
static const char add_theirs[] =
    "INSERT INTO theirs VALUES ($1, $2, $3, 1, $4, $5, $6, $7, 0, $8, $8)"
    " ON CONFLICT (k, m) DO UPDATE SET n = theirs.n + 1, input = theirs.input + excluded.input,"
    " cached = theirs.cached + excluded.cached, output = theirs.output + excluded.output,"
    " amount = theirs.amount + excluded.amount, low = min(theirs.low, excluded.low),"
    " high = max(theirs.high, excluded.high)";
/* $11: it is of the time that was asked for; else it counts where they bill it. */
static const char add_ours[] = "INSERT INTO ours SELECT $1, $2, 0, $3, $4, $5, $6, $7, $8, $9, $10"
                               " WHERE $11 OR EXISTS (SELECT 1 FROM theirs WHERE k = $1)";
/* From the ledger. $1 supplier, $2 from, $3 until. A correction belongs to the request that it
 * corrects. */
#define MINE                                                                                       \
    "WITH mine AS (SELECT CASE WHEN u.corrects = '' THEN u.request_id ELSE u.corrects END AS id,"  \
    " coalesce(o.at_us, u.at_us) AS at, substr(u.supplier, length($1) + 2) AS model,"              \
    " u.corrects AS corrects, u.prompt_tokens + u.lost_prompt_tokens AS p,"                        \
    " u.cached_tokens + u.lost_cached_tokens AS c,"                                                \
    " u.completion_tokens + u.lost_completion_tokens AS d,"                                        \
    " CASE WHEN u.cost_currency <> '' THEN u.cost_own_nano"                                        \
    " WHEN u.corrects = '' AND u.cost_nano < 0 THEN 0 ELSE u.cost_nano END AS cost,"               \
    " CASE WHEN u.corrects = '' AND u.cost_currency = '' AND u.cost_nano < 0 AND NOT EXISTS"       \
    " (SELECT 1 FROM usage AS x WHERE x.corrects <> '' AND x.corrects = u.request_id)"             \
    " THEN 1 END AS unpriced,"                                                                     \
    " CASE WHEN u.cost_currency <> '' THEN u.cost_currency ELSE u.currency END AS currency"        \
    " FROM usage AS u LEFT JOIN usage AS o ON u.corrects <> '' AND o.request_id = u.corrects"      \
    " WHERE substr(u.supplier, 1, length($1) + 1) = $1 || '/')"
#define SUMS                                                                                       \
    " count(CASE WHEN corrects = '' THEN 1 END), sum(p), sum(c), sum(d), sum(cost),"               \
    " count(unpriced), min(currency), max(currency)"
#define IN_TIME "at >= $2 AND at < $3"
static const char by_request[] = MINE " SELECT id, ''," SUMS ", max(CASE WHEN " IN_TIME
                                      " THEN 1 ELSE 0 END) FROM mine GROUP BY id";
static const char by_day[] =
    MINE " SELECT at / 86400000000, model," SUMS ", 1 FROM mine WHERE " IN_TIME " GROUP BY 1, 2";
#define OUTSIDE " FROM theirs WHERE unixepoch(k) < $1 OR unixepoch(k) >= $2"
static const char compare[] =
    "SELECT coalesce(o.k, t.k), coalesce(o.m, t.m), coalesce(t.line, 0),"
    " coalesce(o.n, 0), o.input, o.cached, o.output, coalesce(o.amount, 0), coalesce(o.low, ''),"
    " coalesce(o.high, ''), coalesce(t.n, 0), t.input, t.cached, t.output, coalesce(t.amount, 0),"
    " coalesce(t.low, ''), coalesce(t.high, ''), coalesce(o.unpriced, 0)"
    " FROM ours AS o FULL JOIN theirs AS t ON o.k = t.k AND o.m = t.m ORDER BY 1, 2";

static const char *our_name(const struct invoice_query *q, const char *theirs)
{
    for (int i = 0; i < q->n_names; i++) {
        if (!strcmp(q->names[i].theirs, theirs))
            return q->names[i].ours;
    }
    return theirs;
}

static struct sql_value count_of(int64_t n)
{
    return n < 0 ? SQL_NULL : SQL_NUMBER(n);
}

static int load_theirs(struct sql *sides, struct invoice *in, const struct invoice_query *q,
                       struct err *e)
{
    struct told t;
    int r;

    while ((r = read_line(in, &t, e)) == 1) {
        const struct sql_value v[] = {SQL_TEXT(t.key),           SQL_TEXT(our_name(q, t.model)),
                                      SQL_NUMBER(in->csv.line),  count_of(t.count[0]),
                                      count_of(t.count[1]),      count_of(t.count[2]),
                                      SQL_NUMBER(t.amount_nano), SQL_TEXT(t.currency)};
        r = sql_run(sides, add_theirs, v, 8, NULL, e);
        if (r)
            return r;
    }
    return r;
}

static int take_two(void *arg, const struct sql_row *s)
{
    int64_t *ret = arg;

    ret[0] = sql_number(s, 0);
    ret[1] = sql_number(s, 1);
    return 0;
}

/* The time that is compared: as asked, or the days of the invoice. Lines outside are left out. */
static int find_span(struct sql *sides, const struct invoice_query *q, int is_request,
                     int64_t span[2], int64_t *ret_left_out, struct err *e)
{
    int64_t out[2] = {0, 0};
    struct sql_value v[2];
    int r = 0;

    span[0] = q->from_s;
    span[1] = q->until_s ? q->until_s : INT64_MAX / 1000000;
    if (is_request)
        return 0;
    if (!q->from_s && !q->until_s)
        r = sql_each(sides,
                     "SELECT coalesce(unixepoch(min(k)), 0),"
                     " coalesce(unixepoch(max(k)) + 86400, 0) FROM theirs",
                     NULL, 0, take_two, span, e);
    v[0] = SQL_NUMBER(span[0]);
    v[1] = SQL_NUMBER(span[1]);
    if (!r)
        r = sql_each(sides, "SELECT coalesce(sum(n), 0), 0" OUTSIDE, v, 2, take_two, out, e);
    *ret_left_out = out[0];
    return r ? r : sql_run(sides, "DELETE" OUTSIDE, v, 2, NULL, e);
}

struct loading {
    struct sql *sides;
    int is_request;
    struct err *e;
};

/* A request, or a day and model, as the ledger has it. */
static int take_ours(void *arg, const struct sql_row *s)
{
    const struct loading *l = arg;
    char day[LEDGER_DAY_TEXT];
    struct sql_value v[11] = {SQL_TEXT(sql_text(s, 0)), SQL_TEXT(sql_text(s, 1))};

    if (!l->is_request) {
        ledger_sql_day(sql_number(s, 0), day);
        v[0] = SQL_TEXT(day);
    }
    for (int i = 2; i < 11; i++)
        v[i] = i == 8 || i == 9 ? SQL_TEXT(sql_text(s, i)) : SQL_NUMBER(sql_number(s, i));
    return sql_run(l->sides, add_ours, v, 11, NULL, l->e);
}

static void read_side(const struct sql_row *row, int i, struct invoice_side *s)
{
    int64_t *const counts[] = {&s->input, &s->cached, &s->output};

    s->n = sql_number(row, i);
    for (int k = 0; k < 3; k++)
        *counts[k] = sql_is_null(row, i + 1 + k) ? -1 : sql_number(row, i + 1 + k);
    s->amount_nano = sql_number(row, i + 4);
    ledger_sql_text(s->currency, sizeof s->currency, row, i + 5);
    if (strcmp(sql_text(row, i + 5), sql_text(row, i + 6)))
        snprintf(s->currency, sizeof s->currency, "?");
}

struct telling {
    int (*row)(void *arg, const struct invoice_line *l);
    void *arg;
};

static int take_line(void *arg, const struct sql_row *s)
{
    const struct telling *t = arg;
    struct invoice_line l;

    ledger_sql_text(l.key, sizeof l.key, s, 0);
    ledger_sql_text(l.model, sizeof l.model, s, 1);
    l.line = sql_number(s, 2);
    read_side(s, 3, &l.ours);
    read_side(s, 10, &l.theirs);
    l.n_unpriced = sql_number(s, 17);
    compare_sides(&l);
    return t->row(t->arg, &l);
}

/* The lines that are left, and what we booked in their time. */
static int load_sides(struct sql *sides, const char *where, struct invoice *in,
                      const struct invoice_query *q, int64_t *ret_left_out, struct err *e)
{
    struct loading l = {sides, in->at[C_REQUEST] >= 0, e};
    struct sql *db = NULL;
    int64_t span[2];
    int r = sql_begin(sides, e); /* one, as each row by itself takes longer */

    if (!r)
        r = load_theirs(sides, in, q, e);
    if (!r)
        r = find_span(sides, q, l.is_request, span, ret_left_out, e);
    if (!r)
        r = ledger_file_open(&db, where, 1, e);
    if (!r)
        r = sql_each(db, l.is_request ? by_request : by_day,
                     (struct sql_value[]){SQL_TEXT(q->supplier), SQL_NUMBER(span[0] * 1000000),
                                          SQL_NUMBER(span[1] * 1000000)},
                     3, take_ours, &l, e);
    sql_close(db);
    return r ? r : sql_commit(sides, e);
}

int invoice_reconcile(const char *where, const char *text, size_t n, const struct invoice_query *q,
                      int (*row)(void *arg, const struct invoice_line *l), void *arg,
                      int64_t *ret_left_out, struct err *e)
{
    struct invoice *in = malloc(sizeof *in);
    struct telling t = {row, arg};
    struct sql *sides = NULL;
    int r = in ? sql_open_memory(&sides, e) : err_set(e, ERR_NOMEM, "out of memory");

    *ret_left_out = 0;
    if (!r && n > INVOICE_BYTES_MAX)
        r = err_set(e, ERR_LIMIT, "more than %zu MiB", INVOICE_BYTES_MAX >> 20);
    if (!r) {
        csv_init(&in->csv, text, n);
        r = read_head(in, e);
    }
    if (!r)
        r = sql_make(sides, make_sides, e);
    if (!r)
        r = load_sides(sides, where, in, q, ret_left_out, e);
    if (!r)
        r = sql_each(sides, compare, NULL, 0, take_line, &t, e);
    sql_close(sides);
    free(in);
    return r;
}
