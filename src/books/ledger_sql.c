#include "books/ledger_sql.h"

#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/utf8.h"

/* ---- the tables ------------------------------------------------------------------------------ */

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

/* How energy was measured, where, and what it emitted; and what budgets of energy count of rows
 * that were pruned. No row of before has any. */
static const char version_8[] =
    "ALTER TABLE usage ADD COLUMN energy_boundary INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN energy_method INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN energy_uncertainty INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE usage ADD COLUMN site TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN carbon_location_ug BIGINT NOT NULL DEFAULT -1;"
    "ALTER TABLE usage ADD COLUMN carbon_market_ug BIGINT NOT NULL DEFAULT -1;"
    "ALTER TABLE opening_use ADD COLUMN energy_uj BIGINT NOT NULL DEFAULT 0;";

/* Whose contract served a request. And what power a site had: measured pieces of time, and notes on
 * causes that nothing measures (power_log.h). */
static const char version_9[] =
    "ALTER TABLE usage ADD COLUMN contract TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN tranche TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN lent INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX usage_contract_at ON usage (contract, at_us) WHERE contract <> '';"
    "CREATE TABLE power (seq BIGINT NOT NULL PRIMARY KEY, chain TEXT NOT NULL,"
    " at_us BIGINT NOT NULL, site TEXT NOT NULL, from_us BIGINT NOT NULL,"
    " until_us BIGINT NOT NULL, contracted_uj BIGINT NOT NULL, energised_uj BIGINT NOT NULL,"
    " encumbered_uj BIGINT NOT NULL, ready_uj BIGINT NOT NULL, environment_uj BIGINT NOT NULL,"
    " curtailment_uj BIGINT NOT NULL, maintenance_uj BIGINT NOT NULL,"
    " operator_uj BIGINT NOT NULL, cause TEXT NOT NULL, reason TEXT NOT NULL);"
    "CREATE INDEX power_site_from ON power (site, from_us);";

/* The log of answers: what its entries have of a row; the tree over the rows that come from now on
 * (base: the number of the last row before its first entry), complete nodes of it, and its heads.
 */
static const char version_10[] =
    "ALTER TABLE usage ADD COLUMN salt TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN weights TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN engine TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN sampling TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN prompt_hash TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN output_hash TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE usage ADD COLUMN price_book TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE tree (base BIGINT NOT NULL, size BIGINT NOT NULL, at_us BIGINT NOT NULL,"
    " nodes TEXT NOT NULL);"
    "INSERT INTO tree SELECT coalesce((SELECT max(seq) FROM usage WHERE seq > opening.seq),"
    " opening.seq), 0, 0, '' FROM opening;"
    "CREATE TABLE tree_node (level INTEGER NOT NULL, i BIGINT NOT NULL, hash TEXT NOT NULL,"
    " PRIMARY KEY (level, i));"
    "CREATE TABLE tree_head (size BIGINT NOT NULL PRIMARY KEY, at_s BIGINT NOT NULL,"
    " root TEXT NOT NULL, public_key TEXT NOT NULL, signature TEXT NOT NULL);";

/* What buyers of last resort took (taken_log.h). */
static const char version_11[] =
    "CREATE TABLE taken (seq BIGINT NOT NULL PRIMARY KEY, chain TEXT NOT NULL,"
    " at_us BIGINT NOT NULL, contract TEXT NOT NULL, tranche TEXT NOT NULL, site TEXT NOT NULL,"
    " currency TEXT NOT NULL, from_us BIGINT NOT NULL, until_us BIGINT NOT NULL,"
    " joules BIGINT NOT NULL, price BIGINT NOT NULL);"
    "CREATE INDEX taken_contract_from ON taken (contract, from_us);"
    "CREATE INDEX taken_site_from ON taken (site, from_us);";

/* The log of power: the tree over its rows that come from now on. */
static const char version_12[] =
    "ALTER TABLE power ADD COLUMN salt TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE power_tree (base BIGINT NOT NULL, size BIGINT NOT NULL, at_us BIGINT NOT NULL,"
    " nodes TEXT NOT NULL);"
    "INSERT INTO power_tree SELECT coalesce(max(seq), 0), 0, 0, '' FROM power;"
    "CREATE TABLE power_tree_node (level INTEGER NOT NULL, i BIGINT NOT NULL, hash TEXT NOT NULL,"
    " PRIMARY KEY (level, i));"
    "CREATE TABLE power_tree_head (size BIGINT NOT NULL PRIMARY KEY, at_s BIGINT NOT NULL,"
    " root TEXT NOT NULL, public_key TEXT NOT NULL, signature TEXT NOT NULL);";

/* What each version added; the last makes LEDGER_SCHEMA. */
static const char *const versions[LEDGER_SCHEMA] = {version_1, version_2,  version_3,  version_4,
                                                    version_5, version_6,  version_7,  version_8,
                                                    version_9, version_10, version_11, version_12};

