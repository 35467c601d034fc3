/* A bill as a page that is fit to print: a statement for each tenant, each on paper of its own.
 * Nothing in it is fetched or run, and every text is escaped. What suppliers are owed is not in
 * it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/money.h"
#include "cmd/bill_form.h"
#include "cmd/measured.h"
#include "cmd/page_form.h"

#define PIECE_MAX_BYTES (1 << 16)

static int print(struct buf *piece)
{
    int r = piece->failed;

    if (!r)
        fwrite(piece->data, 1, piece->len, stdout);
    buf_done(piece);
    return r;
}

static void put_numbers(struct buf *out, const struct books_sum *s)
{
    const int64_t numbers[] = {s->n_requests, s->prompt_tokens, s->cached_tokens,
                               s->completion_tokens, s->reasoning_tokens};
    char charge[MONEY_TEXT_MAX], text[MEASURED_TEXT_MAX];
    const char *wh;

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        buf_addf(out, "<td>%lld</td>", (long long)numbers[i]);
    wh = measured_wh(measured_of(s).energy_uj, text);
    buf_addf(out, "<td>%s</td>", wh ? wh : "");
    buf_addf(out, "<td>%s</td></tr>\n", money_show(s->charge_nano, charge));
}

/* ---- a statement ----------------------------------------------------------------------------- */

static void begin(struct bill_form *f, const struct books_sum *s, struct buf *out)
{
    f->total = (struct books_sum){0};
    snprintf(f->total.key[BOOKS_BY_TENANT], sizeof f->total.key[0], "%s", s->key[BOOKS_BY_TENANT]);
    snprintf(f->total.currency, sizeof f->total.currency, "%s", s->currency);
    buf_add_str(out, "<section>\n<h1>Statement</h1>\n<dl><dt>From</dt><dd>");
    page_text(out, f->issuer);
    buf_add_str(out, "</dd><dt>For</dt><dd>");
    page_text(out, s->key[BOOKS_BY_TENANT]);
    buf_add_str(out, "</dd><dt>Period</dt><dd>");
    page_text(out, f->from ? f->from : "all");
    buf_add_str(out, f->to ? " up to, not including, " : "");
    page_text(out, f->to ? f->to : f->from ? " and later" : "");
    buf_add_str(out, " (UTC)</dd>");
    if (*s->currency)
        buf_addf(out, "<dt>Currency</dt><dd>%s</dd>", s->currency);
    buf_add_str(out,
                "</dl>\n<table>\n<thead><tr><th class=t>Model</th><th class=t>Tier</th>"
                "<th class=t>Team</th><th class=t>Key</th><th>Requests</th><th>Input tokens</th>"
                "<th>of them cached</th><th>Output tokens</th><th>of them reasoning</th>"
                "<th>Wh</th><th>Charge</th></tr></thead>\n<tbody>\n");
}

static void end(struct bill_form *f, struct buf *out)
{
    const struct books_sum *t = &f->total;

    buf_add_str(out, "</tbody>\n<tfoot><tr><th class=t colspan=4 scope=row>Total</th>");
    put_numbers(out, t);
    buf_add_str(out, "</tfoot>\n</table>\n");
    if (t->n_unpriced || t->n_estimated || t->n_disputed)
        buf_addf(out,
                 "<p>Not settled for good: requests without a price, which are not in the total: "
                 "%lld; with estimated tokens: %lld; with disputed tokens: %lld.</p>\n",
                 (long long)t->n_unpriced, (long long)t->n_estimated, (long long)t->n_disputed);
    buf_add_str(out, "</section>\n");
}

/* ERR_LIMIT: the sum is more than there are numbers for. */
static int add_up(struct books_sum *t, const struct books_sum *s)
{
    const struct {
        int64_t *to, more;
    } sums[] = {{&t->n_requests, s->n_requests},
                {&t->prompt_tokens, s->prompt_tokens},
                {&t->cached_tokens, s->cached_tokens},
                {&t->completion_tokens, s->completion_tokens},
                {&t->reasoning_tokens, s->reasoning_tokens},
                {&t->charge_nano, s->charge_nano},
                {&t->n_unpriced, s->n_unpriced},
                {&t->n_estimated, s->n_estimated},
                {&t->n_disputed, s->n_disputed},
                {&t->n_energy, s->n_energy},
                {&t->energy_uj, s->energy_uj}};

    for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
        if (__builtin_add_overflow(*sums[i].to, sums[i].more, sums[i].to))
            return ERR_LIMIT;
    }
    return 0;
}

int statement_head(struct bill_form *f)
{
    struct buf out;

    buf_init(&out, PIECE_MAX_BYTES);
    page_head(&out, "Statement of ", f->issuer);
    return print(&out);
}

int statement_line(void *form, const struct books_sum *s)
{
    struct bill_form *f = form;
    struct buf out;

    buf_init(&out, PIECE_MAX_BYTES);
    if (!f->n_lines || strcmp(f->total.key[BOOKS_BY_TENANT], s->key[BOOKS_BY_TENANT]) ||
        strcmp(f->total.currency, s->currency)) {
        if (f->n_lines)
            end(f, &out);
        begin(f, s, &out);
    }
    f->n_lines++;
    buf_add_str(&out, "<tr><th scope=row>");
    page_text(&out, s->key[BOOKS_BY_MODEL]);
    buf_add_str(&out, *s->key[BOOKS_BY_CLASS] ? " (correction)" : "");
    buf_addf(&out, "</th><td class=t>%s</td><td class=t>", s->key[BOOKS_BY_TIER]);
    page_text(&out, s->key[BOOKS_BY_TEAM]);
    buf_add_str(&out, "</td><td class=t>");
    page_text(&out, s->key[BOOKS_BY_KEY]);
    buf_add_str(&out, "</td>");
    put_numbers(&out, s);
    if (add_up(&f->total, s)) {
        buf_done(&out);
        return ERR_LIMIT;
    }
    return print(&out);
}

int statement_tail(struct bill_form *f)
{
    struct buf out;

    buf_init(&out, PIECE_MAX_BYTES);
    if (f->n_lines)
        end(f, &out);
    else
        buf_add_str(&out, "<p>Nothing is booked in this period.</p>\n");
    buf_add_str(&out, "</body>\n</html>\n");
    return print(&out);
}
