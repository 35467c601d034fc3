/* gaufre usage: the balances in the ledger, one line per tenant. */
#include <stdio.h>

#include "books/books.h"
#include "cmd/cmd.h"
#include "cmd/ledger_path.h"
#include "cmd/measured.h"

struct usage_opts {
    const char *ledger;
    int json;
};

static const struct opt opts[] = {
    OPT_LEDGER(usage_opts),
    OPT_FLAG(0, "json", usage_opts, json, "one JSON object a tenant"),
    OPT_END,
};

static json_t *known(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

static int print_json(void *arg, const struct books_balance *b)
{
    return cmd_json(json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "tenant",
                              cmd_json_str(b->tenant), "requests", (json_int_t)b->n_requests,
                              "prompt_tokens", (json_int_t)b->prompt_tokens, "cached_tokens",
                              (json_int_t)b->cached_tokens, "completion_tokens",
                              (json_int_t)b->completion_tokens, "energy_uj", known(b->energy_uj),
                              "carbon_location_ug", known(b->carbon_location_ug),
                              "carbon_market_ug", known(b->carbon_market_ug)),
                    JSON_COMPACT);
}

static void print_head(void)
{
    printf("%-24s %12s %14s %14s %14s %12s %14s %14s\n", "tenant", "requests", "prompt",
           "of it cached", "completion", "Wh", "CO2e g, grid", "bought");
}

static int print_row(void *arg, const struct books_balance *b)
{
    char wh[MEASURED_TEXT_MAX], location[MEASURED_TEXT_MAX], market[MEASURED_TEXT_MAX];
    int *n = arg;

    if (!(*n)++)
        print_head();
    cmd_line(stdout, "%-24s %12lld %14lld %14lld %14lld %12s %14s %14s", b->tenant,
             (long long)b->n_requests, (long long)b->prompt_tokens, (long long)b->cached_tokens,
             (long long)b->completion_tokens, measured_wh(b->energy_uj, wh) ? wh : "-",
             measured_grams(b->carbon_location_ug, location) ? location : "-",
             measured_grams(b->carbon_market_ug, market) ? market : "-");
    return 0;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct usage_opts *o = opts_;
    char path[LEDGER_PATH_MAX];
    struct err e = {0};
    int n = 0, is_new = 0;

    if (ledger_path(o->ledger, path, &is_new, &e) ||
        (!is_new && books_balances(path, o->json ? print_json : print_row, &n, &e)))
        return cmd_fail(cmd, &e);
    if (!n && !o->json)
        print_head();
    if (is_new)
        cmd_note("nothing is booked yet: 'gaufre serve' makes %s", path);
    return CMD_OK;
}

const struct cmd cmd_usage_table = {
    .name = "usage",
    .help = "Show what each tenant used",
    .about =
        "Since the ledger began. Energy and carbon (by the grid, and by what was bought) are "
        "those\n"
        "of the requests of which they are known: 'gaufre bill' says of how many they are not.",
    .opts = opts,
    .opts_size = sizeof(struct usage_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
