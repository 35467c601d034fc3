/* A contract as it is known at a time, as JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "base/day.h"
#include "base/money.h"
#include "cloud/contract_file.h"

int64_t contract_next_year(const struct contract_file *f, int64_t at)
{
    const struct contract *c = contract_file_contract(f);
    char text[DAY_TEXT_MAX];
    int64_t s;

    day_show(at, contract_file_zone(f), text);
    snprintf(text, sizeof text, "%04ld-01-01", strtol(text, NULL, 10) + 1);
    return day_read(text, contract_file_zone(f), &s) || s > c->until_s ? c->until_s : s;
}

static int set_money(json_t *o, const char *key, money_sum nano)
{
    char text[MONEY_SUM_TEXT_MAX];

    return json_object_set_new(o, key, json_string(money_show_sum(nano, text)));
}

static json_t *year_json(const struct contract_file *f, int64_t now_s, int64_t from, int64_t until)
{
    const struct contract *c = contract_file_contract(f);
    char a[DAY_TEXT_MAX], b[DAY_TEXT_MAX];
    struct contract_due d;
    json_t *o;

    contract_due(c, now_s, from, until, &d);
    o = json_pack("{s:s,s:s,s:I,s:I,s:I}", "from", day_show(from, contract_file_zone(f), a),
                  "until", day_show(until, contract_file_zone(f), b), "firm_joules",
                  (json_int_t)d.firm_j, "ready_joules", (json_int_t)d.ready_j, "late_joules",
                  (json_int_t)d.late_j);
    set_money(o, "fee", d.fee);
    set_money(o, "late_credit", d.late_credit);
    return o;
}

json_t *contract_view_json(const struct contract_file *f, int64_t now_s)
{
    const struct contract *c = contract_file_contract(f);
    json_t *o = contract_json(f), *years = json_array(), *list = json_object_get(o, "tranches");
    char text[DAY_TEXT_MAX];

    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        json_t *row = json_array_get(list, (size_t)i);
        json_object_set_new(row, "state",
                            json_string(tranche_state_name(tranche_state(c, t, now_s))));
        set_money(row, "price_now", contract_price(c, t, now_s));
    }
    for (int64_t at = c->from_s, next; at < c->until_s; at = next) {
        next = contract_next_year(f, at);
        json_array_append_new(years, year_json(f, now_s, at, next));
    }
    json_object_set_new(o, "as_of", json_string(day_show(now_s, contract_file_zone(f), text)));
    json_object_set_new(o, "ready_watts",
                        json_integer(contract_watts(c, POWER_READY, NULL, NULL, now_s, now_s)));
    json_object_set_new(o, "firm_watts",
                        json_integer(contract_watts(c, POWER_FIRM, NULL, NULL, now_s, now_s)));
    json_object_set_new(o, "years", years);
    return o;
}
