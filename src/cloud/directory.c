#include "cloud/directory.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define TIERS_UNSAID (1u << TIER_DEFAULT | 1u << TIER_FLEX | 1u << TIER_BATCH)
#define ORIGIN_MAX   256 /* bytes of the longest that is known beforehand */

int directory_init(struct directory *d, const char *currency, struct notices *notices,
                   struct tally *tally, struct err *e)
{
    *d = (struct directory){
        .currency = currency ? currency : "", .notices = notices, .tally = tally};
    if (map_init(&d->by_id, 64) || map_init(&d->by_hash, 64) || map_init(&d->origins, 16))
        return err_set(e, ERR_NOMEM, "out of memory");
    return directory_make(d, ACCOUNT_TENANT, CLOUD_DEFAULT_TENANT, 0, e) ? 0 : e->code;
}

static void settings_free(struct account_settings *s)
{
    if (s)
        account_done(s);
    free(s);
}

static void account_free(struct account *a)
{
    if (!a)
        return;
    if (a->counts)
        holds_account_done(a->counts);
    free(a->counts);
    for (int i = 0; i < N_SOURCES; i++)
        settings_free(a->said[i]);
    grant_put(a->grant);
    free(a);
}

void directory_done(struct directory *d)
{
    for (int i = 0; i < d->n_tenants; i++)
        account_free(d->tenants[i]);
    for (int i = 0; i < d->n_accounts; i++)
        account_free(d->accounts[i]);
    free(d->accounts);
    free(d->secrets);
    map_done(&d->by_id);
    map_done(&d->by_hash);
    map_done(&d->origins);
    sodium_memzero(d->salts, sizeof d->salts);
}

/* ---- accounts -------------------------------------------------------------------------------- */

/* "t:acme", "k:alice": kinds have names of their own. */
static size_t name_of(enum account_kind kind, const char *id, char ret[ACCOUNT_ID_MAX + 2])
{
    return (size_t)snprintf(ret, ACCOUNT_ID_MAX + 2, "%c:%s", "tgk"[kind], id);
}

struct account *directory_find(const struct directory *d, enum account_kind kind, const char *id)
{
    char name[ACCOUNT_ID_MAX + 2];
    size_t n = name_of(kind, id, name);
    uint32_t at;

    if (n >= sizeof name || !map_get(&d->by_id, name, n, &at))
        return NULL;
    return kind == ACCOUNT_TENANT ? d->tenants[at] : d->accounts[at];
}

/* A place for one more in an array that doubles. */
static int grow(void **array, int n, int *cap, size_t size)
{
    int more = *cap ? 2 * *cap : 64;
    void *p;

    if (n < *cap)
        return 0;
    p = realloc(*array, (size_t)more * size);
    if (!p)
        return ERR_NOMEM;
    *array = p;
    *cap = more;
    return 0;
}

static int has_room(struct directory *d, enum account_kind kind, struct err *e)
{
    if (kind == ACCOUNT_TENANT && d->n_tenants >= CLOUD_TENANTS_MAX)
        return err_set(e, ERR_LIMIT,
                       "more than %d tenants since the start: restart to drop the old ones",
                       CLOUD_TENANTS_MAX);
    if (d->n_accounts >= DIRECTORY_ACCOUNTS_MAX)
        return err_set(e, ERR_LIMIT,
                       "more than %d keys and teams since the start: restart to drop the old ones",
                       DIRECTORY_ACCOUNTS_MAX);
    return grow((void **)&d->accounts, d->n_accounts, &d->cap_accounts, sizeof *d->accounts)
               ? err_set(e, ERR_NOMEM, "out of memory")
               : 0;
}

int directory_make_counts(const struct directory *d, struct account *a, struct err *e)
{
    if (a->counts)
        return 0;
    a->counts = calloc(1, sizeof *a->counts);
    if (!a->counts)
        return err_set(e, ERR_NOMEM, "out of memory");
    holds_account_init(a->counts, a->kind, a->id, d->currency);
    a->counts->notices = d->notices;
    holds_account_share(a->counts, d->tally);
    return 0;
}

static struct account *account_new(struct directory *d, enum account_kind kind, const char *id,
                                   struct err *e)
{
    struct account *a = calloc(1, sizeof *a);

