/* Changing the store: each change is checked, written and logged in one transaction. */
#include "cloud/accounts.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cloud/accounts_sql.h"
#include "cloud/keyring.h"

int accounts_open(struct accounts **ret, const char *where, struct err *e)
{
    struct accounts *a;
    int r;

    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "no random bytes from the system");
    a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "out of memory");
    r = sql_open(&a->db, where, e);
    if (!r)
        r = accounts_sql_tables(a->db, e);
    if (r)
        accounts_close(a);
    else
        *ret = a;
    return r;
}

void accounts_close(struct accounts *a)
{
    if (a)
        sql_close(a->db);
    free(a);
}

/* ---- parts of a change ----------------------------------------------------------------------- */

/* A change under way: its generation, and the account as it was and as it will be. */
struct doing {
    struct accounts *a;
    const struct account_who *w;
    int64_t generation;
    struct account_row row;
    char before[ACCOUNTS_AUDIT_MAX], after[ACCOUNTS_AUDIT_MAX];
};

static int begin(struct doing *d, struct accounts *a, const struct account_who *w, struct err *e)
{
    d->a = a;
    d->w = w;
    d->row = (struct account_row){.settings = account_unsaid()};
    d->before[0] = d->after[0] = 0;
    return accounts_sql_begin(a->db, &d->generation, e);
}

/* Log it and commit, or take all of it back. */
static int finish(struct doing *d, const char *action, int r, struct err *e)
{
    if (!r) {
        if (d->row.state != ACCOUNT_REMOVED)
            accounts_sql_json(&d->row, d->after);
        r = accounts_sql_log(d->a->db, d->w, action, (int)d->row.kind, d->row.id, d->before,
                             d->after, e);
    }
    if (!r)
        r = sql_commit(d->a->db, e);
    else
        sql_rollback(d->a->db);
    account_done(&d->row.settings);
    return r;
}

/* The account that is to be changed, as it is. */
static int find(struct doing *d, enum account_kind kind, const char *id, struct err *e)
{
    int r = accounts_get(d->a, kind, id, &d->row, e);

    if (!r)
        accounts_sql_json(&d->row, d->before);
    return r;
}

static int apply(struct account_row *row, const struct account_change *c, int n, struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < n; i++) { /* what goes first, so that a currency can be another */
        const struct account_field *f = account_field_find(c[i].field);
        if (!f || !(f->kinds & 1u << row->kind))
            r = err_set_param(e, ERR_ARG, c[i].field, "%.60s is not a setting of a %s", c[i].field,
                              account_kind_name(row->kind));
        else
            account_field_unset(&row->settings, f);
    }
    if (!r && row->settings.budget < 0 && row->settings.budget_per_day < 0 &&
        row->settings.budget_per_week < 0 && row->settings.budget_per_month < 0)
        row->settings.currency[0] = 0;
    for (int i = 0; !r && i < n; i++) {
        if (c[i].text)
            r = account_field_set(&row->settings, account_field_find(c[i].field), c[i].text, e);
        if (r)
            snprintf(e->param, sizeof e->param, "%s", c[i].field);
    }
    return r;
}

static int put(struct doing *d, struct err *e)
{
    int r = accounts_sql_put_account(d->a->db, &d->row, d->generation, e);

    return r ? r : accounts_sql_put_settings(d->a->db, &d->row, e);
}

static int bad_name(enum account_kind kind, struct err *e)
{
    return err_set(e, ERR_ARG, "a %s's name is letters, digits and - _ . : (at most %d)",
                   account_kind_name(kind), ACCOUNT_NAME_MAX - 1);
}

/* Is the name free? */
static int is_free(struct doing *d, enum account_kind kind, const char *id, struct err *e)
{
    struct account_row there;
    struct err none;
    int r = accounts_get(d->a, kind, id, &there, &none);

    if (r == ERR_NOTFOUND)
        return 0;
    if (r) {
        *e = none;
        return r;
    }
    account_done(&there.settings);
    return err_set(e, ERR_EXISTS, "There is a %s '%s' already.", account_kind_name(kind), id);
}

static int is_there(struct doing *d, enum account_kind kind, const char *id, struct err *e)
{
    struct account_row there;
    int r = accounts_get(d->a, kind, id, &there, e);

    if (!r)
        account_done(&there.settings);
    return r;
}

/* ---- tenants and teams ----------------------------------------------------------------------- */

