/* Routes: one table of paths, and how a target is brought to its form. */
#include <stdio.h>
#include <string.h>

#include "api/endpoint.h"
#include "api/openai.h"
#include "base/check.h"

enum { GETS = API_GET | API_HEAD };
/* The rest of the path is an id; no alias under /v1; none without it, where a page is. */
enum { REST = 1, NO_V1 = 2, ONLY_V1 = 4 };

/* Short names for the table. */
#define OPEN    API_AUTH_NONE
#define KEY     API_AUTH_KEY
#define TENANT  API_AUTH_TENANT
#define OWN     API_AUTH_OWN
#define LIMITS  API_AUTH_LIMITS
#define METRICS API_AUTH_METRICS
#define ADMIN   API_AUTH_ADMIN
#define OPERATE API_AUTH_OPERATOR

struct route {
    const char *path; /* without /v1 where the alias without it is served too; {} is an id */
    unsigned char methods, flags;
    enum api_auth auth;
    enum api_route_id id;
    const char *unbuilt; /* what is not built yet */
};

/* In order: the first match wins, so ids ending in a known word come after it. */
static const struct route routes[] = {
    {"/", GETS, NO_V1, OPEN, API_ROUTE_HOME, NULL},
    {"/chat/completions", API_POST, 0, LIMITS, API_ROUTE_CHAT, NULL},
    {"/chat/completions/input_tokens", API_POST, 0, KEY, API_ROUTE_UNBUILT,
     "counting input tokens is"},
    {"/chat/completions/", GETS | API_DELETE, REST, TENANT, API_ROUTE_STORED_CHAT, NULL},
    {"/completions", API_POST, 0, LIMITS, API_ROUTE_COMPLETION, NULL},
    {"/completions/", GETS | API_DELETE, REST, TENANT, API_ROUTE_STORED_COMPLETION, NULL},
    {"/models", GETS, 0, KEY, API_ROUTE_MODELS, NULL},
    {"/models/", GETS, REST, KEY, API_ROUTE_MODEL, NULL},
    {"/public/v1/models", GETS, NO_V1, OPEN, API_ROUTE_PUBLIC_MODELS, NULL},
    {"/public/v1/models/", GETS, REST | NO_V1, OPEN, API_ROUTE_PUBLIC_MODEL, NULL},
    {"/tcp_warming", GETS, 0, OPEN, API_ROUTE_WARMING, NULL},
    {"/config.schema.json", GETS, NO_V1, OPEN, API_ROUTE_SCHEMA, NULL},
    {"/tokenize", API_POST, 0, LIMITS, API_ROUTE_TOKENIZE, NULL},
    {"/detokenize", API_POST, 0, LIMITS, API_ROUTE_DETOKENIZE, NULL},
    {"/apply-template", API_POST, 0, LIMITS, API_ROUTE_APPLY_TEMPLATE, NULL},
    {"/health", GETS, 0, OPEN, API_ROUTE_HEALTH, NULL},
    {"/healthz", GETS, NO_V1, OPEN, API_ROUTE_HEALTH, NULL},
    {"/ready", GETS, NO_V1, OPEN, API_ROUTE_READY, NULL},
    {"/metrics", GETS, NO_V1, METRICS, API_ROUTE_METRICS, NULL},
    {"/engine/events", GETS, 0, TENANT, API_ROUTE_ENGINE_EVENTS, NULL},
    {"/engine/requests/{}/cancel", API_POST, REST, TENANT, API_ROUTE_ENGINE_CANCEL, NULL},
    {"/engine/requests/{}/route", GETS, REST, TENANT, API_ROUTE_ENGINE_ROUTE, NULL},
    {"/engine/requests/", GETS, REST, TENANT, API_ROUTE_ENGINE_REQUEST, NULL},
    {"/account", GETS, ONLY_V1, OWN, API_ROUTE_ACCOUNT, NULL},
    {"/receipts", GETS, ONLY_V1, OWN, API_ROUTE_RECEIPTS, NULL},
    {"/receipts/", GETS, REST | ONLY_V1, OWN, API_ROUTE_RECEIPT, NULL},
    {"/admin/v1/tenants", GETS | API_POST, NO_V1, ADMIN, API_ROUTE_ADMIN_TENANTS, NULL},
    {"/admin/v1/tenants/", GETS | API_PATCH | API_DELETE, REST | NO_V1, ADMIN,
     API_ROUTE_ADMIN_TENANT, NULL},
    {"/admin/v1/teams", GETS | API_POST, NO_V1, ADMIN, API_ROUTE_ADMIN_TEAMS, NULL},
    {"/admin/v1/teams/", GETS | API_PATCH | API_DELETE, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_TEAM,
     NULL},
    {"/admin/v1/keys", GETS | API_POST, NO_V1, ADMIN, API_ROUTE_ADMIN_KEYS, NULL},
    {"/admin/v1/keys/{}/rotate", API_POST, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_ROTATE, NULL},
    {"/admin/v1/keys/{}/revoke", API_POST, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_REVOKE, NULL},
    {"/admin/v1/keys/", GETS | API_PATCH | API_DELETE, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_KEY,
     NULL},
    {"/admin/v1/audit", GETS, NO_V1, ADMIN, API_ROUTE_ADMIN_AUDIT, NULL},
    {"/admin/v1/usage", GETS, NO_V1, ADMIN, API_ROUTE_ADMIN_USAGE, NULL},
    {"/admin/v1/sites", GETS, NO_V1, ADMIN, API_ROUTE_ADMIN_SITES, NULL},
    {"/admin/v1/sites/{}/curtailments", GETS | API_POST, REST | NO_V1, ADMIN,
     API_ROUTE_ADMIN_CURTAILMENTS, NULL},
    {"/admin/v1/curtailments/", GETS | API_DELETE, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_CURTAILMENT,
     NULL},
    {"/admin/v1/sites/", GETS | API_PATCH, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_SITE, NULL},
    {"/admin/v1/contracts", GETS | API_POST, NO_V1, ADMIN, API_ROUTE_ADMIN_CONTRACTS, NULL},
    {"/admin/v1/contracts/{}/statement", GETS, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_STATEMENT,
     NULL},
    {"/admin/v1/contracts/", GETS, REST | NO_V1, ADMIN, API_ROUTE_ADMIN_CONTRACT, NULL},
    {"/admin/v1/obligations", GETS, NO_V1, ADMIN, API_ROUTE_ADMIN_OBLIGATIONS, NULL},
    {"/admin/v1/power", GETS, NO_V1, ADMIN, API_ROUTE_ADMIN_POWER, NULL},
    {"/admin/v1/reload", API_POST, NO_V1, ADMIN, API_ROUTE_ADMIN_RELOAD, NULL},
    {"/admin/v1/drain", GETS | API_POST, NO_V1, OPERATE, API_ROUTE_ADMIN_DRAIN, NULL},
    {"/admin/v1/answers", API_POST, NO_V1, OPERATE, API_ROUTE_ADMIN_TAKE, NULL},
    {"/admin/v1/answers/", GETS, REST | NO_V1, OPERATE, API_ROUTE_ADMIN_ANSWER, NULL},
    {"/admin/v1/openapi.json", GETS, NO_V1, OPEN, API_ROUTE_ADMIN_OPENAPI, NULL},
    {"/admin/v1/prices", GETS, NO_V1, ADMIN, API_ROUTE_ADMIN_PRICES, NULL},
    {"/admin/v1/session", GETS | API_POST | API_DELETE, NO_V1, OPEN, API_ROUTE_ADMIN_SESSION, NULL},
    {"/admin/v1/overview", GETS, NO_V1, OPERATE, API_ROUTE_ADMIN_OVERVIEW, NULL},
    {"/admin/v1/overview/events", GETS, NO_V1, OPERATE, API_ROUTE_ADMIN_EVENTS, NULL},
    {"/admin/overview", GETS, 0, OPERATE, API_ROUTE_ADMIN_OVERVIEW, NULL},
    {"/admin/overview/events", GETS, 0, OPERATE, API_ROUTE_ADMIN_EVENTS, NULL},
    {"/admin/v1/requests/{}/route", GETS, REST | NO_V1, OPERATE, API_ROUTE_ADMIN_ROUTE, NULL},
    {"/admin/v1/requests/{}/cancel", API_POST, REST | NO_V1, OPERATE, API_ROUTE_ADMIN_CANCEL, NULL},
    {"/admin/v1/requests/", GETS, REST | NO_V1, OPERATE, API_ROUTE_ADMIN_REQUEST, NULL},
    {"/embeddings", API_POST, 0, KEY, API_ROUTE_UNBUILT, "embeddings are"},
    {"/rerank", API_POST, 0, KEY, API_ROUTE_UNBUILT, "reranking is"},
    {"/responses", API_POST, 0, KEY, API_ROUTE_UNBUILT, "the responses API is"},
    {"/responses/", GETS | API_POST | API_DELETE, REST, KEY, API_ROUTE_UNBUILT,
     "the responses API is"},
    {"/messages", API_POST, 0, KEY, API_ROUTE_UNBUILT, "the messages API is"},
    {"/messages/", API_POST, REST, KEY, API_ROUTE_UNBUILT, "the messages API is"},
    {"/files", GETS | API_POST, 0, KEY, API_ROUTE_UNBUILT, "the files API is"},
    {"/files/", GETS | API_DELETE, REST, KEY, API_ROUTE_UNBUILT, "the files API is"},
    {"/batches", GETS | API_POST, 0, KEY, API_ROUTE_UNBUILT, "the batch API is"},
    {"/batches/", GETS | API_POST, REST, KEY, API_ROUTE_UNBUILT, "the batch API is"},
    {"/props", GETS, NO_V1, KEY, API_ROUTE_UNBUILT, "/props is"},
    {"/api/v1/metrics/organizations/", GETS, REST | NO_V1, KEY, API_ROUTE_UNBUILT,
     "metrics of organizations are"},
    {"/management/v1/", GETS | API_POST | API_DELETE, REST | NO_V1, KEY, API_ROUTE_UNBUILT,
     "the management API is"},
};