static int bring_up(struct sql *db, struct err *e)
{
    int version = 0, r = sql_version(db, &version, e); /* another may have been here meanwhile */

    for (int i = version; !r && i < LEDGER_SCHEMA; i++)
        r = sql_make(db, versions[i], e);
    if (!r && version < LEDGER_SCHEMA)
        r = sql_set_version(db, LEDGER_SCHEMA, e);
    return r;
}

int ledger_sql_tables(struct sql *db, const char *where, struct err *e)
{
    int version = 0, r = sql_version(db, &version, e);

    if (!r && (version < 0 || version > LEDGER_SCHEMA))
        return err_set(e, ERR_FORMAT, "ledger %s: written by another version (schema %d, not %d)",
                       sql_name(where), version, LEDGER_SCHEMA);
    if (r || version == LEDGER_SCHEMA)
        return r;
    r = sql_begin_alone(db, e);
    if (r)
        return r;
    r = bring_up(db, e);
    if (!r)
        return sql_commit(db, e);
    sql_rollback(db);
    return r;
}

/* ---- rows ------------------------------------------------------------------------------------ */

enum kind { TEXT, LONG, INT };

static const struct field {
    enum kind kind;
    size_t at, size;
} fields[LEDGER_SEQ] = {
#define FIELD(kind, name)                                                                          \
    {kind, offsetof(struct books_row, name), sizeof((struct books_row *)NULL)->name},
    LEDGER_FIELDS(FIELD)
#undef FIELD
};

static const void *of(const struct books_row *r, const struct field *f)
{
    return (const char *)r + f->at;
}

static int64_t number_of(const struct books_row *r, const struct field *f)
{
    return f->kind == INT ? *(const int *)of(r, f) : *(const int64_t *)of(r, f);
}

void ledger_sql_values(const struct books_row *r, struct sql_value ret[LEDGER_SEQ])
{
    for (int i = 0; i < LEDGER_SEQ; i++)
        ret[i] = fields[i].kind == TEXT ? SQL_TEXT(of(r, &fields[i]))
                                        : SQL_NUMBER(number_of(r, &fields[i]));
}

void ledger_sql_text(char *to, size_t cap, const struct sql_row *s, int i_column)
{
    snprintf(to, cap, "%s", sql_text(s, i_column));
}

void ledger_row_unmeasured(struct books_row *r)
{
    r->energy_uj = 0;
    r->energy_boundary = r->energy_method = r->energy_uncertainty = 0;
    r->carbon_location_ug = r->carbon_market_ug = -1;
    r->site[0] = r->contract[0] = r->tranche[0] = 0;
    r->lent = 0;
    r->salt[0] = r->weights[0] = r->engine[0] = r->sampling[0] = 0;
    r->prompt_hash[0] = r->output_hash[0] = r->price_book[0] = 0;
}

void ledger_sql_read(const struct sql_row *s, struct books_row *ret)
{
    *ret = (struct books_row){0};
    for (int i = 0; i < LEDGER_SEQ; i++) {
        char *to = (char *)ret + fields[i].at;
        if (fields[i].kind == TEXT)
            ledger_sql_text(to, fields[i].size, s, i);
        else if (fields[i].kind == INT)
            *(int *)(void *)to = (int)sql_number(s, i);
        else
            *(int64_t *)(void *)to = sql_number(s, i);
    }
}

int ledger_sql_same(const struct books_row *a, const struct books_row *b)
{
    for (int i = 0; i < LEDGER_SEQ; i++) {
        const struct field *f = &fields[i];
        if (f->kind == TEXT ? strcmp(of(a, f), of(b, f)) != 0 : number_of(a, f) != number_of(b, f))
            return 0;
    }
    return 1;
}

int ledger_sql_is_clean(const struct books_row *r)
{
    for (int i = 0; i < LEDGER_SEQ; i++) {
        const char *text = of(r, &fields[i]);
        if (fields[i].kind == TEXT && !utf8_valid(text, strlen(text), NULL))
            return 0;
    }
    return 1;
}

void ledger_sql_clean(struct books_row *r)
{
    for (int i = 0; i < LEDGER_SEQ; i++) {
        if (fields[i].kind == TEXT)
            utf8_clean((char *)r + fields[i].at);
    }
}

/* ---- statements ------------------------------------------------------------------------------ */

#define PARAMETER_MAX 8 /* "),($1024" */

/* "(", "," or "),(", and "$27" behind it. */
static char *put_parameter(char *to, const char *before, int number)
{
    char digits[8];
    int n = 0;

    while (*before)
        *to++ = *before++;
    *to++ = '$';
    for (; number; number /= 10)
        digits[n++] = (char)('0' + number % 10);
    while (n)
        *to++ = digits[--n];
    return to;
}

static void put_text(char *sql, size_t cap, const char *head, const char *tail, int n_columns,
                     int n_rows)
{
    size_t len = (size_t)snprintf(sql, cap, "%s VALUES ", head);
    char *to = sql + len;

    CHECK(len + (size_t)(n_columns * n_rows) * PARAMETER_MAX + strlen(tail) + 2 < cap);
    for (int i = 0; i < n_columns * n_rows; i++)
        to = put_parameter(to, !i ? "(" : i % n_columns ? "," : "),(", i + 1);
    *to++ = ')';
    memcpy(to, tail, strlen(tail) + 1);
}

