/* gaufre bill: what was used and what it costs, by tenant, team, key, labels, model, supplier or
 * day. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/money.h"
#include "books/books.h"
#include "cmd/cmd.h"
#include "cmd/ledger_path.h"

struct bill_opts {
    const char *ledger, *tenant, *team, *key, *label, *model, *supplier, *from, *to;
    int by, json, csv, pending;
};

static const char by_words[] = "all|tenant|key|model|supplier|day|team|labels";

static const struct opt opts[] = {
    OPT_CHOICE('b', "by", by_words, "tenant", bill_opts, by, "a line for each"),
    OPT_STR(0, "tenant", "NAME", NULL, bill_opts, tenant, "of this tenant"),
    OPT_STR(0, "team", "TENANT/TEAM", NULL, bill_opts, team, "of this team"),
    OPT_STR(0, "key", "ID", NULL, bill_opts, key, "of this key"),
    OPT_STR(0, "label", "NAME=VALUE", NULL, bill_opts, label, "of keys that have this label"),
    OPT_STR(0, "model", "ID", NULL, bill_opts, model, "of this model"),
    OPT_STR(0, "supplier", "NAME/MODEL", NULL, bill_opts, supplier, "of this supplier"),
    OPT_STR(0, "from", "DATE", NULL, bill_opts, from, "from this day on (UTC): 2026-12-01"),
    OPT_STR(0, "to", "DATE", NULL, bill_opts, to, "before this day"),
    OPT_FLAG(0, "pending", bill_opts, pending,
             "only what is not settled for good: without a price, estimated, disputed"),
    OPT_FLAG(0, "json", bill_opts, json, "one JSON object a line"),
    OPT_FLAG(0, "csv", bill_opts, csv, "comma-separated, with a head"),
    OPT_FILE('l', "ledger", NULL, bill_opts, ledger,
             "the file (default: ledger.db in gaufre's home)"),
    OPT_END,
};

/* ---- lines ----------------------------------------------------------------------------------- */

struct bill {
    const char *by; /* the word */
    size_t n_by;
    int n_lines;
};

static int print_json(void *arg, const struct books_sum *s)
{
    char charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX];

    return cmd_json(
        json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:o, s:I, s:I, s:I}", "key",
                  cmd_json_str(s->key), "requests", (json_int_t)s->n_requests, "prompt_tokens",
                  (json_int_t)s->prompt_tokens, "cached_tokens", (json_int_t)s->cached_tokens,
                  "completion_tokens", (json_int_t)s->completion_tokens, "reasoning_tokens",
                  (json_int_t)s->reasoning_tokens, "charge", money_show(s->charge_nano, charge),
                  "cost", money_show(s->cost_nano, cost), "currency", cmd_json_str(s->currency),
                  "unpriced", (json_int_t)s->n_unpriced, "estimated", (json_int_t)s->n_estimated,
                  "disputed", (json_int_t)s->n_disputed),
        JSON_COMPACT);
}

/* A field of CSV (RFC 4180): in quotes, which are doubled inside; and no formula for a table
 * program, whatever a name begins with. */
static void put_field(const char *s)
{
    putchar('"');
    if (*s && strchr("=+-@\t\r", *s))
        putchar('\'');
    for (; *s; s++) {
        if (*s == '"')
            putchar('"');
        putchar(*s);
    }
    putchar('"');
}

static int print_csv(void *arg, const struct books_sum *s)
{
    char charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX];
    struct bill *b = arg;

    if (!b->n_lines++)
        printf(
            "%.*s,requests,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,charge,"
            "cost,currency,unpriced,estimated,disputed\n",
            (int)b->n_by, b->by);
    put_field(s->key);
    printf(",%lld,%lld,%lld,%lld,%lld,%s,%s,%s,%lld,%lld,%lld\n", (long long)s->n_requests,
           (long long)s->prompt_tokens, (long long)s->cached_tokens,
           (long long)s->completion_tokens, (long long)s->reasoning_tokens,
           money_show(s->charge_nano, charge), money_show(s->cost_nano, cost), s->currency,
           (long long)s->n_unpriced, (long long)s->n_estimated, (long long)s->n_disputed);
    return 0;
}

static void print_head(const struct bill *b)
{
    printf("%-28.*s %9s %13s %13s %13s %16s %16s\n", (int)b->n_by, b->by, "requests", "prompt",
           "of it cached", "completion", "charged", "owed");
}

static int print_line(void *arg, const struct books_sum *s)
{
    char charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX];
    struct bill *b = arg;

    if (!b->n_lines++)
        print_head(b);
    cmd_line(stdout, "%-28s %9lld %13lld %13lld %13lld %16s %16s %s", s->key,
             (long long)s->n_requests, (long long)s->prompt_tokens, (long long)s->cached_tokens,
             (long long)s->completion_tokens, money_show(s->charge_nano, charge),
             money_show(s->cost_nano, cost), s->currency);
    if (s->n_unpriced || s->n_estimated || s->n_disputed)
        cmd_note("%s: %lld without a price, %lld estimated, %lld disputed", s->key,
                 (long long)s->n_unpriced, (long long)s->n_estimated, (long long)s->n_disputed);
    return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int read_day(const char *text, int64_t *ret_s)
{
    struct tm tm = {0};
    const char *end = text ? strptime(text, "%Y-%m-%d", &tm) : "";

    if (!end || *end)
        return -1;
    *ret_s = text ? (int64_t)timegm(&tm) : 0;
    return 0;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct bill_opts *o = opts_;
    struct books_where w = {.tenant = o->tenant,
                            .team = o->team,
                            .key_id = o->key,
                            .label = o->label,
                            .model = o->model,
                            .supplier = o->supplier,
                            .only_pending = o->pending};
    struct bill b = {.by = by_words};
    char path[LEDGER_PATH_MAX];
    struct err e = {0};
    int is_new = 0;

    if (read_day(o->from, &w.from_s) || read_day(o->to, &w.until_s))
        return cmd_usage(cmd, "--from and --to want a day: 2026-12-01");
    if (o->json && o->csv)
        return cmd_usage(cmd, "--json or --csv, not both");
    for (int i = 1; i < o->by; i++)
        b.by = strchr(b.by, '|') + 1;
    b.n_by = strcspn(b.by, "|");
    if (ledger_path(o->ledger, path, &is_new, &e) ||
        (!is_new && books_bill(path, (enum books_by)(o->by - 1), &w,
                               o->json  ? print_json
                               : o->csv ? print_csv
                                        : print_line,
                               &b, &e)))
        return cmd_fail(cmd, &e);
    if (!b.n_lines && !o->json && !o->csv)
        print_head(&b);
    if (is_new)
        cmd_note("nothing is booked yet: 'gaufre serve' makes %s", path);
    return CMD_OK;
}

const struct cmd cmd_bill = {
    .name = "bill",
    .help = "Show what was used and what it costs",
    .about = "charged: what tenants owe; owed: what suppliers are owed. Both by the prices of the\n"
             "configuration as they were when the request ended. A request without a price is\n"
             "counted, and told; its price is not taken for 0.",
    .opts = opts,
    .opts_size = sizeof(struct bill_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
