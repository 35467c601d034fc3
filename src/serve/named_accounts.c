#include "serve/named_accounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define KEY_MAX 512 /* bytes of a key's text */

/* A map as it stands in the file. */
struct named_text {
    const char *name, *tenant, *team, *env, *file;
#define IS_COUNT                                       const char *
#define IS_MONEY                                       const char *
#define IS_ENERGY                                      const char *
#define IS_TIME                                        const char *
#define IS_FLAG                                        const char *
#define IS_ZONE                                        const char *
#define IS_EXCEED                                      const char *
#define IS_MODEL                                       const char *
#define IS_TIERS                                       struct config_strs
#define IS_NAMES                                       struct config_strs
#define IS_NETWORKS                                    struct config_strs
#define IS_ORIGINS                                     struct config_strs
#define IS_LABELS                                      struct config_strs
#define MEMBER(name, option, type, kinds, value, help) IS_##type name;
    ACCOUNT_FIELDS(MEMBER)
#undef MEMBER
};

#define AT(f)         offsetof(struct named_text, f)
#define KIND_COUNT    CONFIG_STR
#define KIND_MONEY    CONFIG_STR
#define KIND_ENERGY   CONFIG_STR
#define KIND_TIME     CONFIG_STR
#define KIND_FLAG     CONFIG_STR
#define KIND_ZONE     CONFIG_STR
#define KIND_EXCEED   CONFIG_STR
#define KIND_MODEL    CONFIG_STR
#define KIND_TIERS    CONFIG_STRS
#define KIND_NAMES    CONFIG_STRS
#define KIND_NETWORKS CONFIG_STRS
#define KIND_ORIGINS  CONFIG_STRS
#define KIND_LABELS   CONFIG_STRS
/* clang-format off */
#define ROW(name, type, value, help) {#name, KIND_##type, AT(name), NULL, 0, 0, value, help},
#define ALL_ROW_ALL(name, type, value, help) ROW(name, type, value, help)
#define ALL_ROW_KEYS(name, type, value, help)
#define ALL_ROW_TENANTS(name, type, value, help)
#define TENANT_ROW_ALL(name, type, value, help)           ROW(name, type, value, help)
#define TENANT_ROW_TENANTS(name, type, value, help)       ROW(name, type, value, help)
#define TENANT_ROW_KEYS(name, type, value, help)
#define KEY_ROW_TENANTS(name, type, value, help)
#define KEY_ROW_ALL(name, type, value, help)              ROW(name, type, value, help)
#define KEY_ROW_KEYS(name, type, value, help)             ROW(name, type, value, help)
#define ALL_FIELD(name, option, type, kinds, value, help) ALL_ROW_##kinds(name, type, value, help)
#define TENANT_FIELD(name, option, type, kinds, value, help)                                       \
    TENANT_ROW_##kinds(name, type, value, help)
#define KEY_FIELD(name, option, type, kinds, value, help) KEY_ROW_##kinds(name, type, value, help)
/* clang-format on */

const struct config_setting serve_tenant_settings[] = {
    {"name", CONFIG_STR, AT(name), NULL, 0, 0, "NAME", "who pays"},
    ACCOUNT_FIELDS(TENANT_FIELD){0},
};
const struct config_setting serve_team_settings[] = {
    {"name", CONFIG_STR, AT(name), NULL, 0, 0, "NAME", "a part of a tenant"},
    {"tenant", CONFIG_STR, AT(tenant), NULL, 0, 0, "NAME", "whose it is"},
    ACCOUNT_FIELDS(ALL_FIELD){0},
};
const struct config_setting serve_api_key_settings[] = {
    {"name", CONFIG_STR, AT(name), NULL, 0, 0, "NAME", "how it is called in bills and logs"},
    {"tenant", CONFIG_STR, AT(tenant), "default", 0, 0, "NAME", "who pays"},
    {"team", CONFIG_STR, AT(team), NULL, 0, 0, "NAME", "which of its teams"},
    {"env", CONFIG_STR, AT(env), NULL, 0, 0, "NAME", "environment variable with the key"},
    {"file", CONFIG_STR, AT(file), NULL, 0, 0, "FILE", "or a file with it"},
    ACCOUNT_FIELDS(KEY_FIELD){0},
};

