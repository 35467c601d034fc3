#include "serve/admin_openapi.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "cloud/account.h"
#include "cloud/accounts.h"
#include "cloud/site.h"

#define NAME_PATTERN "^[A-Za-z0-9._:-]{1,63}$"

enum {
    WITH_ID = 1,
    WITH_TENANT = 2,
    WITH_TEAM = 4,
    WITH_SETTINGS = 8,
    WITH_OVERLAP = 16,
    WITH_ORDER = 64,
    WITH_CONTRACT = 128,
    WITH_DRAIN = 256,
    WITH_CALL = 512
};
enum { AS_EVENTS = 32 }; /* its answer is a stream */

static const struct operation {
    const char *path, *method, *id, *summary;
    int status;
    int body;              /* bits WITH_*; 0: none */
    int kind;              /* of its settings */
    const char *query[10]; /* names, ended by NULL */
} operations[] = {
    {"/admin/v1/tenants", "get", "listTenants", "All tenants", 200, 0, 0, {"limit", "offset"}},
    {"/admin/v1/tenants",
     "post",
     "newTenant",
     "Make a tenant",
     201,
     WITH_ID | WITH_SETTINGS,
     ACCOUNT_TENANT,
     {NULL}},
    {"/admin/v1/tenants/{id}", "get", "getTenant", "A tenant", 200, 0, 0, {NULL}},
    {"/admin/v1/tenants/{id}",
     "patch",
     "setTenant",
     "Change settings; null takes one back",
     200,
     WITH_SETTINGS,
     ACCOUNT_TENANT,
     {NULL}},
    {"/admin/v1/tenants/{id}",
     "delete",
     "removeTenant",
     "Remove it, once it has no teams and keys",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/teams", "get", "listTeams", "All teams", 200, 0, 0, {"tenant", "limit", "offset"}},
    {"/admin/v1/teams",
     "post",
     "newTeam",
     "Make a team",
     201,
     WITH_ID | WITH_TENANT | WITH_SETTINGS,
     ACCOUNT_TEAM,
     {NULL}},
    {"/admin/v1/teams/{tenant}/{id}", "get", "getTeam", "A team", 200, 0, 0, {NULL}},
    {"/admin/v1/teams/{tenant}/{id}",
     "patch",
     "setTeam",
     "Change settings; null takes one back",
     200,
     WITH_SETTINGS,
     ACCOUNT_TEAM,
     {NULL}},
    {"/admin/v1/teams/{tenant}/{id}",
     "delete",
     "removeTeam",
     "Remove it, once it has no keys",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/keys",
     "get",
     "listKeys",
     "All keys, without their texts",
     200,
     0,
     0,
     {"tenant", "limit", "offset"}},
    {"/admin/v1/keys",
     "post",
     "newKey",
     "Make a key; the answer's key is its text, shown once",
     201,
     WITH_ID | WITH_TENANT | WITH_TEAM | WITH_SETTINGS,
     ACCOUNT_KEY,
     {NULL}},
    {"/admin/v1/keys/{id}", "get", "getKey", "A key", 200, 0, 0, {NULL}},
    {"/admin/v1/keys/{id}",
     "patch",
     "setKey",
     "Change settings; null takes one back",
     200,
     WITH_SETTINGS,
     ACCOUNT_KEY,
     {NULL}},
    {"/admin/v1/keys/{id}", "delete", "removeKey", "Remove it", 200, 0, 0, {NULL}},
    {"/admin/v1/keys/{id}/rotate",
     "post",
     "rotateKey",
     "Another text; the one of now stays good for a while. Repeated with the same header "
     "idempotency-key it gives a text once more and ends nothing sooner",
     200,
     WITH_OVERLAP,
     ACCOUNT_KEY,
     {NULL}},
    {"/admin/v1/keys/{id}/revoke",
     "post",
     "revokeKey",
     "End it, and what runs with it, at once",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/audit",
     "get",
     "listChanges",
     "Who changed what: the first first after a number, the last first before one",
     200,
     0,
     0,
     {"after", "before", "limit"}},
    {"/admin/v1/usage",
     "get",
     "getUsage",
     "What was used and what it costs",
     200,
     0,
     0,
     {"by", "tenant", "team", "key", "model", "supplier", "site", "contract", "label"}},
    {"/admin/v1/sites", "get", "listSites", "All sites, as they are now", 200, 0, 0, {NULL}},
    {"/admin/v1/sites/{id}", "get", "getSite", "A site, as it is now", 200, 0, 0, {NULL}},
    {"/admin/v1/sites/{id}",
     "patch",
     "setSite",
     "Order a state or a capacity factor, which survives a restart; null takes one back. The "
     "lowest factor that the configuration, its file and the operator say holds",
     200,
     WITH_ORDER,
     0,
     {NULL}},
    {"/admin/v1/sites/{id}/curtailments",
     "get",
     "listCurtailments",
     "The grid's calls for a site that were over a year ago at most, or are yet to come",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/sites/{id}/curtailments",
     "post",
     "curtailSite",
     "Take a call of the grid, or with dry_run only what it would cost and earn",
     200,
     WITH_CALL,
     0,
     {NULL}},
    {"/admin/v1/curtailments/{id}",
     "get",
     "getCurtailment",
     "A call of the grid, what it costs and earns, and what came of it",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/curtailments/{id}",
     "delete",
     "cancelCurtailment",
     "The site goes up again from now on, or never down",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/contracts",
     "get",
     "listContracts",
     "The contracts that hold, and what follows from them",
     200,
     0,
     0,
     {"as_of", "known_on"}},
    {"/admin/v1/contracts",
     "post",
     "amendContract",
     "Record a contract's text as one version more",
     201,
     WITH_CONTRACT,
     0,
     {NULL}},
    {"/admin/v1/contracts/{id}",
     "get",
     "getContract",
     "A contract as it holds, and its versions",
     200,
     0,
     0,
     {"as_of", "known_on"}},
    {"/admin/v1/contracts/{id}/statement",
     "get",
     "getStatement",
     "What is owed for a period of a contract: a month, or days from one on and before the other; "
     "the month that it is, so far",
     200,
     0,
     0,
     {"month", "from", "until", "known_on"}},
    {"/admin/v1/obligations",
     "get",
     "getObligations",
     "What is still to come of the contracts that hold, by the year, and on whom it depends",
     200,
     0,
     0,
     {"as_of", "known_on"}},
    {"/admin/v1/power",
     "get",
     "getPower",
     "What the power of sites became, hour by hour: the last day, or at most ten years",
     200,
     0,
     0,
     {"site", "from", "to"}},
    {"/admin/v1/reload",
     "post",
     "reload",
     "Read keys and configuration again: all of it is in force, or nothing",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/drain",
     "get",
     "getDrain",
     "Whether it serves, and how far a drain is. Also for who is on this machine, where there are "
     "no keys",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/drain",
     "post",
     "drain",
     "With to: refuse new requests and hand stored answers that are not finished over to another "
     "server with the same weights. Without: finish what runs and end. With keep: answers on "
     "their way to a server that never said whether it has them go on here",
     200,
     WITH_DRAIN,
     0,
     {NULL}},
    {"/admin/v1/answers",
     "post",
     "takeAnswer",
     "Take over an answer that another server has begun: its records, as that one stores them",
     201,
     0,
     0,
     {NULL}},
    {"/admin/v1/answers/{id}",
     "get",
     "getAnswer",
     "A stored answer of any tenant, as its tenant gets it",
     200,
     0,
     0,
     {"stream", "starting_after"}},
    {"/admin/v1/prices", "get", "listPrices", "The price book that is in force", 200, 0, 0, {NULL}},
    {"/admin/v1/overview",
     "get",
     "getOverview",
     "What happens: rates, tiers, models, suppliers, tenants, ledger and requests, at most a "
     "second "
     "old. Also for who is on this machine, where there are no keys",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/overview/events",
     "get",
     "watchOverview",
     "The same as server-sent events, one a second",
     200,
     AS_EVENTS,
     0,
     {NULL}},
    {"/admin/v1/requests/{id}",
     "get",
     "getRequest",
     "A request of any tenant, under way or among the last, with its timeline",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/requests/{id}/route",
     "get",
     "getRoute",
     "How its supplier was chosen",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/requests/{id}/cancel", "post", "cancelRequest", "End it", 200, 0, 0, {NULL}},
    {"/admin/v1/session",
     "get",
     "getSession",
     "Who is in, by which key, and whether it may change something",
     200,
     0,
     0,
     {NULL}},
    {"/admin/v1/session",
     "post",
     "logIn",
     "Begin a session of the key that is shown: its cookie stands in the key's place, and each "
     "change then needs the header x-gaufre-csrf with the answer's csrf",
     201,
     0,
     0,
     {NULL}},
    {"/admin/v1/session", "delete", "logOut", "End the session of the cookie", 200, 0, 0, {NULL}},
};

static json_t *text_list(const char *pattern)
{
    return json_pack("{s:s, s:i, s:i, s:{s:s, s:s}}", "type", "array", "minItems", 1, "maxItems",
                     ACCOUNT_LIST_MAX, "items", "type", "string", "pattern", pattern);
}

/* The form of a setting; null takes it back. */
static json_t *schema_of(const struct account_field *f)
{
    json_t *j = NULL;

    switch (f->type) {
    case ACCOUNT_COUNT:
        j = json_pack("{s:s, s:i, s:I}", "type", "integer", "minimum", 0, "maximum",
                      (json_int_t)1 << 50);
        break;
    case ACCOUNT_FLAG:
        j = json_pack("{s:s}", "type", "boolean");
        break;
    case ACCOUNT_MONEY:
        j = json_pack("{s:s, s:s}", "type", "string", "pattern",
                      "^[0-9]{1,9}(\\.[0-9]{1,9})?[A-Z]{3}$");
        break;
    case ACCOUNT_ENERGY:
        j = json_pack("{s:s, s:s}", "type", "string", "pattern",
                      "^[0-9]{1,5}(\\.[0-9]{1,6})?k?Wh$");
        break;
    case ACCOUNT_TIME:
        j = json_pack("{s:s, s:s, s:[s, s]}", "type", "string", "pattern",
                      "^20[2-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
                      "(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)?$",
                      "examples", "2027-01-31", "2027-01-31T18:00:00Z");
        break;
    case ACCOUNT_EXCEED:
        j = json_pack("{s:s, s:[s, s, s]}", "type", "string", "enum", exceed_name(EXCEED_REJECT),
                      exceed_name(EXCEED_DOWNGRADE), exceed_name(EXCEED_FALLBACK));
        break;
    case ACCOUNT_MODEL:
        j = json_pack("{s:s, s:s}", "type", "string", "pattern", "^[A-Za-z0-9._:/-]{1,100}$");
        break;
    case ACCOUNT_ZONE:
        j = json_pack("{s:s, s:[s]}", "type", "string", "examples", "Europe/Berlin");
        break;
    case ACCOUNT_TIERS:
        j = text_list("^(flex|default|priority|batch)$");
        break;
    case ACCOUNT_NAMES:
        j = text_list("^[A-Za-z0-9._:/-]{1,100}\\*?$");
        break;
    case ACCOUNT_NETWORKS:
        j = text_list("^[0-9a-f.:]+(/[0-9]+)?$");
        break;
    case ACCOUNT_ORIGINS:
        j = text_list("^(null|[a-z]{1,20}://[A-Za-z0-9.-]{1,60}(:[0-9]{1,5})?)$");
        break;
    case ACCOUNT_LABELS:
        j = json_pack("{s:s, s:i, s:{s:s}, s:{s:s, s:s}}", "type", "object", "minProperties", 1,
                      "propertyNames", "pattern", "^[A-Za-z0-9._:-]{1,40}$", "additionalProperties",
                      "type", "string", "pattern", "^[A-Za-z0-9._:/@ -]{1,60}$");
        break;
    }
    return json_pack("{s:s, s:[o, {s:s}]}", "description", f->help, "anyOf", j, "type", "null");
}

static json_t *settings_of(int kind)
{
    json_t *j = json_object();

    for (int i = 0; i < account_n_fields; i++) {
        if (account_fields[i].kinds >> kind & 1)
            json_object_set_new(j, account_fields[i].name, schema_of(&account_fields[i]));
    }
    return j;
}

static json_t *name_schema(void)
{
    return json_pack("{s:s, s:s}", "type", "string", "pattern", NAME_PATTERN);
}

/* What an operator may say of a site. */
static json_t *order_members(void)
{
    json_t *states = json_array();

    for (int i = 0; i < LIFECYCLE_STATES; i++)
        json_array_append_new(states, json_string(lifecycle_name((enum lifecycle_state)i)));
    return json_pack("{s:{s:[{s:s, s:o}, {s:s}]}, s:{s:[{s:s, s:i, s:i}, {s:s}]}}", "state",
                     "anyOf", "type", "string", "enum", states, "type", "null", "capacity_factor",
                     "anyOf", "type", "number", "minimum", 0, "maximum", 1, "type", "null");
}

/* A call of the grid. */
static json_t *call_members(void)
{
    json_t *j = json_pack("{s:{s:s}}", "dry_run", "type", "boolean");

    json_object_set_new(j, "from",
                        json_pack("{s:[{s:s, s:s}, {s:s}]}", "anyOf", "type", "string", "format",
                                  "date-time", "type", "null"));
    json_object_set_new(j, "until",
                        json_pack("{s:[{s:s, s:s}, {s:s}]}", "anyOf", "type", "string", "format",
                                  "date-time", "type", "null"));
    json_object_set_new(j, "for_seconds",
                        json_pack("{s:s, s:i, s:i}", "type", "number", "minimum", 1, "maximum",
                                  SITE_CURTAIL_MAX_S));
    json_object_set_new(j, "ramp_seconds",
                        json_pack("{s:s, s:i, s:i}", "type", "number", "minimum", 0, "maximum",
                                  (int)(CURTAIL_RAMP_MAX_US / 1000000)));
    json_object_set_new(j, "target_mw",
                        json_pack("{s:s, s:i, s:i}", "type", "number", "minimum", 0, "maximum",
                                  (int)(POWER_WATTS_MAX / 1000000)));
    json_object_set_new(j, "target_share",
                        json_pack("{s:s, s:i, s:i}", "type", "number", "minimum", 0, "maximum", 1));
    return j;
}

/* A version of a contract. */
static json_t *contract_members(void)
{
    return json_pack("{s:{s:s}, s:{s:[{s:s, s:s}, {s:s}]}, s:{s:[{s:s, s:s, s:i}, {s:s}]}}", "text",
                     "type", "string", "effective", "anyOf", "type", "string", "format", "date",
                     "type", "null", "reason", "anyOf", "type", "string", "pattern",
                     "^[^\\u0000]*$", "maxLength", CONTRACT_REASON_MAX, "type", "null");
}

static json_t *body_of(const struct operation *o)
{
    static const struct {
        int bit;
        const char *name;
        int is_required;
    } names[] = {{WITH_ID, "id", 1}, {WITH_TENANT, "tenant", 1}, {WITH_TEAM, "team", 0}};
    json_t *members = o->body & WITH_SETTINGS ? settings_of(o->kind) : json_object();
    json_t *required = json_array();

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!(o->body & names[i].bit))
            continue;
        json_object_set_new(members, names[i].name,
                            names[i].is_required ? name_schema()
                                                 : json_pack("{s:[o, {s:s}]}", "anyOf",
                                                             name_schema(), "type", "null"));
        if (names[i].is_required)
            json_array_append_new(required, json_string(names[i].name));
    }
    if (o->body & WITH_DRAIN)
        json_object_update_missing_new(members, json_pack("{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}}",
                                                          "to", "type", "string", "key", "type",
                                                          "string", "ca_file", "type", "string",
                                                          "keep", "type", "boolean"));
    if (o->body & WITH_OVERLAP)
        json_object_set_new(members, "overlap_seconds",
                            json_pack("{s:s, s:i, s:i, s:i}", "type", "integer", "minimum", 0,
                                      "maximum", 90 * 86400, "default", 86400));
    if (o->body & WITH_CONTRACT)
        json_object_update_new(members, contract_members());
    if (o->body & WITH_CONTRACT)
        json_array_append_new(required, json_string("text"));
    if (o->body & WITH_ORDER)
        json_object_update_new(members, order_members());
    if (o->body & WITH_CALL)
        json_object_update_new(members, call_members());
    return json_pack("{s:b, s:{s:{s:{s:s, s:o, s:o, s:b}}}}", "required",
                     o->body & (WITH_ID | WITH_ORDER | WITH_CONTRACT | WITH_CALL) ? 1 : 0,
                     "content", "application/json", "schema", "type", "object", "properties",
                     members, "required", required, "additionalProperties", 0);
}