/* The dialects of those that generate. */
static const struct api_dialect *const speaks[API_ROUTE_N] = {
    [API_ROUTE_CHAT] = &openai_chat.d,
    [API_ROUTE_COMPLETION] = &openai_completion.d,
};

static const struct {
    const char *name;
    enum api_method method;
} methods[] = {{"GET", API_GET},         {"HEAD", API_HEAD},     {"POST", API_POST},
               {"OPTIONS", API_OPTIONS}, {"DELETE", API_DELETE}, {"PATCH", API_PATCH}};

enum api_method api_method_parse(const char *s, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (strlen(methods[i].name) == n && !memcmp(methods[i].name, s, n))
            return methods[i].method;
    }
    return API_OTHER;
}

void api_allow_text(unsigned allow, char out[64])
{
    int n = 0;

    out[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (n < 64 && (allow | API_OPTIONS) & methods[i].method)
            n += snprintf(out + n, 64 - (size_t)n, "%s%s", n ? ", " : "", methods[i].name);
    }
}

static int hex(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* Percent-decode into out (NUL-terminated). The length, or -1: a bad escape, a NUL, too long. */
static int decode(const char *s, size_t n, int plus, char *out, size_t cap)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            if (n - i < 3 || hex(s[i + 1]) < 0 || hex(s[i + 2]) < 0)
                return -1;
            c = hex(s[i + 1]) << 4 | hex(s[i + 2]);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (!c || k + 1 >= cap)
            return -1;
        out[k++] = (char)c;
    }
    out[k] = 0;
    return (int)k;
}

