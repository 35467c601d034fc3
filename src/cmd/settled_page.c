/* A statement as a page that is fit to print. */
#include <stdio.h>
#include <string.h>

#include "base/day.h"
#include "base/money.h"
#include "cmd/page_form.h"
#include "cmd/settled_form.h"

#define PAGE_MAX ((size_t)8 << 20)
#define MWH      3.6e9

static void put_term(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "<dt>%s</dt><dd>", name);
    page_text(out, value);
    buf_add_str(out, "</dd>");
}

static void put_head(struct buf *out, const struct settled *s)
{
    const struct contract *c = settled_contract(s);
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];

    day_show_moment(s->from_s, settled_zone(s), from);
    day_show_moment(s->until_s, settled_zone(s), until);
    page_head(out, "Statement of ", c->name);
    buf_add_str(out, "<h1>Statement of ");
    page_text(out, c->title ? c->title : c->name);
    buf_add_str(out, "</h1>\n<dl>");
    put_term(out, "Contract", c->name);
    put_term(out, "Supplier", c->supplier.name);
    put_term(out, "Customer", c->customer.name);
    put_term(out, "From", from);
    put_term(out, "Before", until);
    put_term(out, "Time zone", c->time_zone ? c->time_zone : "UTC");
    put_term(out, "Currency", c->currency);
    buf_add_str(out, "</dl>\n");
}

static void put_tranche(struct buf *out, const struct tranche *t,
                        const struct settlement_tranche *x)
{
    int64_t ppm = settlement_availability(x);

    buf_add_str(out, "<tr><th scope=row>");
    page_text(out, t->name);
    buf_add_str(out, "</th><td class=t>");
    page_text(out, t->site ? t->site : t->region);
    buf_addf(out, "</td><td>%.3f</td><td>%.3f</td><td>%.3f</td><td class=t>",
             (double)((x->ready + x->late) / SETTLEMENT_UJ) / MWH,
             (double)(x->late / SETTLEMENT_UJ) / MWH, (double)settlement_delivered(x) / MWH);
    for (int c = 0; c < POWER_CAUSES; c++) {
        power_uj missing = settlement_short(x, (enum power_cause)c);
        if (missing)
            buf_addf(out, "%.3f %s<br>", (double)missing / MWH,
                     power_cause_name((enum power_cause)c));
    }
    buf_addf(out, "</td><td>%.3f</td><td>", (double)settlement_unknown(x) / MWH);
    if (ppm >= 0)
        buf_addf(out, "%.4f&nbsp;%%", (double)ppm / 1e4);
    buf_add_str(out, "</td></tr>\n");
}

static void put_part(struct buf *out, const struct settled *s, int i)
{
    const struct settled_part *p = &s->part[i];
    const struct contract *c = settled_contract_of(s, i);
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];

    buf_addf(out,
             "<h2>%s to %s, by version %lld, MWh</h2>\n<table><thead><tr><th class=t>Tranche</th>"
             "<th class=t>At</th><th>Committed</th><th>Late</th><th>Delivered</th>"
             "<th class=t>Missing</th><th>Unknown</th><th>Availability</th></tr></thead>\n<tbody>",
             day_show_moment(p->from_s, settled_zone(s), from),
             day_show_moment(p->until_s, settled_zone(s), until),
             (long long)s->version[p->i_version].version);
    for (int k = 0; k < c->n_tranches; k++) {
        if (p->tranche[k].ready || p->tranche[k].late)
            put_tranche(out, &c->tranche[k], &p->tranche[k]);
    }
    buf_addf(out,
             "</tbody></table>\n<p>Within the contract %lld requests, %lld tokens in and %lld out; "
             "above it %lld requests; on power lent to others %lld.</p>\n",
             (long long)p->own.n_requests, (long long)p->own.prompt_tokens,
             (long long)p->own.completion_tokens, (long long)p->paid.n_requests,
             (long long)p->lent.n_requests);
}

static void put_line(struct buf *out, const struct settled *s, const struct settlement_line *l)
{
    char what[SETTLED_TEXT_MAX], command[SETTLED_TEXT_MAX], text[MONEY_SUM_TEXT_MAX];

    buf_add_str(out, "<tr><th scope=row>");
    page_text(out, settled_what(s, l, what));
    buf_add_str(out, l->is_told ? " (not measured)</th><td>" : "</th><td>");
    if (l->joules)
        buf_addf(out, "%.3f", (double)l->joules / MWH);
    buf_addf(out, "</td><td>%s</td>",
             l->joules ? money_show_sum(l->price, text) : money_show_sum(l->base, text));
    buf_addf(out, "<td>%s</td>", money_show_sum((money_sum)l->share_ppm * 1000, text));
    buf_addf(out, "<td>%s</td><td class=t>", money_show_sum(l->amount, text));
    if (*settled_command(s, l, command)) {
        buf_addf(out, "%lld to %lld: ", (long long)l->first_seq, (long long)l->last_seq);
        page_text(out, command);
    }
    buf_add_str(out, "</td></tr>\n");
}

int settled_page(const struct settled *s)
{
    const struct contract *c = settled_contract(s);
    char text[MONEY_SUM_TEXT_MAX];
    struct buf out;
    int failed;

    buf_init(&out, PAGE_MAX);
    put_head(&out, s);
    for (int i = 0; i < s->n_parts; i++)
        put_part(&out, s, i);
    buf_add_str(&out, "<h2>What is owed</h2>\n<table><thead><tr><th class=t>For</th><th>MWh</th>"
                      "<th>Price, or of</th><th>Share</th><th>Amount</th><th class=t>Rows</th></tr>"
                      "</thead>\n<tbody>");
    for (int i = 0; i < s->n_lines; i++)
        put_line(&out, s, &s->line[i]);
    buf_addf(&out,
             "</tbody><tfoot><tr><th scope=row>Total, without taxes</th><td></td><td></td><td></td>"
             "<td>%s</td><td class=t>%s</td></tr></tfoot></table>\n</body>\n</html>\n",
             money_show_sum(s->sum.total, text), c->currency);
    failed = out.failed;
    if (!failed)
        fwrite(out.data, 1, out.len, stdout);
    buf_done(&out);
    return failed;
}