static json_t *parameter(const char *name, const char *in, json_t *schema)
{
    return json_pack("{s:s, s:s, s:b, s:o}", "name", name, "in", in, "required",
                     !strcmp(in, "path"), "schema", schema);
}

static json_t *query_schema(const char *name)
{
    if (!strcmp(name, "by"))
        return json_pack("{s:s, s:[s, s, s, s, s, s, s, s, s, s]}", "type", "string", "enum",
                         "tenant", "team", "key", "labels", "model", "supplier", "day", "site",
                         "contract", "all");
    if (!strcmp(name, "limit"))
        return json_pack("{s:s, s:i, s:i}", "type", "integer", "minimum", 0, "maximum", 1000);
    if (!strcmp(name, "offset") || !strcmp(name, "after") || !strcmp(name, "before"))
        return json_pack("{s:s, s:i, s:I}", "type", "integer", "minimum", 0, "maximum",
                         (json_int_t)1 << 53);
    if (!strcmp(name, "as_of") || !strcmp(name, "known_on") || !strcmp(name, "from") ||
        !strcmp(name, "to") || !strcmp(name, "until"))
        return json_pack("{s:s, s:s}", "type", "string", "format", "date");
    if (!strcmp(name, "month"))
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[0-9]{4}-(0[1-9]|1[0-2])$");
    if (!strcmp(name, "tenant"))
        return json_pack("{s:s, s:i}", "type", "string", "maxLength", ACCOUNT_NAME_MAX - 1);
    return json_pack("{s:s, s:i}", "type", "string", "maxLength", ACCOUNT_ID_MAX - 1);
}

