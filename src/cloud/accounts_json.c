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
        return list_of(text, 0);
    case ACCOUNT_LABELS:
        return list_of(text, 1);
    case ACCOUNT_MONEY:
    case ACCOUNT_TIME:
    case ACCOUNT_ZONE:
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
