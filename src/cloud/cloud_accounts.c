/* Keys and accounts of a running cloud: from the keys file and the store into the directory, and
 * from a request's key to what it gives. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/put.h"
#include "base/rand.h"
#include "cloud/cloud_int.h"
#include "cloud/keyring.h"

#define TELL_US INT64_C(30000000) /* between two log lines about a store that cannot be read */

/* What a source says of one account. */
struct saying {
    struct account *a;
    struct account_settings *said; /* NULL: it is gone */
};

/* ---- limits ---------------------------------------------------------------------------------- */

/* What an account used before, by the ledger. */
static int past_used(void *ctx, const struct holds_account *a, int64_t from_s, int64_t until_s,
                     int64_t ret[N_KINDS], struct err *e)
{
    static const enum books_by by[ACCOUNT_KINDS] = {BOOKS_BY_TENANT, BOOKS_BY_TEAM, BOOKS_BY_KEY};
    struct cloud *c = ctx;
    struct books_used used = {0};
    int r = c->past ? 0 : books_reader_open(&c->past, c->config.ledger_path, e);

    if (!r)
        r = books_used(c->past, by[a->kind], a->name, from_s * 1000000,
                       until_s < INT64_MAX / 1000000 ? until_s * 1000000 : INT64_MAX, &used, e);
    ret[OF_TOKENS] = used.tokens;
    ret[OF_MONEY] = used.nano;
    ret[OF_ENERGY] = used.energy_uj;
    return r;
}

static int is_limited(const struct account_settings *s)
{
    char text[ACCOUNT_TEXT_MAX];

    for (int i = 0; s && i < account_n_fields; i++) {
        const struct account_field *f = &account_fields[i];
        if ((f->type == ACCOUNT_COUNT || f->type == ACCOUNT_MONEY || f->type == ACCOUNT_ENERGY) &&
            account_field_show(s, f, text))
            return 1;
    }
    return 0;
}

/* Budgets of money count what the configured prices charge. */
static int check_currency(const struct cloud *c, const struct account *a,
                          const struct account_settings *s, struct err *e)
{
    const char *of = c->config.currency ? c->config.currency : "";

    if (!s || !s->currency[0] || !strcmp(s->currency, of))
        return 0;
    return err_set(e, ERR_FORMAT, "%s %s: its budget is in %s, and %s%s",
                   account_kind_name(a->kind), a->id, s->currency,
                   *of ? "prices are in " : "there are no prices", of);
}

/* Put limits in force; s NULL: none but a tenant's usual ones. They may ask the ledger. */
static int put_limits(struct cloud *c, struct account *a, const struct account_settings *s,
                      int64_t now_us, struct err *e)
{
    const struct cloud_limits *d = &c->config.limits;
    const struct holds_past past = {past_used, c};
    struct account_settings limits = s ? *s : account_unsaid();
    int r = 0;

    if (!a->counts && !is_limited(s))
        return 0;
    if (!a->counts) {
        pthread_rwlock_wrlock(&c->lock);
        r = directory_make_counts(&c->directory, a, e);
        c->directory.round++; /* grants of before do not count here */
        pthread_rwlock_unlock(&c->lock);
    }
    if (a->kind == ACCOUNT_TENANT && limits.requests_per_minute < 0)
        limits.requests_per_minute = d->requests_per_minute;
    if (a->kind == ACCOUNT_TENANT && limits.tokens_per_minute < 0)
        limits.tokens_per_minute = d->tokens_per_minute;
    if (a->kind == ACCOUNT_TENANT && limits.concurrency < 0)
        limits.concurrency = d->concurrency;
    return r ? r
             : holds_set(a->counts, &limits, c->books ? &past : NULL, now_us,
                         cloud_wall_s(c, now_us), e);
}

/* The settings that will count when that source has spoken. */
static const struct account_settings *settings_then(const struct saying *x, enum source by)
{
    for (int i = N_SOURCES - 1; i >= 0; i--) {
        const struct account_settings *s = i == (int)by ? x->said : x->a->said[i];
        if (s)
            return s;
    }
    return NULL;
}