/* "tenant/team" in its two names. */
static int split(const char *id, char tenant[ACCOUNT_NAME_MAX], struct err *e)
{
    size_t n = strcspn(id, "/");

    if (!id[n] || n >= ACCOUNT_NAME_MAX)
        return err_set(e, ERR_ARG, "a team is named with its tenant: TENANT/TEAM");
    snprintf(tenant, ACCOUNT_NAME_MAX, "%.*s", (int)n, id);
    return account_name_ok(tenant) && account_name_ok(id + n + 1) ? 0 : bad_name(ACCOUNT_TEAM, e);
}

static int new_account(struct doing *d, enum account_kind kind, const char *id,
                       const struct account_change *c, int n, struct err *e)
{
    int r = is_free(d, kind, id, e);

    d->row.kind = kind;
    d->row.created_s = d->w->now_s;
    snprintf(d->row.id, sizeof d->row.id, "%s", id);
    snprintf(d->row.tenant, sizeof d->row.tenant, "%.*s", (int)strcspn(id, "/"), id);
    if (!r && kind == ACCOUNT_TEAM)
        r = is_there(d, ACCOUNT_TENANT, d->row.tenant, e);
    if (!r)
        r = apply(&d->row, c, n, e);
    return r ? r : put(d, e);
}

int accounts_new(struct accounts *a, const struct account_who *w, enum account_kind kind,
                 const char *id, const struct account_change *c, int n, struct err *e)
{
    char tenant[ACCOUNT_NAME_MAX];
    struct doing d;
    int r = kind == ACCOUNT_TEAM  ? split(id, tenant, e)
            : account_name_ok(id) ? 0
                                  : bad_name(kind, e);

    if (!r)
        r = begin(&d, a, w, e);
    return r ? r : finish(&d, "new", new_account(&d, kind, id, c, n, e), e);
}

int accounts_set(struct accounts *a, const struct account_who *w, enum account_kind kind,
                 const char *id, const struct account_change *c, int n, struct err *e)
{
    struct doing d;
    int r = begin(&d, a, w, e);

    if (r)
        return r;
    r = find(&d, kind, id, e);
    if (!r)
        r = apply(&d.row, c, n, e);
    if (!r)
        r = put(&d, e);
    return finish(&d, "set", r, e);
}

static int take_count(void *arg, const struct sql_row *r)
{
    *(int64_t *)arg = sql_number(r, 0);
    return 0;
}

/* Has it nothing that would be left alone? */
static int is_empty(struct doing *d, struct err *e)
{
    const char *of =
        d->row.kind == ACCOUNT_TENANT
            ? "SELECT count(*) FROM account WHERE tenant = $1 AND kind <> 0 AND state <> 2"
            : "SELECT count(*) FROM account WHERE team = $1 AND state <> 2";
    int64_t n = 0;
    int r = d->row.kind == ACCOUNT_KEY
                ? 0
                : sql_each(d->a->db, of, (struct sql_value[]){SQL_TEXT(d->row.id)}, 1, take_count,
                           &n, e);

    if (r || !n)
        return r;
    return err_set(e, ERR_EXISTS, "%s '%s' still has %lld key%s or teams: remove those first",
                   d->row.kind == ACCOUNT_TENANT ? "Tenant" : "Team", d->row.id, (long long)n,
                   plural((long long)n));
}

static int drop_secrets(struct doing *d, struct err *e)
{
    return sql_run(d->a->db, "DELETE FROM secret WHERE key_id = $1",
                   (struct sql_value[]){SQL_TEXT(d->row.id)}, 1, NULL, e);
}

