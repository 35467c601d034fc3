/* A statement as JSON, with all that it was made of: the versions of the contract and the numbers
 * of the last rows. So it can be made again from the ledger alone, and compared. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/day.h"
#include "base/json.h"
#include "base/money.h"
#include "books/power_log.h"
#include "cloud/settled.h"

#define FORMAT 1

static void put_money(json_t *o, const char *key, contract_nano v)
{
    char text[MONEY_SUM_TEXT_MAX];

    json_object_set_new(o, key, json_string(money_show_sum(v, text)));
}

/* What a number of JSON cannot hold is a text: microjoules of more than 2.5 GWh. */
static void put_joules(json_t *o, const char *key, power_uj v)
{
    char text[POWER_UJ_TEXT_MAX];

    json_object_set_new(
        o, key, v > INT64_MAX ? json_string(power_uj_show(v, text)) : json_integer((json_int_t)v));
}

static void put_share(json_t *o, const char *key, int64_t ppm)
{
    char text[MONEY_TEXT_MAX];

    json_object_set_new(o, key, ppm < 0 ? json_null() : json_string(money_show(ppm * 1000, text)));
}

static json_t *rows_json(int64_t n, int64_t first, int64_t last)
{
    return json_pack("{s:I, s:I, s:I}", "n", (json_int_t)n, "first", (json_int_t)first, "last",
                     (json_int_t)last);
}

/* ---- versions -------------------------------------------------------------------------------- */

static json_t *version_json(const struct settled_version *v)
{
    const struct contract *c = contract_file_contract(v->file);
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof hash + 1];
    json_t *measured = json_array();

    crypto_hash_sha256(hash, (const unsigned char *)v->text, strlen(v->text));
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    for (int i = 0; i < c->n_tranches; i++)
        json_array_append_new(measured, json_integer(v->measured[i]));
    return json_pack("{s:I, s:I, s:s, s:o, s:o}", "version", (json_int_t)v->version, "effective_s",
                     (json_int_t)v->effective_s, "sha256", hex, "measured_mtps", measured, "text",
                     json_string(v->text));
}

static int read_number(const json_t *j, const char *key, int64_t *ret, struct err *e)
{
    const json_t *v = json_object_get(j, key);

    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return err_set(e, ERR_FORMAT, "statement: '%s' wants a number", key);
    *ret = json_integer_value(v);
    return 0;
}

static int read_version(struct settled *s, const json_t *j, struct err *e)
{
    const char *text = json_string_value(json_object_get(j, "text"));
    const json_t *measured = json_object_get(j, "measured_mtps");
    int64_t version = 0, effective_s = 0;
    int r = read_number(j, "version", &version, e);

    if (!r)
        r = read_number(j, "effective_s", &effective_s, e);
    if (!r && !text)
        r = err_set(e, ERR_FORMAT, "statement: a version wants a text");
    if (!r && s->n_versions && effective_s < s->version[s->n_versions - 1].effective_s)
        r = err_set(e, ERR_FORMAT, "statement: versions follow each other");
    if (!r)
        r = settled_add(s, "the statement's contract", version, effective_s, text, e);
    for (size_t i = 0; !r && i < CONTRACT_TRANCHES_MAX && i < json_array_size(measured); i++) {
        int64_t mtps = json_integer_value(json_array_get(measured, i));
        s->version[s->n_versions - 1].measured[i] = mtps > 0 ? mtps : 0;
    }
    return r;
}

