#include "cloud/accounts_sql.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/json_write.h"
#include "base/rand.h"

#define TABLES_TRIES 3

/* Of account: kind and state as the enums have them; gen is the generation of its last change. A
 * secret belongs to a key; request names the rotation that made it. Of site: what operators say;
 * "" nothing. Schema 1 had no sites, 2 no contracts, 3 no measurements, 4 no calls of the grid
 * (curtailment); audit_seq is the line of a version or a measurement. */
static const char tables[] =
    "CREATE TABLE IF NOT EXISTS meta (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS account (kind INTEGER NOT NULL, id TEXT NOT NULL,"
    " tenant TEXT NOT NULL, team TEXT NOT NULL, state INTEGER NOT NULL, created_s BIGINT NOT NULL,"
    " gen BIGINT NOT NULL, PRIMARY KEY (kind, id));"
    "CREATE INDEX IF NOT EXISTS account_gen ON account (gen);"
    "CREATE INDEX IF NOT EXISTS account_tenant ON account (tenant, kind);"
    "CREATE TABLE IF NOT EXISTS setting (kind INTEGER NOT NULL, id TEXT NOT NULL,"
    " name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, id, name));"
    "CREATE TABLE IF NOT EXISTS salt (id BIGINT NOT NULL PRIMARY KEY, salt TEXT NOT NULL UNIQUE);"
    "CREATE TABLE IF NOT EXISTS secret (hash TEXT NOT NULL PRIMARY KEY, key_id TEXT NOT NULL,"
    " salt BIGINT NOT NULL, not_after_s BIGINT NOT NULL, made_s BIGINT NOT NULL,"
    " request TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS secret_key ON secret (key_id);"
    "CREATE TABLE IF NOT EXISTS audit (seq BIGINT NOT NULL PRIMARY KEY, at_s BIGINT NOT NULL,"
    " actor TEXT NOT NULL, action TEXT NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL,"
    " before TEXT NOT NULL, after TEXT NOT NULL, link TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS site (name TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL,"
    " factor TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS contract (name TEXT NOT NULL, version BIGINT NOT NULL,"
    " effective_s BIGINT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL,"
    " audit_seq BIGINT NOT NULL, PRIMARY KEY (name, version));"
    "CREATE TABLE IF NOT EXISTS measurement (id BIGINT NOT NULL PRIMARY KEY,"
    " contract TEXT NOT NULL, text TEXT NOT NULL, signature TEXT NOT NULL,"
    " public_key TEXT NOT NULL, audit_seq BIGINT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS curtailment (id BIGINT NOT NULL PRIMARY KEY, site TEXT NOT NULL,"
    " called_s BIGINT NOT NULL, from_s BIGINT NOT NULL, until_s BIGINT NOT NULL,"
    " cancelled_s BIGINT NOT NULL, ramp_us BIGINT NOT NULL, target TEXT NOT NULL,"
    " is_short BIGINT NOT NULL);"
    "INSERT INTO meta VALUES ('generation', 0) ON CONFLICT (name) DO NOTHING;"
    "INSERT INTO meta VALUES ('closed', 0) ON CONFLICT (name) DO NOTHING;";

static int take_number(void *arg, const struct sql_row *r)
{
    *(int64_t *)arg = sql_number(r, 0);
    return 0;
}

int accounts_sql_meta(struct sql *db, const char *name, int64_t *ret, struct err *e)
{
    int64_t n = -1;
    int r = sql_each(db, "SELECT value FROM meta WHERE name = $1",
                     (struct sql_value[]){SQL_TEXT(name)}, 1, take_number, &n, e);

    if (r)
        return r;
    if (n < 0)
        return err_set(e, ERR_NOTFOUND, "the store has no %s", name);
    *ret = n;
    return 0;
}

static int make_tables(struct sql *db, struct err *e)
{
    int r = sql_begin(db, e);

    if (r)
        return r;
    r = sql_exec(db, tables, e);
    if (!r)
        r = sql_run(db,
                    "INSERT INTO meta VALUES ('schema', $1) ON CONFLICT (name) DO UPDATE SET"
                    " value = excluded.value WHERE meta.value < excluded.value",
                    (struct sql_value[]){SQL_NUMBER(ACCOUNTS_SCHEMA)}, 1, NULL, e);
    if (!r)
        return sql_commit(db, e);
    sql_rollback(db);
    return r;
}

