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
    [BOOKS_BY_SITE] = "site",
    [BOOKS_BY_CONTRACT] = "contract",
    [BOOKS_BY_CLASS] = "CASE WHEN corrects = '' THEN '' ELSE 'Correction' END",
};

/* In which order groups come; BOOKS_BY_ALL stands for the currency. */
static const enum books_by order[] = {BOOKS_BY_TENANT, BOOKS_BY_ALL,      BOOKS_BY_DAY,
                                      BOOKS_BY_TEAM,   BOOKS_BY_KEY,      BOOKS_BY_LABELS,
                                      BOOKS_BY_MODEL,  BOOKS_BY_SUPPLIER, BOOKS_BY_TIER,
                                      BOOKS_BY_CLASS,  BOOKS_BY_SITE,     BOOKS_BY_CONTRACT};
#define GROUPS "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"

/* How often a condition holds, and sums. */
#define HOW_MANY(condition) "count(CASE WHEN " condition " THEN 1 END)"
#define USED                "corrects = '' AND prompt_tokens + completion_tokens > 0"
#define N_REQUESTS          HOW_MANY("corrects = ''")
#define N_UNPRICED          HOW_MANY(LEDGER_UNPRICED)
#define N_GUESSED           HOW_MANY("usage_state = 1 AND " LEDGER_OPEN)
#define N_DISPUTED          HOW_MANY("usage_state = 2 AND " LEDGER_OPEN)
#define N_USED              HOW_MANY(USED)
#define N_ENERGY            HOW_MANY(USED " AND energy_method <> 0")
#define N_LOCATION          HOW_MANY(USED " AND carbon_location_ug >= 0")
#define N_MARKET            HOW_MANY(USED " AND carbon_market_ug >= 0")
#define BOUNDARY            "coalesce(min(CASE WHEN energy_method > 0 THEN energy_boundary END), 0)"
#define KNOWN(ug)           "sum(CASE WHEN " ug " > 0 THEN " ug " ELSE 0 END)"
#define SUM(what)           "sum(" what ")"
static const char *const numbers[] = {N_REQUESTS,
                                      SUM("prompt_tokens"),
                                      SUM("cached_tokens"),
                                      SUM("cache_write_tokens"),
                                      SUM("completion_tokens"),
                                      SUM("reasoning_tokens"),
                                      SUM("lost_prompt_tokens + lost_completion_tokens"),
                                      SUM(LEDGER_CHARGE),
                                      SUM(LEDGER_COST),
                                      N_UNPRICED,
                                      N_GUESSED,
                                      N_DISPUTED,
                                      N_USED,
                                      N_ENERGY,
                                      N_LOCATION,
                                      N_MARKET,
                                      SUM("energy_uj"),
                                      BOUNDARY,
                                      KNOWN("carbon_location_ug"),
                                      KNOWN("carbon_market_ug")};

static void put_query(char *sql, size_t cap, unsigned parts, const char *where)
{
    size_t len = (size_t)snprintf(sql, cap, "SELECT ");

    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        len += (size_t)snprintf(sql + len, cap - len, "%s, ",
                                order[i] == BOOKS_BY_ALL              ? "currency"
                                : (parts & BOOKS_PART(order[i])) != 0 ? columns[order[i]]
                                                                      : "NULL");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        len += (size_t)snprintf(sql + len, cap - len, "%s%s", i ? ", " : "", numbers[i]);
    len += (size_t)snprintf(sql + len, cap - len,
                            " FROM usage WHERE %s GROUP BY " GROUPS " ORDER BY " GROUPS, where);
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
    int64_t *const to[] = {&s->n_requests,
                           &s->prompt_tokens,
                           &s->cached_tokens,
                           &s->cache_write_tokens,
                           &s->completion_tokens,
                           &s->reasoning_tokens,
                           &s->lost_tokens,
                           &s->charge_nano,
                           &s->cost_nano,
                           &s->n_unpriced,
                           &s->n_estimated,
                           &s->n_disputed,
                           &s->n_used,
                           &s->n_energy,
                           &s->n_location,
                           &s->n_market,
                           &s->energy_uj,
                           &s->energy_boundary,
                           &s->carbon_location_ug,
                           &s->carbon_market_ug};
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
    char sql[6000];
    int r = ledger_file_open(&db, where, 1, e);

    ledger_sql_where(&rows, w);
    put_query(sql, sizeof sql, parts, rows.text);
    if (!r)
        r = sql_each(db, sql, rows.v, rows.n, take_sum, &b, e);
    sql_close(db);
    return r;
}
