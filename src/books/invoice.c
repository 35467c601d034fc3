#include "books/invoice.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/csv.h"
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

static int is_day(const char *s)
{
    static const char form[] = "dddd-dd-dd";
    int month, day;

    for (size_t i = 0; i < sizeof form - 1; i++) {
        if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
            return 0;
    }
    month = (s[5] - '0') * 10 + s[6] - '0';
    day = (s[8] - '0') * 10 + s[9] - '0';
    return !s[10] && month >= 1 && month <= 12 && day >= 1 && day <= 31;
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
    int r = csv_next(&in->csv, e);

    if (r <= 0)
        return r;
    if (in->csv.n_fields != in->n_fields)
        return bad(in, "not as many fields as the head has", e);
    t->key = field(in, in->at[C_REQUEST] >= 0 ? C_REQUEST : C_DAY);
    t->model = in->at[C_REQUEST] >= 0 ? "" : field(in, C_MODEL);
    if (in->at[C_REQUEST] < 0 && !is_day(t->key))
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

/* ---- both sides in tables of this connection alone ------------------------------------------- */

#define SIDE                                                                                       \
    " (k TEXT NOT NULL, m TEXT NOT NULL, line BIGINT, n BIGINT NOT NULL, input BIGINT,"            \
    " cached BIGINT, output BIGINT, amount BIGINT NOT NULL, unpriced BIGINT NOT NULL,"             \
    " low TEXT NOT NULL, high TEXT NOT NULL, PRIMARY KEY (k, m)) WITHOUT ROWID;"
static const char make_sides[] =
    "PRAGMA temp_store = MEMORY; CREATE TEMP TABLE ours" SIDE "CREATE TEMP TABLE theirs" SIDE;
/* What was not told once is not told of the sum. */
static const char add_theirs[] =
    "INSERT INTO theirs VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, 0, ?8, ?8)"
    " ON CONFLICT (k, m) DO UPDATE SET n = theirs.n + 1, input = theirs.input + excluded.input,"
    " cached = theirs.cached + excluded.cached, output = theirs.output + excluded.output,"
    " amount = theirs.amount + excluded.amount, low = min(theirs.low, excluded.low),"
    " high = max(theirs.high, excluded.high)";
/* ?1 supplier, ?2 from, ?3 until, ?4: lines are of requests. A correction belongs to the request
 * that it corrects. What they bill is looked up, whenever it was. */
static const char add_ours[] =
    "INSERT INTO ours WITH mine AS (SELECT iif(u.corrects = '', u.request_id, u.corrects) AS id,"
    " coalesce(o.at_us, u.at_us) AS at, substr(u.supplier, length(?1) + 2) AS model,"
    " u.corrects AS corrects, u.prompt_tokens + u.lost_prompt_tokens AS p,"
    " u.cached_tokens + u.lost_cached_tokens AS c,"
    " u.completion_tokens + u.lost_completion_tokens AS d,"
    " iif(u.cost_currency <> '', u.cost_own_nano,"
    " iif(u.corrects = '', max(u.cost_nano, 0), u.cost_nano)) AS cost,"
    " u.corrects = '' AND u.cost_currency = '' AND u.cost_nano < 0 AND NOT EXISTS (SELECT 1 FROM "
    "usage AS x WHERE"
    " x.corrects <> '' AND x.corrects = u.request_id) AS unpriced,"
    " iif(u.cost_currency <> '', u.cost_currency, u.currency) AS currency"
    " FROM usage AS u LEFT JOIN usage AS o ON u.corrects <> '' AND o.request_id = u.corrects"
    " WHERE substr(u.supplier, 1, length(?1) + 1) = ?1 || '/')"
    " SELECT iif(?4, id, strftime('%Y-%m-%d', at / 1000000, 'unixepoch')) AS k,"
    " iif(?4, '', model) AS m, 0, sum(corrects = ''), sum(p), sum(c), sum(d), sum(cost),"
    " sum(unpriced), min(currency), max(currency) FROM mine WHERE"
    " (at >= ?2 AND at < ?3) OR (?4 AND id IN (SELECT k FROM theirs))"
    " GROUP BY 1, 2 HAVING k IS NOT NULL";
#define OUTSIDE " FROM theirs WHERE unixepoch(k) < ?1 OR unixepoch(k) >= ?2"
static const char count_outside[] = "SELECT coalesce(sum(n), 0)" OUTSIDE;
static const char leave_out[] = "DELETE" OUTSIDE;
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

static void bind_count(sqlite3_stmt *st, int i, int64_t n)
{
    if (n < 0)
        sqlite3_bind_null(st, i);
    else
        sqlite3_bind_int64(st, i, n);
}

static int put_theirs(sqlite3_stmt *st, const struct invoice *in, const struct told *t,
                      const struct invoice_query *q)
{
    int code;

    sqlite3_bind_text(st, 1, t->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, our_name(q, t->model), -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, in->csv.line);
    for (int i = 0; i < 3; i++)
        bind_count(st, 4 + i, t->count[i]);
    sqlite3_bind_int64(st, 7, t->amount_nano);
    sqlite3_bind_text(st, 8, t->currency, -1, SQLITE_STATIC);
    code = sqlite3_step(st);
    sqlite3_reset(st);
    return code == SQLITE_DONE ? 0 : -1;
}

static int load_theirs(sqlite3 *db, const char *path, struct invoice *in,
                       const struct invoice_query *q, struct err *e)
{
    sqlite3_stmt *st = NULL;
    struct told t;
    int r = sqlite3_prepare_v2(db, add_theirs, -1, &st, NULL) ? ledger_file_err(db, path, e) : 1;

    while (r == 1) {
        r = read_line(in, &t, e);
        if (r == 1 && put_theirs(st, in, &t, q))
            r = ledger_file_err(db, path, e);
    }
    sqlite3_finalize(st);
    return r;
}

/* Run a statement with numbers for its parameters, from the first one on; of one row its numbers.
 */
static int run_numbers(sqlite3 *db, const char *sql, const char *text, const int64_t *in, int n_in,
                       int64_t *out, int n_out)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &st, NULL), i = 1;

    if (!code && text)
        sqlite3_bind_text(st, i++, text, -1, SQLITE_STATIC);
    for (int k = 0; !code && k < n_in; k++)
        sqlite3_bind_int64(st, i++, in[k]);
    if (!code)
        code = sqlite3_step(st);
    for (int k = 0; code == SQLITE_ROW && k < n_out; k++)
        out[k] = sqlite3_column_int64(st, k);
    sqlite3_finalize(st);
    return code == (n_out ? SQLITE_ROW : SQLITE_DONE) ? 0 : -1;
}

