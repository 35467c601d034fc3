#include "cloud/contract_field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/day.h"
#include "base/money.h"
#include "cloud/account.h"

#define TEXT_MAX      200
#define PPM_MOST      (100 * (int64_t)CONTRACT_PPM)
#define NANO_PER_PPM  (MONEY_NANO / CONTRACT_PPM)
#define NANO_PER_WATT 1000 /* of a megawatt */
#define COUNT_MOST    INT64_C(1000000000)
#define EXPONENT_MOST 1e9                 /* of a number that is written with one */
#define DAY_MOST      INT64_C(7258118400) /* 2200-01-01 */

#define C(f) offsetof(struct contract, f)
const struct contract_field contract_fields[] = {
    {"contract", FIELD_NAME, 1, C(name), NULL},
    {"title", FIELD_TEXT, 0, C(title), NULL},
    {"time_zone", FIELD_ZONE, 0, C(time_zone), NULL},
    {"signed", FIELD_DAY, 0, C(signed_s), NULL},
    {"from", FIELD_DAY, 1, C(from_s), NULL},
    {"until", FIELD_DAY, 1, C(until_s), NULL},
    {"currency", FIELD_CURRENCY, 1, C(currency), NULL},
    {"power_basis", FIELD_CHOICE, 0, C(basis), CONTRACT_BASIS_WORDS},
    {"prepayment", FIELD_MONEY, 0, C(prepayment), NULL},
    {"indexation_percent", FIELD_PERCENT, 0, C(indexation_ppm), NULL},
    {"indexation_from", FIELD_DAY, 0, C(indexation_from_s), NULL},
    {"take_or_pay", FIELD_PPM, 0, C(take_or_pay_ppm), NULL},
    {"late_credit", FIELD_PPM, 0, C(late_credit_ppm), NULL},
    {"shortfall_credit", FIELD_PPM, 0, C(short_credit_ppm), NULL},
    {"credit_cap", FIELD_PPM, 0, C(credit_cap_ppm), NULL},
    {"lend_share", FIELD_PPM, 0, C(lend_share_ppm), NULL},
    {"lend", FIELD_REST, 0, C(unlent_ppm), NULL},
    {"borrow", FIELD_PPM, 0, C(borrow_ppm), NULL},
    {"spillover", FIELD_CHOICE, 0, C(spillover), CONTRACT_SPILLOVER_WORDS},
    {"spillover_input", FIELD_MONEY, 0, C(spill_input), NULL},
    {"spillover_output", FIELD_MONEY, 0, C(spill_output), NULL},
    {"efficiency_gain", FIELD_CHOICE, 0, C(gain), CONTRACT_GAIN_WORDS},
    {"assignment", FIELD_CHOICE, 0, C(assignment), CONTRACT_ASSIGNMENT_WORDS},
    {"termination_notice_days", FIELD_COUNT, 0, C(notice_days), NULL},
    {"termination_fee", FIELD_MONEY, 0, C(termination_fee), NULL},
    {0}};

#define P(f) offsetof(struct contract_party, f)
const struct contract_field contract_supplier_fields[] = {
    {"name", FIELD_NAME, 1, P(name), NULL},
    {"owner", FIELD_TEXT, 0, P(owner), NULL},
    {"related", FIELD_NAMES, 0, P(related), NULL},
    {0}};
const struct contract_field contract_customer_fields[] = {
    {"name", FIELD_NAME, 1, P(name), NULL},
    {"owner", FIELD_TEXT, 0, P(owner), NULL},
    {"related", FIELD_NAMES, 0, P(related), NULL},
    {"tenants", FIELD_NAMES, 0, P(tenants), NULL},
    {0}};

#define B(f) offsetof(struct contract_backstop, f)
const struct contract_field contract_backstop_fields[] = {
    {"yearly_mwh", FIELD_COUNT, 0, B(yearly_mwh), NULL},
    {"yearly_money", FIELD_MONEY, 0, B(yearly_money), NULL},
    {0}};

