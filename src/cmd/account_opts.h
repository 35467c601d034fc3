/* What `gaufre tenant`, `team` and `key` share: the flags of accounts, one for each field of
 * cloud/account.h, and how accounts are shown. */
#ifndef CMD_ACCOUNT_OPTS_H
#define CMD_ACCOUNT_OPTS_H

#include "cloud/accounts.h"
#include "cmd/cmd.h"

struct account_opts {
    const char *accounts, *tenant, *team, *overlap, *request;
    int json;
#define MEMBER(name, option, type, kinds, value, help) const char *name;
    ACCOUNT_FIELDS(MEMBER)
#undef MEMBER
};

#define ACCOUNT_OPT_ALL(name, option, value, help)                                                 \
    OPT_STR(0, option, value, NULL, account_opts, name, help),
#define ACCOUNT_OPT_KEYS(name, option, value, help)
#define ACCOUNT_OPT_TENANTS(name, option, value, help)
#define ACCOUNT_OPT(name, option, type, kinds, value, help)                                        \
    ACCOUNT_OPT_##kinds(name, option, value, help)
#define ACCOUNT_OPTS_COMMON                                                                        \
    OPT_FLAG(0, "json", account_opts, json, "one JSON object a line"),                             \
        OPT_STR('a', "accounts", "FILE|URL", NULL, account_opts, accounts,                         \
                "the store (default: $GAUFRE_ACCOUNTS, or accounts.db in gaufre's home)")

/* Open the store that is asked for. */
int account_store(const struct account_opts *o, struct accounts **ret, struct err *e);
/* Who changes something here, and when. */
struct account_who account_cli_who(void);
/* The fields that were given; "none": not said any more. Returns how many. */
int account_changes(const struct account_opts *o, struct account_change ret[]);
#define ACCOUNT_CHANGES_MAX 64

/* A row a line, with a head before the first, or JSON. */
struct account_list {
    const struct account_opts *o;
    const char *tenant; /* only its own; NULL: all */
    int n;
};
int account_print(void *arg, struct account_row *r);
/* One with all that is said of it. */
int account_show(const struct account_opts *o, struct accounts *a, enum account_kind kind,
                 const char *id, struct err *e);
/* new, list, show, set, rm of tenants and teams: a command's run. */
int account_run(const struct cmd *cmd, enum account_kind kind, const struct account_opts *o,
                int argc, char **argv);

#endif
