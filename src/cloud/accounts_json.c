#include "cloud/accounts_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"

static json_t *text_of(const char *s)
{
    return s && *s ? json_string(s) : json_null();
}

static json_t *time_of(int64_t s)
{
    char text[32];
    time_t t = (time_t)s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

/* "a,b" as ["a", "b"], "a=1,b=2" as {"a": "1", "b": "2"}. */
static json_t *list_of(const char *list, int is_labels)
{
    json_t *j = is_labels ? json_object() : json_array();
    char name[ACCOUNT_NAME_MAX];
    size_t n;

    for (const char *at = list; *at; at += n + (at[n] == ',')) {
        n = strcspn(at, ",");
        if (!is_labels) {
            json_array_append_new(j, json_stringn(at, n));
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "="), at);
        json_object_set_new(j, name, json_stringn(strchr(at, '=') + 1, n - strlen(name) - 1));
    }
    return j;
}

static json_t *value_of(const struct account_field *f, const char *text)
{
    switch (f->type) {
    case ACCOUNT_COUNT:
        return json_integer(strtoll(text, NULL, 10));
    case ACCOUNT_FLAG:
        return json_boolean(!strcmp(text, "yes"));
    case ACCOUNT_TIERS:
    case ACCOUNT_NAMES:
    case ACCOUNT_NETWORKS:
    case ACCOUNT_ORIGINS:
        return list_of(text, 0);
    case ACCOUNT_LABELS:
        return list_of(text, 1);
    case ACCOUNT_MONEY:
    case ACCOUNT_ENERGY:
    case ACCOUNT_TIME:
    case ACCOUNT_EXCEED:
    case ACCOUNT_ZONE:
    case ACCOUNT_MODEL:
        break;
    }
    return json_string(text);
}

json_t *accounts_json(const struct account_row *r)
{
    json_t *j = json_object();
    char text[ACCOUNT_TEXT_MAX];

    json_object_set_new(j, "object", json_string(account_kind_name(r->kind)));
    json_object_set_new(j, "id", json_string(r->id));
    if (r->kind != ACCOUNT_TENANT)
        json_object_set_new(j, "tenant", json_string(r->tenant));
    if (r->kind == ACCOUNT_KEY) {
        json_object_set_new(j, "team", text_of(*r->team ? strchr(r->team, '/') + 1 : NULL));
        json_object_set_new(j, "state", json_string(account_state_name(r->state)));
        json_object_set_new(j, "secrets", json_integer(r->n_secrets));
    }
    json_object_set_new(j, "created", time_of(r->created_s));
    for (int i = 0; i < account_n_fields; i++) {
        if (account_field_show(&r->settings, &account_fields[i], text))
            json_object_set_new(j, account_fields[i].name, value_of(&account_fields[i], text));
    }
    if (*r->broken)
        json_object_set_new(j, "broken", json_string(r->broken));
    return j;
}

static json_t *object_of(const char *text)
{
    json_t *j = *text ? json_loads(text, 0, NULL) : json_null();

    return j ? j : json_string(text);
}

json_t *accounts_audit_json(const struct account_audit *l)
{
    return json_pack("{s:I, s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "seq", (json_int_t)l->seq, "at",
                     time_of(l->at_s), "actor", l->actor, "action", l->action, "kind",
                     account_kind_name(l->kind), "id", l->id, "before", object_of(l->before),
                     "after", object_of(l->after));
}

/* ---- reading --------------------------------------------------------------------------------- */

static int bad(const struct account_field *f, const char *what, struct err *e)
{
    return err_set_param(e, ERR_ARG, f->name, "%s wants %s", f->name, what);
}

/* Several texts with commas between them. */
static int join(const struct account_field *f, const json_t *v, char ret[ACCOUNT_TEXT_MAX],
                struct err *e)
{
    struct buf b;
    const char *name;
    json_t *one;
    size_t i;
    int n = 0, ok = 1;

