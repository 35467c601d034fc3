#include "cloud/keyring.h"

#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/disk.h"
#include "base/money.h"
#include "base/zone.h"

#define FILE_MAX  ((size_t)4 << 20)
#define WORDS_MAX 24

int key_name_ok(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:");

    return n > 0 && !s[n] && n < CLOUD_NAME_MAX;
}

void key_hash(const unsigned char salt[KEY_SALT_BYTES], const char *key, size_t n,
              unsigned char ret[KEY_HASH_BYTES])
{
    crypto_generichash(ret, KEY_HASH_BYTES, (const unsigned char *)key, n, salt, KEY_SALT_BYTES);
}

void key_table_free(struct key_table *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_tenants; i++)
        free((void *)(uintptr_t)t->tenants[i].limits.budget_zone);
    free(t->lines);
    free(t->tenants);
    sodium_memzero(t, sizeof *t);
    free(t);
}

const struct key_line *key_find(const struct key_table *t, const char *key, size_t n)
{
    unsigned char hash[KEY_HASH_BYTES];
    int found = -1;

    key_hash(t->salt, key, n, hash);
    for (int i = 0; i < t->n_lines; i++) {
        int same = !crypto_verify_32(hash, t->lines[i].hash);
        found = same ? i : found;
    }
    sodium_memzero(hash, sizeof hash);
    return found < 0 ? NULL : &t->lines[found];
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reader {
    struct key_table *t;
    const char *file;
    int line, salted;
    struct err *e;
};

#define BAD(r, ...) reader_bad(r, __VA_ARGS__)
static int reader_bad(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int reader_bad(struct reader *r, const char *fmt, ...)
{
    char text[300];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->e, ERR_FORMAT, "%s:%d: %s", r->file, r->line, text);
}

static int hex(const char *s, unsigned char *out, size_t n)
{
    size_t len = 0;

    return sodium_hex2bin(out, n, s, strlen(s), NULL, &len, NULL) == 0 && len == n;
}

/* Index of a tenant, made where missing; -1: the table is full. */
static int tenant(struct key_table *t, const char *name)
{
    for (int i = 0; i < t->n_tenants; i++) {
        if (!strcmp(t->tenants[i].name, name))
            return i;
    }
    if (t->n_tenants >= CLOUD_TENANTS_MAX)
        return -1;
    snprintf(t->tenants[t->n_tenants].name, sizeof t->tenants[0].name, "%s", name);
    t->tenants[t->n_tenants].limits = account_unsaid();
    return t->n_tenants++;
}

static int count(const char *s, int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(s, &end, 10);
    return *s >= '0' && *s <= '9' && !*end && !errno && *ret <= INT64_C(1) << 50;
}

/* A list of tiers as bits. */
static int read_tiers(struct reader *r, char *list, unsigned *ret)
{
    char *save = NULL;

    *ret = 0;
    for (char *p = strtok_r(list, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        unsigned bit = 0;
        for (int t = 0; t < TIER_AUTO; t++) {
            if (!strcmp(p, tier_name((enum tier)t)))
                bit = 1u << t;
        }
        if (!bit)
            return BAD(r, "'%.40s' is not one of the tiers default, flex and priority", p);
        *ret |= bit;
    }
    return *ret ? 0 : BAD(r, "tiers= wants some of default,flex,priority");
}

static const struct limit {
    const char *name;
    size_t offset;
} limits[] =
    {
#define LIMIT(x)                                                                                   \
    {                                                                                              \
#x, offsetof(struct account_settings, x)                                                   \
    }
        LIMIT(requests_per_minute),
        LIMIT(requests_per_hour),
        LIMIT(requests_per_day),
        LIMIT(tokens_per_minute),
        LIMIT(tokens_per_hour),
        LIMIT(tokens_per_day),
        LIMIT(uncached_tokens_per_minute),
        LIMIT(uncached_tokens_per_hour),
        LIMIT(uncached_tokens_per_day),
        LIMIT(concurrency),
        LIMIT(max_output_tokens),
        LIMIT(token_budget_per_day),
        LIMIT(token_budget_per_week),
        LIMIT(token_budget_per_month),
        LIMIT(token_budget),
        LIMIT(budget_warn),
},
  budgets[] = {
      LIMIT(budget_per_day),
      LIMIT(budget_per_week),
      LIMIT(budget_per_month),
      LIMIT(budget),
#undef LIMIT
};

/* The place of a limit in a tenant's settings, or NULL. */
static int64_t *find_limit(const struct limit *l, size_t n, struct account_settings *s,
                           const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(l[i].name, name))
            return (int64_t *)(void *)((char *)s + l[i].offset);
    }
    return NULL;
}