static int prepare(struct cloud *c, const struct saying *x, enum source by, int64_t now_us,
                   struct err *e)
{
    const struct account_settings *s = settings_then(x, by);
    int r = check_currency(c, x->a, s, e);

    return r ? r : put_limits(c, x->a, s, now_us, e);
}

/* Settings of the directory's own, in place of which the giver has unsaid ones. */
static struct account_settings *take_settings(struct account_settings *from)
{
    struct account_settings *s = malloc(sizeof *s);

    if (s) {
        *s = *from;
        *from = account_unsaid();
    }
    return s;
}

static void drop_settings(struct account_settings *s)
{
    if (s)
        account_done(s);
    free(s);
}

/* An account that a source had before and has no more. */
static void drop(struct cloud *c, struct account *a, enum source by, unsigned mark)
{
    struct err e;

    if (!a->said[by] || a->seen == mark)
        return;
    directory_say(&c->directory, a, by, NULL);
    a->is_dropped = 1;
    if (a->kind == ACCOUNT_KEY)
        (void)directory_put_secrets(&c->directory, a, NULL, 0, &e);
}

/* Under the write lock: what a source that tells all of its accounts says of those, and that it
 * knows no others. */
static void say_all(struct cloud *c, enum source by, struct saying *say, int n)
{
    struct directory *d = &c->directory;
    unsigned mark = (unsigned)++d->round;

    for (int i = 0; i < n; i++) {
        say[i].a->seen = mark;
        directory_say(d, say[i].a, by, say[i].said);
        say[i].said = NULL;
    }
    for (int i = 0; i < d->n_tenants; i++)
        drop(c, d->tenants[i], by, mark);
    for (int i = 0; i < d->n_accounts; i++)
        drop(c, d->accounts[i], by, mark);
}

/* Of those that were dropped the others' limits are in force now. Without the lock. */
static void limit_dropped(struct cloud *c, enum source by, int64_t now_us)
{
    struct directory *d = &c->directory;

    for (int i = 0; i < d->n_tenants + d->n_accounts; i++) {
        struct account *a = i < d->n_tenants ? d->tenants[i] : d->accounts[i - d->n_tenants];
        struct err e = {0};
        if (a->is_dropped &&
            put_limits(c, a, settings_then(&(struct saying){.a = a}, by), now_us, &e))
            LOG_EVENT(LOG_ERROR, "limits not changed", LOG_STR("id", a->id),
                      LOG_STR("why", e.text));
        a->is_dropped = 0;
    }
}

/* A key is one source's. */
static int is_others(const struct account *a, enum source by)
{
    for (int i = 0; i < N_SOURCES; i++) {
        if (i != (int)by && a->kind == ACCOUNT_KEY && a->said[i])
            return 1;
    }
    return 0;
}

static int prepare_all(struct cloud *c, const struct saying *say, int n, enum source by,
                       int64_t now_us, struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < n; i++)
        r = check_currency(c, say[i].a, settings_then(&say[i], by), e);
    for (int i = 0; !r && i < n; i++)
        r = prepare(c, &say[i], by, now_us, e);
    return r;
}

/* ---- the keys file --------------------------------------------------------------------------- */

/* A table of a keys file on its way into the directory: its tenants, then its keys. */
struct loading {
    struct key_table *t;
    struct saying *say;
    int n;
};

