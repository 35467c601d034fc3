/* Who may use what: accounts are tenants, their teams, and keys. Each has settings, all from one
 * table of fields: the keys file, the store, commands, the admin API and the documents have their
 * names and texts from here.
 *
 * Counts hang on the account and not on a key's secret, so that a key's rotation resets nothing.
 * Pure functions, except that a zone's name is looked up on the disk. */
#ifndef CLOUD_ACCOUNT_H
#define CLOUD_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "books/books.h"

#define ACCOUNT_NAME_MAX BOOKS_NAME_MAX       /* of a tenant, of a team in it, of a key */
#define ACCOUNT_ID_MAX   (2 * BOOKS_NAME_MAX) /* "tenant", "tenant/team", "key" */
#define ACCOUNT_TEXT_MAX 1024                 /* of one field, with its NUL */
#define ACCOUNT_LIST_MAX 64                   /* names in a list */

enum account_kind { ACCOUNT_TENANT, ACCOUNT_TEAM, ACCOUNT_KEY, ACCOUNT_KINDS };
/* In the log of changes: a site, a contract, and what was measured, which are no accounts. */
#define ACCOUNT_OF_SITE        ACCOUNT_KINDS
#define ACCOUNT_OF_CONTRACT    (ACCOUNT_KINDS + 1)
#define ACCOUNT_OF_MEASUREMENT (ACCOUNT_KINDS + 2)
#define ACCOUNT_LOG_KINDS      (ACCOUNT_KINDS + 3)
const char *account_kind_name(int kind); /* "tenant" */

/* What becomes of a request that rates of tokens and budgets cannot hold. */
enum exceed {
    EXCEED_REJECT,
    EXCEED_DOWNGRADE, /* served in a low tier, with as many tokens of answer as there are left */
    EXCEED_FALLBACK,  /* served by another model */
    EXCEEDS
};
const char *exceed_name(enum exceed x); /* "reject" */

/* name, its option, type, of which kinds, value, what it is */
#define ACCOUNT_FIELDS(X)                                                                          \
    X(requests_per_minute, "requests-per-minute", COUNT, ALL, "N", "requests a minute")            \
    X(requests_per_hour, "requests-per-hour", COUNT, ALL, "N", "requests an hour")                 \
    X(requests_per_day, "requests-per-day", COUNT, ALL, "N", "requests a day")                     \
    X(tokens_per_minute, "tokens-per-minute", COUNT, ALL, "N", "tokens a minute, held and used")   \
    X(tokens_per_hour, "tokens-per-hour", COUNT, ALL, "N", "tokens an hour")                       \
    X(tokens_per_day, "tokens-per-day", COUNT, ALL, "N", "tokens a day")                           \
    X(uncached_tokens_per_minute, "uncached-tokens-per-minute", COUNT, ALL, "N",                   \
      "tokens a minute that no cache had")                                                         \
    X(uncached_tokens_per_hour, "uncached-tokens-per-hour", COUNT, ALL, "N",                       \
      "tokens an hour that no cache had")                                                          \
    X(uncached_tokens_per_day, "uncached-tokens-per-day", COUNT, ALL, "N",                         \
      "tokens a day that no cache had")                                                            \
    X(concurrency, "concurrency", COUNT, ALL, "N", "sequences under way at a time")                \
    X(max_output_tokens, "max-output-tokens", COUNT, ALL, "N", "tokens of one choice")             \
    X(budget_per_day, "budget-per-day", MONEY, ALL, "AMOUNT", "money a day: 50.00EUR")             \
    X(budget_per_week, "budget-per-week", MONEY, ALL, "AMOUNT", "money a week")                    \
    X(budget_per_month, "budget-per-month", MONEY, ALL, "AMOUNT", "money a month")                 \
    X(budget, "budget", MONEY, ALL, "AMOUNT", "money in all, or from budget_from to budget_until") \
    X(token_budget_per_day, "token-budget-per-day", COUNT, ALL, "N", "tokens a calendar day")      \
    X(token_budget_per_week, "token-budget-per-week", COUNT, ALL, "N", "tokens a calendar week")   \
    X(token_budget_per_month, "token-budget-per-month", COUNT, ALL, "N",                           \
      "tokens a calendar month")                                                                   \
    X(token_budget, "token-budget", COUNT, ALL, "N", "tokens in all, or in the span")              \
    X(energy_budget_per_day, "energy-budget-per-day", ENERGY, ALL, "WH",                           \
      "energy a calendar day: 500Wh or 1.5kWh")                                                    \
    X(energy_budget_per_week, "energy-budget-per-week", ENERGY, ALL, "WH",                         \
      "energy a calendar week")                                                                    \
    X(energy_budget_per_month, "energy-budget-per-month", ENERGY, ALL, "WH",                       \
      "energy a calendar month")                                                                   \
    X(energy_budget, "energy-budget", ENERGY, ALL, "WH", "energy in all, or in the span")          \
    X(budget_from, "budget-from", TIME, ALL, "TIME", "when the span of budgets in all begins")     \
    X(budget_until, "budget-until", TIME, ALL, "TIME", "when it ends")                             \
    X(budget_zone, "budget-zone", ZONE, ALL, "ZONE", "whose days these are: Europe/Berlin (UTC)")  \
    X(budget_warn, "budget-warn", COUNT, ALL, "PERCENT", "of a budget at which to warn")           \
    X(overshoot, "overshoot", COUNT, ALL, "N",                                                     \
      "tokens by which its limits may be exceeded, to hold less than answers may have")            \
    X(on_exceed, "on-exceed", EXCEED, ALL, "reject|downgrade|fallback",                            \
      "what becomes of a request that its rates of tokens and budgets cannot hold")                \
    X(fallback_model, "fallback-model", MODEL, ALL, "NAME", "which model then serves it")          \
    X(tiers, "tiers", TIERS, ALL, "LIST", "the tiers that may be asked for: default,flex")         \
    X(models, "models", NAMES, ALL, "LIST", "the models that may be used, a final * for any rest") \
    X(suppliers, "suppliers", NAMES, ALL, "LIST", "the suppliers that may serve: local,NAME")      \
    X(allowed_sites, "allowed-sites", NAMES, ALL, "LIST", "the sites that may serve")              \
    X(allowed_regions, "allowed-regions", NAMES, ALL, "LIST", "the regions that may serve")        \
    X(region, "region", MODEL, ALL, "NAME", "where its users are, for 'route: nearest'")           \
    X(networks, "networks", NETWORKS, ALL, "LIST", "where requests may come from: 10.0.0.0/8")     \
    X(origins, "origins", ORIGINS, ALL, "LIST", "web pages that may use it: https://app.example")  \
    X(keep_texts, "keep-texts", COUNT, TENANTS, "DAYS",                                            \
      "keep prompts and answers in the request log, redacted, for so long")                        \
    X(labels, "labels", LABELS, ALL, "LIST", "for the bill: env=prod,cost=4711")                   \
    X(expires, "expires", TIME, KEYS, "TIME", "when the key ends: 2027-01-31 or ...T18:00:00Z")    \
    X(admin, "admin", FLAG, KEYS, "yes|no", "a key for the admin API, and for nothing else")       \
    X(read_only, "read-only", FLAG, KEYS, "yes|no",                                                \
      "of a key for the admin API: it looks, and changes nothing")

