/* Reading a ledger, for bills: rows that are alike, added up. */
#include <stdio.h>

#include "base/check.h"
#include "books/ledger_file.h"
#include "job/tier.h"

/* The columns by which rows are put together. */
static const char *const columns[BOOKS_BY_N] = {
    [BOOKS_BY_TENANT] = "tenant",
    [BOOKS_BY_TEAM] = "team",
    [BOOKS_BY_KEY] = "key_id",
    [BOOKS_BY_LABELS] = "labels",
    [BOOKS_BY_MODEL] = "model",
    [BOOKS_BY_SUPPLIER] = "supplier",
    [BOOKS_BY_DAY] = LEDGER_DAY,
    [BOOKS_BY_TIER] = "tier",
    [BOOKS_BY_CLASS] = "CASE WHEN corrects = '' THEN '' ELSE 'Correction' END",
};

/* In which order groups come; BOOKS_BY_ALL stands for the currency. */
static const enum books_by order[] = {
    BOOKS_BY_TENANT, BOOKS_BY_ALL,   BOOKS_BY_DAY,      BOOKS_BY_TEAM, BOOKS_BY_KEY,
    BOOKS_BY_LABELS, BOOKS_BY_MODEL, BOOKS_BY_SUPPLIER, BOOKS_BY_TIER, BOOKS_BY_CLASS};
#define GROUPS "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"

/* How often a condition holds, and sums. */
#define HOW_MANY(condition) "count(CASE WHEN " condition " THEN 1 END)"
static const char numbers[] = HOW_MANY(
    "corrects = ''") ", sum(prompt_tokens), sum(cached_tokens),"
                     " sum(cache_write_tokens), sum(completion_tokens), sum(reasoning_tokens), "
                     "sum(lost_prompt_tokens + lost_completion_tokens), "
                     "sum(" LEDGER_CHARGE "), sum(" LEDGER_COST
                     "), " HOW_MANY(LEDGER_UNPRICED) ", " HOW_MANY(
                         "usage_state = 1 AND " LEDGER_OPEN) ", " HOW_MANY("usage_state = 2 "
                                                                           "AND " LEDGER_OPEN);

static void put_query(char *sql, size_t cap, unsigned parts, const char *where)
{
    size_t len = (size_t)snprintf(sql, cap, "SELECT ");

    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        len += (size_t)snprintf(sql + len, cap - len, "%s, ",
                                order[i] == BOOKS_BY_ALL              ? "currency"
                                : (parts & BOOKS_PART(order[i])) != 0 ? columns[order[i]]
                                                                      : "NULL");
    len += (size_t)snprintf(sql + len, cap - len,
                            "%s FROM usage WHERE %s GROUP BY " GROUPS " ORDER BY " GROUPS, numbers,
                            where);
    CHECK(len < cap);
}

static void read_key(const struct sql_row *s, int i, enum books_by by, char *to, size_t cap)
{
    int64_t n = sql_number(s, i);

    if (sql_is_null(s, i))
        *to = 0;
    else if (by == BOOKS_BY_DAY)
        ledger_sql_day(n, to);
    else if (by == BOOKS_BY_TIER)
        snprintf(to, cap, "%s", n >= TIER_FLEX && n < TIER_AUTO ? tier_name((enum tier)n) : "?");
    else
        ledger_sql_text(to, cap, s, i);
}

static void read_sum(const struct sql_row *row, struct books_sum *s)
{
    int64_t *const to[] = {&s->n_requests,         &s->prompt_tokens,     &s->cached_tokens,
                           &s->cache_write_tokens, &s->completion_tokens, &s->reasoning_tokens,
                           &s->lost_tokens,        &s->charge_nano,       &s->cost_nano,
                           &s->n_unpriced,         &s->n_estimated,       &s->n_disputed};
    int n = (int)ARRAY_LEN(order);

    *s = (struct books_sum){0};
    for (int i = 0; i < n; i++) {
        if (order[i] == BOOKS_BY_ALL)
            ledger_sql_text(s->currency, sizeof s->currency, row, i);
        else
            read_key(row, i, order[i], s->key[order[i]], sizeof s->key[0]);
    }
    for (size_t i = 0; i < ARRAY_LEN(to); i++)
        *to[i] = sql_number(row, n + (int)i);
}

struct bill {
    int (*row)(void *arg, const struct books_sum *s);
    void *arg;
};

static int take_sum(void *arg, const struct sql_row *row)
{
    const struct bill *b = arg;
    struct books_sum s;

    read_sum(row, &s);
    return b->row(b->arg, &s);
}

int books_bill(const char *where, unsigned parts, const struct books_where *w,
               int (*row)(void *arg, const struct books_sum *s), void *arg, struct err *e)
{
    struct bill b = {row, arg};
    struct ledger_where rows;
    struct sql *db = NULL;
    char sql[4096];
    int r = ledger_file_open(&db, where, 1, e);

    ledger_sql_where(&rows, w);
    put_query(sql, sizeof sql, parts, rows.text);
    if (!r)
        r = sql_each(db, sql, rows.v, rows.n, take_sum, &b, e);
    sql_close(db);
    return r;
}
