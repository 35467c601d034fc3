/* What an account may use. Today accounts are tenants, and their settings stand in the keys file
 * (keyring.h) under the names of these members. Counts hang on the account and not on its keys, so
 * that another key resets nothing. */
#ifndef CLOUD_ACCOUNT_H
#define CLOUD_ACCOUNT_H

#include <stdint.h>

/* -1: not said. Money is in nano-units of the cloud's currency. */
struct account_settings {
    int64_t requests_per_minute, requests_per_hour, requests_per_day;
    int64_t tokens_per_minute, tokens_per_hour, tokens_per_day; /* all that is held and used */
    int64_t uncached_tokens_per_minute, uncached_tokens_per_hour, uncached_tokens_per_day;
    int64_t concurrency;       /* sequences under way */
    int64_t max_output_tokens; /* of one choice */
    int64_t budget_per_day, budget_per_week, budget_per_month;
    int64_t budget, budget_from, budget_until; /* of a fixed span; unix seconds */
    int64_t token_budget_per_day, token_budget_per_week, token_budget_per_month, token_budget;
    const char *budget_zone; /* name of a time zone; NULL: UTC */
    int64_t budget_warn;     /* percent of a budget at which its owner is warned */
};

#endif