int accounts_remove(struct accounts *a, const struct account_who *w, enum account_kind kind,
                    const char *id, struct err *e)
{
    struct doing d;
    int r = begin(&d, a, w, e);

    if (r)
        return r;
    r = find(&d, kind, id, e);
    if (!r)
        r = is_empty(&d, e);
    if (!r && kind == ACCOUNT_KEY)
        r = drop_secrets(&d, e);
    account_done(&d.row.settings);
    d.row.state = ACCOUNT_REMOVED;
    if (!r)
        r = put(&d, e);
    return finish(&d, "rm", r, e);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int new_secret(struct doing *d, const char *request, char ret[ACCOUNTS_KEY_MAX],
                      struct err *e)
{
    unsigned char salt[32], hash[KEY_HASH_BYTES];
    char hex[2 * KEY_HASH_BYTES + 1];
    int64_t i_salt = 0;
    int r = accounts_sql_salt(d->a->db, NULL, &i_salt, salt, e);

    if (!r)
        r = key_text_new(ret, e);
    if (r)
        return r;
    key_hash(salt, ret, strlen(ret), hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    return accounts_sql_put_secret(d->a->db, d->row.id, hex, i_salt, request, d->w->now_s, e);
}

static int close_door(struct doing *d, struct err *e)
{
    return sql_run(d->a->db, "UPDATE meta SET value = 1 WHERE name = 'closed'", NULL, 0, NULL, e);
}

static int new_key(struct doing *d, const char *id, const char *tenant, const char *team,
                   const struct account_change *c, int n, char ret[ACCOUNTS_KEY_MAX], struct err *e)
{
    int r;

    d->row.kind = ACCOUNT_KEY;
    d->row.created_s = d->w->now_s;
    snprintf(d->row.id, sizeof d->row.id, "%s", id);
    snprintf(d->row.tenant, sizeof d->row.tenant, "%s", tenant);
    if (team)
        snprintf(d->row.team, sizeof d->row.team, "%s/%s", tenant, team);
    r = is_free(d, ACCOUNT_KEY, id, e);
    if (!r && strcmp(tenant, CLOUD_DEFAULT_TENANT)) /* that is always there */
        r = is_there(d, ACCOUNT_TENANT, tenant, e);
    if (!r && team)
        r = is_there(d, ACCOUNT_TEAM, d->row.team, e);
    if (!r)
        r = apply(&d->row, c, n, e);
    if (!r)
        r = put(d, e);
    if (!r)
        r = new_secret(d, NULL, ret, e);
    return r ? r : close_door(d, e);
}

int accounts_new_key(struct accounts *a, const struct account_who *w, const char *id,
                     const char *tenant, const char *team, const struct account_change *c, int n,
                     char ret[ACCOUNTS_KEY_MAX], struct err *e)
{
    struct doing d;
    int r;

    if (!account_name_ok(id))
        return bad_name(ACCOUNT_KEY, e);
    if (!account_name_ok(tenant))
        return bad_name(ACCOUNT_TENANT, e);
    if (team && !account_name_ok(team))
        return bad_name(ACCOUNT_TEAM, e);
    r = begin(&d, a, w, e);
    return r ? r : finish(&d, "new", new_key(&d, id, tenant, team, c, n, ret, e), e);
}

/* Those of before end when the overlap does; the ones that have ended already are dropped. */
static int end_others(struct doing *d, int64_t overlap_s, struct err *e)
{
    int64_t n = 0, now = d->w->now_s;
    int r = sql_run(
        d->a->db, "DELETE FROM secret WHERE key_id = $1 AND not_after_s > 0 AND not_after_s <= $2",
        (struct sql_value[]){SQL_TEXT(d->row.id), SQL_NUMBER(now)}, 2, NULL, e);

    if (!r && overlap_s > 0)
        r = sql_run(
            d->a->db, "UPDATE secret SET not_after_s = $2 WHERE key_id = $1 AND not_after_s = 0",
            (struct sql_value[]){SQL_TEXT(d->row.id), SQL_NUMBER(now + overlap_s)}, 2, NULL, e);
    else if (!r)
        r = sql_run(d->a->db, "DELETE FROM secret WHERE key_id = $1 AND not_after_s = 0",
                    (struct sql_value[]){SQL_TEXT(d->row.id)}, 1, NULL, e);
    if (!r)
        r = sql_each(d->a->db, "SELECT count(*) FROM secret WHERE key_id = $1",
                     (struct sql_value[]){SQL_TEXT(d->row.id)}, 1, take_count, &n, e);
    if (!r && n >= ACCOUNTS_SECRETS_MAX)
        r = err_set(e, ERR_LIMIT, "key '%s' has %d secrets that are still good: wait for their end",
                    d->row.id, ACCOUNTS_SECRETS_MAX);
    return r;
}

static int rotate(struct doing *d, const char *id, int64_t overlap_s, const char *request,
                  char ret[ACCOUNTS_KEY_MAX], struct err *e)
{
    int64_t replaced = 0;
    int r = find(d, ACCOUNT_KEY, id, e);

    if (!r && d->row.state != ACCOUNT_ACTIVE)
        r = err_set(e, ERR_EXISTS, "key '%s' is revoked: make another", id);
    if (!r && request)
        r = sql_run(d->a->db, "DELETE FROM secret WHERE key_id = $1 AND request = $2",
                    (struct sql_value[]){SQL_TEXT(id), SQL_TEXT(request)}, 2, &replaced, e);
    if (!r && !replaced)
        r = end_others(d, overlap_s, e);
    if (!r)
        r = put(d, e);
    return r ? r : new_secret(d, request, ret, e);
}

int accounts_rotate(struct accounts *a, const struct account_who *w, const char *id,
                    int64_t overlap_s, const char *request, char ret[ACCOUNTS_KEY_MAX],
                    struct err *e)
{
    struct doing d;
    int r;

    if (overlap_s < 0 || overlap_s > ACCOUNTS_OVERLAP_MAX)
        return err_set(e, ERR_ARG, "the overlap is 0 to %lld seconds",
                       (long long)ACCOUNTS_OVERLAP_MAX);
    if (request && (!*request || strlen(request) >= ACCOUNTS_REQUEST_MAX))
        return err_set(e, ERR_ARG, "an idempotency key has 1 to %d bytes",
                       ACCOUNTS_REQUEST_MAX - 1);
    r = begin(&d, a, w, e);
    return r ? r : finish(&d, "rotate", rotate(&d, id, overlap_s, request, ret, e), e);
}

int accounts_revoke(struct accounts *a, const struct account_who *w, const char *id, struct err *e)
{
    struct doing d;
    int r = begin(&d, a, w, e);

    if (r)
        return r;
    r = find(&d, ACCOUNT_KEY, id, e);
    if (!r)
        r = drop_secrets(&d, e);
    d.row.state = ACCOUNT_REVOKED;
    if (!r)
        r = put(&d, e);
    return finish(&d, "revoke", r, e);
}

/* ---- a keys file ----------------------------------------------------------------------------- */

static int import_tenant(struct doing *d, struct key_tenant *t, struct err *e)
{
    int r = is_free(d, ACCOUNT_TENANT, t->name, e);

    d->row = (struct account_row){
        .kind = ACCOUNT_TENANT, .created_s = d->w->now_s, .settings = t->settings};
    snprintf(d->row.id, sizeof d->row.id, "%s", t->name);
    snprintf(d->row.tenant, sizeof d->row.tenant, "%s", t->name);
    return r ? r : put(d, e);
}

static int import_key(struct doing *d, struct key_table *t, struct key_line *k, int64_t i_salt,
                      struct err *e)
{
    char hex[2 * KEY_HASH_BYTES + 1];
    int r = is_free(d, ACCOUNT_KEY, k->id, e);

    d->row = (struct account_row){
        .kind = ACCOUNT_KEY, .created_s = d->w->now_s, .settings = k->settings};
    snprintf(d->row.id, sizeof d->row.id, "%s", k->id);
    snprintf(d->row.tenant, sizeof d->row.tenant, "%s", t->tenants[k->i_tenant].name);
    if (!r)
        r = put(d, e);
    sodium_bin2hex(hex, sizeof hex, k->hash, sizeof k->hash);
    return r ? r : accounts_sql_put_secret(d->a->db, k->id, hex, i_salt, NULL, d->w->now_s, e);
}

static int log_import(struct doing *d, struct err *e)
{
    accounts_sql_json(&d->row, d->after);
    return accounts_sql_log(d->a->db, d->w, "import", (int)d->row.kind, d->row.id, "", d->after, e);
}

/* A default tenant that no line of the file spoke of and no key has is not taken. */
static int is_used(const struct key_table *t, int i)
{
    char text[ACCOUNT_TEXT_MAX];

    for (int k = 0; k < t->n_lines; k++) {
        if (t->lines[k].i_tenant == i)
            return 1;
    }
    for (int f = 0; f < account_n_fields; f++) {
        if (account_field_show(&t->tenants[i].settings, &account_fields[f], text))
            return 1;
    }
    return i > 0;
}

static int import(struct doing *d, struct key_table *t, struct err *e)
{
    unsigned char bytes[32];
    char hex[2 * KEY_SALT_BYTES + 1];
    int64_t i_salt = 0;
    int r;

    sodium_bin2hex(hex, sizeof hex, t->salt, sizeof t->salt);
    r = accounts_sql_salt(d->a->db, hex, &i_salt, bytes, e);
    for (int i = 0; !r && i < t->n_tenants; i++) {
        r = is_used(t, i) ? import_tenant(d, &t->tenants[i], e) : 0;
        if (!r && is_used(t, i))
            r = log_import(d, e);
    }
    for (int i = 0; !r && i < t->n_lines; i++) {
        r = import_key(d, t, &t->lines[i], i_salt, e);
        if (!r)
            r = log_import(d, e);
    }
    return r || !t->n_lines ? r : close_door(d, e);
}

int accounts_import(struct accounts *a, const struct account_who *w, const char *path,
                    int *ret_keys, struct err *e)
{
    struct key_table *t = NULL;
    struct doing d;
    int r = key_table_load(&t, path, e);

    if (!r)
        r = begin(&d, a, w, e);
    if (r) {
        key_table_free(t);
        return r;
    }
    r = import(&d, t, e);
    if (r)
        sql_rollback(a->db);
    else
        r = sql_commit(a->db, e);
    if (!r)
        *ret_keys = t->n_lines;
    key_table_free(t);
    return r;
}