enum account_type {
    ACCOUNT_COUNT,    /* int64_t */
    ACCOUNT_MONEY,    /* int64_t nano-units of the settings' currency */
    ACCOUNT_ENERGY,   /* int64_t microjoules */
    ACCOUNT_TIME,     /* int64_t unix seconds */
    ACCOUNT_TIERS,    /* int64_t bits 1 << TIER_* */
    ACCOUNT_FLAG,     /* int64_t */
    ACCOUNT_EXCEED,   /* int64_t, an enum exceed */
    ACCOUNT_ZONE,     /* the others: char *, its canonical text */
    ACCOUNT_MODEL,    /* letters, digits and - _ . : / */
    ACCOUNT_NAMES,    /* letters, digits and - _ . : / , a final * */
    ACCOUNT_NETWORKS, /* addresses with or without a length of prefix */
    ACCOUNT_ORIGINS,  /* scheme://host or scheme://host:port, or null */
    ACCOUNT_LABELS    /* name=value, in order of name */
};

/* -1, NULL: not said. */
struct account_settings {
    int64_t requests_per_minute, requests_per_hour, requests_per_day;
    int64_t tokens_per_minute, tokens_per_hour, tokens_per_day; /* all that is held and used */
    int64_t uncached_tokens_per_minute, uncached_tokens_per_hour, uncached_tokens_per_day;
    int64_t concurrency;       /* sequences under way */
    int64_t max_output_tokens; /* of one choice */
    int64_t budget_per_day, budget_per_week, budget_per_month;
    int64_t budget, budget_from, budget_until; /* of a fixed span; unix seconds */
    int64_t token_budget_per_day, token_budget_per_week, token_budget_per_month, token_budget;
    int64_t energy_budget_per_day, energy_budget_per_week, energy_budget_per_month, energy_budget;
    int64_t budget_warn; /* percent of a budget at which its owner is warned */
    int64_t keep_texts, overshoot, on_exceed, tiers, expires, admin, read_only;
    char *fallback_model;
    char *budget_zone; /* name of a time zone; NULL: UTC */
    char *models, *suppliers, *allowed_sites, *allowed_regions, *networks, *labels;
    char *region; /* NULL: not said */
    char *origins;
    char currency[4]; /* of its budgets of money; "": it has none */
};

struct account_settings account_unsaid(void);
void account_done(struct account_settings *s); /* frees its texts; all is unsaid then */

struct account_field {
    const char *name;
    enum account_type type;
    unsigned kinds; /* bits 1 << ACCOUNT_* */
    size_t offset;
    const char *value, *help;
};
extern const struct account_field account_fields[];
extern const int account_n_fields;
const struct account_field *account_field_find(const char *name); /* NULL: there is none */

struct account_change {
    const char *field, *text; /* text NULL: not said any more */
};

/* Read a field's text. ERR_ARG with a sentence that begins with the field's name; nothing has
 * changed then. */
int account_field_set(struct account_settings *s, const struct account_field *f, const char *text,
                      struct err *e);
void account_field_unset(struct account_settings *s, const struct account_field *f);
/* Its canonical text, which reads back as the same: 1, or 0: it is not said. */
int account_field_show(const struct account_settings *s, const struct account_field *f,
                       char ret[ACCOUNT_TEXT_MAX]);

/* Letters, digits, - _ . : and at most ACCOUNT_NAME_MAX - 1 of them. */
int account_name_ok(const char *s);
/* Is that name in a list of names? */
int account_names_have(const char *list, const char *name);
/* Is an origin, as browsers write it, in a list of origins? */
int account_origins_have(const char *list, const char *origin);
/* Is an address, as text, in a list of networks? IPv4 in IPv6 (::ffff:1.2.3.4) is IPv4. */
int account_networks_have(const char *list, const char *address);

#endif
