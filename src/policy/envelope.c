#include "policy/envelope.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

#define HOUR_US INT64_C(3600000000)
#define UNIT    1000 /* thousandths */

static const struct envelope_kind kinds[ENVELOPE_QUANTITIES] = {
    [ENVELOPE_DRY_BULB] = {"dry_bulb", "C", -60 * UNIT, 100 * UNIT, 10 * UNIT, 1 * UNIT, 0},
    [ENVELOPE_HUMIDITY] = {"humidity", "%", 0, 100 * UNIT, 40 * UNIT, 5 * UNIT, 0},
    [ENVELOPE_DEW_POINT] = {"dew_point", "C", -80 * UNIT, 80 * UNIT, 15 * UNIT, 2 * UNIT, 0},
    [ENVELOPE_SUPPLY_WATER] = {"supply_water", "C", -10 * UNIT, 100 * UNIT, 15 * UNIT, 2 * UNIT, 0},
    [ENVELOPE_FEEDER_LOAD] = {"feeder_load", "%", 0, 300 * UNIT, 0, 0, 0},
    [ENVELOPE_FEEDER_POWER] = {"feeder_power", "kW", 0, INT64_C(1000000) * UNIT, 0, 0, 0},
    [ENVELOPE_UPS_LOAD] = {"ups_load", "%", 0, 300 * UNIT, 0, 0, 0},
    [ENVELOPE_UPS_CHARGE] = {"ups_charge", "%", 0, 100 * UNIT, 0, 0, 0},
    [ENVELOPE_ON_BATTERY] = {"on_battery", "", 0, UNIT, 0, 0, 1},
    [ENVELOPE_BREAKER_OPEN] = {"breaker_open", "", 0, UNIT, 0, 0, 1},
    [ENVELOPE_IT_ENERGY] = {"it_energy", "kWh", 0, INT64_C(1000000000000) * UNIT, 0, 0, 0},
    [ENVELOPE_FACILITY_ENERGY] = {"facility_energy", "kWh", 0, INT64_C(1000000000000) * UNIT, 0, 0,
                                  0},
};

const struct envelope_kind *envelope_kind(enum envelope_quantity q)
{
    CHECK((unsigned)q < ENVELOPE_QUANTITIES);
    return &kinds[q];
}

