/* From what a meter says to what is handed out: readings come seldom and late, steps are many, and
 * not a microjoule may be lost or invented. Pure: the caller tells the time and the readings.
 *
 * A flow knows what was metered, the sum of all readings that were believed, and what was taken of
 * it by those who use energy. Between readings it follows a line: from where it is towards what the
 * meter should say when the next reading is due, at the power of the last one. So what was guessed
 * is put right by the next reading, smoothly. A meter that can be read whenever energy is taken
 * (is_quick) has no line: nothing is guessed.
 *
 *   attributed + unattributed = taken         always, and
 *   taken = metered                           after energy_flow_close
 *
 * Time in which nobody works is unattributed, and so is what a meter tells after it was silent for
 * so long that nobody can say who used it. */
#ifndef POLICY_ENERGY_FLOW_H
#define POLICY_ENERGY_FLOW_H

#include <stdint.h>

#define ENERGY_POWER_MAX_UW INT64_C(1000000000000) /* 1 MW; no meter here is of more */
#define ENERGY_LATE         3                      /* intervals without a reading: it is late */

struct energy_flow {
    int64_t interval_us; /* between readings */
    int is_quick;

    int64_t metered_uj, attributed_uj, unattributed_uj; /* unattributed: < 0 only after a close */
    int64_t taken_uj;
    int64_t from_us;                    /* what comes next was used since then */
    int64_t read_us;                    /* the last reading that was believed */
    int64_t power_uw;                   /* of the last readings; 0 before the second */
    int64_t power_us, power_uj;         /* since when, and what was metered then */
    int64_t line_uj, line_us, slope_uw; /* the line and where it begins */
    int has_power;                      /* readings are of power, and there was one */
    uint64_t n_readings, n_refused;     /* refused: not believed */
};

/* interval_us > 0. Nothing is known before the first reading. */
void energy_flow_open(struct energy_flow *f, int64_t interval_us, int is_quick, int64_t now_us);
/* A reading: the energy since the one before, or the power now. 0: it was refused, because it can't
 * be (less than nothing, more than ENERGY_POWER_MAX_UW): what was used since is not known then, and
 * not counted. */
int energy_flow_add(struct energy_flow *f, int64_t now_us, int64_t uj);
int energy_flow_power(struct energy_flow *f, int64_t now_us, int64_t uw);
/* What was used until now is not known: the next energy_flow_add begins here. */
void energy_flow_skip(struct energy_flow *f, int64_t now_us);
/* No reading came for so long that none is guessed any more. */
int energy_flow_is_late(const struct energy_flow *f, int64_t now_us);

/* What has flowed since it was last taken; the caller hands it to those who worked since. */
int64_t energy_flow_take(struct energy_flow *f, int64_t now_us);
/* The same, for nobody: it is unattributed. */
void energy_flow_idle(struct energy_flow *f, int64_t now_us);
/* The end: what was guessed too much or too little is put right in what is unattributed. */
void energy_flow_close(struct energy_flow *f);

/* A counter that wraps: what it counted since the reading before, or -1 where that is not known
 * (the first reading; it went backwards, which is no wrap where more than half of `top` would
 * have been counted; top 0: it never wraps). */
struct energy_counter {
    uint64_t last;
    int has_last;
};
int64_t energy_counter_see(struct energy_counter *c, uint64_t value, uint64_t top);

#endif
