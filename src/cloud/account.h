/* Accounts: tenant -> team -> key. What one may do is its settings, a table of rows: the keys of a
 * configuration file, the flags of `gaufre tenant|team|key`, the fields of the admin API and the
 * text that is stored are all the same names and the same text forms.
 *
 * A request is charged to every account on its path: its key, the key's team (if it has one) and
 * the tenant. What an account does not say limits nothing there; its tenant's limits hold all the
 * same. Budgets and counts hang on an account's stable id, so that rotating a key resets nothing.
 */
#ifndef CLOUD_ACCOUNT_H
#define CLOUD_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

#define ACCOUNT_NAME_MAX 64

enum account_kind { ACCOUNT_TENANT, ACCOUNT_TEAM, ACCOUNT_KEY };
enum account_exceed { EXCEED_REJECT, EXCEED_DOWNGRADE, EXCEED_FALLBACK };

/* Settings of an account; -1: not said. Money is in nano-units of the cloud's currency. */
struct account_settings {
    int64_t requests_per_minute, requests_per_hour, requests_per_day;
    int64_t tokens_per_minute, tokens_per_hour, tokens_per_day; /* all that is held and used */
    int64_t uncached_tokens_per_minute, uncached_tokens_per_hour, uncached_tokens_per_day;
    int64_t concurrency;       /* sequences under way */
    int64_t max_output_tokens; /* of one choice */
    int64_t budget_per_day, budget_per_week, budget_per_month;
    int64_t budget, budget_from, budget_until; /* of a fixed span; unix seconds */
    int64_t token_budget_per_day, token_budget_per_week, token_budget_per_month, token_budget;
    const char *budget_zone;  /* name of a time zone; NULL: UTC */
    int64_t budget_warn;      /* percent of a budget at which its owner is warned */
    int64_t overshoot;        /* percent of a budget that learned estimates may exceed it by */
    int on_exceed;            /* enum account_exceed; -1 */
    const char *fallback;     /* the model for EXCEED_FALLBACK; NULL */
    struct config_strs tiers; /* none: not said */
    struct config_strs models, suppliers, networks; /* none: all */
    struct config_strs labels;                      /* "team=red": for cost allocation */
};

extern const struct config_setting account_settings[];

#endif