static int find_one(struct cloud *c, struct saying *x, enum account_kind kind, const char *id,
                    struct account_settings *from, struct err *e)
{
    x->a = directory_make(&c->directory, kind, id, 0, e);
    if (!x->a)
        return e->code;
    if (is_others(x->a, SOURCE_FILE))
        return err_set(e, ERR_EXISTS, "keys file: there is another key '%s' elsewhere", id);
    x->said = take_settings(from);
    return x->said ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static int find_all(struct cloud *c, struct loading *l, struct err *e)
{
    struct key_table *t = l->t;
    int r = directory_add_salt(&c->directory, t->salt, e);

    for (int i = 0; !r && i < t->n_tenants; i++, l->n++)
        r = find_one(c, &l->say[l->n], ACCOUNT_TENANT, t->tenants[i].name, &t->tenants[i].settings,
                     e);
    for (int i = 0; !r && i < t->n_lines; i++, l->n++)
        r = find_one(c, &l->say[l->n], ACCOUNT_KEY, t->lines[i].id, &t->lines[i].settings, e);
    return r;
}

/* Under the write lock. */
static int file_says(struct cloud *c, struct loading *l, struct err *e)
{
    struct directory *d = &c->directory;
    int r = 0;

    say_all(c, SOURCE_FILE, l->say, l->n);
    for (int i = 0; !r && i < l->t->n_lines; i++) {
        struct key_line *k = &l->t->lines[i];
        struct account *key = l->say[l->t->n_tenants + i].a;
        struct secret s = {.key = key};
        memcpy(s.hash, k->hash, sizeof s.hash);
        key->i_tenant = l->say[k->i_tenant].a->i_tenant;
        key->team = NULL;
        r = directory_put_secrets(d, key, &s, 1, e);
        if (r == ERR_EXISTS) { /* it was so before: the first of them counts */
            LOG_EVENT(LOG_WARN, "keys file", LOG_STR("why", e->text));
            r = 0;
        }
    }
    return r;
}

/* Its limits come first, as they may ask the ledger; where one fails, those before it are in force
 * already. */
static int use_file(struct cloud *c, struct loading *l, int64_t now_us, struct err *e)
{
    int r;

    pthread_rwlock_wrlock(&c->lock);
    r = find_all(c, l, e);
    pthread_rwlock_unlock(&c->lock);
    if (!r)
        r = prepare_all(c, l->say, l->n, SOURCE_FILE, now_us, e);
    if (r)
        return r;
    pthread_rwlock_wrlock(&c->lock);
    r = file_says(c, l, e);
    pthread_rwlock_unlock(&c->lock);
    limit_dropped(c, SOURCE_FILE, now_us);
    return r;
}

int cloud_reload_keys(struct cloud *c, int64_t now_us, struct err *e)
{
    struct loading l = {0};
    int r = c->config.keys_path ? key_table_load(&l.t, c->config.keys_path, e) : 0;

    if (r || !l.t)
        return r;
    l.say = calloc((size_t)(l.t->n_tenants + l.t->n_lines), sizeof *l.say);
    pthread_mutex_lock(&c->change);
    r = l.say ? use_file(c, &l, now_us, e) : err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_unlock(&c->change);
    for (int i = 0; l.say && i < l.t->n_tenants + l.t->n_lines; i++)
        drop_settings(l.say[i].said);
    free(l.say);
    key_table_free(l.t);
    return r;
}

/* ---- the configuration ------------------------------------------------------------------------
 */

/* Under the write lock. */
static int find_named(struct cloud *c, const struct cloud_account *from, struct saying *x,
                      struct err *e)
{
    struct account *tenant = directory_make(&c->directory, ACCOUNT_TENANT, from->tenant, 0, e);
    int r = 0;

    x->a = tenant && from->kind != ACCOUNT_TENANT
               ? directory_make(&c->directory, from->kind, from->id, tenant->i_tenant, e)
               : tenant;
    if (!x->a)
        return e->code;
    if (is_others(x->a, SOURCE_CONFIG))
        return err_set(e, ERR_EXISTS, "api_keys: there is another key '%s' elsewhere", from->id);
    x->said = malloc(sizeof *x->said);
    if (!x->said)
        return err_set(e, ERR_NOMEM, "out of memory");
    *x->said = account_unsaid();
    for (int i = 0; !r && i < from->n_settings; i++)
        r = account_field_set(x->said, account_field_find(from->settings[i].field),
                              from->settings[i].text, e);
    return r;
}

/* Under the write lock. */
static int put_named(struct cloud *c, const struct cloud_account *from, struct account *key,
                     struct err *e)
{
    struct directory *d = &c->directory;
    struct secret s = {.key = key};

