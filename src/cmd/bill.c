/* gaufre bill: what was used and what it costs, by tenant, key, model, supplier, site, contract or
 * day. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/money.h"
#include "cmd/bill_form.h"
#include "cmd/cmd.h"
#include "cmd/concentrated.h"
#include "cmd/day_span.h"
#include "cmd/ledger_path.h"
#include "cmd/measured.h"
#include "serve/serve.h"

struct bill_opts {
    const char *ledger, *tenant, *team, *key, *label, *model, *supplier, *site, *contract, *from,
        *to, *issuer, *config;
    int by, json, csv, pending, focus, html, concentration;
};

#define LINE_MAX_BYTES 4096

static const char by_words[] = "all|tenant|key|model|supplier|day|team|labels|tier|site|contract";

static const struct opt opts[] = {
    OPT_CHOICE('b', "by", by_words, "tenant", bill_opts, by, "a line for each"),
    OPT_STR(0, "tenant", "NAME", NULL, bill_opts, tenant, "of this tenant"),
    OPT_STR(0, "team", "TENANT/TEAM", NULL, bill_opts, team, "of this team"),
    OPT_STR(0, "key", "ID", NULL, bill_opts, key, "of this key"),
    OPT_STR(0, "label", "NAME=VALUE", NULL, bill_opts, label, "of keys that have this label"),
    OPT_STR(0, "model", "ID", NULL, bill_opts, model, "of this model"),
    OPT_STR(0, "supplier", "NAME/MODEL", NULL, bill_opts, supplier, "of this supplier"),
    OPT_STR(0, "site", "NAME", NULL, bill_opts, site, "served at this site"),
    OPT_STR(0, "contract", "NAME", NULL, bill_opts, contract, "under this contract"),
    OPT_STR(0, "from", "DATE", NULL, bill_opts, from, "from this day on (UTC): 2026-12-01"),
    OPT_STR(0, "to", "DATE", NULL, bill_opts, to, "before this day"),
    OPT_FLAG(0, "pending", bill_opts, pending,
             "only what is not settled for good: without a price, estimated, disputed"),
    OPT_FLAG(0, "json", bill_opts, json, "one JSON object a line"),
    OPT_FLAG(0, "csv", bill_opts, csv, "comma-separated, with a head"),
    OPT_CHOICE(0, "focus", "1.2|1.4", NULL, bill_opts, focus,
               "CSV in FOCUS columns, of this version: a charge for each day, tenant, key, model, "
               "supplier and tier"),
    OPT_FLAG(0, "html", bill_opts, html, "a page to print: a statement for each tenant"),
    OPT_FLAG(0, "concentration", bill_opts, concentration,
             "shares of suppliers, owners and tenants, and their HHI (10000: one has all)"),
    OPT_FILE('c', "config", NULL, bill_opts, config, "for --concentration: who owns suppliers"),
    OPT_STR(0, "issuer", "NAME", "gaufre", bill_opts, issuer,
            "whose bill it is, in --focus and --html"),
    OPT_LEDGER(bill_opts),
    OPT_END,
};

/* ---- lines ----------------------------------------------------------------------------------- */

struct bill {
    enum books_by i_by;
    const char *by; /* the word */
    size_t n_by;
    int n_lines;
};

static int print_json(void *arg, const struct books_sum *s)
{
    char charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX];
    const struct bill *b = arg;
    json_t *j = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:o, s:I, s:I, s:I}", "key",
        cmd_json_str(s->key[b->i_by]), "requests", (json_int_t)s->n_requests, "prompt_tokens",
        (json_int_t)s->prompt_tokens, "cached_tokens", (json_int_t)s->cached_tokens,
        "completion_tokens", (json_int_t)s->completion_tokens, "reasoning_tokens",
        (json_int_t)s->reasoning_tokens, "lost_tokens", (json_int_t)s->lost_tokens, "charge",
        money_show(s->charge_nano, charge), "cost", money_show(s->cost_nano, cost), "currency",
        cmd_json_str(s->currency), "unpriced", (json_int_t)s->n_unpriced, "estimated",
        (json_int_t)s->n_estimated, "disputed", (json_int_t)s->n_disputed);

    measured_json(j, s);
    return cmd_json(j, JSON_COMPACT);
}