int accounts_sql_tables(struct sql *db, struct err *e)
{
    int64_t version = 0;
    int r = accounts_sql_meta(db, "schema", &version, e);

    /* Others may make them at the same time; then one of us fails, and finds theirs. */
    for (int i = 0; (r || version < ACCOUNTS_SCHEMA) && i < TABLES_TRIES; i++) {
        r = make_tables(db, e);
        if (!r)
            r = accounts_sql_meta(db, "schema", &version, e);
    }
    if (!r && version != ACCOUNTS_SCHEMA)
        r = err_set(e, ERR_FORMAT, "accounts: written by another version (schema %lld, not %d)",
                    (long long)version, ACCOUNTS_SCHEMA);
    return r;
}

int accounts_sql_begin(struct sql *db, int64_t *ret_generation, struct err *e)
{
    int r = sql_begin(db, e);

    if (r)
        return r;
    /* Who changes waits here for others that change. */
    r = sql_run(db, "UPDATE meta SET value = value + 1 WHERE name = 'generation'", NULL, 0, NULL,
                e);
    if (!r)
        r = accounts_sql_meta(db, "generation", ret_generation, e);
    if (r)
        sql_rollback(db);
    return r;
}

int accounts_sql_put_account(struct sql *db, const struct account_row *r, int64_t generation,
                             struct err *e)
{
    const struct sql_value v[] = {
        SQL_NUMBER(r->kind),  SQL_TEXT(r->id),          SQL_TEXT(r->tenant),   SQL_TEXT(r->team),
        SQL_NUMBER(r->state), SQL_NUMBER(r->created_s), SQL_NUMBER(generation)};

    return sql_run(db,
                   "INSERT INTO account (kind, id, tenant, team, state, created_s, gen)"
                   " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, id) DO UPDATE SET"
                   " tenant = excluded.tenant, team = excluded.team, state = excluded.state,"
                   " created_s = excluded.created_s, gen = excluded.gen",
                   v, 7, NULL, e);
}

int accounts_sql_put_settings(struct sql *db, const struct account_row *row, struct err *e)
{
    char text[ACCOUNT_TEXT_MAX];
    int r = sql_run(db, "DELETE FROM setting WHERE kind = $1 AND id = $2",
                    (struct sql_value[]){SQL_NUMBER(row->kind), SQL_TEXT(row->id)}, 2, NULL, e);

    for (int i = 0; !r && i < account_n_fields; i++) {
        const struct account_field *f = &account_fields[i];
        if (account_field_show(&row->settings, f, text))
            r = sql_run(db, "INSERT INTO setting (kind, id, name, value) VALUES ($1, $2, $3, $4)",
                        (struct sql_value[]){SQL_NUMBER(row->kind), SQL_TEXT(row->id),
                                             SQL_TEXT(f->name), SQL_TEXT(text)},
                        4, NULL, e);
    }
    return r;
}

/* ---- secrets --------------------------------------------------------------------------------- */

struct salt {
    int64_t id;
    char hex[65];
};

static int take_salt(void *arg, const struct sql_row *r)
{
    struct salt *s = arg;

    s->id = sql_number(r, 0);
    snprintf(s->hex, sizeof s->hex, "%s", sql_text(r, 1));
    return 0;
}

static int make_salt(struct sql *db, const char *hex, struct salt *ret, struct err *e)
{
    unsigned char bytes[32];
    int64_t last = 0;
    int r = sql_each(db, "SELECT coalesce(max(id), 0) FROM salt", NULL, 0, take_number, &last, e);

    if (r)
        return r;
    if (!hex && rand_system(bytes, sizeof bytes))
        return err_set(e, ERR_IO, "no random bytes from the system");
    ret->id = last + 1;
    if (hex)
        snprintf(ret->hex, sizeof ret->hex, "%s", hex);
    else
        sodium_bin2hex(ret->hex, sizeof ret->hex, bytes, sizeof bytes);
    return sql_run(db, "INSERT INTO salt (id, salt) VALUES ($1, $2)",
                   (struct sql_value[]){SQL_NUMBER(ret->id), SQL_TEXT(ret->hex)}, 2, NULL, e);
}