/* "50.00EUR", in one currency a tenant. */
static int read_money(struct reader *r, const char *text, struct key_tenant *t, int64_t *ret)
{
    size_t n = strlen(text);
    const char *currency = text + (n > 3 ? n - 3 : n);
    char number[MONEY_TEXT_MAX];
    struct err e;

    snprintf(number, sizeof number, "%.*s", (int)(currency - text), text);
    if (!money_is_currency(currency) || money_parse(number, ret, &e) || *ret < 0)
        return BAD(r, "'%.40s' is no amount of money like 50.00EUR", text);
    if (t->currency[0] && strcmp(t->currency, currency))
        return BAD(r, "a tenant's budgets are all in one currency");
    snprintf(t->currency, sizeof t->currency, "%s", currency);
    return 0;
}

/* A zone that is there; the text is the tenant's then. */
static int read_zone(struct reader *r, const char *name, struct account_settings *s)
{
    struct zone *z = NULL;
    struct err e = {0};

    if (zone_load(&z, ZONE_DIR, name, &e))
        return BAD(r, "%s", e.text);
    zone_free(z);
    free((void *)(uintptr_t)s->budget_zone);
    s->budget_zone = strdup(name);
    return s->budget_zone ? 0 : err_set(r->e, ERR_NOMEM, "out of memory");
}

/* One NAME=VALUE of a tenant's line. */
static int read_setting(struct reader *r, struct key_tenant *t, char *word)
{
    char *value = strchr(word, '=');
    int64_t *to;

    if (value)
        *value++ = 0;
    if (value && !strcmp(word, "tiers"))
        return read_tiers(r, value, &t->tiers);
    if (value && !strcmp(word, "budget_zone"))
        return read_zone(r, value, &t->limits);
    to = find_limit(budgets, sizeof budgets / sizeof *budgets, &t->limits, word);
    if (to && value)
        return read_money(r, value, t, to);
    to = find_limit(limits, sizeof limits / sizeof *limits, &t->limits, word);
    if (!to || !value)
        return BAD(r, "unknown limit '%.40s' of a tenant", word);
    return count(value, to) ? 0 : BAD(r, "%s wants a count, not '%.40s'", word, value);
}

static int read_tenant(struct reader *r, char **w, int n)
{
    int i_tenant, code = 0;

    if (n < 2 || !key_name_ok(w[1]))
        return BAD(r, "'tenant' wants a name of letters, digits and - _ . :");
    i_tenant = tenant(r->t, w[1]);
    if (i_tenant < 0)
        return BAD(r, "more than %d tenants", CLOUD_TENANTS_MAX);
    for (int i = 2; !code && i < n; i++)
        code = read_setting(r, &r->t->tenants[i_tenant], w[i]);
    return code;
}

