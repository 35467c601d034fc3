/* gaufre tenant and gaufre team: who pays, what they may use, and its parts with limits of their
 * own. */
#include "cmd/account_opts.h"

static const struct opt team_opts[] = {
    OPT_STR('t', "tenant", "NAME", NULL, account_opts, tenant, "list only this tenant's"),
    ACCOUNT_FIELDS(ACCOUNT_OPT) ACCOUNT_OPTS_COMMON, OPT_END};

#undef ACCOUNT_OPT_TENANTS
#define ACCOUNT_OPT_TENANTS ACCOUNT_OPT_ALL
static const struct opt tenant_opts[] = {ACCOUNT_FIELDS(ACCOUNT_OPT) ACCOUNT_OPTS_COMMON, OPT_END};

static int tenant_run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    return account_run(cmd, ACCOUNT_TENANT, opts_, argc, argv);
}

const struct cmd cmd_tenant = {
    .name = "tenant",
    .help = "Make, show and change tenants: who pays, and what they may use",
    .args = "list|new|show|set|rm [NAME]",
    .about =
        "Settings are flags of 'new' and 'set', named as in the configuration; the value none\n"
        "takes one back. A running server has a change within a second. Counts and budgets\n"
        "hang on the tenant: another key resets nothing.\n\n"
        "  gaufre tenant new acme --tokens-per-day 4000 --budget-per-month 50.00EUR\n"
        "  gaufre key new --tenant acme",
    .opts = tenant_opts,
    .opts_size = sizeof(struct account_opts),
    .n_args_min = 1,
    .n_args_max = 2,
    .run = tenant_run,
};

static int team_run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    return account_run(cmd, ACCOUNT_TEAM, opts_, argc, argv);
}

const struct cmd cmd_team = {
    .name = "team",
    .help = "Make, show and change the teams of a tenant",
    .args = "list|new|show|set|rm [TENANT/TEAM]",
    .about = "A request of a team's key counts in the limits of the key, the team and the tenant:\n"
             "all of them must have room.\n\n"
             "  gaufre team new acme/research --requests-per-minute 60\n"
             "  gaufre key new --tenant acme --team research",
    .opts = team_opts,
    .opts_size = sizeof(struct account_opts),
    .n_args_min = 1,
    .n_args_max = 2,
    .run = team_run,
};