const char *envelope_cause_name(enum envelope_cause c)
{
    static const char *const names[] = {
        [ENVELOPE_WELL] = "well",        [ENVELOPE_LOW] = "low",
        [ENVELOPE_HIGH] = "high",        [ENVELOPE_CHANGE] = "changes too fast",
        [ENVELOPE_SILENT] = "not heard", [ENVELOPE_STALE] = "stale",
        [ENVELOPE_REFUSED] = "refused",
    };

    CHECK((unsigned)c < sizeof names / sizeof *names);
    return names[c];
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void pair(int64_t *a, int64_t *b)
{
    if (*a == ENVELOPE_NONE)
        *a = *b;
    else if (*b == ENVELOPE_NONE)
        *b = *a;
}

void envelope_range_fill(enum envelope_quantity q, struct envelope_range *r)
{
    if (kinds[q].is_switch && r->low == ENVELOPE_NONE && r->high == ENVELOPE_NONE &&
        r->low_allowed == ENVELOPE_NONE && r->high_allowed == ENVELOPE_NONE)
        r->high_allowed = UNIT;
    pair(&r->low, &r->low_allowed);
    pair(&r->high, &r->high_allowed);
}

const char *envelope_range_fault(enum envelope_quantity q, const struct envelope_range *r)
{
    const int64_t limit[] = {r->low_allowed, r->low, r->high, r->high_allowed};
    int64_t before = INT64_MIN;

    for (int i = 0; i < 4; i++) {
        if (limit[i] == ENVELOPE_NONE)
            continue;
        if (limit[i] < kinds[q].least || limit[i] > kinds[q].most)
            return "a limit is one that the quantity can never reach";
        if (limit[i] < before)
            return "low_allowed, low, high and high_allowed must not fall in this order";
        before = limit[i];
    }
    if (r->low != ENVELOPE_NONE && r->low == r->high)
        return "low and high are one: no value would be well";
    if (r->rate != ENVELOPE_NONE && (r->rate <= 0 || r->rate > kinds[q].most * 100))
        return "rate: an hour's change must be more than 0, and one that can be";
    return NULL;
}

int envelope_range_limits(const struct envelope_range *r)
{
    return r->low_allowed != ENVELOPE_NONE || r->high_allowed != ENVELOPE_NONE ||
           r->rate != ENVELOPE_NONE;
}

void envelope_range_lower(struct envelope_range *r, int64_t altitude_m, int64_t from_m,
                          int64_t m_per_degree)
{
    int64_t by;

    if (m_per_degree <= 0 || altitude_m <= from_m)
        return;
    by = (altitude_m - from_m) * UNIT / m_per_degree;
    if (r->high != ENVELOPE_NONE)
        r->high -= by;
    if (r->high_allowed != ENVELOPE_NONE)
        r->high_allowed -= by;
}

int64_t envelope_dew_point(int64_t dry_bulb, int64_t humidity)
{
    const double a = 17.625, b = 243.04;
    double t = (double)dry_bulb / UNIT, h = (double)(humidity < UNIT ? UNIT : humidity) / UNIT;
    double g = log(h / 100) + a * t / (b + t);

    return llround(b * g / (a - g) * UNIT);
}

/* `part` of `whole` of the way from 1 to beyond. */
static int32_t slope(const struct envelope_range *r, int64_t part, int64_t whole)
{
    if (part <= 0 && whole > 0)
        return DERATE_ALL;
    if (part >= whole)
        return r->beyond_ppm;
    return DERATE_ALL - (int32_t)((DERATE_ALL - r->beyond_ppm) * part / whole);
}

int32_t envelope_value_ppm(const struct envelope_range *r, int64_t value)
{
    int32_t low = DERATE_ALL, high = DERATE_ALL;

    if (r->high_allowed != ENVELOPE_NONE && value >= r->high)
        high = slope(r, value - r->high, r->high_allowed - r->high);
    if (r->low_allowed != ENVELOPE_NONE && value <= r->low)
        low = slope(r, r->low - value, r->low - r->low_allowed);
    return low < high ? low : high;
}

int32_t envelope_rate_ppm(const struct envelope_range *r, int64_t change)
{
    if (r->rate == ENVELOPE_NONE || change <= r->rate)
        return DERATE_ALL;
    return slope(r, change - r->rate, r->rate);
}

/* ---- one sensor ------------------------------------------------------------------------------ */

static int64_t magnitude(int64_t v)
{
    return v < 0 ? -v : v;
}

static int64_t nth_slot(int64_t at_us, int64_t window_us)
{
    return at_us / (window_us / ENVELOPE_SLOTS) + 1;
}

static void remember(struct envelope_sensor *s, int64_t window_us)
{
    int64_t nth = nth_slot(s->at_us, window_us);
    int i = (int)(nth % ENVELOPE_SLOTS);

    if (s->slot[i].nth != nth) {
        s->slot[i].nth = nth;
        s->slot[i].least = s->slot[i].most = s->value;
    }
    if (s->value < s->slot[i].least)
        s->slot[i].least = s->value;
    if (s->value > s->slot[i].most)
        s->slot[i].most = s->value;
}

enum envelope_refusal envelope_take(struct envelope_sensor *s, enum envelope_quantity q,
                                    int64_t value, int64_t at_us, int64_t window_us)
{
    const struct envelope_kind *k = envelope_kind(q);

    CHECK(at_us >= 0 && window_us >= ENVELOPE_SLOTS);
    if (s->is_heard && at_us < s->at_us)
        return ENVELOPE_PAST;
    s->is_refused = 1;
    if (value < k->least || value > k->most || (k->is_switch && value % UNIT))
        return ENVELOPE_IMPOSSIBLE;
    if (s->is_heard && k->jump &&
        magnitude(value - s->value) > k->jump + k->jump_s * ((at_us - s->at_us) / 1000000))
        return ENVELOPE_JUMPED;
    s->is_refused = 0;
    s->is_heard = 1;
    s->value = value;
    s->at_us = at_us;
    remember(s, window_us);
    return ENVELOPE_TAKEN;
}

void envelope_refuse(struct envelope_sensor *s)
{
    s->is_refused = 1;
}

int64_t envelope_change(const struct envelope_sensor *s, int64_t window_us)
{
    int64_t now = nth_slot(s->at_us, window_us), least = s->value, most = s->value;

    for (int i = 0; i < ENVELOPE_SLOTS; i++) {
        if (!s->slot[i].nth || s->slot[i].nth <= now - ENVELOPE_SLOTS || s->slot[i].nth > now)
            continue;
        if (s->slot[i].least < least)
            least = s->slot[i].least;
        if (s->slot[i].most > most)
            most = s->slot[i].most;
    }
    return (int64_t)((double)(most - least) * (double)HOUR_US / (double)window_us);
}

int32_t envelope_judge(const struct envelope_sensor *s, const struct envelope_look *l,
                       const struct envelope_rules *rules, int64_t now_us,
                       enum envelope_cause *ret_why)
{
    int32_t ppm = DERATE_ALL, rate;

    *ret_why = ENVELOPE_WELL;
    if (s->is_heard) {
        ppm = envelope_value_ppm(l->range, s->value);
        rate = envelope_rate_ppm(l->range, envelope_change(s, l->window_us));
        if (ppm < DERATE_ALL)
            *ret_why = l->range->high_allowed != ENVELOPE_NONE && s->value >= l->range->high
                           ? ENVELOPE_HIGH
                           : ENVELOPE_LOW;
        if (rate < ppm) {
            *ret_why = ENVELOPE_CHANGE;
            ppm = rate;
        }
    }
    if (s->is_heard && !s->is_refused && now_us - s->at_us <= l->max_age_us)
        return ppm;
    *ret_why = s->is_refused ? ENVELOPE_REFUSED : s->is_heard ? ENVELOPE_STALE : ENVELOPE_SILENT;
    return ppm < rules->blind_ppm ? ppm : rules->blind_ppm;
}

/* ---- the site -------------------------------------------------------------------------------- */

/* It may rise: to the least that it could have been, once that was so for long enough. */
static void rise(struct envelope_gate *g, const struct envelope_rules *rules, int64_t now_us,
                 int32_t ppm)
{
    if (ppm < DERATE_ALL && ppm < g->factor_ppm + rules->step_ppm) {
        g->since_us = 0;
        return;
    }
    if (!g->since_us) {
        g->since_us = now_us;
        g->least_ppm = ppm;
    }
    if (ppm < g->least_ppm)
        g->least_ppm = ppm;
    if (now_us - g->since_us < rules->dwell_us)
        return;
    g->factor_ppm = g->least_ppm;
    g->since_us = 0;
}

int32_t envelope_gate_step(struct envelope_gate *g, const struct envelope_rules *rules,
                           int64_t now_us, int32_t lowest_ppm, int all_heard)
{
    int32_t ppm = lowest_ppm - lowest_ppm % ENVELOPE_GRAIN_PPM;

    CHECK(now_us > 0 && lowest_ppm >= 0 && lowest_ppm <= DERATE_ALL);
    if (!g->is_settled) {
        if (!all_heard && ppm > rules->blind_ppm)
            ppm = rules->blind_ppm;
        g->is_settled = all_heard;
        g->factor_ppm = ppm;
    } else if (ppm <= g->factor_ppm) {
        g->factor_ppm = ppm;
        g->since_us = 0;
    } else {
        rise(g, rules, now_us, ppm);
    }
    return g->factor_ppm;
}