static int print_csv(void *arg, const struct books_sum *s)
{
    char charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX];
    struct bill *b = arg;
    struct buf line;
    int r;

    buf_init(&line, LINE_MAX_BYTES);
    if (!b->n_lines++) {
        buf_addf(&line,
                 "%.*s,requests,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,"
                 "lost_tokens,charge,cost,currency,unpriced,estimated,disputed",
                 (int)b->n_by, b->by);
        measured_csv(&line, NULL);
        buf_add_char(&line, '\n');
    }
    csv_put(&line, s->key[b->i_by]);
    buf_addf(&line, ",%lld,%lld,%lld,%lld,%lld,%lld,%s,%s,%s,%lld,%lld,%lld",
             (long long)s->n_requests, (long long)s->prompt_tokens, (long long)s->cached_tokens,
             (long long)s->completion_tokens, (long long)s->reasoning_tokens,
             (long long)s->lost_tokens, money_show(s->charge_nano, charge),
             money_show(s->cost_nano, cost), s->currency, (long long)s->n_unpriced,
             (long long)s->n_estimated, (long long)s->n_disputed);
    measured_csv(&line, s);
    r = line.failed;
    if (!r)
        puts(line.data);
    buf_done(&line);
    return r;
}

static void print_head(const struct bill *b)
{
    printf("%-28.*s %9s %13s %13s %13s %12s %16s %16s\n", (int)b->n_by, b->by, "requests", "prompt",
           "of it cached", "completion", "Wh", "charged", "owed");
}

/* What has no column at a terminal. */
static void note_carbon(const struct bill *b, const struct books_sum *s, const struct measured *m)
{
    char location[MEASURED_TEXT_MAX], market[MEASURED_TEXT_MAX];

    if (s->n_location || s->n_market)
        cmd_note("%s: CO2e by the grid %s g (%lld requests without), by what was bought %s g (%lld "
                 "without)",
                 s->key[b->i_by], measured_grams(m->location_ug, location) ? location : "-",
                 (long long)m->n_no_location, measured_grams(m->market_ug, market) ? market : "-",
                 (long long)m->n_no_market);
    if (s->n_energy && m->n_no_energy)
        cmd_note("%s: %lld requests are not in its energy, as theirs is not known", s->key[b->i_by],
                 (long long)m->n_no_energy);
}