    if (!a) {
        err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    a->kind = kind;
    snprintf(a->id, sizeof a->id, "%s", id);
    if (kind == ACCOUNT_TENANT && directory_make_counts(d, a, e)) {
        account_free(a);
        return NULL;
    }
    return a;
}

struct account *directory_make(struct directory *d, enum account_kind kind, const char *id,
                               int i_tenant, struct err *e)
{
    struct account *a = directory_find(d, kind, id);
    int is_tenant = kind == ACCOUNT_TENANT, at = is_tenant ? d->n_tenants : d->n_accounts;
    char name[ACCOUNT_ID_MAX + 2];
    size_t n = name_of(kind, id, name);

    CHECK(n < sizeof name);
    if (a || has_room(d, kind, e))
        return a;
    a = account_new(d, kind, id, e);
    if (!a)
        return NULL;
    if (map_put(&d->by_id, name, n, (uint32_t)at)) {
        account_free(a);
        err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    a->i_tenant = is_tenant ? at : i_tenant;
    if (is_tenant)
        d->tenants[d->n_tenants++] = a;
    else
        d->accounts[d->n_accounts++] = a;
    return a;
}

/* Its settings as they count; NULL: nobody knows it. */
static const struct account_settings *settings_of(const struct account *a)
{
    for (int i = N_SOURCES - 1; i >= 0; i--) {
        if (a->said[i])
            return a->said[i];
    }
    return NULL;
}

/* Browsers write origins in small letters, people as they like. */
static size_t small(const char *s, size_t n, char out[ORIGIN_MAX])
{
    if (n > ORIGIN_MAX)
        return 0;
    for (size_t i = 0; i < n; i++)
        out[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] - 'A' + 'a') : s[i];
    return n;
}

int directory_has_origin(const struct directory *d, const char *origin)
{
    char text[ORIGIN_MAX];
    size_t n = small(origin, strlen(origin), text);
    uint32_t count;

    return n && map_get(&d->origins, text, n, &count) && count;
}

/* One more or one less account has these. Without memory the list counts as it is: its pages are
 * refused by browsers until it is said again. */
static void count_origins(struct directory *d, const struct account_settings *s, int by)
{
    char text[ORIGIN_MAX];
    uint32_t count;
    size_t n, m;

    for (const char *at = s && s->origins ? s->origins : ""; *at; at += n + (at[n] == ',')) {
        n = strcspn(at, ",");
        if (!(m = small(at, n, text)))
            continue;
        if (!map_get(&d->origins, text, m, &count))
            count = 0;
        if (by > 0 || count)
            (void)map_put(&d->origins, text, m, count + (uint32_t)by);
    }
}

void directory_say(struct directory *d, struct account *a, enum source by,
                   struct account_settings *said)
{
    int was = settings_of(a) != NULL, is;

    count_origins(d, said, 1);
    count_origins(d, a->said[by], -1);
    settings_free(a->said[by]);
    a->said[by] = said;
    is = settings_of(a) != NULL;
    if (a->kind == ACCOUNT_KEY) {
        d->n_keys += is - was;
        if (was && !is)
            atomic_fetch_add(&a->life, 1);
    }
    d->round++;
}

/* ---- secrets --------------------------------------------------------------------------------- */

int directory_add_salt(struct directory *d, const unsigned char salt[KEY_SALT_BYTES], struct err *e)
{
    for (int i = 0; i < d->n_salts; i++) {
        if (!sodium_memcmp(d->salts[i], salt, KEY_SALT_BYTES))
            return 0;
    }
    if (d->n_salts == DIRECTORY_SALTS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d salts since the start: restart to drop the old",
                       DIRECTORY_SALTS_MAX);
    memcpy(d->salts[d->n_salts++], salt, KEY_SALT_BYTES);
    return 0;
}

/* One more, in a place of its own or where it was before. */
static int put_secret(struct directory *d, struct account *key, const struct secret *s,
                      struct err *e)
{
    uint32_t at;

    if (map_get(&d->by_hash, s->hash, KEY_HASH_BYTES, &at)) {
        if (d->secrets[at].key)
            return err_set(e, ERR_EXISTS, "the keys '%s' and '%s' are the same",
                           d->secrets[at].key->id, key->id);
    } else {
        at = (uint32_t)d->n_secrets;
        if (grow((void **)&d->secrets, d->n_secrets, &d->cap_secrets, sizeof *d->secrets) ||
            map_put(&d->by_hash, s->hash, KEY_HASH_BYTES, at))
            return err_set(e, ERR_NOMEM, "out of memory");
        d->n_secrets++;
    }
    d->secrets[at] = *s;
    d->secrets[at].key = key;
    d->secrets[at].next = key->secrets;
    key->secrets = (int32_t)at + 1;
    return 0;
}

int directory_put_secrets(struct directory *d, struct account *key, const struct secret *s, int n,
                          struct err *e)
{
    int r = 0;