int settled_read(struct settled *s, const json_t *j, struct err *e)
{
    const json_t *versions = json_object_get(j, "versions"), *upto = json_object_get(j, "upto");
    const struct {
        const json_t *o;
        const char *key;
        int64_t *to;
    } numbers[] = {{j, "from_s", &s->from_s},
                   {j, "until_s", &s->until_s},
                   {j, "made_s", &s->made_s},
                   {upto, "usage", &s->upto_usage},
                   {upto, "power", &s->upto_power}};
    int64_t format = 0;
    int r = read_number(j, "format", &format, e);

    if (!r && format != FORMAT)
        r = err_set(e, ERR_FORMAT, "statement: of another version of this program");
    for (size_t i = 0; !r && i < ARRAY_LEN(numbers); i++)
        r = read_number(numbers[i].o, numbers[i].key, numbers[i].to, e);
    if (!r && json_object_get(upto, "taken")) /* only of a backstop */
        r = read_number(upto, "taken", &s->upto_taken, e);
    if (!r && (s->from_s >= s->until_s || s->until_s > s->made_s ||
               s->until_s - s->from_s > SETTLED_DAYS_MAX * INT64_C(86400)))
        r = err_set(e, ERR_FORMAT, "statement: its times cannot be");
    for (size_t i = 0; !r && i < json_array_size(versions); i++)
        r = read_version(s, json_array_get(versions, i), e);
    if (!r && !s->n_versions)
        r = err_set(e, ERR_FORMAT, "statement: it has no contract");
    return r;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static json_t *tranche_json(const struct tranche *t, const struct settlement_tranche *x)
{
    json_t *missing = json_object(),
           *o = json_pack("{s:s, s:s, s:I}", "tranche", t->name, t->site ? "site" : "region",
                          t->site ? t->site : t->region, "watts", (json_int_t)t->watts);

    put_joules(o, "committed_joules", (x->ready + x->late) / SETTLEMENT_UJ);
    put_joules(o, "late_joules", x->late / SETTLEMENT_UJ);
    put_joules(o, "ready_joules", x->ready / SETTLEMENT_UJ);
    put_joules(o, "delivered_joules", settlement_delivered(x));
    put_joules(o, "unknown_joules", settlement_unknown(x));
    for (int c = 0; c < POWER_CAUSES; c++)
        put_joules(missing, power_cause_name((enum power_cause)c),
                   settlement_short(x, (enum power_cause)c));
    json_object_set_new(o, "missing_joules", missing);
    put_share(o, "availability", settlement_availability(x));
    put_joules(o, "used_microjoules", x->used);
    if (t->tokens_per_s)
        put_joules(o, "declared_tokens", x->ready / t->watts * t->tokens_per_s / SETTLEMENT_UJ);
    json_object_set_new(o, "rows", rows_json(x->n_pieces, x->first_seq, x->last_seq));
    return o;
}

static json_t *use_json(const struct settlement_use *u)
{
    json_t *o =
        json_pack("{s:I, s:I, s:I, s:I}", "requests", (json_int_t)u->n_requests, "without_energy",
                  (json_int_t)u->n_unmetered, "prompt_tokens", (json_int_t)u->prompt_tokens,
                  "completion_tokens", (json_int_t)u->completion_tokens);

    put_money(o, "charge", u->charge);
    json_object_set_new(o, "rows", rows_json(u->n_requests, u->first_seq, u->last_seq));
    return o;
}

static json_t *part_json(const struct settled *s, int i)
{
    const struct settled_part *p = &s->part[i];
    const struct contract *c = settled_contract_of(s, i);
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];
    json_t *list = json_array();

    for (int k = 0; k < c->n_tranches; k++)
        json_array_append_new(list, tranche_json(&c->tranche[k], &p->tranche[k]));
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:I}", "from",
                     day_show_moment(p->from_s, settled_zone(s), from), "until",
                     day_show_moment(p->until_s, settled_zone(s), until), "version",
                     (json_int_t)s->version[p->i_version].version, "tranches", list, "within",
                     use_json(&p->own), "above", use_json(&p->paid), "lent", use_json(&p->lent),
                     "other_currency", (json_int_t)p->n_foreign);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static json_t *line_json(const struct settled *s, const struct settlement_line *l)
{
    char what[SETTLED_TEXT_MAX], command[SETTLED_TEXT_MAX];
    json_t *o = json_pack("{s:s, s:s, s:i}", "kind", settlement_kind_name(l->kind), "what",
                          settled_what(s, l, what), "part", l->i_part);

    if (l->i_tranche >= 0)
        json_object_set_new(
            o, "tranche",
            json_string(settled_contract_of(s, l->i_part)->tranche[l->i_tranche].name));
    if (l->cause >= 0)
        json_object_set_new(o, "cause", json_string(power_cause_name((enum power_cause)l->cause)));
    if (l->joules) {
        put_joules(o, "joules", l->joules);
        put_money(o, "price", l->price);
    } else {
        put_money(o, "of", l->base);
    }
    put_share(o, "share", l->share_ppm);
    if (l->is_told)
        json_object_set_new(o, "note", json_string("not measured"));
    put_money(o, "amount", l->amount);
    if (*settled_command(s, l, command)) {
        json_t *rows = rows_json(l->n_rows, l->first_seq, l->last_seq);
        json_object_set_new(rows, "table",
                            json_string(l->kind == SETTLE_BACKSTOP ? "taken"
                                        : l->i_tranche < 0         ? "usage"
                                                                   : "power"));
        json_object_set_new(rows, "command", json_string(command));
        json_object_set_new(o, "rows", rows);
    }
    return o;
}