static int print_line(void *arg, const struct books_sum *s)
{
    char charge[MONEY_TEXT_MAX], cost[MONEY_TEXT_MAX], wh[MEASURED_TEXT_MAX];
    struct measured m = measured_of(s);
    struct bill *b = arg;

    if (!b->n_lines++)
        print_head(b);
    cmd_line(stdout, "%-28s %9lld %13lld %13lld %13lld %12s %16s %16s %s", s->key[b->i_by],
             (long long)s->n_requests, (long long)s->prompt_tokens, (long long)s->cached_tokens,
             (long long)s->completion_tokens, measured_wh(m.energy_uj, wh) ? wh : "-",
             money_show(s->charge_nano, charge), money_show(s->cost_nano, cost), s->currency);
    note_carbon(b, s, &m);
    if (s->lost_tokens)
        cmd_note("%s: %lld tokens more are owed, which nobody got", s->key[b->i_by],
                 (long long)s->lost_tokens);
    if (s->n_unpriced || s->n_estimated || s->n_disputed)
        cmd_note("%s: %lld without a price, %lld estimated, %lld disputed", s->key[b->i_by],
                 (long long)s->n_unpriced, (long long)s->n_estimated, (long long)s->n_disputed);
    return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* The forms that others read. */
static int print_form(const struct bill_opts *o, const char *path, const struct books_where *w,
                      struct err *e)
{
    struct bill_form f = {.issuer = o->issuer,
                          .from = o->from,
                          .to = o->to,
                          .focus = o->focus == 2 ? FOCUS_1_4 : FOCUS_1_2};
    int r = o->focus ? focus_head(&f) : statement_head(&f);

    if (!r && path)
        r = books_bill(path, o->focus ? FOCUS_PARTS : STATEMENT_PARTS, w,
                       o->focus ? focus_line : statement_line, &f, e);
    if (!r && o->html)
        r = statement_tail(&f);
    if (r && !e->code)
        err_set(e, r, "a line of the bill does not fit");
    if (!r && f.n_unpriced + f.n_estimated + f.n_disputed)
        cmd_note("requests without a price, which are not in the costs: %lld; estimated: %lld; "
                 "disputed: %lld",
                 (long long)f.n_unpriced, (long long)f.n_estimated, (long long)f.n_disputed);
    return r;
}

static int print_lines(const struct bill_opts *o, const char *path, const struct books_where *w,
                       struct err *e)
{
    /* In the order of the words. */
    static const enum books_by bys[] = {BOOKS_BY_ALL,   BOOKS_BY_TENANT,   BOOKS_BY_KEY,
                                        BOOKS_BY_MODEL, BOOKS_BY_SUPPLIER, BOOKS_BY_DAY,
                                        BOOKS_BY_TEAM,  BOOKS_BY_LABELS,   BOOKS_BY_TIER,
                                        BOOKS_BY_SITE,  BOOKS_BY_CONTRACT};
    struct bill b = {.i_by = bys[o->by - 1], .by = by_words};
    int r = 0;

    for (int i = 1; i < o->by; i++)
        b.by = strchr(b.by, '|') + 1;
    b.n_by = strcspn(b.by, "|");
    if (path)
        r = books_bill(path, BOOKS_PART(b.i_by), w,
                       o->json  ? print_json
                       : o->csv ? print_csv
                                : print_line,
                       &b, e);
    if (!r && !b.n_lines && !o->json && !o->csv)
        print_head(&b);
    return r;
}

static int print_concentration(const struct bill_opts *o, const char *path,
                               const struct books_where *w, struct err *e)
{
    struct concentrated t = {.json = o->json};
    struct serve_config c;
    int r = 0;

    serve_config_init(&c);
    if (o->config)
        r = serve_config_read(&c, o->config, e);
    for (int i = 0; i < c.n_suppliers && t.n_owners < CONCENTRATED_OWNERS_MAX; i++) {
        if (!c.suppliers[i].owner)
            continue;
        t.owner[t.n_owners].supplier = c.suppliers[i].name;
        t.owner[t.n_owners++].owner = c.suppliers[i].owner;
    }
    if (!r)
        r = concentrated_print(&t, path, w, e);
    serve_config_done(&c);
    return r;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct bill_opts *o = opts_;
    struct books_where w = {.tenant = o->tenant,
                            .team = o->team,
                            .label = o->label,
                            .key_id = o->key,
                            .model = o->model,
                            .supplier = o->supplier,
                            .site = o->site,
                            .contract = o->contract,
                            .only_pending = o->pending};
    const char *wrong;
    char path[LEDGER_PATH_MAX];
    struct err e = {0};
    int is_new = 0, is_form = o->focus || o->html;

    wrong = day_read_span(o->from, o->to, &w.from_s, &w.until_s);
    if (wrong)
        return cmd_usage(cmd, "%s", wrong);
    if (o->concentration && o->csv + o->html + (o->focus != 0))
        return cmd_usage(cmd, "--concentration has no form but --json");
    if (o->json + o->csv + o->html + (o->focus != 0) > 1)
        return cmd_usage(cmd, "one of --json, --csv, --focus and --html");
    if (ledger_path(o->ledger, path, &is_new, &e) ||
        (o->concentration ? print_concentration
         : is_form        ? print_form
                          : print_lines)(o, is_new ? NULL : path, &w, &e))
        return cmd_fail(cmd, &e);
    if (is_new)
        cmd_note("nothing is booked yet: 'gaufre serve' makes %s", path);
    return CMD_OK;
}

const struct cmd cmd_bill = {
    .name = "bill",
    .help = "Show what was used and what it costs",
    .about =
        "charged: what tenants owe; owed: what suppliers are owed. Both by the prices of the\n"
        "configuration as they were when the request ended. A request without a price is\n"
        "counted, and told; its price is not taken for 0. Nor is energy that nobody measured; Wh\n"
        "are at the narrowest boundary of the requests. --focus writes what tenants are charged\n"
        "in the columns of the FinOps Open Cost and Usage Specification.",
    .opts = opts,
    .opts_size = sizeof(struct bill_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
