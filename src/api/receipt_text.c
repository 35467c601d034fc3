#include "api/receipt_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json_walk.h"
#include "base/money.h"
#include "base/put.h"

#define UJ_MAX      1e15 /* a request's: a gigajoule */
#define NUMBER_MAX  40   /* characters of a number that is read */
#define WORD_MAX    24
#define OURS_MAX    512
#define MILLE       1000
#define NO_CLAIM    MILLE /* of the uncertainty */
#define UJ_PER_WH   3600000000.0
#define NANO_WH(uj) (((uj)*10 + 18) / 36) /* rounded; 3.6 microjoules each */

/* ---- writing --------------------------------------------------------------------------------- */

static int has_cost(const struct receipt *r)
{
    return r->charge_nano >= 0 && r->currency && *r->currency;
}

int api_receipt_put(struct buf *out, const struct receipt *r)
{
    const struct energy *e = &r->energy;
    char joules[PUT_MAX], wh[PUT_MAX], share[PUT_MAX], amount[MONEY_TEXT_MAX];

    if (e->method) {
        put_decimal(e->uj, 6, joules);
        put_decimal(NANO_WH(e->uj), 9, wh);
        put_decimal(e->uncertainty_permille, 3, share);
        buf_addf(out,
                 ",\"energy\":{\"joules\":%s,\"wh\":%s,\"boundary\":\"%s\",\"method\":\"%s\","
                 "\"uncertainty\":%s}",
                 joules, wh, energy_boundary_name(e->boundary), energy_method_name(e->method),
                 share);
    }
    if (has_cost(r))
        buf_addf(out, ",\"cost\":{\"amount\":%s,\"currency\":\"%s\"}",
                 money_show(r->charge_nano, amount), r->currency);
    return out->failed;
}

int api_receipt_headers(const struct receipt *r, struct api_header *out, int max)
{
    const struct energy *e = &r->energy;
    char amount[MONEY_TEXT_MAX];
    int n = 0;

    CHECK(max >= API_RECEIPT_HEADERS);
    if (e->method) {
        out[n].name = "x-gaufre-energy-joules";
        put_decimal(e->uj, 6, out[n++].value);
        out[n].name = "x-gaufre-energy-boundary";
        put_text(out[n].value, sizeof out[n].value, energy_boundary_name(e->boundary));
        n++;
        out[n].name = "x-gaufre-energy-method";
        put_text(out[n].value, sizeof out[n].value, energy_method_name(e->method));
        n++;
        out[n].name = "x-gaufre-energy-uncertainty";
        put_decimal(e->uncertainty_permille, 3, out[n++].value);
    }
    if (has_cost(r)) {
        out[n].name = "x-gaufre-cost";
        money_show(r->charge_nano, amount);
        snprintf(out[n].value, sizeof out[n].value, "%s %.3s", amount, r->currency);
        n++;
    }
    return n;
}

/* Is it a member that has ours in its place? */
static int is_ours(const struct json_item *i, const struct receipt *r)
{
    return (r->energy.method && json_is_key(i, "energy")) ||
           (r->currency && *r->currency && json_is_key(i, "cost"));
}

/* Ours, behind others or as the first. */
static int put_ours(const struct receipt *r, int is_first, struct buf *out)
{
    struct buf ours;
    int code;

    buf_init(&ours, OURS_MAX);
    code = api_receipt_put(&ours, r);
    if (!code && ours.len)
        buf_add(out, ours.data + is_first, ours.len - (size_t)is_first);
    buf_done(&ours);
    return code;
}

int api_receipt_splice(const char *usage, size_t n, const struct receipt *r, struct buf *out)
{
    const char *from = usage + 1, *end = usage + n; /* what is not copied yet */
    int has_any = 0, has_gap = 0, code;
    struct json_walk w;
    struct json_item i;

    if (json_walk_begin(&w, usage, end) || !w.is_object)
        return ERR_FORMAT;
    buf_add_char(out, '{');
    while ((code = json_walk_next(&w, &i)) > 0) {
        if (is_ours(&i, r)) {
            has_gap = 1;
            from = i.value_end;
            continue;
        }
        if (has_gap && has_any)
            buf_add_char(out, ',');
        from = has_gap ? i.key - 1 : from;
        buf_add(out, from, (size_t)(i.value_end - from));
        from = i.value_end;
        has_any = 1;
        has_gap = 0;
    }
    if (code < 0)
        return ERR_FORMAT;
    code = put_ours(r, !has_any, out);
    buf_add(out, from, (size_t)(end - from)); /* blanks, and its end */
    return code ? code : out->failed;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A number that is none is -1. */
static double number_of(const struct json_item *i)
{
    size_t n = (size_t)(i->value_end - i->value);
    char text[NUMBER_MAX];

    if (!n || n >= sizeof text || (*i->value != '-' && (*i->value < '0' || *i->value > '9')))
        return -1;
    memcpy(text, i->value, n);
    text[n] = 0;
    return strtod(text, NULL);
}

static int boundary_of(const struct json_item *i)
{
    size_t n = (size_t)(i->value_end - i->value);
    char word[WORD_MAX];

    if (n < 2 || n - 2 >= sizeof word || *i->value != '"')
        return -1;
    memcpy(word, i->value + 1, n - 2);
    word[n - 2] = 0;
    for (int b = 0; b < ENERGY_BOUNDARIES; b++) {
        if (!strcmp(word, energy_boundary_name((enum energy_boundary)b)))
            return b;
    }
    return -1;
}

void api_stated_energy(const char *json, size_t n, struct energy *ret)
{
    static const struct {
        const char *name;
        double uj;
    } units[] = {{"joules", 1e6},           {"energy_joules", 1e6},
                 {"wh", UJ_PER_WH},         {"energy_wh", UJ_PER_WH},
                 {"kwh", 1000 * UJ_PER_WH}, {"energy_kwh", 1000 * UJ_PER_WH}};
    size_t best = ARRAY_LEN(units);
    double uj = -1, share = 1;
    struct json_walk w;
    struct json_item i;
    int boundary = -1;

    *ret = (struct energy){0};
    if (json_walk_begin(&w, json, json + n) || !w.is_object)
        return;
    while (json_walk_next(&w, &i) > 0) {
        for (size_t k = 0; k < best; k++) {
            double v = json_is_key(&i, units[k].name) ? number_of(&i) : -1;
            if (v >= 0 && v * units[k].uj <= UJ_MAX) {
                uj = v * units[k].uj;
                best = k;
            }
        }
        if (json_is_key(&i, "boundary"))
            boundary = boundary_of(&i);
        if (json_is_key(&i, "uncertainty"))
            share = number_of(&i);
    }
    if (uj < 0)
        return;
    *ret = (struct energy){
        .uj = (int64_t)(uj + 0.5),
        .boundary = boundary < 0 ? ENERGY_ACCELERATOR : (enum energy_boundary)boundary,
        .method = ENERGY_STATED,
        .uncertainty_permille =
            share >= 0 && share <= 1 ? (int32_t)(share * MILLE + 0.5) : NO_CLAIM};
}