static const struct config_setting *const tables[ACCOUNT_KINDS] = {
    serve_tenant_settings, serve_team_settings, serve_api_key_settings};

/* ---- reading --------------------------------------------------------------------------------- */

static const struct serve_account *find(const struct serve_config *c, enum account_kind kind,
                                        const char *id)
{
    for (int i = 0; i < c->n_accounts; i++) {
        if (c->account[i].kind == kind && !strcmp(c->account[i].id, id))
            return &c->account[i];
    }
    return NULL;
}

/* A setting's text, lists with commas; NULL: not said. */
static const char *text_of(const struct config_setting *row, const struct named_text *t, char *list,
                           size_t cap)
{
    const char *at = (const char *)t + row->offset;
    const struct config_strs *all = (const void *)at;
    size_t n = 0;

    if (row->kind == CONFIG_STR)
        return *(const char *const *)(const void *)at;
    for (int i = 0; i < all->n && n < cap; i++)
        n += (size_t)snprintf(list + n, cap - n, "%s%s", i ? "," : "", all->v[i]);
    return all->n ? list : NULL;
}

static int read_settings(struct serve_config *c, struct serve_account *a,
                         const struct named_text *t, struct err *e)
{
    struct account_settings s = account_unsaid(); /* only to see that they can be read */
    char list[ACCOUNT_TEXT_MAX];
    int r = 0;

    for (const struct config_setting *row = tables[a->kind]; !r && row->name; row++) {
        const struct account_field *f = account_field_find(row->name);
        const char *text = f ? text_of(row, t, list, sizeof list) : NULL;
        if (!text)
            continue;
        CHECK(a->n_settings < SERVE_ACCOUNT_SETTINGS_MAX);
        r = account_field_set(&s, f, text, e);
        a->settings[a->n_settings].field = f->name;
        a->settings[a->n_settings].text = arena_strdup(&c->arena, text);
        if (!r && !a->settings[a->n_settings++].text)
            r = err_set(e, ERR_NOMEM, "out of memory");
    }
    account_done(&s);
    return r;
}

/* Its id, and whether those that it names are there. */
static int read_names(struct serve_config *c, struct serve_account *a, const struct named_text *t,
                      struct err *e)
{
    char id[ACCOUNT_ID_MAX], team[ACCOUNT_ID_MAX];
    int r = 0;

    if (!t->name || !account_name_ok(t->name))
        return err_set(e, ERR_ARG, "name: letters, digits and - _ . : (at most %d)",
                       ACCOUNT_NAME_MAX - 1);
    a->tenant = a->kind == ACCOUNT_TENANT ? t->name : t->tenant;
    if (!a->tenant)
        return err_set(e, ERR_ARG, "tenant: whose it is must be said");
    if (a->kind != ACCOUNT_TENANT && strcmp(a->tenant, CLOUD_DEFAULT_TENANT) &&
        !find(c, ACCOUNT_TENANT, a->tenant))
        return err_set(e, ERR_ARG, "tenant: '%.60s' is not among the tenants", a->tenant);
    snprintf(id, sizeof id, "%s%s%s", a->kind == ACCOUNT_TEAM ? a->tenant : "",
             a->kind == ACCOUNT_TEAM ? "/" : "", t->name);
    if (find(c, a->kind, id))
        return err_set(e, ERR_ARG, "name: there is another %s '%s'", account_kind_name(a->kind),
                       id);
    snprintf(team, sizeof team, "%.63s/%.63s", a->tenant, t->team ? t->team : "");
    if (t->team && !find(c, ACCOUNT_TEAM, team))
        return err_set(e, ERR_ARG, "team: '%.60s' is not among the teams of '%.60s'", t->team,
                       a->tenant);
    a->id = arena_strdup(&c->arena, id);
    a->team = t->team ? arena_strdup(&c->arena, team) : NULL;
    a->env = t->env;
    a->file = t->file;
    if (!a->id || (t->team && !a->team))
        r = err_set(e, ERR_NOMEM, "out of memory");
    else if (a->kind == ACCOUNT_KEY && !t->env == !t->file)
        r = err_set(e, ERR_ARG, "a key has 'env' or 'file', one of them");
    return r;
}