    for (int32_t at = key->secrets; at; at = d->secrets[at - 1].next)
        d->secrets[at - 1].key = NULL;
    key->secrets = 0;
    for (int i = 0; !r && i < n; i++)
        r = put_secret(d, key, &s[i], e);
    return r;
}

struct account *directory_find_key(const struct directory *d, const char *key, size_t n,
                                   int64_t now_s)
{
    unsigned char hash[KEY_HASH_BYTES];
    struct account *found = NULL;
    uint32_t at;

    for (int i = 0; i < d->n_salts && !found; i++) {
        const struct secret *s;
        key_hash(d->salts[i], key, n, hash);
        if (!map_get(&d->by_hash, hash, sizeof hash, &at))
            continue;
        s = &d->secrets[at];
        if (!sodium_memcmp(s->hash, hash, sizeof hash) && s->key && settings_of(s->key) &&
            (!s->not_after_s || now_s < s->not_after_s))
            found = s->key;
    }
    sodium_memzero(hash, sizeof hash);
    return found;
}

int directory_is_usable(const struct directory *d, const struct account *key)
{
    const struct account *tenant = d->tenants[key->i_tenant], *team = key->team;

    return !key->is_unusable && !tenant->is_unusable && (!key->i_tenant || settings_of(tenant)) &&
           (!team || (!team->is_unusable && settings_of(team)));
}

/* ---- grants ---------------------------------------------------------------------------------- */

void grant_put(struct grant *g)
{
    if (!g || atomic_fetch_sub(&g->n_holders, 1) > 1)
        return;
    for (int i = 0; i < HOLDS_PATH_MAX; i++) {
        free(g->models[i]);
        free(g->suppliers[i]);
        free(g->networks[i]);
        free(g->sites[i]);
        free(g->regions[i]);
        free(g->origins[i]);
    }
    free(g->fallback);
    free(g->region);
    free(g);
}

int grant_is_over(const struct grant *g, int64_t now_s)
{
    return (g->key && atomic_load(&g->key->life) != g->life) ||
           (g->expires_s && now_s >= g->expires_s);
}

struct grant *directory_grant(const struct directory *d, struct account *key)
{
    if (!key->grant || key->grant_round != d->round)
        return NULL;
    atomic_fetch_add(&key->grant->n_holders, 1);
    return key->grant;
}

/* Labels of the path, those of the key before its team's, and those before its tenant's. */
static void add_labels(struct grant *g, const char *labels)
{
    char all[2 * BOOKS_LABELS_MAX];
    size_t n;

    for (const char *at = labels; at && *at; at += n + (at[n] == ',')) {
        size_t name = strcspn(at, "=") + 1, len = strlen(g->labels);
        const char *has = g->labels;
        n = strcspn(at, ",");
        while (*has && strncmp(has, at, name))
            has += strcspn(has, ",") + (has[strcspn(has, ",")] == ',');
        snprintf(all, sizeof all, "%s%s%.*s", g->labels, len ? "," : "", (int)n, at);
        if (!*has && strlen(all) < sizeof g->labels)
            memcpy(g->labels, all, strlen(all) + 1);
    }
}

static int add_list(char **to, const char *list)
{
    if (list)
        *to = strdup(list);
    return list && !*to ? ERR_NOMEM : 0;
}

/* One account of the key's path, the nearest first; *exceed: what it says of that, < 0: nothing. */
static int add_to(struct grant *g, int i, struct account *a, const struct account_settings *s,
                  int64_t *exceed)
{
    if (a->counts)
        g->path[g->n_path++] = a->counts;
    if (!s)
        return 0;
    if (!g->tiers && s->tiers > 0)
        g->tiers = (unsigned)s->tiers;
    if (*exceed < 0)
        *exceed = s->on_exceed;
    if (a->kind == ACCOUNT_TENANT && s->keep_texts > 0)
        g->texts_days = s->keep_texts;
    if (!g->fallback && add_list(&g->fallback, s->fallback_model))
        return ERR_NOMEM;
    if (!g->region && add_list(&g->region, s->region))
        return ERR_NOMEM;
    add_labels(g, s->labels);
    return add_list(&g->sites[i], s->allowed_sites) ||
                   add_list(&g->regions[i], s->allowed_regions) ||
                   add_list(&g->models[i], s->models) || add_list(&g->suppliers[i], s->suppliers) ||
                   add_list(&g->networks[i], s->networks) || add_list(&g->origins[i], s->origins)
               ? ERR_NOMEM
               : 0;
}

struct grant *directory_make_grant(struct directory *d, struct account *key)
{
    struct account *path[HOLDS_PATH_MAX] = {key, key->team, d->tenants[key->i_tenant]};
    const struct account_settings *s = settings_of(key);
    struct grant *g = calloc(1, sizeof *g);
    int64_t exceed = -1;
    int r = g && s ? 0 : ERR_NOMEM;

