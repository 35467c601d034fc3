/* Reading a ledger's file, for bills: rows that are alike, added up. */
#include <stdio.h>

#include "base/check.h"
#include "books/ledger_file.h"
#include "job/tier.h"

/* Without prices at all there is nothing to resolve but the counts. */
#define UNPRICED "(currency <> '' AND (charge_nano < 0 OR cost_nano < 0))"
#define PENDING  "(" UNPRICED " OR usage_state <> 0)"

/* In which order groups come; BOOKS_BY_ALL stands for the currency. */
static const enum books_by order[] = {BOOKS_BY_TENANT, BOOKS_BY_ALL,      BOOKS_BY_DAY,
                                      BOOKS_BY_TEAM,   BOOKS_BY_KEY,      BOOKS_BY_LABELS,
                                      BOOKS_BY_MODEL,  BOOKS_BY_SUPPLIER, BOOKS_BY_TIER};
#define GROUPS "1, 2, 3, 4, 5, 6, 7, 8, 9"

static void put_query(char *sql, size_t cap, unsigned parts)
{
    size_t len = (size_t)snprintf(sql, cap, "SELECT ");

    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        len += (size_t)snprintf(sql + len, cap - len, "%s, ",
                                order[i] == BOOKS_BY_ALL              ? "currency"
                                : (parts & BOOKS_PART(order[i])) != 0 ? ledger_columns[order[i]]
                                                                      : "NULL");
    snprintf(sql + len, cap - len,
             "count(*), sum(prompt_tokens), sum(cached_tokens), sum(cache_write_tokens),"
             " sum(completion_tokens), sum(reasoning_tokens), sum(max(charge_nano, 0)),"
             " sum(max(cost_nano, 0)), sum(" UNPRICED "), sum(usage_state = 1),"
             " sum(usage_state = 2) FROM usage WHERE (?1 IS NULL OR tenant = ?1)"
             " AND (?2 IS NULL OR key_id = ?2) AND (?3 IS NULL OR model = ?3)"
             " AND (?4 IS NULL OR supplier = ?4) AND at_us >= ?5 AND (?6 = 0 OR at_us < ?6)"
             " AND (?8 IS NULL OR team = ?8)"
             " AND (?9 IS NULL OR instr(',' || labels || ',', ',' || ?9 || ',') > 0)"
             " AND (?7 = 0 OR " PENDING ") GROUP BY " GROUPS " ORDER BY " GROUPS);
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
    char sql[2000];
    struct books_sum s;
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int code = 0, r = ledger_file_open(&db, path, e);

    put_query(sql, sizeof sql, parts);
    if (!r && sqlite3_prepare_v2(db, sql, -1, &st, NULL))
        r = ledger_file_err(db, path, e);
    if (!r) {
        sqlite3_bind_text(st, 1, w->tenant, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, w->key_id, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 3, w->model, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 4, w->supplier, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 5, w->from_s * 1000000);
        sqlite3_bind_int64(st, 6, w->until_s * 1000000);
        sqlite3_bind_int(st, 7, w->only_pending);
        sqlite3_bind_text(st, 8, w->team, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 9, w->label, -1, SQLITE_STATIC);
    }
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