/* The time that is compared: as asked, or the days of the invoice. Lines outside are left out. */
static int find_span(sqlite3 *db, const struct invoice_query *q, int is_request, int64_t span[2],
                     int64_t *ret_left_out)
{
    span[0] = q->from_s;
    span[1] = q->until_s ? q->until_s : INT64_MAX / 1000000;
    if (is_request)
        return 0;
    if (!q->from_s && !q->until_s &&
        run_numbers(db,
                    "SELECT coalesce(unixepoch(min(k)), 0), coalesce(unixepoch(max(k)) + 86400, 0)"
                    " FROM theirs",
                    NULL, NULL, 0, span, 2))
        return -1;
    if (run_numbers(db, count_outside, NULL, span, 2, ret_left_out, 1))
        return -1;
    return run_numbers(db, leave_out, NULL, span, 2, NULL, 0);
}

static void read_side(sqlite3_stmt *st, int i, struct invoice_side *s)
{
    int64_t *const counts[] = {&s->input, &s->cached, &s->output};
    char high[4];

    s->n = sqlite3_column_int64(st, i);
    for (int k = 0; k < 3; k++)
        *counts[k] = sqlite3_column_type(st, i + 1 + k) == SQLITE_NULL
                         ? -1
                         : sqlite3_column_int64(st, i + 1 + k);
    s->amount_nano = sqlite3_column_int64(st, i + 4);
    ledger_file_text(s->currency, sizeof s->currency, st, i + 5);
    ledger_file_text(high, sizeof high, st, i + 6);
    if (strcmp(s->currency, high))
        snprintf(s->currency, sizeof s->currency, "?");
}

static int tell_lines(sqlite3 *db, const char *path,
                      int (*row)(void *arg, const struct invoice_line *l), void *arg, struct err *e)
{
    sqlite3_stmt *st = NULL;
    struct invoice_line l;
    int r = 0, code = sqlite3_prepare_v2(db, compare, -1, &st, NULL);

    while (!r && !code && (code = sqlite3_step(st)) == SQLITE_ROW) {
        code = 0;
        ledger_file_text(l.key, sizeof l.key, st, 0);
        ledger_file_text(l.model, sizeof l.model, st, 1);
        l.line = sqlite3_column_int64(st, 2);
        read_side(st, 3, &l.ours);
        read_side(st, 10, &l.theirs);
        l.n_unpriced = sqlite3_column_int64(st, 17);
        compare_sides(&l);
        r = row(arg, &l);
    }
    if (!r && code != SQLITE_DONE)
        r = ledger_file_err(db, path, e);
    sqlite3_finalize(st);
    return r;
}

/* The lines that are left, and what we booked in their time. */
static int load_ours(sqlite3 *db, const char *path, const struct invoice *in,
                     const struct invoice_query *q, int64_t *ret_left_out, struct err *e)
{
    int64_t span[2], numbers[3];
    int is_request = in->at[C_REQUEST] >= 0, r = find_span(db, q, is_request, span, ret_left_out);

    if (!r) {
        numbers[0] = span[0] * 1000000;
        numbers[1] = span[1] * 1000000;
        numbers[2] = is_request;
        r = run_numbers(db, add_ours, q->supplier, numbers, 3, NULL, 0);
    }
    return r ? ledger_file_err(db, path, e) : 0;
}

int invoice_reconcile(const char *path, const char *text, size_t n, const struct invoice_query *q,
                      int (*row)(void *arg, const struct invoice_line *l), void *arg,
                      int64_t *ret_left_out, struct err *e)
{
    struct invoice *in = malloc(sizeof *in);
    sqlite3 *db = NULL;
    int r = in ? ledger_file_open(&db, path, e) : err_set(e, ERR_NOMEM, "out of memory");

    *ret_left_out = 0;
    if (!r && n > INVOICE_BYTES_MAX)
        r = err_set(e, ERR_LIMIT, "more than %zu MiB", INVOICE_BYTES_MAX >> 20);
    if (!r) {
        csv_init(&in->csv, text, n);
        r = read_head(in, e);
    }
    if (!r && sqlite3_exec(db, make_sides, NULL, NULL, NULL))
        r = ledger_file_err(db, path, e);
    if (!r)
        r = load_theirs(db, path, in, q, e);
    if (!r)
        r = load_ours(db, path, in, q, ret_left_out, e);
    if (!r)
        r = tell_lines(db, path, row, arg, e);
    sqlite3_close(db);
    free(in);
    return r;
}
