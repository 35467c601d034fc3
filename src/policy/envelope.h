/* How much of a site its surroundings leave: readings of sensors, ranges that an operator wrote,
 * and a capacity factor. Pure; time is the caller's, microseconds of one clock.
 *
 * A reading has a *quantity*, which has a unit and bounds that nothing on earth passes. A *range*
 * says what is well, and how far from it the site may still work:
 *
 *     factor 1         ________________
 *                     /                \
 *     beyond  _______/                  \_______
 *            low_allowed low   high  high_allowed
 *
 * and the same for the change within an hour: 1 up to the `rate`, `beyond` from twice the rate on.
 * The lowest of all sensors holds, at once. It rises again only after it could have been higher by
 * a step for a dwell time without a break, and then to the least that it could have been. A sensor
 * that is not heard, or says what cannot be, leaves at most the *blind* factor, and never more than
 * what it said last: not knowing is no reason to do more. */
#ifndef POLICY_ENVELOPE_H
#define POLICY_ENVELOPE_H

#include <stdint.h>

#include "policy/derate.h"

enum envelope_quantity {
    ENVELOPE_DRY_BULB,
    ENVELOPE_HUMIDITY, /* relative */
    ENVELOPE_DEW_POINT,
    ENVELOPE_SUPPLY_WATER,
    ENVELOPE_FEEDER_LOAD,
    ENVELOPE_FEEDER_POWER,
    ENVELOPE_UPS_LOAD,
    ENVELOPE_UPS_CHARGE,
    ENVELOPE_ON_BATTERY,
    ENVELOPE_BREAKER_OPEN,
    ENVELOPE_IT_ENERGY,       /* counted so far, by the meter of the machines ... */
    ENVELOPE_FACILITY_ENERGY, /* ... and of the building */
    ENVELOPE_QUANTITIES
};
#define ENVELOPE_QUANTITY_WORDS                                                                    \
    "dry_bulb|humidity|dew_point|supply_water|feeder_load|feeder_power|ups_load|ups_charge|"       \
    "on_battery|breaker_open|it_energy|facility_energy"

/* Values are thousandths of the unit everywhere. */
struct envelope_kind {
    const char *name, *unit; /* "C", "%", "kW", "kWh"; "" of what is 0 or 1 */
    int64_t least, most;     /* what can be at all */
    int64_t jump, jump_s;    /* the most from one reading to the next, and for each second between
                                them; 0: it may do so */
    int is_switch;           /* 0 or 1 */
};
const struct envelope_kind *envelope_kind(enum envelope_quantity q);

#define ENVELOPE_NONE INT64_MIN /* a limit that is not set */
struct envelope_range {
    int64_t low_allowed, low, high, high_allowed;
    int64_t rate; /* the most change in an hour, either way */
    int32_t beyond_ppm;
};
/* No limits at all: the factor is 1. */
#define ENVELOPE_FREE                                                                              \
    ((struct envelope_range){ENVELOPE_NONE, ENVELOPE_NONE, ENVELOPE_NONE, ENVELOPE_NONE,           \
                             ENVELOPE_NONE, 0})
/* A limit without its partner stands for both: the factor falls in one step there. Of a switch, 1
 * is beyond where nothing else is set. */
void envelope_range_fill(enum envelope_quantity q, struct envelope_range *r);
/* What is wrong with one, as a sentence; NULL: nothing. */
const char *envelope_range_fault(enum envelope_quantity q, const struct envelope_range *r);
/* Does it limit anything? */
int envelope_range_limits(const struct envelope_range *r);
/* Thin air cools less: the upper limits are lowered by a degree for each so many metres above a
 * height. m_per_degree 0: they are not. */
void envelope_range_lower(struct envelope_range *r, int64_t altitude_m, int64_t from_m,
                          int64_t m_per_degree);

/* The dew point in thousandths of a degree, of air of a temperature and a relative humidity, by
 * Magnus' formula with the constants of Alduchov and Eskridge, "Improved Magnus form approximation
 * of saturation vapor pressure", 1996: 17.625 and 243.04. Below one percent, that of one. */
int64_t envelope_dew_point(int64_t dry_bulb, int64_t humidity);

/* The factor of a value, and of a change of so much in an hour (>= 0). */
int32_t envelope_value_ppm(const struct envelope_range *r, int64_t value);
int32_t envelope_rate_ppm(const struct envelope_range *r, int64_t change);

/* ---- one sensor ------------------------------------------------------------------------------ */

#define ENVELOPE_SLOTS 64

/* Zeroed: nothing was heard. */
struct envelope_sensor {
    int is_heard;
    int is_refused; /* what came last cannot be */
    int64_t value;  /* the last that can */
    int64_t at_us;
    /* Least and most in each part of the time over which changes are looked at. */
    struct {
        int64_t nth; /* counted from 1 at time 0; 0: nothing */
        int64_t least, most;
    } slot[ENVELOPE_SLOTS];
};

enum envelope_refusal { ENVELOPE_TAKEN, ENVELOPE_IMPOSSIBLE, ENVELOPE_JUMPED, ENVELOPE_PAST };

/* A reading of that time (>= 0): taken, or refused. Earlier than the last one, it says nothing new
 * and changes nothing (ENVELOPE_PAST). window_us: over how long changes are looked at,
 * >= ENVELOPE_SLOTS. */
enum envelope_refusal envelope_take(struct envelope_sensor *s, enum envelope_quantity q,
                                    int64_t value, int64_t at_us, int64_t window_us);
/* What came could not even be understood. */
void envelope_refuse(struct envelope_sensor *s);
/* Between the least and the most of the window before its last reading, as if it went on for an
 * hour. */
int64_t envelope_change(const struct envelope_sensor *s, int64_t window_us);

enum envelope_cause {
    ENVELOPE_WELL,
    ENVELOPE_LOW,
    ENVELOPE_HIGH,
    ENVELOPE_CHANGE,
    ENVELOPE_SILENT, /* nothing was heard yet */
    ENVELOPE_STALE,
    ENVELOPE_REFUSED
};
const char *envelope_cause_name(enum envelope_cause c);

struct envelope_rules {
    int32_t blind_ppm, step_ppm;
    int64_t dwell_us;
};

struct envelope_look {
    const struct envelope_range *range;
    int64_t window_us, max_age_us;
};
/* Its factor now, and why it is not 1. */
int32_t envelope_judge(const struct envelope_sensor *s, const struct envelope_look *l,
                       const struct envelope_rules *rules, int64_t now_us,
                       enum envelope_cause *ret_why);

/* ---- the site -------------------------------------------------------------------------------- */

#define ENVELOPE_GRAIN_PPM 10000 /* a site's factor is in whole hundredths, rounded down */

/* Zeroed: nothing is known. */
struct envelope_gate {
    int is_settled; /* all sensors were heard once */
    int32_t factor_ppm;
    int64_t since_us; /* it could have been higher; 0: it could not */
    int32_t least_ppm;
};

/* The lowest of its sensors now, and whether each of them was heard at least once: until then it is
 * at most the blind factor, and then at once what is said. now_us > 0. Returns the factor. */
int32_t envelope_gate_step(struct envelope_gate *g, const struct envelope_rules *rules,
                           int64_t now_us, int32_t lowest_ppm, int all_heard);

#endif