/* What the contract's year has come to, beside its caps. */
static void put_backstop(json_t *o, const struct settled *s, const struct contract_backstop *b)
{
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];
    json_t *year =
        json_pack("{s:s, s:s}", "from", day_show_moment(s->year.from_s, settled_zone(s), from),
                  "until", day_show_moment(s->year.until_s, settled_zone(s), until));

    put_joules(year, "taken_joules", s->taken.joules);
    put_money(year, "taken_money", s->taken.cost / CONTRACT_MWH_J);
    if (b->yearly_mwh)
        put_joules(year, "cap_joules", (power_uj)b->yearly_mwh * CONTRACT_MWH_J);
    if (b->yearly_money)
        put_money(year, "cap_money", b->yearly_money);
    json_object_set_new(o, "backstop_year", year);
    json_object_set_new(json_object_get(o, "upto"), "taken", json_integer(s->upto_taken));
}

json_t *settled_json(const struct settled *s)
{
    const struct contract *c = settled_contract(s);
    json_t *versions = json_array(), *parts = json_array(), *lines = json_array(), *o;
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];

    for (int i = 0; i < s->n_versions; i++)
        json_array_append_new(versions, version_json(&s->version[i]));
    for (int i = 0; i < s->n_parts; i++)
        json_array_append_new(parts, part_json(s, i));
    for (int i = 0; i < s->n_lines; i++)
        json_array_append_new(lines, line_json(s, &s->line[i]));
    o = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "format", FORMAT, "contract", c->name,
                  "supplier", c->supplier.name, "customer", c->customer.name, "currency",
                  c->currency, "time_zone", c->time_zone ? c->time_zone : "UTC", "from",
                  day_show_moment(s->from_s, settled_zone(s), from), "until",
                  day_show_moment(s->until_s, settled_zone(s), until));
    json_object_set_new(o, "from_s", json_integer(s->from_s));
    json_object_set_new(o, "until_s", json_integer(s->until_s));
    json_object_set_new(o, "made_s", json_integer(s->made_s));
    json_object_set_new(o, "upto",
                        json_pack("{s:I, s:I}", "usage", (json_int_t)s->upto_usage, "power",
                                  (json_int_t)s->upto_power));
    if (c->backstop.is_there)
        put_backstop(o, s, &c->backstop);
    put_money(o, "prepaid_before", s->prepaid);
    json_object_set_new(o, "parts", parts);
    json_object_set_new(o, "lines", lines);
    put_money(o, "total", s->sum.total);
    json_object_set_new(o, "versions", versions);
    return o;
}