int named_account_read(struct serve_config *c, struct config_doc *d, struct config_node *map,
                       enum account_kind kind, struct err *e)
{
    struct serve_account *a;
    struct named_text t = {0};
    struct err why = {0};
    int r;

    if (!config_is_map(map))
        return config_err(d, map, e, "a %s is a map", account_kind_name(kind));
    if (c->n_accounts >= SERVE_ACCOUNTS_MAX)
        return config_err(d, map, e, "more than %d tenants, teams and keys: use the store",
                          SERVE_ACCOUNTS_MAX);
    if (!c->account &&
        !(c->account = arena_alloc(&c->arena, SERVE_ACCOUNTS_MAX * sizeof *c->account)))
        return err_set(e, ERR_NOMEM, "out of memory");
    config_defaults(tables[kind], &t, &c->arena);
    r = config_read(d, map, tables[kind], &t, &c->arena, NULL, NULL, e);
    if (r)
        return r;
    a = &c->account[c->n_accounts];
    *a = (struct serve_account){.kind = kind};
    if (read_names(c, a, &t, &why) || read_settings(c, a, &t, &why))
        return config_err(d, map, e, "%.400s", why.text);
    c->n_accounts++;
    return 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int read_key(struct serve_config *c, struct serve_account *a, struct err *e)
{
    const char *s = a->env ? getenv(a->env) : NULL;
    char line[KEY_MAX + 2] = "";
    FILE *f = a->env ? NULL : fopen(a->file, "re");

    if (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        s = line;
    }
    if (f)
        fclose(f);
    if (!s || !*s)
        return err_set(e, ERR_ARG,
                       a->env ? "api_keys: %s: the environment has no variable %s"
                              : "api_keys: %s: %s cannot be read",
                       a->id, a->env ? a->env : a->file);
    if (strlen(s) < 16 || strlen(s) > KEY_MAX || strpbrk(s, " \t"))
        return err_set(
            e, ERR_ARG,
            "api_keys: %s: a key has 16 to %d bytes and no blank ('gaufre key new' makes "
            "good ones)",
            a->id, KEY_MAX);
    a->key = arena_strdup(&c->arena, s);
    explicit_bzero(line, sizeof line);
    return a->key ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

/* Two keys with one text would be one key. */
static int check_others(const struct serve_config *c, int i, struct err *e)
{
    for (int k = 0; k < i; k++) {
        if (c->account[k].key && !strcmp(c->account[k].key, c->account[i].key))
            return err_set(e, ERR_ARG, "api_keys: %s and %s are the same key", c->account[k].id,
                           c->account[i].id);
    }
    return 0;
}

int named_accounts_check(struct serve_config *c, struct err *e)
{
    struct cloud_account *to;
    int r = 0;

    if (!c->n_accounts)
        return 0;
    to = arena_alloc(&c->arena, (size_t)c->n_accounts * sizeof *to);
    if (!to)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; !r && i < c->n_accounts; i++) {
        struct serve_account *a = &c->account[i];
        r = a->kind == ACCOUNT_KEY ? read_key(c, a, e) : 0;
        if (!r && a->kind == ACCOUNT_KEY)
            r = check_others(c, i, e);
        to[i] = (struct cloud_account){.kind = a->kind,
                                       .id = a->id,
                                       .tenant = a->tenant,
                                       .team = a->team,
                                       .key = a->key,
                                       .settings = a->settings,
                                       .n_settings = a->n_settings};
    }
    c->named = to;
    return r;
}

void named_accounts_describe(const struct serve_config *c, struct buf *out)
{
    for (int i = 0; i < c->n_accounts; i++) {
        const struct serve_account *a = &c->account[i];
        buf_addf(out, "%-10s %s", account_kind_name(a->kind), a->id);
        if (a->kind == ACCOUNT_KEY)
            buf_addf(out, " of %s", a->team ? a->team : a->tenant);
        for (int k = 0; k < a->n_settings; k++)
            buf_addf(out, "%s%s=%s", k ? " " : ": ", a->settings[k].field, a->settings[k].text);
        buf_add_char(out, '\n');
    }
}
