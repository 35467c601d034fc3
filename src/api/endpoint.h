/* The endpoints: one table of paths, their methods, what a request must show, and whether they are
 * built. */
#ifndef API_ENDPOINT_H
#define API_ENDPOINT_H

#include <stddef.h>

#include "api/dialect.h"
#include "base/err.h"

enum api_route_id {
    API_ROUTE_HOME,        /* GET / */
    API_ROUTE_CHAT,        /* POST /v1/chat/completions */
    API_ROUTE_COMPLETION,  /* POST /v1/completions */
    API_ROUTE_STORED_CHAT, /* GET, DELETE /v1/chat/completions/{id}, id in match.arg */
    API_ROUTE_STORED_COMPLETION,
    API_ROUTE_MODELS,        /* GET /v1/models */
    API_ROUTE_MODEL,         /* GET /v1/models/{id}, id in match.arg */
    API_ROUTE_PUBLIC_MODELS, /* GET /public/v1/models, no key */
    API_ROUTE_PUBLIC_MODEL,
    API_ROUTE_WARMING,  /* GET /v1/tcp_warming: 200 {} */
    API_ROUTE_SCHEMA,   /* GET /config.schema.json */
    API_ROUTE_TOKENIZE, /* POST /tokenize */
    API_ROUTE_DETOKENIZE,
    API_ROUTE_APPLY_TEMPLATE,
    API_ROUTE_HEALTH,         /* GET /health, /healthz, /v1/health */
    API_ROUTE_READY,          /* GET /ready */
    API_ROUTE_METRICS,        /* GET /metrics */
    API_ROUTE_ENGINE_EVENTS,  /* GET /v1/engine/events */
    API_ROUTE_ENGINE_REQUEST, /* GET /v1/engine/requests/{id}, id in match.arg */
    API_ROUTE_ENGINE_ROUTE,   /* GET /v1/engine/requests/{id}/route */
    API_ROUTE_ENGINE_CANCEL,  /* POST /v1/engine/requests/{id}/cancel */
    API_ROUTE_ACCOUNT,        /* GET /v1/account: its own */
    API_ROUTE_RECEIPTS,       /* GET /v1/receipts: the newest head of the log of answers */
    API_ROUTE_RECEIPT,        /* GET /v1/receipts/{id}: of a request of its own */
    API_ROUTE_ADMIN_TENANTS,  /* the admin API, /admin/v1/...: GET, POST */
    API_ROUTE_ADMIN_TENANT,   /* GET, PATCH, DELETE; its name in match.arg */
    API_ROUTE_ADMIN_TEAMS,
    API_ROUTE_ADMIN_TEAM, /* match.arg: "tenant/team" */
    API_ROUTE_ADMIN_KEYS,
    API_ROUTE_ADMIN_KEY,
    API_ROUTE_ADMIN_ROTATE,       /* POST keys/{id}/rotate */
    API_ROUTE_ADMIN_REVOKE,       /* POST keys/{id}/revoke */
    API_ROUTE_ADMIN_AUDIT,        /* GET */
    API_ROUTE_ADMIN_USAGE,        /* GET */
    API_ROUTE_ADMIN_SITES,        /* GET */
    API_ROUTE_ADMIN_SITE,         /* GET, PATCH; its name in match.arg */
    API_ROUTE_ADMIN_CURTAILMENTS, /* GET, POST sites/{name}/curtailments */
    API_ROUTE_ADMIN_CURTAILMENT,  /* GET, DELETE; its id in match.arg */
    API_ROUTE_ADMIN_CONTRACTS,    /* GET, POST */
    API_ROUTE_ADMIN_CONTRACT,     /* GET; its name in match.arg */
    API_ROUTE_ADMIN_STATEMENT,    /* GET contracts/{name}/statement */
    API_ROUTE_ADMIN_OBLIGATIONS,  /* GET */
    API_ROUTE_ADMIN_POWER,        /* GET */
    API_ROUTE_ADMIN_RELOAD,       /* POST */
    API_ROUTE_ADMIN_PRICES,       /* GET */
    API_ROUTE_ADMIN_DRAIN,        /* GET, POST */
    API_ROUTE_ADMIN_TAKE,         /* POST answers: another server's stored answer, its records */
    API_ROUTE_ADMIN_ANSWER,       /* GET answers/{id}: as API_ROUTE_STORED_CHAT, of any tenant */
    API_ROUTE_ADMIN_SESSION,      /* GET, POST, DELETE: of the console */
    API_ROUTE_ADMIN_OVERVIEW,
    API_ROUTE_ADMIN_EVENTS,  /* the overview again and again */
    API_ROUTE_ADMIN_REQUEST, /* GET requests/{id}: of any tenant */
    API_ROUTE_ADMIN_ROUTE,
    API_ROUTE_ADMIN_CANCEL,
    API_ROUTE_ADMIN_OPENAPI, /* GET openapi.json, no key */
    API_ROUTE_PREFLIGHT,     /* OPTIONS on any path: 204 with api_cors_headers */
    API_ROUTE_UNBUILT, /* in the contract, not built: api_route_find fails with a 400 naming it */
    API_ROUTE_N
};

/* What a request must show before it is answered. */
enum api_auth {
    API_AUTH_NONE,
    API_AUTH_KEY,     /* a valid key */
    API_AUTH_TENANT,  /* the same; the answer is about its tenant's requests only */
    API_AUTH_OWN,     /* the same; the answer is about its accounts */
    API_AUTH_LIMITS,  /* the same, and its tenant's limits allow one more; then the body is read */
    API_AUTH_METRICS, /* as the server is set */
    API_AUTH_ADMIN,   /* a key of the admin API, or a session of one; to change, one that may */
    API_AUTH_OPERATOR /* the same; or, where there are no keys, it comes from this machine */
};

enum api_method {
    API_GET = 1,
    API_HEAD = 2,
    API_POST = 4,
    API_OPTIONS = 8,
    API_DELETE = 16,
    API_PATCH = 32,
    API_OTHER = 64
};

struct api_route_match {
    enum api_route_id id;
    enum api_auth auth;
    const struct api_dialect *dialect; /* NULL: it generates nothing */
    unsigned allow;    /* methods of the path, for the Allow header (also set on ERR_METHOD) */
    char arg[512];     /* percent-decoded rest of the path (a model id, may hold '/'), or "" */
    const char *query; /* within the target, after '?'; "" when none */
    size_t n_query;
};

/* target: origin form as received. Aliases without /v1, a doubled /v1, one trailing slash and any
 * query are understood; HEAD goes where GET goes. 0, or ERR_NO_ROUTE (404), ERR_METHOD (405;
 * `allow` is set), ERR_UNSUPPORTED (400: named by the contract, not built yet), ERR_SCHEMA (a bad
 * or too long id). */
int api_route_find(enum api_method method, const char *target, size_t n_target,
                   struct api_route_match *ret, struct err *e);
enum api_method api_method_parse(const char *s, size_t n);
/* "GET, HEAD" of a mask. */
void api_allow_text(unsigned allow, char out[64]);
/* Value of ?name= (percent-decoded) into out, cut at cap; 1 when there. */
int api_query_get(const struct api_route_match *m, const char *name, char *out, size_t cap);

/* For docs and tests: row i of the table, "/completions"; 0 past the end. */
int api_route_row(int i, const char **ret_path, unsigned *ret_methods, int *ret_built);

#endif