static int has_prefix(const char *s, size_t n, const char *prefix)
{
    size_t k = strlen(prefix);
    return n >= k && !memcmp(s, prefix, k);
}

/* Does the path (after its /v1, if it had one) match? *ret_id, *ret_n: the id of a REST route: what
 * stands for {}, or what follows the route's path. */
static int matches(const struct route *r, const char *path, size_t n, const char **ret_id,
                   size_t *ret_n)
{
    const char *hole = strstr(r->path, "{}"), *tail = hole ? hole + 2 : "";
    size_t k = hole ? (size_t)(hole - r->path) : strlen(r->path), k_tail = strlen(tail);

    if (n < k + k_tail || memcmp(path, r->path, k) || memcmp(path + n - k_tail, tail, k_tail))
        return 0;
    *ret_id = path + k;
    *ret_n = n - k - k_tail;
    return r->flags & REST ? *ret_n > 0 : *ret_n == 0;
}

int api_route_find(enum api_method method, const char *target, size_t n_target,
                   struct api_route_match *ret, struct err *e)
{
    const char *q = memchr(target, '?', n_target), *path = target;
    size_t n = q ? (size_t)(q - target) : n_target, n_id = 0;
    const char *id = "";
    int in_v1 = 0;

    *ret = (struct api_route_match){.query = q ? q + 1 : "", .n_query = q ? n_target - n - 1 : 0};
    if (method == API_OPTIONS) {
        ret->id = API_ROUTE_PREFLIGHT;
        ret->auth = API_AUTH_NONE;
        ret->allow = GETS | API_POST | API_OPTIONS;
        return 0;
    }
    if (n > 1 && path[n - 1] == '/')
        n--;
    while (
        has_prefix(path, n, "/v1/")) { /* a base URL with /v1 to which a client added another /v1 */
        path += 3;
        n -= 3;
        in_v1 = 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const struct route *r = &routes[i];
        if ((r->flags & (in_v1 ? NO_V1 : ONLY_V1)) || !matches(r, path, n, &id, &n_id))
            continue;
        ret->id = r->id;
        ret->auth = r->auth;
        ret->dialect = speaks[r->id];
        ret->allow = r->methods;
        if (!(r->methods & method))
            return err_set(e, ERR_METHOD, "%.*s is not served for this method",
                           (int)(n < 200 ? n : 200), path);
        if (r->flags & REST && decode(id, n_id, 0, ret->arg, sizeof ret->arg) < 0)
            return err_set(e, ERR_SCHEMA, "the id in the path is too long or wrongly encoded");
        if (r->unbuilt)
            return err_set(e, ERR_UNSUPPORTED, "%s not supported yet by this server", r->unbuilt);
        return 0;
    }
    return err_set(e, ERR_NO_ROUTE, "unknown URL: %.*s", (int)(n < 200 ? n : 200), path);
}

int api_query_get(const struct api_route_match *m, const char *name, char *out, size_t cap)
{
    const char *s = m->query, *end = s + m->n_query;
    size_t k = strlen(name);

    while (s < end) {
        const char *amp = memchr(s, '&', (size_t)(end - s)), *stop = amp ? amp : end;
        if (has_prefix(s, (size_t)(stop - s), name) && s + k < stop && s[k] == '=')
            return decode(s + k + 1, (size_t)(stop - s) - k - 1, 1, out, cap) >= 0;
        s = amp ? amp + 1 : end;
    }
    return 0;
}

int api_route_row(int i, const char **ret_path, unsigned *ret_methods, int *ret_built)
{
    if (i < 0 || (size_t)i >= ARRAY_LEN(routes))
        return 0;
    *ret_path = routes[i].path;
    *ret_methods = routes[i].methods;
    *ret_built = !routes[i].unbuilt;
    return 1;
}
