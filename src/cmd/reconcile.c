/* gaufre ledger reconcile: a supplier's invoice beside what we booked. */
#include <stdio.h>
#include <string.h>

#include "base/money.h"
#include "books/invoice.h"
#include "cmd/bookkeeping.h"
#include "cmd/input.h"

struct report {
    int is_json, all, n_lines;
    int64_t n[INVOICE_WHY_N];
    int64_t more_nano, from_tokens_nano, from_price_nano; /* of lines that can be compared */
    int is_too_much;
};

static json_t *json_count(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

static json_t *json_side(const struct invoice_side *s)
{
    char amount[MONEY_TEXT_MAX];

    if (!s->n)
        return json_null();
    return json_pack("{s:I, s:o, s:o, s:o, s:s, s:o}", "n", (json_int_t)s->n, "input_tokens",
                     json_count(s->input), "cached_tokens", json_count(s->cached), "output_tokens",
                     json_count(s->output), "amount", money_show(s->amount_nano, amount),
                     "currency", cmd_json_str(s->currency));
}

static int print_json(const struct invoice_line *l)
{
    char more[MONEY_TEXT_MAX], tokens[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];

    return cmd_json(
        json_pack(
            "{s:o, s:o, s:I, s:s, s:o, s:o, s:I, s:s, s:s, s:s}", *l->model ? "day" : "request_id",
            cmd_json_str(l->key), "model", *l->model ? cmd_json_str(l->model) : json_null(), "line",
            (json_int_t)l->line, "why", invoice_why_name(l->why), "ours", json_side(&l->ours),
            "theirs", json_side(&l->theirs), "unpriced", (json_int_t)l->n_unpriced, "difference",
            money_show(l->more_nano, more), "from_tokens", money_show(l->from_tokens_nano, tokens),
            "from_price", money_show(l->from_price_nano, price)),
        JSON_COMPACT);
}

static const char *show_side(const struct invoice_side *s, char out[MONEY_TEXT_MAX])
{
    return s->n ? money_show(s->amount_nano, out) : "-";
}

/* "1200" or "-" of both sides' tokens. */
static const char *show_tokens(const struct invoice_side *s, char out[32])
{
    if (!s->n || s->input < 0 || s->output < 0)
        return "-";
    snprintf(out, 32, "%lld", (long long)(s->input + s->output));
    return out;
}

static void print_line(struct report *r, const struct invoice_line *l)
{
    char ours[MONEY_TEXT_MAX], theirs[MONEY_TEXT_MAX], more[MONEY_TEXT_MAX], our_tokens[32],
        their_tokens[32];

    if (!r->n_lines++)
        printf("%-30s %-20s %12s %12s %14s %14s %14s why\n", "request or day", "model",
               "our tokens", "theirs", "our amount", "theirs", "difference");
    cmd_line(stdout, "%-30s %-20s %12s %12s %14s %14s %14s %s", l->key, l->model,
             show_tokens(&l->ours, our_tokens), show_tokens(&l->theirs, their_tokens),
             show_side(&l->ours, ours), show_side(&l->theirs, theirs),
             l->why == INVOICE_CURRENCY ? "?" : money_show(l->more_nano, more),
             invoice_why_name(l->why));
}

static int take(void *arg, const struct invoice_line *l)
{
    struct report *r = arg;

    r->n[l->why]++;
    r->is_too_much |=
        __builtin_add_overflow(r->more_nano, l->more_nano, &r->more_nano) ||
        __builtin_add_overflow(r->from_tokens_nano, l->from_tokens_nano, &r->from_tokens_nano) ||
        __builtin_add_overflow(r->from_price_nano, l->from_price_nano, &r->from_price_nano);
    if (l->why == INVOICE_SAME && !r->all)
        return 0;
    if (r->is_json)
        return print_json(l);
    print_line(r, l);
    return 0;
}

/* What all lines are together; on stderr, where JSON is on stdout. */
static void print_total(const struct report *r, int64_t left_out)
{
    char more[MONEY_TEXT_MAX], tokens[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];
    FILE *f = r->is_json ? stderr : stdout;

    for (int i = 0; i < INVOICE_WHY_N; i++) {
        if (r->n[i])
            fprintf(f, "%s: %lld\n", invoice_why_name((enum invoice_why)i), (long long)r->n[i]);
    }
    if (r->is_too_much)
        fputs("the differences are more than can be added up\n", f);
    else
        fprintf(f, "difference: %s (by tokens %s, by price %s)\n", money_show(r->more_nano, more),
                money_show(r->from_tokens_nano, tokens), money_show(r->from_price_nano, price));
    if (left_out)
        cmd_note("lines of other days, which are left out: %lld", (long long)left_out);
}

/* "THEIRS=OURS" of --name, in place. */
static int read_names(const struct cmd *cmd, const struct ledger_opts *o, struct invoice_query *q,
                      char texts[INVOICE_NAMES_MAX][256])
{
    for (int i = 0; i < o->names.n && i < INVOICE_NAMES_MAX; i++) {
        char *equals;
        if (snprintf(texts[i], 256, "%s", o->names.v[i]) >= 256 ||
            !(equals = strchr(texts[i], '=')))
            return cmd_usage(cmd, "--name wants THEIRS=OURS, not '%s'", o->names.v[i]);
        *equals = 0;
        q->names[i].theirs = texts[i];
        q->names[i].ours = equals + 1;
        q->n_names = i + 1;
    }
    return CMD_OK;
}

int ledger_reconcile(const struct cmd *cmd, const struct ledger_opts *o, const char *path,
                     const char *file)
{
    struct invoice_query q = {.supplier = o->supplier, .from_s = o->from_s, .until_s = o->until_s};
    struct report report = {.is_json = o->json, .all = o->all};
    char texts[INVOICE_NAMES_MAX][256];
    int64_t left_out = 0, n_other = 0;
    struct err e = {0};
    struct buf text;
    int r;

    if (!o->supplier)
        return cmd_usage(cmd, "reconcile: wants --supplier: whose invoice is it?");
    if (read_names(cmd, o, &q, texts))
        return CMD_USAGE;
    buf_init(&text, INVOICE_BYTES_MAX);
    r = input_file(&text, file, &e);
    if (!r) {
        r = invoice_reconcile(path, text.data ? text.data : "", text.len, &q, take, &report,
                              &left_out, &e);
        if (r == ERR_FORMAT || r == ERR_LIMIT)
            err_prefix(&e, "%s", file);
    }
    buf_done(&text);
    if (r)
        return cmd_fail(cmd, &e);
    print_total(&report, left_out);
    for (int i = 0; i < INVOICE_WHY_N; i++)
        n_other += i == INVOICE_SAME ? 0 : report.n[i];
    return n_other ? CMD_FAILED : CMD_OK;
}