static json_t *parameters_of(const struct operation *o)
{
    json_t *j = json_array();

    if (strstr(o->path, "{tenant}"))
        json_array_append_new(j, parameter("tenant", "path", name_schema()));
    if (strstr(o->path, "{id}"))
        json_array_append_new(j, parameter("id", "path", name_schema()));
    for (int i = 0; i < (int)ARRAY_LEN(o->query) && o->query[i]; i++)
        json_array_append_new(j, parameter(o->query[i], "query", query_schema(o->query[i])));
    if (!strcmp(o->id, "getUsage")) {
        json_array_append_new(j, parameter("from", "query", query_schema("from")));
        json_array_append_new(j, parameter("to", "query", query_schema("to")));
    }
    return j;
}

static json_t *response(const char *what, const char *schema)
{
    return json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", what, "content", "application/json",
                     "schema", "$ref", schema);
}

static json_t *responses_of(const struct operation *o)
{
    static const struct {
        const char *status, *what;
    } errors[] = {{"400", "What is wrong with the request"},
                  {"401", "No key, or a wrong one"},
                  {"403", "No key of the admin API"},
                  {"404", "There is no such account, site or contract"},
                  {"405", "Not served for this method"},
                  {"408", "The body did not arrive in time"},
                  {"409", "It is there already, or has others that depend on it"},
                  {"413", "The body is too large"},
                  {"429", "Too many wrong keys, or too many watchers: come back later"},
                  {"500", "The store failed; the log says why"},
                  {"503", "Busy: come back later"}};
    json_t *j = json_object();
    char status[8];

    snprintf(status, sizeof status, "%d", o->status);
    json_object_set_new(j, status,
                        o->body & AS_EVENTS
                            ? json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", "States",
                                        "content", "text/event-stream", "schema", "type", "string")
                            : response("Done", "#/components/schemas/Answer"));
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        json_object_set_new(j, errors[i].status,
                            response(errors[i].what, "#/components/schemas/Error"));
    return j;
}