int accounts_sql_salt(struct sql *db, const char *hex, int64_t *ret_id, unsigned char ret[32],
                      struct err *e)
{
    struct salt s = {0};
    size_t n = 0;
    int r =
        hex ? sql_each(db, "SELECT id, salt FROM salt WHERE salt = $1",
                       (struct sql_value[]){SQL_TEXT(hex)}, 1, take_salt, &s, e)
            : sql_each(db, "SELECT id, salt FROM salt ORDER BY id DESC", NULL, 0, take_salt, &s, e);

    if (!r && !s.id)
        r = make_salt(db, hex, &s, e);
    if (!r && (sodium_hex2bin(ret, 32, s.hex, strlen(s.hex), NULL, &n, NULL) || n != 32))
        r = err_set(e, ERR_FORMAT, "the store's salt %" PRId64 " is not 64 hex digits", s.id);
    if (!r)
        *ret_id = s.id;
    return r;
}

int accounts_sql_put_secret(struct sql *db, const char *key_id, const char *hash, int64_t salt,
                            const char *request, int64_t now_s, struct err *e)
{
    return sql_run(db,
                   "INSERT INTO secret (hash, key_id, salt, not_after_s, made_s, request)"
                   " VALUES ($1, $2, $3, 0, $4, $5)",
                   (struct sql_value[]){SQL_TEXT(hash), SQL_TEXT(key_id), SQL_NUMBER(salt),
                                        SQL_NUMBER(now_s), SQL_TEXT(request ? request : "")},
                   5, NULL, e);
}

/* ---- the audit log --------------------------------------------------------------------------- */

void accounts_sql_json(const struct account_row *r, char ret[ACCOUNTS_AUDIT_MAX])
{
    char text[ACCOUNT_TEXT_MAX];
    struct buf b;
    int n = 0;

    buf_init(&b, ACCOUNTS_AUDIT_MAX - 1);
    buf_add_char(&b, '{');
    if (r->kind == ACCOUNT_KEY) {
        buf_add_str(&b, "\"tenant\":");
        json_put_str(&b, r->tenant);
        if (*r->team) {
            buf_add_str(&b, ",\"team\":");
            json_put_str(&b, r->team);
        }
        buf_addf(&b, ",\"state\":\"%s\"", account_state_name(r->state));
        n = 1;
    }
    for (int i = 0; i < account_n_fields; i++) {
        if (!account_field_show(&r->settings, &account_fields[i], text))
            continue;
        buf_addf(&b, "%s\"%s\":", n++ ? "," : "", account_fields[i].name);
        json_put_str(&b, text);
    }
    buf_add_char(&b, '}');
    snprintf(ret, ACCOUNTS_AUDIT_MAX, "%s", b.failed ? "{\"too\":\"long\"}" : b.data);
    buf_done(&b);
}

struct last {
    int64_t seq;
    char link[65];
};

static int take_last(void *arg, const struct sql_row *r)
{
    struct last *l = arg;

    l->seq = sql_number(r, 0);
    snprintf(l->link, sizeof l->link, "%s", sql_text(r, 1));
    return 0;
}

int accounts_sql_log(struct sql *db, const struct account_who *w, const char *action, int kind,
                     const char *id, const char *before, const char *after, struct err *e)
{
    struct last last = {0};
    struct account_audit l;
    char link[65];
    int r = sql_each(db, "SELECT seq, link FROM audit ORDER BY seq DESC LIMIT 1", NULL, 0,
                     take_last, &last, e);

    if (r)
        return r;
    l = (struct account_audit){.seq = last.seq + 1,
                               .at_s = w->now_s,
                               .actor = w->actor,
                               .action = action,
                               .kind = kind,
                               .id = id,
                               .before = before,
                               .after = after};
    accounts_audit_link(last.link, &l, link);
    return sql_run(db,
                   "INSERT INTO audit (seq, at_s, actor, action, kind, id, before, after, link)"
                   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                   (struct sql_value[]){SQL_NUMBER(l.seq), SQL_NUMBER(l.at_s), SQL_TEXT(l.actor),
                                        SQL_TEXT(l.action), SQL_NUMBER(l.kind), SQL_TEXT(l.id),
                                        SQL_TEXT(l.before), SQL_TEXT(l.after), SQL_TEXT(link)},
                   9, NULL, e);
}