static int read_key(struct reader *r, char **w, int n)
{
    struct key_table *t = r->t;
    struct key_line *k = &t->lines[t->n_lines];

    if (!r->salted)
        return BAD(r, "a 'salt' line must come before the first key");
    if (t->n_lines >= CLOUD_KEYS_MAX)
        return BAD(r, "more than %d keys", CLOUD_KEYS_MAX);
    if (n < 3 || !key_name_ok(w[1]))
        return BAD(r, "'key' wants: key ID HASH [tenant=NAME] [tiers=LIST]");
    if (!hex(w[2], k->hash, sizeof k->hash))
        return BAD(r,
                   "the hash of key '%s' is not 64 hex digits (keys are never stored as they are; "
                   "make one with 'gaufre key new')",
                   w[1]);
    for (int i = 0; i < t->n_lines; i++) {
        if (!strcmp(t->lines[i].id, w[1]))
            return BAD(r, "key id '%s' is there twice", w[1]);
    }
    k->i_tenant = 0;
    for (int i = 3; i < n; i++) {
        int code = 0;
        if (!strncmp(w[i], "tiers=", 6))
            code = read_tiers(r, w[i] + 6, &k->tiers);
        else if (strncmp(w[i], "tenant=", 7) || !key_name_ok(w[i] + 7))
            code = BAD(r, "'%.80s' is neither tenant=NAME nor tiers=LIST", w[i]);
        else if ((k->i_tenant = tenant(t, w[i] + 7)) < 0)
            code = BAD(r, "more than %d tenants", CLOUD_TENANTS_MAX);
        if (code)
            return code;
    }
    snprintf(k->id, sizeof k->id, "%s", w[1]);
    t->n_lines++;
    return 0;
}

static int read_line(struct reader *r, char *line)
{
    char *w[WORDS_MAX + 1], *save = NULL;
    int n = 0;

    for (char *p = strtok_r(line, " \t\r", &save); p; p = strtok_r(NULL, " \t\r", &save)) {
        if (*p == '#')
            break;
        if (n == WORDS_MAX)
            return BAD(r, "too many words");
        w[n++] = p;
    }
    if (!n)
        return 0;
    if (!strcmp(w[0], "salt")) {
        if (r->salted || n != 2 || !hex(w[1], r->t->salt, KEY_SALT_BYTES))
            return BAD(r, "'salt' wants 64 hex digits, once");
        r->salted = 1;
        return 0;
    }
    if (!strcmp(w[0], "tenant"))
        return read_tenant(r, w, n);
    if (!strcmp(w[0], "key"))
        return read_key(r, w, n);
    return BAD(r, "a line begins with 'salt', 'tenant' or 'key', not '%.40s'", w[0]);
}

int key_table_parse(struct key_table **ret, const char *name, const char *text, size_t n,
                    struct err *e)
{
    struct reader r = {.file = name, .e = e};
    const char *end = text + n, *eol;
    char line[1024];
    int code;

    r.t = calloc(1, sizeof *r.t);
    if (!r.t)
        return err_set(e, ERR_NOMEM, "%s: out of memory", name);
    r.t->lines = calloc(CLOUD_KEYS_MAX + 1, sizeof *r.t->lines);
    r.t->tenants = calloc(CLOUD_TENANTS_MAX, sizeof *r.t->tenants);
    if (!r.t->lines || !r.t->tenants) {
        code = err_set(e, ERR_NOMEM, "%s: out of memory", name);
        goto fail;
    }
    tenant(r.t, CLOUD_DEFAULT_TENANT);
    for (; text < end; text = eol + 1) {
        r.line++;
        eol = memchr(text, '\n', (size_t)(end - text));
        if (!eol)
            eol = end;
        if ((size_t)(eol - text) >= sizeof line || memchr(text, 0, (size_t)(eol - text))) {
            code = BAD(&r, "longer than %zu bytes, or not text", sizeof line - 1);
            goto fail;
        }
        memcpy(line, text, (size_t)(eol - text));
        line[eol - text] = 0;
        code = read_line(&r, line);
        if (code)
            goto fail;
    }
    *ret = r.t;
    return 0;
fail:
    key_table_free(r.t);
    return code;
}

int key_table_load(struct key_table **ret, const char *path, struct err *e)
{
    struct buf text;
    int r;

    buf_init(&text, FILE_MAX);
    r = disk_read(path, &text);
    if (r)
        err_set(e, r, "keys file %s: %s", path,
                r == ERR_LIMIT ? "larger than 4 MiB" : strerror(errno));
    else
        r = key_table_parse(ret, path, text.data ? text.data : "", text.len, e);
    buf_done(&text);
    return r;
}
