/* gaufre ledger: looking after what is booked. A row of the table below for each verb. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/money.h"
#include "books/upkeep.h"
#include "cmd/bookkeeping.h"
#include "cmd/cmd.h"
#include "cmd/day_span.h"
#include "cmd/ledger_path.h"
#include "job/usage.h"

static const struct opt opts[] = {
    OPT_STR(0, "tenant", "NAME", NULL, ledger_opts, tenant, "pending: of this tenant"),
    OPT_STR(0, "supplier", "NAME", NULL, ledger_opts, supplier,
            "pending: of this supplier and model (NAME/MODEL); reconcile: whose invoice it is"),
    OPT_STR(0, "from", "DATE", NULL, ledger_opts, from,
            "pending, reconcile: from this day on (UTC): 2026-12-01"),
    OPT_STR(0, "to", "DATE", NULL, ledger_opts, to, "pending, reconcile: before this day"),
    OPT_STR(0, "charge", "AMOUNT", NULL, ledger_opts, charge,
            "resolve: what the tenant is charged for the request altogether"),
    OPT_STR(0, "cost", "AMOUNT", NULL, ledger_opts, cost,
            "resolve: what its supplier is owed for it altogether"),
    OPT_STR(0, "owed", "AMOUNT", NULL, ledger_opts, owed,
            "resolve: the same in the supplier's own currency, where it has another one"),
    OPT_STRS(0, "name", "THEIRS=OURS", ledger_opts, names,
             "reconcile: their name of a model, and ours"),
    OPT_STR(0, "before", "DATE", NULL, ledger_opts, before,
            "prune: the rows of before this day (UTC)"),
    OPT_FLAG(0, "also-pending", ledger_opts, also_pending,
             "prune: also what is not settled for good"),
    OPT_FLAG(0, "all", ledger_opts, all, "reconcile: also what agrees"),
    OPT_FLAG(0, "json", ledger_opts, json, "one JSON object a line"),
    OPT_LEDGER(ledger_opts),
    OPT_END,
};

/* ---- pending --------------------------------------------------------------------------------- */

static const char *why_pending(const struct books_row *r)
{
    static const char *const states[] = {"", "estimated", "disputed"};
    int is_unpriced = *r->currency && (r->charge_nano < 0 || r->cost_nano < 0);

    return r->usage_state < 1 || r->usage_state > 2 ? "unpriced"
           : !is_unpriced                           ? states[r->usage_state]
           : r->usage_state == USAGE_ESTIMATED      ? "unpriced, estimated"
                                                    : "unpriced, disputed";
}

static void show_time(int64_t at_us, char out[24])
{
    time_t t = (time_t)(at_us / 1000000);
    struct tm tm = {0};

    gmtime_r(&t, &tm);
    strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* An amount, or "-" where there is none. */
static const char *show_amount(int64_t nano, char out[MONEY_TEXT_MAX])
{
    return nano < 0 ? "-" : money_show(nano, out);
}

static json_t *json_amount(int64_t nano)
{
    char text[MONEY_TEXT_MAX];

    return nano < 0 ? json_null() : json_string(money_show(nano, text));
}

static int print_pending_json(void *arg, const struct books_row *r)
{
    char at[24];

    show_time(r->at_us, at);
    return cmd_json(
        json_pack(
            "{s:o, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s}",
            "request_id", cmd_json_str(r->request_id), "ended", at, "tenant",
            cmd_json_str(r->tenant), "key", cmd_json_str(r->key_id), "model",
            cmd_json_str(r->model), "supplier", cmd_json_str(r->supplier), "prompt_tokens",
            (json_int_t)r->prompt_tokens, "cached_tokens", (json_int_t)r->cached_tokens,
            "completion_tokens", (json_int_t)r->completion_tokens, "lost_prompt_tokens",
            (json_int_t)r->lost_prompt_tokens, "lost_completion_tokens",
            (json_int_t)r->lost_completion_tokens, "charge", json_amount(r->charge_nano), "cost",
            json_amount(r->cost_nano), "currency", cmd_json_str(r->currency), "owed",
            json_amount(*r->cost_currency ? r->cost_own_nano : -1), "owed_currency",
            cmd_json_str(r->cost_currency), "why", why_pending(r)),
        JSON_COMPACT);
}

static void print_pending_head(void)
{
    printf("%-30s %-20s %-16s %-24s %10s %10s %12s %12s %-3s why\n", "request", "ended", "tenant",
           "supplier", "prompt", "completion", "charge", "cost", "");
}

static int print_pending(void *arg, const struct books_row *r)
{
    char at[24], charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX], lost[48] = "";
    int64_t n_lost = r->lost_prompt_tokens + r->lost_completion_tokens;
    int *n = arg;

    if (!(*n)++)
        print_pending_head();
    show_time(r->at_us, at);
    if (n_lost)
        snprintf(lost, sizeof lost, ", %lld more owed", (long long)n_lost);
    cmd_line(stdout, "%-30s %-20s %-16s %-24s %10lld %10lld %12s %12s %-3s %s%s", r->request_id, at,
             r->tenant, r->supplier, (long long)r->prompt_tokens, (long long)r->completion_tokens,
             show_amount(r->charge_nano, charge), show_amount(r->cost_nano, cost), r->currency,
             why_pending(r), lost);
    return 0;
}