int ledger_sql_put(struct sql *db, const char *head, const char *tail, const struct sql_value *v,
                   int n_columns, int n_rows, struct err *e)
{
    char sql[LEDGER_TOGETHER * LEDGER_N_COLUMNS * PARAMETER_MAX + 1600];
    int r = 0, n;

    _Static_assert(LEDGER_TOGETHER * LEDGER_N_COLUMNS <= SQL_PARAMETERS_MAX, "rows of a statement");
    /* Few lengths, so that SQLite has a statement of each prepared. */
    for (; !r && n_rows; n_rows -= n, v += n * n_columns) {
        for (n = LEDGER_TOGETHER; n > n_rows; n /= 2)
            ;
        put_text(sql, sizeof sql, head, tail, n_columns, n);
        r = sql_run(db, sql, v, n * n_columns, NULL, e);
    }
    return r;
}

static void add_value(struct ledger_where *x, const char *before, struct sql_value v,
                      const char *after)
{
    size_t len = strlen(x->text);

    x->v[x->n++] = v;
    snprintf(x->text + len, sizeof x->text - len, "%s$%d%s", before, x->n, after);
}

void ledger_sql_where(struct ledger_where *ret, const struct books_where *w)
{
    const struct {
        const char *text, *before, *after;
    } texts[] = {
        {w->tenant, " AND tenant = ", ""},
        {w->key_id, " AND key_id = ", ""},
        {w->model, " AND model = ", ""},
        {w->supplier, " AND supplier = ", ""},
        {w->team, " AND team = ", ""},
        {w->site, " AND site = ", ""},
        {w->contract, " AND contract = ", ""},
        /* Taken out of the list, something is missing: it was in. */
        {w->label, " AND replace(',' || labels || ',', ',' || CAST(",
         " AS TEXT) || ',', '') <> ',' || labels || ','"},
    };

    *ret = (struct ledger_where){.n = 0};
    add_value(ret, "at_us >= ", SQL_NUMBER(w->from_s * 1000000), "");
    if (w->until_s)
        add_value(ret, " AND at_us < ", SQL_NUMBER(w->until_s * 1000000), "");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i].text)
            add_value(ret, texts[i].before, SQL_TEXT(texts[i].text), texts[i].after);
    }
    if (w->only_pending)
        snprintf(ret->text + strlen(ret->text), sizeof ret->text - strlen(ret->text), " AND %s",
                 LEDGER_PENDING);
}

void ledger_sql_day(int64_t day, char ret[LEDGER_DAY_TEXT])
{
    time_t t = (time_t)day * 86400;
    struct tm tm = {0};

    if (day >= 2932897 || !gmtime_r(&t, &tm)) /* behind the year 9999 */
        snprintf(ret, LEDGER_DAY_TEXT, "9999-12-31");
    else
        strftime(ret, LEDGER_DAY_TEXT, "%Y-%m-%d", &tm);
}

/* ---- the chain ------------------------------------------------------------------------------- */

/* Texts end with a NUL, so that no two rows have one form. */
static void hash_text(crypto_generichash_state *h, const char *s)
{
    crypto_generichash_update(h, (const unsigned char *)s, strlen(s) + 1);
}

/* Is there what rows of version 7 did not have? */
static int is_measured(const struct books_row *r)
{
    return r->energy_boundary || r->energy_method || r->energy_uncertainty || *r->site ||
           r->carbon_location_ug != -1 || r->carbon_market_ug != -1;
}

/* Is there what rows of version 8 did not have? It begins with a byte that no text has. */
static void hash_contract(crypto_generichash_state *h, const struct books_row *r)
{
    const unsigned char mark = 0xff;
    const int64_t lent = r->lent;

    if (!*r->contract && !*r->tranche && !lent)
        return;
    crypto_generichash_update(h, &mark, 1);
    hash_text(h, r->contract);
    hash_text(h, r->tranche);
    crypto_generichash_update(h, (const unsigned char *)&lent, sizeof lent);
}

/* Rows of versions without a log of answers have no salt, and keep their links. */
static void hash_log_texts(crypto_generichash_state *h, const struct books_row *r)
{
    const char *const texts[] = {r->salt,        r->weights,     r->engine,    r->sampling,
                                 r->prompt_hash, r->output_hash, r->price_book};
    const unsigned char mark = 0xfe;

    if (!*r->salt)
        return;
    crypto_generichash_update(h, &mark, 1);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        hash_text(h, texts[i]);
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
    const int64_t measured[] = {r->energy_boundary, r->energy_method, r->energy_uncertainty,
                                r->carbon_location_ug, r->carbon_market_ug};
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
    if (is_measured(r)) {
        hash_text(&h, r->site);
        crypto_generichash_update(&h, (const unsigned char *)measured, sizeof measured);
    }
    hash_contract(&h, r);
    hash_log_texts(&h, r);
    crypto_generichash_final(&h, ret, LEDGER_CHAIN_SIZE);
}