#define L(f) offsetof(struct contract_load, f)
const struct contract_field contract_load_fields[] = {
    {"model", FIELD_TEXT, 1, L(model), NULL},
    {"precision", FIELD_NAME, 0, L(precision), NULL},
    {"input", FIELD_COUNT, 1, L(input), NULL},
    {"output", FIELD_COUNT, 1, L(output), NULL},
    {"cached", FIELD_PPM, 0, L(cached_ppm), NULL},
    {"ttft_ms", FIELD_COUNT, 0, L(ttft_ms), NULL},
    {"tpot_ms", FIELD_COUNT, 0, L(tpot_ms), NULL},
    {"weight", FIELD_COUNT, 0, L(weight), NULL},
    {0}};

#define T(f) offsetof(struct tranche, f)
const struct contract_field contract_tranche_fields[] = {
    {"name", FIELD_NAME, 1, T(name), NULL},
    {"kind", FIELD_CHOICE, 0, T(is_option), "firm|option"},
    {"mw", FIELD_WATTS, 1, T(watts), NULL},
    {"site", FIELD_NAME, 0, T(site), NULL},
    {"region", FIELD_NAME, 0, T(region), NULL},
    {"hardware", FIELD_TEXT, 0, T(hardware), NULL},
    {"tokens_per_second", FIELD_COUNT, 0, T(tokens_per_s), NULL},
    {"concurrency", FIELD_COUNT, 0, T(concurrency), NULL},
    {"target", FIELD_DAY, 1, T(target_s), NULL},
    {"longstop", FIELD_DAY, 0, T(longstop_s), NULL},
    {"until", FIELD_DAY, 0, T(until_s), NULL},
    {"delivered", FIELD_DAY, 0, T(delivered_s), NULL},
    {"cancelled", FIELD_DAY, 0, T(cancelled_s), NULL},
    {"exercise_from", FIELD_DAY, 0, T(exercise_from_s), NULL},
    {"exercise_until", FIELD_DAY, 0, T(exercise_until_s), NULL},
    {"exercised", FIELD_DAY, 0, T(exercised_s), NULL},
    {"price", FIELD_MONEY, 1, T(price), NULL},
    {0}};

/* ---- reading ---------------------------------------------------------------------------------
 */

int contract_name_ok(const char *s)
{
    return account_name_ok(s) && strlen(s) < 64;
}

static int text_ok(const char *s)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] < 32 || s[i] == 127)
            return 0;
    }
    return n > 0 && n <= TEXT_MAX;
}

/* JSON writes small numbers as 1e-06: the same without an exponent. */
static const char *without_exponent(const char *text, char out[MONEY_TEXT_MAX])
{
    char *end;
    double v;

    if (!strpbrk(text, "eE"))
        return text;
    v = strtod(text, &end);
    if (end == text || *end || !(v > -EXPONENT_MOST && v < EXPONENT_MOST))
        return text;
    snprintf(out, MONEY_TEXT_MAX, "%.9f", v);
    return out;
}

/* A number with a point as a whole one of its parts, of which `unit` nano-units are one. */
static const char *read_parts(const char *text, int64_t unit, int64_t least, int64_t most,
                              int64_t *ret)
{
    char plain[MONEY_TEXT_MAX];
    struct err why;
    int64_t nano;

    if (money_parse(without_exponent(text, plain), &nano, &why))
        return "wants a number such as 12.5";
    if (nano % unit)
        return "is finer than it is kept";
    if (nano / unit < least || nano / unit > most)
        return "is out of bounds";
    *ret = nano / unit;
    return NULL;
}

/* A share as what it leaves of the whole. */
static const char *read_rest(const char *text, int64_t *ret)
{
    int64_t share;
    const char *why = read_parts(text, NANO_PER_PPM, 0, CONTRACT_PPM, &share);

    if (!why)
        *ret = CONTRACT_PPM - share;
    return why;
}

static const char *read_choice(const char *words, const char *text, int *ret)
{
    size_t n = strlen(text), len;

    for (int i = 0; *words; i++, words += len + (words[len] == '|')) {
        len = strcspn(words, "|");
        if (len == n && !memcmp(words, text, n)) {
            *ret = i;
            return NULL;
        }
    }
    return "is none of its words";
}