static int list_pending(const struct cmd *cmd, const struct ledger_opts *o, const char *path,
                        const char *arg)
{
    struct books_where w = {
        .tenant = o->tenant, .supplier = o->supplier, .from_s = o->from_s, .until_s = o->until_s};
    struct err e = {0};
    int n = 0;

    if (books_pending(path, &w, o->json ? print_pending_json : print_pending, &n, &e))
        return cmd_fail(cmd, &e);
    if (!n && !o->json)
        print_pending_head();
    return CMD_OK;
}

/* ---- resolve --------------------------------------------------------------------------------- */

static int resolve(const struct cmd *cmd, const struct ledger_opts *o, const char *path,
                   const char *request_id)
{
    char charge_text[MONEY_TEXT_MAX], cost_text[MONEY_TEXT_MAX], owed_text[MONEY_TEXT_MAX];
    int64_t charge = 0, cost = 0, owed = 0;
    struct books_wish wish = {.charge_nano = o->charge ? &charge : NULL,
                              .cost_nano = o->cost ? &cost : NULL,
                              .cost_own_nano = o->owed ? &owed : NULL,
                              .at_us = clock_wall_us()};
    struct books_row row;
    struct err e = {0};

    if (!o->charge && !o->cost && !o->owed)
        return cmd_usage(cmd, "resolve: wants --charge, --cost or --owed");
    if ((o->charge && money_parse(o->charge, &charge, &e)) ||
        (o->cost && money_parse(o->cost, &cost, &e)) ||
        (o->owed && money_parse(o->owed, &owed, &e)))
        return cmd_usage(cmd, "%s", e.text);
    if (charge < 0 || cost < 0 || owed < 0)
        return cmd_usage(cmd, "resolve: an amount is not below 0");
    if (books_correct(path, request_id, &wish, &row, &e))
        return cmd_fail(cmd, &e);
    if (o->json)
        return cmd_json(json_pack("{s:o, s:o, s:s, s:s, s:o, s:s, s:o}", "request_id",
                                  cmd_json_str(row.request_id), "corrects",
                                  cmd_json_str(row.corrects), "charge",
                                  money_show(row.charge_nano, charge_text), "cost",
                                  money_show(row.cost_nano, cost_text), "currency",
                                  cmd_json_str(row.currency), "owed",
                                  money_show(row.cost_own_nano, owed_text), "owed_currency",
                                  cmd_json_str(row.cost_currency)),
                        JSON_COMPACT)
                   ? CMD_FAILED
                   : CMD_OK;
    if (*row.cost_currency)
        cmd_line(stdout, "%s: %s %s more to its supplier", row.request_id,
                 money_show(row.cost_own_nano, owed_text), row.cost_currency);
    cmd_line(stdout, "%s: %s %s charged, %s %s owed in addition to %s", row.request_id,
             money_show(row.charge_nano, charge_text), row.currency,
             money_show(row.cost_nano, cost_text), row.currency, row.corrects);
    return CMD_OK;
}

/* ---- backup and prune ------------------------------------------------------------------------ */

