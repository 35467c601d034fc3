#include "cmd/top_frame.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/plain.h"
#include "base/utf8.h"

#define LINE_MAX 1024
#define ROWS_MAX 8 /* of suppliers, models and tenants each; requests have the rest */

struct frame {
    struct buf *out;
    int n_columns, n_lines, i_line; /* 0: any number */
};

/* ---- lines ----------------------------------------------------------------------------------- */

static int has_room(const struct frame *f)
{
    return !f->n_lines || f->i_line < f->n_lines;
}

/* The bytes of the first so many characters. */
static size_t first_of(const char *s, size_t n, int n_chars)
{
    size_t at = 0;
    uint32_t cp;

    for (int i = 0; i < n_chars && at < n; i++) {
        int len = utf8_decode(s + at, n - at, &cp);
        at += len > 0 ? (size_t)len : 1;
    }
    return at;
}

static void line(struct frame *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(struct frame *f, const char *fmt, ...)
{
    char text[LINE_MAX];
    struct buf plain;
    size_t n;
    va_list ap;

    if (!has_room(f))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_init(&plain, 8 * LINE_MAX);
    plain_put(&plain, text, strlen(text), PLAIN_LINE);
    n = f->n_columns ? first_of(plain.data ? plain.data : "", plain.len, f->n_columns) : plain.len;
    while (n && plain.data[n - 1] == ' ')
        n--;
    buf_add(f->out, plain.data ? plain.data : "", n);
    buf_add_char(f->out, '\n');
    buf_done(&plain);
    f->i_line++;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "-";
}

static long long int_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static double real_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* A time in seconds; "-": it is not known. */
static const char *seconds(const json_t *o, const char *key, char out[24])
{
    const json_t *j = json_object_get(o, key);

    if (json_is_number(j))
        snprintf(out, 24, "%.3f", json_number_value(j));
    else
        snprintf(out, 24, "-");
    return out;
}

static const char *span(double s, char out[32])
{
    long long n = (long long)s;

    if (n >= 86400)
        snprintf(out, 32, "%lldd %lldh", n / 86400, n / 3600 % 24);
    else if (n >= 3600)
        snprintf(out, 32, "%lldh %lldm", n / 3600, n / 60 % 60);
    else
        snprintf(out, 32, "%lldm %llds", n / 60, n % 60);
    return out;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void put_head(struct frame *f, const json_t *o)
{
    const json_t *rates = json_object_get(o, "rates"), *totals = json_object_get(o, "totals"),
                 *ledger = json_object_get(o, "ledger"), *memory = json_object_get(o, "memory");
    time_t t = (time_t)real_of(o, "time");
    char at[32], up[32];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(at, sizeof at, "%Y-%m-%d %H:%M:%SZ", &tm);
    line(f, "gaufre %s   %s   up %s   configuration %lld   memory %.1f of %.1f GiB",
         text_of(o, "version"), at, span(real_of(o, "uptime_s"), up), int_of(o, "generation"),
         real_of(memory, "resident") / 0x1p30, real_of(memory, "machine") / 0x1p30);
    line(f, "requests  %.1f/s, %lld answered, %lld refused, %lld failed",
         real_of(rates, "requests_per_s"), int_of(totals, "requests"), int_of(totals, "refused"),
         int_of(totals, "failed"));
    line(f, "tokens    %.0f/s generated, %.0f/s of prompts",
         real_of(rates, "completion_tokens_per_s"), real_of(rates, "prompt_tokens_per_s"));
    if (json_is_object(ledger))
        line(f, "ledger    %lld rows, %lld pending, %lld in the journal, %lld failed writes",
             int_of(ledger, "rows_written"), int_of(ledger, "rows_pending"),
             int_of(ledger, "rows_in_journal"), int_of(ledger, "write_failures"));
    else
        line(f, "ledger    off");
}

static void put_tiers(struct frame *f, const json_t *o)
{
    const json_t *tiers = json_object_get(o, "tiers");
    char text[LINE_MAX] = "";

    for (size_t i = 0; i < json_array_size(tiers); i++) {
        const json_t *t = json_array_get(tiers, i);
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s %lld+%lld", i ? ", " : "", text_of(t, "tier"),
                 int_of(t, "running"), int_of(t, "waiting"));
    }
    line(f, "tiers     %s (running+waiting)", text);
}

static void put_model(struct frame *f, const json_t *m)
{
    const json_t *ttft = json_object_get(m, "ttft_s");
    char p50[24], p99[24];

    line(f, "%-32.32s %-11.11s %7lld %7lld %9lld %9s %9s", text_of(m, "id"), text_of(m, "state"),
         int_of(m, "running"), int_of(m, "waiting"), int_of(m, "requests"),
         seconds(ttft, "p50", p50), seconds(ttft, "p99", p99));
}

static void put_supplier(struct frame *f, const json_t *s)
{
    char places[48];

    snprintf(places, sizeof places, "%lld/%lld", int_of(s, "running"), int_of(s, "concurrency"));
    line(f, "%-32.32s %-11.11s %7s %7lld %9s %s", text_of(s, "supplier"), text_of(s, "state"),
         places, int_of(s, "waiting"), text_of(s, "breaker"),
         strcmp(text_of(s, "why"), "-") ? text_of(s, "why") : "");
}

/* The budget that is used most. */
static const json_t *tightest(const json_t *tenant)
{
    const json_t *list = json_object_get(tenant, "budgets"), *most = NULL;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *b = json_array_get(list, i);
        if (!most || real_of(b, "percent") > real_of(most, "percent"))
            most = b;
    }
    return most;
}