static const char *read_day(const char *text, const struct zone *z, int64_t *ret)
{
    if (day_read(text, z, ret))
        return "is no day: write 2026-12-01";
    return *ret <= 0 || *ret > DAY_MOST ? "is not from 1970 to 2200" : NULL;
}

const char *contract_field_read(const struct contract_field *d, const struct zone *z,
                                const char *text, void *to)
{
    switch (d->kind) {
    case FIELD_NAME:
        *(const char **)to = text;
        return contract_name_ok(text) ? NULL : "is no name: 1 to 63 letters, digits and - _ . :";
    case FIELD_TEXT:
        *(const char **)to = text;
        return text_ok(text) ? NULL : "wants 1 to 200 bytes of plain text";
    case FIELD_DAY:
        return read_day(text, z, to);
    case FIELD_WATTS:
        return read_parts(text, NANO_PER_WATT, 1, CONTRACT_WATTS_MAX, to);
    case FIELD_MONEY:
        return read_parts(text, 1, 0, INT64_MAX, to);
    case FIELD_PPM:
        return read_parts(text, NANO_PER_PPM, 0, PPM_MOST, to);
    case FIELD_REST:
        return read_rest(text, to);
    case FIELD_PERCENT:
        return read_parts(text, 100 * NANO_PER_PPM, -PPM_MOST, PPM_MOST, to);
    case FIELD_COUNT:
        return read_parts(text, MONEY_NANO, 0, COUNT_MOST, to);
    case FIELD_CHOICE:
        return read_choice(d->words, text, to);
    case FIELD_CURRENCY:
        if (!money_is_currency(text))
            return "is no currency: three capital letters";
        memcpy(to, text, 4);
        return NULL;
    case FIELD_ZONE: /* its reader has loaded it */
        *(const char **)to = text;
        return NULL;
    case FIELD_NAMES:
        break;
    }
    return "wants a list of names";
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *names_json(const struct contract_names *names)
{
    json_t *list = json_array();

    for (int i = 0; i < names->n; i++)
        json_array_append_new(list, json_string(names->v[i]));
    return list;
}

static json_t *parts_json(int64_t v, int64_t unit)
{
    char text[MONEY_TEXT_MAX];

    return json_real(strtod(money_show(v * unit, text), NULL));
}

static json_t *choice_json(const char *words, int i)
{
    while (i-- > 0)
        words += strcspn(words, "|") + 1;
    return json_stringn(words, strcspn(words, "|"));
}

/* NULL: it has its default, and is left out. */
static json_t *value_json(const struct contract_field *d, const void *at, const struct zone *z)
{
    char text[MONEY_TEXT_MAX > DAY_TEXT_MAX ? MONEY_TEXT_MAX : DAY_TEXT_MAX];
    int64_t v;

    switch (d->kind) {
    case FIELD_NAME:
    case FIELD_TEXT:
    case FIELD_ZONE:
        return *(const char *const *)at ? json_string(*(const char *const *)at) : NULL;
    case FIELD_CURRENCY:
        return json_string(at);
    case FIELD_NAMES:
        return ((const struct contract_names *)at)->n ? names_json(at) : NULL;
    case FIELD_CHOICE:
        return *(const int *)at ? choice_json(d->words, *(const int *)at) : NULL;
    default:
        break;
    }
    v = *(const int64_t *)at;
    if (!v && !d->is_required)
        return NULL;
    switch (d->kind) {
    case FIELD_DAY:
        return json_string(day_show(v, z, text));
    case FIELD_MONEY:
        return json_string(money_show(v, text));
    case FIELD_WATTS:
        return parts_json(v, NANO_PER_WATT);
    case FIELD_PPM:
        return parts_json(v, NANO_PER_PPM);
    case FIELD_REST:
        return parts_json(CONTRACT_PPM - v, NANO_PER_PPM);
    case FIELD_PERCENT:
        return parts_json(v, 100 * NANO_PER_PPM);
    default:
        return json_integer(v);
    }
}

json_t *contract_map_json(const struct contract_field *d, const void *from, const struct zone *z)
{
    json_t *o = json_object();

    for (; o && d->key; d++) {
        json_t *v = value_json(d, (const char *)from + d->offset, z);
        if (v)
            json_object_set_new(o, d->key, v);
    }
    return o;
}
