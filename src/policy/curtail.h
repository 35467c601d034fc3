/* Curtailment: for a time a site uses less power than it could, because the grid asks for it. Pure;
 * microseconds of the wall clock, watts, joules, millionths.
 *
 * An event goes down in a straight line from its start to its target within its ramp, holds that
 * until its end, and goes up again as fast:
 *
 *     all     ______                      ______
 *                   \                    /
 *     target         \__________________/
 *                from  +ramp       until
 *
 * One that ends, or is cancelled, before it is down goes up from where it is. What holds of several
 * events is the lowest. The factor is rounded down: at no moment more is used than the line says.
 */
#ifndef POLICY_CURTAIL_H
#define POLICY_CURTAIL_H

#include <stdint.h>

#define CURTAIL_RAMP_MAX_US INT64_C(3600000000)
#define CURTAIL_MWH_J       INT64_C(3600000000)

struct curtail_event {
    int64_t from_us, until_us; /* until_us >= from_us */
    int64_t ramp_us;           /* from all to the target, and back; 0: at once */
    int32_t target_ppm;        /* of the power that could be used */
};

enum curtail_phase { CURTAIL_NONE, CURTAIL_DOWN, CURTAIL_HOLD, CURTAIL_UP };
const char *curtail_phase_name(enum curtail_phase p);

struct curtail_now {
    enum curtail_phase phase; /* none: not begun, or over */
    int32_t factor_ppm;
};
struct curtail_now curtail_look(const struct curtail_event *v, int64_t at_us);

/* A target in watts as a part of what could be used, rounded down; 0 where that is nothing. */
int32_t curtail_target_ppm(int64_t target_w, int64_t energised_w);

/* Of a need of so many watts, no more than could be used, what is not there over the whole event,
 * in joules, rounded down; INT64_MAX where it does not fit. With a ramp of R seconds over a depth
 * of D watts, the line is below the need by x watts when it is lowest, for x / D * R seconds on
 * each side: both triangles together are x * x * R / D, and x times the hold lies between them. */
int64_t curtail_missing_j(const struct curtail_event *v, int64_t energised_w, int64_t need_w);

/* Money of so much energy, in nano-units, at a price for a megawatt-hour; rounded half up, and
 * INT64_MAX where it does not fit. All >= 0. */
int64_t curtail_money(int64_t joules, int64_t nano_per_mwh);

/* How much a site would use, were it not curtailed. */
enum curtail_baseline {
    CURTAIL_LIKE_DAYS, /* the mean of the same hours of the last N days of its kind */
    CURTAIL_ENERGISED  /* all that could be used */
};
#define CURTAIL_BASELINE_WORDS "like_days|energised"
const char *curtail_baseline_name(enum curtail_baseline b);
/* Days are of one kind when both are from Monday to Friday, or neither is; counted from 1970-01-01,
 * a Thursday. */
int curtail_like_days(int64_t day, int64_t other);
/* The mean power of so many days' energies, each of so many seconds, rounded down; < 0 are days of
 * which nothing is known, which do not count. -1: of none. */
int64_t curtail_mean_w(const int64_t *joules, int n, int64_t seconds);

#endif
