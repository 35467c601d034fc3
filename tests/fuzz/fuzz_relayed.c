/* Fuzz target: a supplier's stream. The first byte says how it is cut into pieces: what is read of
 * it, and what that means, is the same as of the whole. What a tree can be made of is taken; no
 * count is below zero; no address gets into a sentence. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "base/rand.h"

enum { DEPTH_MAX = 200 }; /* of brackets: deeper ones may be refused */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_usage(const char *s, size_t n, struct buf *out)
{
    struct usage u;
    struct usage_buckets b;

    if (api_relayed_usage(s, n, &u))
        return;
    b = usage_buckets(&u);
    CHECK(b.uncached >= 0 && b.cache_read >= 0 && b.cache_write >= 0 && b.output >= 0 &&
          b.reasoning >= 0);
    buf_addf(out, " usage %lld %lld %lld %lld %lld %d", (long long)b.uncached,
             (long long)b.cache_read, (long long)b.cache_write, (long long)b.output,
             (long long)b.reasoning, (int)u.state);
}

/* What is told of energy is a number that can be, and a usage with a receipt is one object still.
 */
static void check_receipt(const struct api_relayed_piece *p, struct buf *out)
{
    struct receipt r = {.charge_nano = 5, .currency = "EUR"};
    struct api_relayed_piece look;
    struct usage u;
    struct buf b;

    if (p->energy)
        api_stated_energy(p->energy, p->n_energy, &r.energy);
    if (!api_relayed_usage(p->usage, p->n_usage, &u) && u.energy.method)
        r.energy = u.energy;
    CHECK(r.energy.uj >= 0 && r.energy.uncertainty_permille >= 0 &&
          r.energy.uncertainty_permille <= 1000);
    buf_addf(out, " energy %lld %d", (long long)r.energy.uj, (int)r.energy.boundary);
    buf_init(&b, (size_t)1 << 30);
    CHECK(!api_receipt_splice(p->usage, p->n_usage, &r, &b));
    api_relayed_look(b.data, b.len, &look);
    CHECK(look.is_json);
    buf_done(&b);
}

static size_t count_brackets(const char *s, size_t n)
{
    size_t brackets = 0;

    for (size_t i = 0; i < n; i++)
        brackets += s[i] == '[' || s[i] == '{';
    return brackets;
}

static int is_object(const char *s, size_t n)
{
    json_t *j = NULL;
    struct err e;
    int is;

    if ((n && *s == '\xef') || json_parse(&j, s, n, (size_t)1 << 30, &e))
        return 0; /* a byte order mark is for the beginning of the stream only */
    is = json_is_object(j);
    json_decref(j);
    return is;
}

static void check_error(const char *s, size_t n)
{
    static const int statuses[] = {0, 200, 400, 401, 413, 429, 503};
    int64_t retry_us;
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        int code = api_relayed_error(statuses[i], s, n, NULL, NULL, 0, &retry_us, &e);
        CHECK(code < 0 && e.code == code && e.text[0] && !strstr(e.text, "://") && !retry_us);
    }
}

/* An object that is joined with itself, or brings its members to an empty one, is still one. */
static void check_join(const char *s, size_t n)
{
    struct buf out;

    for (int i = 0; i < 2; i++) {
        buf_init(&out, (size_t)1 << 30);
        CHECK(!api_relayed_join(i ? s : "{}", i ? n : 2, s, n, &out) &&
              is_object(out.data, out.len));
        buf_done(&out);
    }
}

/* All that is known of one event, as text. */
static void put_event(const char *s, size_t n, struct buf *out)
{
    struct api_relayed_piece p;

    api_relayed_look(s, n, &p);
    CHECK(!p.is_json || (*p.end == '}' && p.end >= s && p.end < s + n));
    CHECK(p.is_json || count_brackets(s, n) > DEPTH_MAX || !is_object(s, n));
    CHECK(p.n_finished <= p.n_choices && p.n_text <= n);
    if (is_object(s, n))
        check_join(s, n);
    buf_addf(out, "\n%d %d %d %d %d %zu %d", p.is_json, p.is_error, p.has_content, p.n_finished,
             p.n_choices, p.n_text, (int)p.finish);
    if (p.usage)
        put_usage(p.usage, p.n_usage, out);
    if (p.usage)
        check_receipt(&p, out);
    check_error(s, n);
    buf_add_char(out, ' ');
    buf_add(out, s, n);
}

/* pieces: 0 the whole at once, else the key of random lengths. */
static void read_stream(const char *s, size_t n, uint32_t pieces, struct buf *out)
{
    struct api_sse_reader r;
    uint32_t x[4];
    int code = 0;

    api_sse_reader_init(&r);
    for (size_t at = 0, i = 0; at < n && !code; i++) {
        const char *p = s + at;
        size_t len = n;
        if (pieces) {
            rand_philox(pieces, i, 0, x);
            len = 1 + x[0] % (pieces & 1 ? 4 : 64);
        }
        len = len < n - at ? len : n - at;
        while ((code = api_sse_read(&r, &p, s + at + len)) > 0)
            put_event(r.data.data ? r.data.data : "", r.data.len, out);
        CHECK(code || p == s + at + len);
        at += len;
    }
    buf_addf(out, "\n%d", code);
    api_sse_reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut;

    if (!size)
        return 0;
    buf_init(&whole, (size_t)1 << 30);
    buf_init(&cut, (size_t)1 << 30);
    read_stream((const char *)data + 1, size - 1, 0, &whole);
    read_stream((const char *)data + 1, size - 1, data[0] + 1, &cut);
    CHECK(!whole.failed && whole.len == cut.len && !memcmp(whole.data, cut.data, cut.len));
    buf_done(&whole);
    buf_done(&cut);
    return 0;
}