    buf_init(&b, ACCOUNT_TEXT_MAX - 1);
    buf_add_str(&b, "");
    json_array_foreach(v, i, one)
    {
        ok = ok && json_is_string(one) && !strpbrk(json_string_value(one), ",");
        buf_addf(&b, "%s%s", n++ ? "," : "", ok ? json_string_value(one) : "");
    }
    json_object_foreach((json_t *)(uintptr_t)v, name, one)
    {
        ok = ok && json_is_string(one) && !strpbrk(json_string_value(one), ",") &&
             !strpbrk(name, ",=");
        buf_addf(&b, "%s%s=%s", n++ ? "," : "", name, ok ? json_string_value(one) : "");
    }
    ok = ok && !b.failed;
    if (ok)
        snprintf(ret, ACCOUNT_TEXT_MAX, "%s", b.data ? b.data : "");
    buf_done(&b);
    return ok ? 0 : bad(f, "texts without a comma, together below 1,024 bytes", e);
}

int64_t accounts_count(const json_t *v)
{
    double real = json_real_value(v);

    if (json_is_integer(v))
        return json_integer_value(v) >= 0 ? json_integer_value(v) : -1;
    return json_is_real(v) && real >= 0 && real < 0x1p53 && real == (double)(int64_t)real
               ? (int64_t)real
               : -1;
}

static int read_value(const struct account_field *f, const json_t *v, char ret[ACCOUNT_TEXT_MAX],
                      struct err *e)
{
    int64_t n;

    switch (f->type) {
    case ACCOUNT_COUNT:
        n = accounts_count(v);
        if (n < 0)
            return bad(f, "a count", e);
        snprintf(ret, ACCOUNT_TEXT_MAX, "%lld", (long long)n);
        return 0;
    case ACCOUNT_FLAG:
        if (!json_is_boolean(v))
            return bad(f, "true or false", e);
        snprintf(ret, ACCOUNT_TEXT_MAX, "%s", json_is_true(v) ? "yes" : "no");
        return 0;
    case ACCOUNT_TIERS:
    case ACCOUNT_NAMES:
    case ACCOUNT_NETWORKS:
    case ACCOUNT_ORIGINS:
        return json_is_array(v) && json_array_size(v) ? join(f, v, ret, e)
                                                      : bad(f, "an array of texts", e);
    case ACCOUNT_LABELS:
        return json_is_object(v) && json_object_size(v) ? join(f, v, ret, e)
                                                        : bad(f, "an object of texts", e);
    case ACCOUNT_MONEY:
    case ACCOUNT_ENERGY:
    case ACCOUNT_TIME:
    case ACCOUNT_EXCEED:
    case ACCOUNT_ZONE:
    case ACCOUNT_MODEL:
        break;
    }
    if (!json_is_string(v) || json_string_length(v) >= ACCOUNT_TEXT_MAX)
        return bad(f, "a text", e);
    snprintf(ret, ACCOUNT_TEXT_MAX, "%s", json_string_value(v));
    return 0;
}

static int is_other(const char *name, const char *const *others)
{
    while (*others && strcmp(*others, name))
        others++;
    return *others != NULL;
}

int accounts_changes_read(struct accounts_changes *ret, const json_t *object,
                          const char *const *others, struct err *e)
{
    const char *name;
    json_t *v;
    int r;

    ret->n = 0;
    json_object_foreach((json_t *)(uintptr_t)object, name, v)
    {
        const struct account_field *f = account_field_find(name);
        if (is_other(name, others))
            continue;
        if (!f)
            return err_set_param(e, ERR_ARG, name, "%.60s is not a setting of an account", name);
        CHECK(ret->n < ACCOUNTS_CHANGES_MAX);
        r = json_is_null(v) ? 0 : read_value(f, v, ret->text[ret->n], e);
        if (r)
            return r;
        ret->list[ret->n] =
            (struct account_change){f->name, json_is_null(v) ? NULL : ret->text[ret->n]};
        ret->n++;
    }
    return 0;
}