    if (from->kind != ACCOUNT_KEY)
        return 0;
    key->i_tenant = directory_find(d, ACCOUNT_TENANT, from->tenant)->i_tenant;
    key->team = from->team ? directory_find(d, ACCOUNT_TEAM, from->team) : NULL;
    key_hash(c->salt, from->key, strlen(from->key), s.hash);
    return directory_put_secrets(d, key, &s, 1, e);
}

static int use_named(struct cloud *c, const struct cloud_account *list, struct saying *say, int n,
                     int64_t now_us, struct err *e)
{
    int r = 0;

    pthread_rwlock_wrlock(&c->lock);
    for (int i = 0; !r && i < n; i++)
        r = find_named(c, &list[i], &say[i], e);
    pthread_rwlock_unlock(&c->lock);
    if (!r)
        r = prepare_all(c, say, n, SOURCE_CONFIG, now_us, e);
    if (r)
        return r;
    pthread_rwlock_wrlock(&c->lock);
    say_all(c, SOURCE_CONFIG, say, n);
    for (int i = 0; !r && i < n; i++)
        r = put_named(c, &list[i], say[i].a, e);
    pthread_rwlock_unlock(&c->lock);
    limit_dropped(c, SOURCE_CONFIG, now_us);
    return r;
}

int cloud_set_accounts(struct cloud *c, int64_t now_us, const struct cloud_account *list, int n,
                       struct err *e)
{
    struct saying *say = calloc((size_t)n + 1, sizeof *say);
    int r;

    if (!say)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_lock(&c->change);
    r = use_named(c, list, say, n, now_us, e);
    pthread_mutex_unlock(&c->change);
    for (int i = 0; i < n; i++)
        drop_settings(say[i].said);
    free(say);
    return r;
}

/* ---- the store ------------------------------------------------------------------------------- */

struct syncing {
    struct cloud *c;
    int64_t now_us;
    struct err *e;
};

/* Under the write lock: the account, and its tenant and team, which came before it. */
static struct account *find_row(struct cloud *c, const struct account_row *row, struct err *e)
{
    struct account *tenant = directory_make(&c->directory, ACCOUNT_TENANT, row->tenant, 0, e);
    struct account *a;

    if (!tenant || row->kind == ACCOUNT_TENANT)
        return tenant;
    a = directory_make(&c->directory, row->kind, row->id, tenant->i_tenant, e);
    if (a && is_others(a, SOURCE_STORE)) {
        err_set(e, ERR_EXISTS,
                "the key '%s' is in the keys file or the configuration too: it stays as it is "
                "there",
                row->id);
        return NULL;
    }
    if (a && *row->team &&
        !directory_make(&c->directory, ACCOUNT_TEAM, row->team, tenant->i_tenant, e))
        return NULL;
    return a;
}

/* A key that was good until now. */
static void tell_revoked(struct cloud *c, const char *id, int64_t now_us)
{
    struct notice n = {
        .type = NOTICE_KEY_REVOKED, .kind = ACCOUNT_KEY, .at_s = cloud_wall_s(c, now_us)};

    put_text(n.account, sizeof n.account, id);
    notices_put(&c->notices, &n);
}

/* Under the write lock. */
static int store_says(struct cloud *c, const struct account_row *row, struct saying *x,
                      struct err *e)
{
    struct directory *d = &c->directory;
    struct secret s[ACCOUNTS_SECRETS_MAX];
    int n = x->said ? row->n_secrets : 0;

