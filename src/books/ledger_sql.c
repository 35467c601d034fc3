#include "books/ledger_sql.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* SQL that PostgreSQL would take as well: ids are made by this program, times are BIGINT
 * microseconds. */
static const char version_1[] =
    "CREATE TABLE IF NOT EXISTS usage ("
    " request_id TEXT NOT NULL PRIMARY KEY, at_us BIGINT NOT NULL, tenant TEXT NOT NULL,"
    " key_id TEXT NOT NULL, model TEXT NOT NULL, supplier TEXT NOT NULL,"
    " prompt_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,"
    " completion_tokens BIGINT NOT NULL, energy_uj BIGINT NOT NULL, status INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS usage_tenant_at ON usage (tenant, at_us);"
    "CREATE TABLE IF NOT EXISTS balance ("
    " tenant TEXT NOT NULL PRIMARY KEY, n_requests BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL,"
    " cached_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,"
    " energy_uj BIGINT NOT NULL);";
/* Rows of version 1 have no place in the chain (seq 0) and no price. Their tokens are posted. */
static const char version_2[] =
    "ALTER TABLE usage ADD COLUMN cache_write_tokens BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN reasoning_tokens BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN usage_state INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN tier INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE usage ADD COLUMN charge_nano BIGINT NOT NULL DEFAULT -1;"
    "ALTER TABLE usage ADD COLUMN cost_nano BIGINT NOT NULL DEFAULT -1;"
    "ALTER TABLE usage ADD COLUMN currency TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN chain TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX usage_seq ON usage (seq);"
    "CREATE INDEX usage_at ON usage (at_us);"
    "CREATE TABLE account (account TEXT NOT NULL, unit TEXT NOT NULL, amount BIGINT NOT NULL,"
    " PRIMARY KEY (account, unit));"
    "INSERT INTO account SELECT 'tenant:' || tenant, 'tokens', sum(prompt_tokens + "
    "completion_tokens)"
    " FROM usage GROUP BY tenant;"
    "INSERT INTO account SELECT 'supplier:' || supplier, 'tokens',"
    " -sum(prompt_tokens + completion_tokens) FROM usage GROUP BY supplier;";

/* Rows of before belong to no team and have no labels, and their links are those that they had. */
static const char version_3[] = "ALTER TABLE usage ADD COLUMN team TEXT NOT NULL DEFAULT '';"
                                "ALTER TABLE usage ADD COLUMN labels TEXT NOT NULL DEFAULT '';";

/* Rows that correct others. */
static const char version_4[] =
    "ALTER TABLE usage ADD COLUMN corrects TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX usage_corrects ON usage (corrects) WHERE corrects <> '';";

/* What rows that were pruned leave behind: where the chain goes on, what they added to accounts and
 * balances, and for budgets what was used in each quarter of an hour, on which every window of
 * every time zone begins. */
static const char version_5[] =
    "CREATE TABLE opening (seq BIGINT NOT NULL, chain TEXT NOT NULL, n_rows BIGINT NOT NULL);"
    "INSERT INTO opening VALUES (0, '', 0);"
    "CREATE TABLE opening_account (account TEXT NOT NULL, unit TEXT NOT NULL,"
    " amount BIGINT NOT NULL, PRIMARY KEY (account, unit));"
    "CREATE TABLE opening_balance (tenant TEXT NOT NULL PRIMARY KEY, n_requests BIGINT NOT NULL,"
    " prompt_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL,"
    " completion_tokens BIGINT NOT NULL, energy_uj BIGINT NOT NULL);"
    "CREATE TABLE opening_use (at_us BIGINT NOT NULL, tenant TEXT NOT NULL, team TEXT NOT NULL,"
    " key_id TEXT NOT NULL, tokens BIGINT NOT NULL, charge_nano BIGINT NOT NULL,"
    " PRIMARY KEY (at_us, tenant, team, key_id));";

/* Suppliers that are owed in a currency of their own. */
static const char version_6[] =
    "ALTER TABLE usage ADD COLUMN cost_currency TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN cost_own_nano BIGINT NOT NULL DEFAULT 0;";