static json_t *components(void)
{
    return json_pack("{s:{s:{s:s, s:s}}, s:{s:{s:s, s:[s], s:{s:{s:s}}}, s:{s:s, s:[s, s], "
                     "s:{s:{s:s}, s:{s:s}}}}}",
                     "securitySchemes", "adminKey", "type", "http", "scheme", "bearer", "schemas",
                     "Answer", "type", "object", "required", "object", "properties", "object",
                     "type", "string", "Error", "type", "object", "required", "error",
                     "status_code", "properties", "error", "type", "object", "status_code", "type",
                     "integer");
}

json_t *admin_openapi(void)
{
    json_t *paths = json_object();

    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        const struct operation *o = &operations[i];
        json_t *at = json_object_get(paths, o->path);
        json_t *j = json_pack("{s:s, s:s, s:o, s:o}", "operationId", o->id, "summary", o->summary,
                              "parameters", parameters_of(o), "responses", responses_of(o));
        if (o->body & ~AS_EVENTS)
            json_object_set_new(j, "requestBody", body_of(o));
        if (!at) {
            json_object_set_new(paths, o->path, json_object());
            at = json_object_get(paths, o->path);
        }
        json_object_set_new(at, o->method, j);
    }
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:[{s:[]}], s:o, s:o}", "openapi", "3.1.0", "info", "title",
        "gaufre admin API", "version", "1", "description",
        "Tenants, teams, keys, their changes, usage, sites, the configuration, and what happens.",
        "security", "adminKey", "paths", paths, "components", components());
}
