/* The report of contracts as a page that is fit to print: obligations by the year, the power that
 * is promised drawn over time, and on whom all of it depends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/day.h"
#include "cmd/contract_report.h"
#include "cmd/page_form.h"

#define PAGE_MAX ((size_t)8 << 20)
#define WIDTH    900 /* of a drawing, in its own units */
#define HEIGHT   260
#define LEFT     60
#define TOP      10
#define BOTTOM   24
#define CROWDED  36 /* where two labels would touch */
#define WATT_MW  1e6
#define MOMENTS  (8 * CONTRACT_TRANCHES_MAX)

static const char *const colours[] = {"#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951",
                                      "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0"};

/* Whole units, in groups of three digits. */
static void put_amount(struct buf *out, money_sum nano)
{
    char text[MONEY_SUM_TEXT_MAX];
    size_t n;

    money_show_sum(nano, text);
    n = strcspn(text, ".");
    buf_add_str(out, "<td>");
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0 && text[i - 1] != '-')
            buf_add_str(out, "&#8239;");
        buf_add_char(out, text[i]);
    }
    buf_add_str(out, "</td>");
}

static const char *year_of(const struct report *r, int y, char out[DAY_TEXT_MAX])
{
    day_show(r->year_s[y + 1] - 1, NULL, out);
    out[4] = 0;
    return out;
}

/* ---- the drawing ----------------------------------------------------------------------------- */

/* Moments at which power changes, sorted, within what is drawn. */
struct moments {
    int64_t at[MOMENTS];
    int n;
};

static int later(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void note(struct moments *m, int64_t at, int64_t from, int64_t until)
{
    if (at > from && at < until && m->n < MOMENTS - 2)
        m->at[m->n++] = at;
}

static void find_moments(const struct report *r, int64_t from, int64_t until, struct moments *m)
{
    m->n = 0;
    m->at[m->n++] = from;
    m->at[m->n++] = until;
    for (int i = 0; i < r->n_rows; i++) {
        const struct contract *c = r->row[i].c;
        for (int k = 0; k < c->n_tranches; k++) {
            note(m, c->tranche[k].target_s, from, until);
            note(m, tranche_until(c, &c->tranche[k]), from, until);
            note(m, c->tranche[k].exercised_s, from, until);
            note(m, c->tranche[k].cancelled_s, from, until);
        }
    }
    qsort(m->at, (size_t)m->n, sizeof *m->at, later);
}

/* What the first k contracts have together. */
static int64_t stacked(const struct report *r, int k, int64_t at)
{
    int64_t sum = 0;

    for (int i = 0; i < k; i++)
        sum += contract_watts(r->row[i].c, POWER_FIRM, NULL, NULL, r->now_s, at);
    return sum;
}

struct drawing {
    int64_t from, until, most_w;
};

static double x_of(const struct drawing *d, int64_t at)
{
    return LEFT + (double)(at - d->from) / (double)(d->until - d->from) * (WIDTH - LEFT);
}

static double y_of(const struct drawing *d, int64_t w)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (double)w / (double)d->most_w);
}

/* One layer: a step line above, the layer below it back. */
static void put_layer(struct buf *out, const struct report *r, const struct drawing *d,
                      const struct moments *m, int i)
{
    buf_addf(out, "<path fill=\"%s\" d=\"M", colours[(size_t)i % ARRAY_LEN(colours)]);
    for (int k = 0; k + 1 < m->n; k++) {
        double y = y_of(d, stacked(r, i + 1, m->at[k]));
        buf_addf(out, "%.1f %.1fL%.1f %.1fL", x_of(d, m->at[k]), y, x_of(d, m->at[k + 1]), y);
    }
    for (int k = m->n - 1; k > 0; k--) {
        double y = y_of(d, stacked(r, i, m->at[k - 1]));
        buf_addf(out, "%.1f %.1fL%.1f %.1f%s", x_of(d, m->at[k]), y, x_of(d, m->at[k - 1]), y,
                 k > 1 ? "L" : "Z\"><title>");
    }
    page_text(out, r->row[i].c->name);
    buf_add_str(out, "</title></path>\n");
}

static void put_axes(struct buf *out, const struct report *r, const struct drawing *d)
{
    char text[DAY_TEXT_MAX];

    for (int i = 0; i <= 4; i++) {
        int64_t w = d->most_w / 4 * i;
        buf_addf(out,
                 "<text x=%d y=%.1f text-anchor=end font-size=11>%.4g</text><line x1=%d x2=%d "
                 "y1=%.1f y2=%.1f stroke=\"#888\" stroke-opacity=.3 />\n",
                 LEFT - 6, y_of(d, w) + 4, (double)w / WATT_MW, LEFT, WIDTH, y_of(d, w),
                 y_of(d, w));
    }
    for (int y = 0; y < r->n_years; y++) {
        if (x_of(d, r->year_s[y + 1]) - x_of(d, r->year_s[y]) > CROWDED)
            buf_addf(out, "<text x=%.1f y=%d font-size=11>%s</text>\n", x_of(d, r->year_s[y]),
                     HEIGHT - 6, year_of(r, y, text));
    }
}

/* A number of watts whose quarters are round, too. */
static int64_t round_up(int64_t w)
{
    static const int steps[] = {1, 2, 4, 6, 8, 10};
    int64_t ten = 1;
    size_t i = 0;

    while (ten * 10 < w)
        ten *= 10;
    while (ten * steps[i] < w)
        i++;
    return ten * steps[i];
}

