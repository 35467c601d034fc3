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
        account_done(&t->tenants[i].settings);
    for (int i = 0; i < t->n_lines; i++)
        account_done(&t->lines[i].settings);
    free(t->lines);
    free(t->tenants);
    sodium_memzero(t, sizeof *t);
    free(t);
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
    t->tenants[t->n_tenants].settings = account_unsaid();
    return t->n_tenants++;
}

/* One NAME=VALUE of a line. */
static int read_setting(struct reader *r, enum account_kind kind, struct account_settings *to,
                        char *word)
{
    char *value = strchr(word, '=');
    const struct account_field *f;
    struct err e = {0};

    if (value)
        *value++ = 0;
    f = account_field_find(word);
    if (!f || !value || !(f->kinds & 1u << kind))
        return BAD(r, "unknown limit '%.40s' of a %s", word, account_kind_name(kind));
    return account_field_set(to, f, value, &e) ? BAD(r, "%s", e.text) : 0;
}

static int read_tenant(struct reader *r, char **w, int n)
{
    int i_tenant, code = 0;

    if (n < 2 || !account_name_ok(w[1]))
        return BAD(r, "'tenant' wants a name of letters, digits and - _ . :");
    i_tenant = tenant(r->t, w[1]);
    if (i_tenant < 0)
        return BAD(r, "more than %d tenants", CLOUD_TENANTS_MAX);
    for (int i = 2; !code && i < n; i++)
        code = read_setting(r, ACCOUNT_TENANT, &r->t->tenants[i_tenant].settings, w[i]);
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
    if (n < 3 || !account_name_ok(w[1]))
        return BAD(r, "'key' wants: key ID HASH [tenant=NAME] [SETTING=VALUE]");
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
    k->settings = account_unsaid();
    for (int i = 3; i < n; i++) {
        int code = 0;
        if (strncmp(w[i], "tenant=", 7))
            code = read_setting(r, ACCOUNT_KEY, &k->settings, w[i]);
        else if (!account_name_ok(w[i] + 7))
            code = BAD(r, "'%.80s' is no tenant's name", w[i] + 7);
        else if ((k->i_tenant = tenant(t, w[i] + 7)) < 0)
            code = BAD(r, "more than %d tenants", CLOUD_TENANTS_MAX);
        if (code) {
            account_done(&k->settings);
            return code;
        }
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
