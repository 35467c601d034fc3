/* The life of a site: the state that it is in at a time, by the dates of its plan and of what came
 * of it, and what is sent there then. Pure; times are unix seconds.
 *
 * A life is a list of steps, each into a state, with the date that was planned and the date that it
 * happened, or is fixed for. A plan is no fact: a step that lets more in (commissioning,
 * acceptance, active) is taken at its actual date only, and is *late* while the planned one has
 * passed without. One that lets less in (derated, draining, offline, closed) is taken at its actual
 * date, or without one at the planned date: a lease ends whether or not somebody notes it. The last
 * step that is taken holds; before the first the site is planned. */
#ifndef POLICY_LIFECYCLE_H
#define POLICY_LIFECYCLE_H

#include <stdint.h>

#define LIFECYCLE_STEPS_MAX 32
#define LIFECYCLE_NO_DATE   INT64_MIN

enum lifecycle_state {
    LIFECYCLE_PLANNED,       /* not there yet */
    LIFECYCLE_COMMISSIONING, /* it is built and switched on */
    LIFECYCLE_ACCEPTANCE,    /* it is tested at full power */
    LIFECYCLE_ACTIVE,
    LIFECYCLE_DERATED,  /* active, with less than all of it for a time */
    LIFECYCLE_DRAINING, /* what runs there ends */
    LIFECYCLE_OFFLINE,  /* down for a time */
    LIFECYCLE_CLOSED,   /* for ever */
    LIFECYCLE_STATES
};
#define LIFECYCLE_STATE_WORDS                                                                      \
    "planned|commissioning|acceptance|active|derated|draining|offline|closed"
const char *lifecycle_name(enum lifecycle_state s);
int lifecycle_find(const char *word); /* -1: there is none */

/* Whose new requests are sent there. What runs there goes on to its end in every state. */
enum lifecycle_admits { LIFECYCLE_NOBODY, LIFECYCLE_TESTERS, LIFECYCLE_ALL };
enum lifecycle_admits lifecycle_admits(enum lifecycle_state s);

struct lifecycle_step {
    enum lifecycle_state state;
    int64_t planned_s, actual_s; /* LIFECYCLE_NO_DATE: not said */
    int32_t factor_ppm;          /* of derated: the part that may be used */
};

/* What is wrong with a life, and with which step: NULL, or a sentence. Planned dates must rise from
 * step to step, and so must those at which steps are taken. */
const char *lifecycle_fault(const struct lifecycle_step *s, int n, int *ret_i);

struct lifecycle_now {
    enum lifecycle_state state;
    int32_t factor_ppm; /* what the state leaves of an open site; DERATE_ALL but when derated */
    int i_step;         /* the step that holds; -1: none was taken */
    int i_next;         /* the step after it; -1: there is none */
    int is_late;        /* that one is planned for earlier, and was not taken */
};
/* At a time, of a life without a fault. */
struct lifecycle_now lifecycle_look(const struct lifecycle_step *s, int n, int64_t now_s);

#endif
