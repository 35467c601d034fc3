/* Reading a ledger's file, for bills: rows that are alike, added up. */
#include <stdio.h>

#include "base/check.h"
#include "books/ledger_file.h"
#include "job/tier.h"

/* In which order groups come; BOOKS_BY_ALL stands for the currency. */
static const enum books_by order[] = {
    BOOKS_BY_TENANT, BOOKS_BY_ALL,   BOOKS_BY_DAY,      BOOKS_BY_TEAM, BOOKS_BY_KEY,
    BOOKS_BY_LABELS, BOOKS_BY_MODEL, BOOKS_BY_SUPPLIER, BOOKS_BY_TIER, BOOKS_BY_CLASS};
#define GROUPS "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"

static void put_query(char *sql, size_t cap, unsigned parts)
{
    size_t len = (size_t)snprintf(sql, cap, "SELECT ");

    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        len += (size_t)snprintf(sql + len, cap - len, "%s, ",
                                order[i] == BOOKS_BY_ALL              ? "currency"
                                : (parts & BOOKS_PART(order[i])) != 0 ? ledger_columns[order[i]]
                                                                      : "NULL");
    snprintf(sql + len, cap - len,
             "sum(corrects = ''), sum(prompt_tokens), sum(cached_tokens), sum(cache_write_tokens),"
             " sum(completion_tokens), sum(reasoning_tokens), sum(" LEDGER_CHARGE "),"
             " sum(" LEDGER_COST "), sum(" LEDGER_UNPRICED "),"
             " sum(usage_state = 1 AND " LEDGER_OPEN "), sum(usage_state = 2 AND " LEDGER_OPEN ")"
             " FROM usage WHERE " LEDGER_WHERE " GROUP BY " GROUPS " ORDER BY " GROUPS);
}

static void read_tier(sqlite3_stmt *st, int i, char *to, size_t cap)
{
    int tier = sqlite3_column_int(st, i);

    if (sqlite3_column_type(st, i) == SQLITE_NULL)
        *to = 0;
    else
        snprintf(to, cap, "%s",
                 tier >= TIER_FLEX && tier < TIER_AUTO ? tier_name((enum tier)tier) : "?");
}

static void read_sum(sqlite3_stmt *st, struct books_sum *s)
{
    int64_t *const numbers[] = {&s->n_requests,         &s->prompt_tokens,     &s->cached_tokens,
                                &s->cache_write_tokens, &s->completion_tokens, &s->reasoning_tokens,
                                &s->charge_nano,        &s->cost_nano,         &s->n_unpriced,
                                &s->n_estimated,        &s->n_disputed};
    int n = (int)ARRAY_LEN(order);

    *s = (struct books_sum){0};
    for (int i = 0; i < n; i++) {
        char *to = s->key[order[i]];
        if (order[i] == BOOKS_BY_ALL)
            ledger_file_text(s->currency, sizeof s->currency, st, i);
        else if (order[i] == BOOKS_BY_TIER)
            read_tier(st, i, to, sizeof s->key[0]);
        else
            ledger_file_text(to, sizeof s->key[0], st, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        *numbers[i] = sqlite3_column_int64(st, n + (int)i);
}

int books_bill(const char *path, unsigned parts, const struct books_where *w,
               int (*row)(void *arg, const struct books_sum *s), void *arg, struct err *e)
{
    char sql[3200];
    struct books_sum s;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code = 0, r = ledger_file_open(&db, path, e);

    put_query(sql, sizeof sql, parts);
    if (!r && sqlite3_prepare_v2(db, sql, -1, &st, NULL))
        r = ledger_file_err(db, path, e);
    if (!r)
        ledger_sql_where(st, w);
    while (!r && (code = sqlite3_step(st)) == SQLITE_ROW) {
        read_sum(st, &s);
        r = row(arg, &s);
    }
    if (!r && code != SQLITE_DONE)
        r = ledger_file_err(db, path, e);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return r;
}