    directory_say(d, x->a, SOURCE_STORE, x->said);
    x->said = NULL;
    if (row->kind != ACCOUNT_KEY)
        return 0;
    x->a->i_tenant = directory_find(d, ACCOUNT_TENANT, row->tenant)->i_tenant;
    x->a->team = *row->team ? directory_find(d, ACCOUNT_TEAM, row->team) : NULL;
    for (int i = 0; i < n; i++) {
        memcpy(s[i].hash, row->secret[i].hash, sizeof s[i].hash);
        s[i].not_after_s = row->secret[i].not_after_s;
        s[i].key = x->a;
    }
    return directory_put_secrets(d, x->a, s, n, e);
}

static void tell_unusable(const struct account_row *row, const char *why)
{
    LOG_EVENT(LOG_ERROR, "account not usable", LOG_STR("kind", account_kind_name(row->kind)),
              LOG_STR("id", row->id), LOG_STR("why", why));
}

/* May the same work later? Then the whole is tried again, and nothing of this account changes. */
static int is_passing(int code)
{
    return code == ERR_IO || code == ERR_AGAIN || code == ERR_NOMEM;
}

/* What cannot be used gives no right to anybody, and the log says why. */
static int sync_row(void *arg, struct account_row *row)
{
    struct syncing *y = arg;
    struct cloud *c = y->c;
    struct saying x = {0};
    struct err e = {0};

    if (row->state == ACCOUNT_ACTIVE && !*row->broken && !(x.said = take_settings(&row->settings)))
        return err_set(y->e, ERR_NOMEM, "out of memory");
    pthread_rwlock_wrlock(&c->lock);
    x.a = find_row(c, row, &e);
    pthread_rwlock_unlock(&c->lock);
    if (x.a)
        (void)prepare(c, &x, SOURCE_STORE, y->now_us, &e);
    if (is_passing(e.code)) {
        drop_settings(x.said);
        *y->e = e;
        return e.code;
    }
    if (x.a) {
        pthread_rwlock_wrlock(&c->lock);
        if (row->kind == ACCOUNT_KEY && row->state != ACCOUNT_ACTIVE && x.a->said[SOURCE_STORE])
            tell_revoked(c, row->id, y->now_us);
        (void)store_says(c, row, &x, e.code ? &(struct err){0} : &e);
        x.a->is_unusable = e.code || *row->broken;
        pthread_rwlock_unlock(&c->lock);
    }
    if (e.code || *row->broken)
        tell_unusable(row, e.code ? e.text : row->broken);
    drop_settings(x.said);
    return 0;
}

static int sync_salt(void *arg, const unsigned char salt[32])
{
    struct syncing *y = arg;
    int r;

    pthread_rwlock_wrlock(&y->c->lock);
    r = directory_add_salt(&y->c->directory, salt, y->e);
    pthread_rwlock_unlock(&y->c->lock);
    return r;
}

/* With `change` held. 1: there was something new. */
static int sync_store(struct cloud *c, int64_t now_us, struct err *e)
{
    struct syncing y = {c, now_us, e};
    int64_t generation = 0;
    int r = accounts_generation(c->store, &generation, e);

    if (!r && generation == c->store_generation)
        return cloud_sync_contracts(c, now_us, 0, e);
    if (r)
        return r;
    r = accounts_salts(c->store, sync_salt, &y, e);
    if (!r)
        r = accounts_each(c->store, -1, c->store_generation, sync_row, &y, e);
    if (!r)
        r = cloud_sync_sites(c, e);
    if (!r)
        r = cloud_sync_contracts(c, now_us, 1, e);
    if (r)
        return r;
    c->store_generation = generation; /* one that came meanwhile is read once more */
    return 1;
}

int cloud_sync_accounts(struct cloud *c, int64_t now_us)
{
    struct err e = {0};
    int r = 0;

    if (!c->store)
        return 0;
    pthread_mutex_lock(&c->change);
    r = sync_store(c, now_us, &e);
    if (r < 0 && (!c->told_us || now_us - c->told_us > TELL_US)) {
        c->told_us = now_us;
        LOG_EVENT(LOG_ERROR, "accounts not read", LOG_STR("why", e.text));
    }
    if (r >= 0)
        c->told_us = 0;
    pthread_mutex_unlock(&c->change);
    return r > 0;
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

int cloud_accounts_open(struct cloud *c, int64_t now_us, struct err *e)
{
    int r = directory_init(&c->directory, c->config.currency, &c->notices, c->tally, e);

    pthread_rwlock_init(&c->lock, NULL);
    pthread_mutex_init(&c->change, NULL);
    c->is_closed = c->config.keys_path || c->config.accounts_path;
    for (int i = 0; i < c->config.n_accounts; i++)
        c->is_closed |= c->config.accounts[i].kind == ACCOUNT_KEY;
    if (!r && rand_system(c->salt, sizeof c->salt))
        r = err_set(e, ERR_IO, "no random bytes from the system");
    if (!r)
        r = directory_add_salt(&c->directory, c->salt, e);
    c->there = calloc(CLOUD_TENANTS_MAX, sizeof *c->there);
    if (!r && !c->there)
        r = err_set(e, ERR_NOMEM, "out of memory");
    if (!r)
        r = put_limits(c, c->directory.tenants[0], NULL, now_us, e);
    if (!r && c->config.keys_path)
        r = cloud_reload_keys(c, now_us, e);
    if (!r && c->config.n_accounts)
        r = cloud_set_accounts(c, now_us, c->config.accounts, c->config.n_accounts, e);
    if (!r && c->config.accounts_path)
        r = accounts_open(&c->store, c->config.accounts_path, e);
    if (!r && c->store) {
        r = sync_store(c, now_us, e);
        r = r > 0 ? 0 : r;
    }
    return r;
}

void cloud_accounts_close(struct cloud *c)
{
    for (int i = 0; i < c->directory.n_tenants; i++)
        CHECK(atomic_load(&c->directory.tenants[i]->counts->n_inside) == 0);
    accounts_close(c->store);
    books_reader_close(c->past);
    directory_done(&c->directory);
    free(c->there);
    pthread_rwlock_destroy(&c->lock);
    pthread_mutex_destroy(&c->change);
}

int cloud_n_keys(struct cloud *c)
{
    int n;

    pthread_rwlock_rdlock(&c->lock);
    n = c->directory.n_keys;
    pthread_rwlock_unlock(&c->lock);
    return n;
}

int cloud_has_origin(struct cloud *c, const char *origin)
{
    int has;

    pthread_rwlock_rdlock(&c->lock);
    has = directory_has_origin(&c->directory, origin);
    pthread_rwlock_unlock(&c->lock);
    return has;
}

/* ---- a request's key ------------------------------------------------------------------------- */

/* Its key, by its secret or its id. */
static struct account *find_key(const struct cloud *c, const struct cloud_caller *who,
                                int64_t now_s)
{
    const struct directory *d = &c->directory;
    struct account *key;

    if (!who->again_key_id)
        return directory_find_key(d, who->key, who->n_key, now_s);
    key = directory_find(d, ACCOUNT_KEY, who->again_key_id);
    return key && !strcmp(d->tenants[key->i_tenant]->id, who->again_tenant) ? key : NULL;
}

static struct grant *find_grant(struct cloud *c, const struct cloud_caller *who, int64_t now_s,
                                int *ret_is_usable)
{
    struct account *key;
    struct grant *g = NULL;

    pthread_rwlock_rdlock(&c->lock);
    key = find_key(c, who, now_s);
    *ret_is_usable = !key || directory_is_usable(&c->directory, key);
    if (key && *ret_is_usable)
        g = directory_grant(&c->directory, key);
    pthread_rwlock_unlock(&c->lock);
    if (g || !key || !*ret_is_usable)
        return g;
    pthread_rwlock_wrlock(&c->lock); /* something has changed: make it */
    key = find_key(c, who, now_s);
    if (key && !(g = directory_grant(&c->directory, key)))
        g = directory_make_grant(&c->directory, key);
    pthread_rwlock_unlock(&c->lock);
    return g;
}

static int refuse_key(struct cloud *c, const char *text, struct err *e)
{
    atomic_fetch_add(&c->refused_auth, 1);
    return err_set_param(e, ERR_AUTH, "api_key", "%s", text);
}

static int check_grant(struct cloud *c, const struct grant *g, const struct cloud_caller *who,
                       int64_t now_s, struct err *e)
{
    if (grant_is_over(g, now_s))
        return refuse_key(c, "The API key has expired.", e);
    if (!who->again_key_id && !grant_has_address(g, who->address))
        return err_set_param(e, ERR_FORBIDDEN, "api_key",
                             "This API key may not be used from this address.");
    if (!grant_has_origin(g, who->origin) || (who->must_be_named && !grant_names_origins(g)))
        return err_set_param(e, ERR_FORBIDDEN, "api_key",
                             "This API key may not be used by web pages of the origin '%.150s'.",
                             who->origin);
    return 0;
}

/* Of any key, an admin's too. */
static int any_grant(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                     struct grant **ret, struct err *e)
{
    int64_t now_s = cloud_wall_s(c, now_us);
    struct grant *g;
    int is_usable, r;

    *ret = NULL;
    if (!c->is_closed)
        return 0;
    if (!who->key && !who->again_key_id)
        return refuse_key(c, "No API key was sent: use the header 'Authorization: Bearer KEY'.", e);
    g = find_grant(c, who, now_s, &is_usable);
    if (!is_usable)
        return err_set_param(e, ERR_FORBIDDEN, "api_key",
                             "The account of this API key cannot be used now; its operator finds "
                             "the reason in the server's log.");
    if (!g)
        return refuse_key(c, "Wrong API key.", e);
    r = check_grant(c, g, who, now_s, e);
    if (r)
        grant_put(g);
    else
        *ret = g;
    return r;
}

int cloud_key_grant(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                    struct grant **ret, struct err *e)
{
    int r = any_grant(c, now_us, who, ret, e);

    if (r || !*ret || !(*ret)->is_admin)
        return r;
    grant_put(*ret);
    *ret = NULL;
    return err_set_param(e, ERR_FORBIDDEN, "api_key",
                         "This is a key for the admin API, and for nothing else.");
}

int cloud_check_admin(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                      struct cloud_admin *ret, struct err *e)
{
    struct grant *g = NULL;
    int r;

    if (!c->store)
        return err_set(
            e, ERR_UNSUPPORTED,
            "The admin API needs a store of accounts: 'gaufre key new --admin yes' makes "
            "one with a first key, and the server is to be started again.");
    r = any_grant(c, now_us, who, &g, e);
    if (!r && !g->is_admin)
        r = err_set_param(e, ERR_FORBIDDEN, "api_key", "This is no key for the admin API.");
    if (!r) {
        put_text(ret->key_id, sizeof ret->key_id, g->key_id);
        ret->is_read_only = g->is_read_only;
    }
    grant_put(g);
    return r;
}

int cloud_with_accounts(struct cloud *c, int64_t now_us,
                        int (*work)(void *arg, struct accounts *a, struct err *e), void *arg,
                        struct err *e)
{
    struct err sync = {0};
    int r;

    pthread_mutex_lock(&c->change);
    r = work(arg, c->store, e);
    if (!r && sync_store(c, now_us, &sync) < 0) /* it is tried again soon */
        LOG_EVENT(LOG_ERROR, "accounts not read", LOG_STR("why", sync.text));
    pthread_mutex_unlock(&c->change);
    return r;
}

int cloud_find_tenant(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                      int *ret_tenant, struct err *e)
{
    struct grant *g = NULL;
    int r = cloud_key_grant(c, now_us, who, &g, e);

    if (!r)
        *ret_tenant = g ? g->i_tenant : 0;
    grant_put(g);
    return r;
}

int cloud_check_key(struct cloud *c, int64_t now_us, const struct cloud_caller *who, struct err *e)
{
    int i;

    return cloud_find_tenant(c, now_us, who, &i, e);
}

/* ---- notices --------------------------------------------------------------------------------- */

int cloud_take_notice(struct cloud *c, struct notice *ret)
{
    struct directory *d = &c->directory;
    const struct account *a;

    if (!notices_take(&c->notices, ret))
        return 0;
    pthread_rwlock_rdlock(&c->lock);
    a = directory_find(d, ret->kind, ret->account);
    if (a)
        put_text(ret->tenant, sizeof ret->tenant, d->tenants[a->i_tenant]->id);
    pthread_rwlock_unlock(&c->lock);
    return 1;
}

void cloud_note_told(struct cloud *c, enum cloud_told how)
{
    atomic_fetch_add(&c->told[how], 1);
}

/* ---- what is enforced ------------------------------------------------------------------------ */

void cloud_enforced(struct cloud *c, int kind, int64_t now_us, int64_t *ret_settled,
                    int64_t *ret_held)
{
    struct directory *d = &c->directory;

    *ret_settled = *ret_held = 0;
    pthread_rwlock_rdlock(&c->lock);
    for (int i = 0; i < d->n_tenants + d->n_accounts; i++) {
        struct account *a = i < d->n_tenants ? d->tenants[i] : d->accounts[i - d->n_tenants];
        if (a->counts)
            holds_sum(a->counts, kind, cloud_wall_s(c, now_us), ret_settled, ret_held);
    }
    pthread_rwlock_unlock(&c->lock);
}