static void put_drawing(struct buf *out, const struct report *r, struct moments *m)
{
    struct drawing d = {.from = r->now_s, .until = r->year_s[r->n_years]};

    find_moments(r, d.from, d.until, m);
    for (int k = 0; k < m->n; k++) {
        int64_t w = stacked(r, r->n_rows, m->at[k]);
        d.most_w = w > d.most_w ? w : d.most_w;
    }
    if (!d.most_w)
        return;
    d.most_w = round_up(d.most_w);
    buf_addf(out,
             "<h2>Firm power, MW</h2>\n<svg viewBox=\"0 0 %d %d\" role=img "
             "aria-label=\"Megawatts that are promised, by contract, over time; the table has "
             "their amounts\">\n",
             WIDTH, HEIGHT);
    for (int i = 0; i < r->n_rows; i++)
        put_layer(out, r, &d, m, i);
    put_axes(out, r, &d);
    buf_add_str(out, "</svg>\n");
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void put_obligations(struct buf *out, const struct report *r)
{
    buf_add_str(out, "<h2>Still to come</h2>\n<table><thead><tr><th class=t>Contract</th>"
                     "<th class=t>Supplier</th><th class=t>Customer</th><th>Ready MW</th>"
                     "<th>To be MW</th><th>Still to come</th><th>More by option</th>"
                     "<th class=t>Currency</th></tr></thead>\n<tbody>");
    for (int i = 0; i < r->n_rows; i++) {
        const struct report_row *w = &r->row[i];
        buf_addf(out, "<tr><th scope=row><span style=\"color:%s\">&#9632;</span> ",
                 colours[(size_t)i % ARRAY_LEN(colours)]);
        page_text(out, w->c->name);
        buf_add_str(out, "</th><td class=t>");
        page_text(out, w->c->supplier.name);
        buf_add_str(out, "</td><td class=t>");
        page_text(out, w->c->customer.name);
        buf_addf(out, "</td><td>%.6g</td><td>%.6g</td>", (double)w->ready_w / WATT_MW,
                 (double)w->firm_end_w / WATT_MW);
        put_amount(out, w->fee_sum);
        put_amount(out, w->option_sum);
        buf_addf(out, "<td class=t>%s</td></tr>\n", w->c->currency);
    }
    buf_add_str(out, "</tbody></table>\n");
}

static void put_years(struct buf *out, const struct report *r)
{
    char text[DAY_TEXT_MAX];

    for (int i = 0; i < r->n_shares && r->share[i].of == OF_SUPPLIER; i++) {
        const char *currency = r->share[i].currency;
        if (i && !strcmp(r->share[i - 1].currency, currency))
            continue;
        buf_addf(out,
                 "<h2>By the year, in %s</h2>\n<table><thead><tr><th class=t>Year</th><th>Still "
                 "to come</th><th>More by option</th></tr></thead>\n<tbody>",
                 currency);
        for (int y = 0; y < r->n_years; y++) {
            struct report_year sum = report_year(r, y, currency);
            buf_addf(out, "<tr><th scope=row>%s</th>", year_of(r, y, text));
            put_amount(out, sum.fee);
            put_amount(out, sum.option);
            buf_add_str(out, "</tr>\n");
        }
        buf_add_str(out, "</tbody></table>\n");
    }
}

static void put_shares(struct buf *out, const struct report *r)
{
    for (int i = 0; i < r->n_shares; i++) {
        const struct report_share *s = &r->share[i];
        if (!i || s[-1].of != s->of || strcmp(s[-1].currency, s->currency) != 0)
            buf_addf(out,
                     "%s<h2>By %s, in %s</h2>\n<p>Index of Herfindahl and Hirschman: %d of "
                     "10000.</p>\n<table><thead><tr><th class=t>Name</th><th>Share</th>"
                     "<th>Still to come</th><th>Contracts</th><th>MW that stop with it</th></tr>"
                     "</thead>\n<tbody>",
                     i ? "</tbody></table>\n" : "", report_of_words[s->of], s->currency,
                     (int)report_hhi(r, s->of, s->currency));
        buf_add_str(out, "<tr><th scope=row>");
        page_text(out, s->name);
        buf_addf(out, "</th><td>%.1f %%</td>", s->share * 100);
        put_amount(out, s->fee);
        buf_addf(out, "<td>%d</td><td>%.6g</td></tr>\n", s->n_contracts,
                 (double)s->ready_w / WATT_MW);
    }
    buf_add_str(out, r->n_shares ? "</tbody></table>\n" : "");
}

int report_page(const struct report *r)
{
    struct moments *m = malloc(sizeof *m);
    char day[DAY_TEXT_MAX];
    struct buf out;
    int failed;

    buf_init(&out, PAGE_MAX);
    day_show(r->now_s, NULL, day);
    page_head(&out, "Contracts, ", day);
    buf_addf(&out,
             "<h1>Contracts</h1>\n<p>As they are known on %s (UTC), and what is still to come of "
             "them.</p>\n",
             day);
    if (m)
        put_drawing(&out, r, m);
    put_obligations(&out, r);
    put_years(&out, r);
    put_shares(&out, r);
    buf_add_str(&out, "</body>\n</html>\n");
    failed = out.failed || !m;
    if (!failed)
        fwrite(out.data, 1, out.len, stdout);
    buf_done(&out);
    free(m);
    return failed ? ERR_NOMEM : 0;
}