/* What was owed and never delivered. */
static const char version_7[] =
    "ALTER TABLE usage ADD COLUMN lost_prompt_tokens BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN lost_cached_tokens BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN lost_completion_tokens BIGINT NOT NULL DEFAULT 0;";

const char *const ledger_columns[BOOKS_BY_N] = {
    [BOOKS_BY_ALL] = "''",
    [BOOKS_BY_TENANT] = "tenant",
    [BOOKS_BY_TEAM] = "team",
    [BOOKS_BY_KEY] = "key_id",
    [BOOKS_BY_LABELS] = "labels",
    [BOOKS_BY_MODEL] = "model",
    [BOOKS_BY_SUPPLIER] = "supplier",
    [BOOKS_BY_DAY] = "coalesce(strftime('%Y-%m-%d', at_us / 1000000, 'unixepoch'), '9999-12-31')",
    [BOOKS_BY_TIER] = "tier",
    [BOOKS_BY_CLASS] = "iif(corrects = '', '', 'Correction')",
};

static int version_of(sqlite3 *db, int *ret)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL);

    if (!code)
        code = sqlite3_step(st) == SQLITE_ROW ? 0 : sqlite3_errcode(db);
    if (!code)
        *ret = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return code;
}

int ledger_sql_tables(sqlite3 *db, int *ret_version)
{
    char set[40];
    int code = version_of(db, ret_version);

    if (code)
        return code;
    if (*ret_version < 0 || *ret_version > LEDGER_SCHEMA)
        return SQLITE_MISMATCH;
    if (*ret_version == LEDGER_SCHEMA)
        return 0;
    snprintf(set, sizeof set, "PRAGMA user_version=%d", LEDGER_SCHEMA);
    code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (!code)
        code = version_of(db, ret_version); /* another process may have been here meanwhile */
    if (!code && *ret_version < 1)
        code = sqlite3_exec(db, version_1, NULL, NULL, NULL);
    if (!code && *ret_version < 2)
        code = sqlite3_exec(db, version_2, NULL, NULL, NULL);
    if (!code && *ret_version < 3)
        code = sqlite3_exec(db, version_3, NULL, NULL, NULL);
    if (!code && *ret_version < 4)
        code = sqlite3_exec(db, version_4, NULL, NULL, NULL);
    if (!code && *ret_version < 5)
        code = sqlite3_exec(db, version_5, NULL, NULL, NULL);
    if (!code && *ret_version < 6)
        code = sqlite3_exec(db, version_6, NULL, NULL, NULL);
    if (!code && *ret_version < 7)
        code = sqlite3_exec(db, version_7, NULL, NULL, NULL);
    if (!code)
        code = sqlite3_exec(db, set, NULL, NULL, NULL);
    if (!code)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

void ledger_sql_where(sqlite3_stmt *st, const struct books_where *w)
{
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

void ledger_sql_bind(sqlite3_stmt *st, const struct books_row *r)
{
    int i = 1;

    sqlite3_bind_text(st, i++, r->request_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, i++, r->at_us);
    sqlite3_bind_text(st, i++, r->tenant, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, i++, r->key_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, i++, r->model, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, i++, r->supplier, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, i++, r->prompt_tokens);
    sqlite3_bind_int64(st, i++, r->cached_tokens);
    sqlite3_bind_int64(st, i++, r->completion_tokens);
    sqlite3_bind_int64(st, i++, r->energy_uj);
    sqlite3_bind_int(st, i++, r->status);
    sqlite3_bind_int64(st, i++, r->cache_write_tokens);
    sqlite3_bind_int64(st, i++, r->reasoning_tokens);
    sqlite3_bind_int(st, i++, r->usage_state);
    sqlite3_bind_int(st, i++, r->tier);
    sqlite3_bind_int64(st, i++, r->charge_nano);
    sqlite3_bind_int64(st, i++, r->cost_nano);
    sqlite3_bind_text(st, i++, r->currency, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, i++, r->team, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, i++, r->labels, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, i++, r->corrects, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, i++, r->cost_currency, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, i++, r->cost_own_nano);
    sqlite3_bind_int64(st, i++, r->lost_prompt_tokens);
    sqlite3_bind_int64(st, i++, r->lost_cached_tokens);
    sqlite3_bind_int64(st, i++, r->lost_completion_tokens);
}

static void copy(char *to, size_t cap, sqlite3_stmt *st, int i)
{
    const unsigned char *s = sqlite3_column_text(st, i);

    snprintf(to, cap, "%s", s ? (const char *)s : "");
}

void ledger_sql_read(sqlite3_stmt *st, struct books_row *ret)
{
    *ret = (struct books_row){0};
    copy(ret->request_id, sizeof ret->request_id, st, 0);
    ret->at_us = sqlite3_column_int64(st, 1);
    copy(ret->tenant, sizeof ret->tenant, st, 2);
    copy(ret->key_id, sizeof ret->key_id, st, 3);
    copy(ret->model, sizeof ret->model, st, 4);
    copy(ret->supplier, sizeof ret->supplier, st, 5);
    ret->prompt_tokens = sqlite3_column_int64(st, 6);
    ret->cached_tokens = sqlite3_column_int64(st, 7);
    ret->completion_tokens = sqlite3_column_int64(st, 8);
    ret->energy_uj = sqlite3_column_int64(st, 9);
    ret->status = sqlite3_column_int(st, 10);
    ret->cache_write_tokens = sqlite3_column_int64(st, 11);
    ret->reasoning_tokens = sqlite3_column_int64(st, 12);
    ret->usage_state = sqlite3_column_int(st, 13);
    ret->tier = sqlite3_column_int(st, 14);
    ret->charge_nano = sqlite3_column_int64(st, 15);
    ret->cost_nano = sqlite3_column_int64(st, 16);
    copy(ret->currency, sizeof ret->currency, st, 17);
    copy(ret->team, sizeof ret->team, st, 18);
    copy(ret->labels, sizeof ret->labels, st, 19);
    copy(ret->corrects, sizeof ret->corrects, st, 20);
    copy(ret->cost_currency, sizeof ret->cost_currency, st, 21);
    ret->cost_own_nano = sqlite3_column_int64(st, 22);
    ret->lost_prompt_tokens = sqlite3_column_int64(st, 23);
    ret->lost_cached_tokens = sqlite3_column_int64(st, 24);
    ret->lost_completion_tokens = sqlite3_column_int64(st, 25);
}

/* Texts end with a NUL, so that no two rows have one form. */
static void hash_text(crypto_generichash_state *h, const char *s)
{
    crypto_generichash_update(h, (const unsigned char *)s, strlen(s) + 1);
}

void ledger_sql_chain(const unsigned char before[LEDGER_CHAIN_SIZE], const struct books_row *r,
                      unsigned char ret[LEDGER_CHAIN_SIZE])
{
    const int64_t numbers[] = {
        r->at_us,       r->prompt_tokens, r->cached_tokens,      r->completion_tokens,
        r->energy_uj,   r->status,        r->cache_write_tokens, r->reasoning_tokens,
        r->usage_state, r->tier,          r->charge_nano,        r->cost_nano};
    const int64_t lost[] = {r->lost_prompt_tokens, r->lost_cached_tokens,
                            r->lost_completion_tokens};
    crypto_generichash_state h;

    crypto_generichash_init(&h, NULL, 0, LEDGER_CHAIN_SIZE);
    crypto_generichash_update(&h, before, LEDGER_CHAIN_SIZE);
    hash_text(&h, r->request_id);
    hash_text(&h, r->tenant);
    hash_text(&h, r->key_id);
    hash_text(&h, r->model);
    hash_text(&h, r->supplier);
    hash_text(&h, r->currency);
    if (*r->team || *r->labels) { /* rows of version 2 keep their links */
        hash_text(&h, r->team);
        hash_text(&h, r->labels);
    }
    crypto_generichash_update(&h, (const unsigned char *)numbers, sizeof numbers);
    if (*r->corrects || *r->cost_currency)
        hash_text(&h, r->corrects);
    if (*r->cost_currency) {
        hash_text(&h, r->cost_currency);
        crypto_generichash_update(&h, (const unsigned char *)&r->cost_own_nano,
                                  sizeof r->cost_own_nano);
    }
    if (lost[0] || lost[1] || lost[2])
        crypto_generichash_update(&h, (const unsigned char *)lost, sizeof lost);
    crypto_generichash_final(&h, ret, LEDGER_CHAIN_SIZE);
}