static void put_tenant(struct frame *f, const json_t *t)
{
    const json_t *b = tightest(t);
    char budget[96] = "";

    if (b)
        snprintf(budget, sizeof budget, "%.0f%% of its %s, %s", real_of(b, "percent"),
                 text_of(b, "of"), text_of(b, "span"));
    line(f, "%-32.32s %11lld %12lld %12lld %14s  %s", text_of(t, "id"), int_of(t, "requests"),
         int_of(t, "prompt_tokens"), int_of(t, "completion_tokens"), text_of(t, "charge"), budget);
}

static void put_request(struct frame *f, const json_t *r)
{
    char age[24], ttft[24];

    line(f, "%-37.37s %-14.14s %-20.20s %-8.8s %-8.8s %7lld %7lld %8s %8s", text_of(r, "id"),
         text_of(r, "tenant"), text_of(r, "model"), text_of(r, "tier"), text_of(r, "state"),
         int_of(r, "prompt_tokens"), int_of(r, "completion_tokens"), seconds(r, "ttft_s", ttft),
         seconds(r, "age_s", age));
}

/* A list with its head: so many rows, and how many more there are. */
static void put_list(struct frame *f, const json_t *o, const char *name, const char *head,
                     void (*row)(struct frame *f, const json_t *j), size_t n_max)
{
    const json_t *list = json_object_get(o, name);
    size_t n = json_array_size(list);

    if (!n || (f->n_lines && f->i_line + 3 > f->n_lines))
        return;
    line(f, "%s", "");
    line(f, "%s", head);
    for (size_t i = 0; i < n && i < n_max; i++)
        row(f, json_array_get(list, i));
    if (n > n_max)
        line(f, "  and %zu more", n - n_max);
}

int top_frame(const json_t *o, int n_columns, int n_lines, struct buf *out)
{
    struct frame f = {.out = out, .n_columns = n_columns, .n_lines = n_lines};

    put_head(&f, o);
    put_tiers(&f, o);
    put_list(&f, o, "models",
             "model                            state       running waiting  requests"
             "  TTFT p50      p99",
             put_model, ROWS_MAX);
    put_list(&f, o, "suppliers",
             "supplier                         state        places waiting   breaker", put_supplier,
             ROWS_MAX);
    put_list(&f, o, "tenants",
             "tenant                              requests       prompt       answer        charged"
             "  budget",
             put_tenant, ROWS_MAX);
    put_list(&f, o, "requests",
             "request                               tenant         model                tier     "
             "state     prompt  answer     TTFT      age",
             put_request, SIZE_MAX);
    return out->failed;
}