static int backup(const struct cmd *cmd, const struct ledger_opts *o, const char *path,
                  const char *file)
{
    struct err e = {0};
    int64_t n = 0;

    if (books_backup(path, file, &n, &e))
        return cmd_fail(cmd, &e);
    cmd_line(stdout, "%s: %lld row%s, audited", file, (long long)n, plural(n));
    return CMD_OK;
}

static int prune(const struct cmd *cmd, const struct ledger_opts *o, const char *path,
                 const char *arg)
{
    struct err e = {0};
    int64_t before_s, n = 0;

    if (!o->before || day_read(o->before, NULL, &before_s))
        return cmd_usage(cmd, "prune: wants --before with a day: 2026-12-01");
    if (before_s > clock_wall_us() / 1000000)
        return cmd_usage(cmd, "prune: %s is still to come", o->before);
    if (books_prune(path, before_s * 1000000, o->also_pending, &n, &e)) {
        if (n)
            cmd_note("%lld rows were taken out", (long long)n);
        if (e.code == ERR_AGAIN)
            cmd_note("'gaufre ledger pending' shows them, 'resolve' settles them, --also-pending "
                     "takes them out as they are");
        return cmd_fail(cmd, &e);
    }
    printf("%lld row%s taken out; balances are as they were\n", (long long)n, plural(n));
    return CMD_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct {
    const char *name, *arg; /* what is to be named; NULL: nothing */
    int (*run)(const struct cmd *cmd, const struct ledger_opts *o, const char *path,
               const char *arg);
} verbs[] = {
    {"pending", NULL, list_pending},
    {"resolve", "the REQUEST_ID", resolve},
    {"reconcile", "the supplier's FILE", ledger_reconcile},
    {"backup", "the FILE to make", backup},
    {"prune", NULL, prune},
};

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    struct ledger_opts *o = opts_;
    const char *wrong;
    char path[LEDGER_PATH_MAX];
    struct err e = {0};
    size_t i = 0;
    int is_new = 0;

    while (i < ARRAY_LEN(verbs) && strcmp(verbs[i].name, argv[0]))
        i++;
    if (i == ARRAY_LEN(verbs))
        return cmd_usage(cmd, "wants one of %s, not '%s'", cmd->args, argv[0]);
    if (verbs[i].arg && argc < 2)
        return cmd_usage(cmd, "%s: wants %s", verbs[i].name, verbs[i].arg);
    if (!verbs[i].arg && argc > 1)
        return cmd_usage(cmd, "unexpected argument '%s'", argv[1]);
    wrong = day_read_span(o->from, o->to, &o->from_s, &o->until_s);
    if (wrong)
        return cmd_usage(cmd, "%s", wrong);
    if (ledger_path(o->ledger, path, &is_new, &e))
        return cmd_fail(cmd, &e);
    if (is_new) {
        err_set(&e, ERR_NOTFOUND, "nothing is booked yet: 'gaufre serve' makes %s", path);
        return cmd_fail(cmd, &e);
    }
    return verbs[i].run(cmd, o, path, argv[1]);
}

const struct cmd cmd_ledger = {
    .name = "ledger",
    .help = "Look after the ledger: what is pending, suppliers' invoices, copies",
    .args = "pending|resolve|reconcile|backup|prune [REQUEST_ID|FILE]",
    .about =
        "pending    requests that are not settled for good: without a price, or with tokens that\n"
        "           are estimated or disputed\n"
        "resolve    books what such a request is charged and costs altogether, by a row that adds\n"
        "           what is missing; no row is ever changed\n"
        "reconcile  compares a supplier's invoice with what we booked, line by line, and says "
        "where\n"
        "           a difference comes from; the exit code is 1 where there is one. FILE is CSV "
        "with\n"
        "           the columns request_id, or day and model; amount, currency; input_tokens,\n"
        "           cached_tokens and output_tokens where they are told; '-' is standard input\n"
        "backup     copies the ledger as it is at one moment into a new FILE, and audits the copy\n"
        "prune      takes out the rows of before a day; balances, budgets and the audit go on "
        "from\n"
        "           what they added up to\n"
        "A server may write meanwhile.",
    .opts = opts,
    .opts_size = sizeof(struct ledger_opts),
    .n_args_min = 1,
    .n_args_max = 2,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