    if (!r) {
        atomic_store(&g->n_holders, 1);
        g->i_tenant = key->i_tenant;
        g->tenant = d->tenants[key->i_tenant]->id;
        g->key = key;
        g->life = atomic_load(&key->life);
        g->is_admin = s->admin > 0;
        g->is_read_only = s->read_only > 0;
        g->expires_s = s->expires > 0 ? s->expires : 0;
        snprintf(g->key_id, sizeof g->key_id, "%.*s", (int)sizeof g->key_id - 1, key->id);
        snprintf(g->team, sizeof g->team, "%s", key->team ? key->team->id : "");
    }
    for (int i = 0; !r && i < HOLDS_PATH_MAX; i++)
        r = path[i] ? add_to(g, i, path[i], settings_of(path[i]), &exceed) : 0;
    if (r) {
        grant_put(g);
        return NULL;
    }
    g->exceed = exceed > 0 ? (enum exceed)exceed : EXCEED_REJECT;
    if (!g->tiers)
        g->tiers = TIERS_UNSAID;
    grant_put(key->grant);
    key->grant = g;
    key->grant_round = d->round;
    atomic_fetch_add(&g->n_holders, 1);
    return g;
}

int grant_has_model(const struct grant *g, const char *model)
{
    for (int i = 0; i < HOLDS_PATH_MAX; i++) {
        if (g->models[i] && !account_names_have(g->models[i], model))
            return 0;
    }
    return 1;
}

int grant_has_supplier(const struct grant *g, const char *id)
{
    char name[ACCOUNT_ID_MAX];

    for (int i = 0; i < HOLDS_PATH_MAX; i++) {
        const char *list = g->suppliers[i];
        if (!list) /* as nearly all are */
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(id, "/"), id);
        if (!account_names_have(list, id) && !account_names_have(list, name))
            return 0;
    }
    return 1;
}

int grant_has_place(const struct grant *g, const char *site, const char *region)
{
    for (int i = 0; i < HOLDS_PATH_MAX; i++) {
        if (g->sites[i] && !account_names_have(g->sites[i], site ? site : ""))
            return 0;
        if (g->regions[i] && !account_names_have(g->regions[i], region ? region : ""))
            return 0;
    }
    return 1;
}

/* "1.2.3.4:5", "[::1]:5", "1.2.3.4", "::1" without the port. */
static void bare(const char *address, char *ret, size_t cap)
{
    const char *end = strrchr(address, ':'), *dot = strchr(address, '.');

    if (*address == '[')
        snprintf(ret, cap, "%.*s", (int)strcspn(address + 1, "]"), address + 1);
    else if (dot && end && end > dot)
        snprintf(ret, cap, "%.*s", (int)(end - address), address);
    else
        snprintf(ret, cap, "%s", address);
    ret[strcspn(ret, "%")] = 0; /* of a link: fe80::1%eth0 */
}

int grant_has_address(const struct grant *g, const char *address)
{
    char text[64];

    for (int i = 0; i < HOLDS_PATH_MAX; i++) {
        if (!g->networks[i]) /* as nearly all are */
            continue;
        bare(address ? address : "", text, sizeof text);
        if (!account_networks_have(g->networks[i], text))
            return 0;
    }
    return 1;
}

int grant_has_origin(const struct grant *g, const char *origin)
{
    for (int i = 0; origin && i < HOLDS_PATH_MAX; i++) {
        if (g->origins[i] && !account_origins_have(g->origins[i], origin))
            return 0;
    }
    return 1;
}

int grant_names_origins(const struct grant *g)
{
    for (int i = 0; i < HOLDS_PATH_MAX; i++) {
        if (g->origins[i])
            return 1;
    }
    return 0;
}
