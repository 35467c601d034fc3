#include "policy/lifecycle.h"

#include <string.h>

#include "policy/derate.h"

static const struct {
    const char *name;
    enum lifecycle_admits admits;
    int lets_in; /* more than the states before it: it is taken when it is a fact */
} states[LIFECYCLE_STATES] = {
    [LIFECYCLE_PLANNED] = {"planned", LIFECYCLE_NOBODY, 1},
    [LIFECYCLE_COMMISSIONING] = {"commissioning", LIFECYCLE_NOBODY, 1},
    [LIFECYCLE_ACCEPTANCE] = {"acceptance", LIFECYCLE_TESTERS, 1},
    [LIFECYCLE_ACTIVE] = {"active", LIFECYCLE_ALL, 1},
    [LIFECYCLE_DERATED] = {"derated", LIFECYCLE_ALL, 0},
    [LIFECYCLE_DRAINING] = {"draining", LIFECYCLE_NOBODY, 0},
    [LIFECYCLE_OFFLINE] = {"offline", LIFECYCLE_NOBODY, 0},
    [LIFECYCLE_CLOSED] = {"closed", LIFECYCLE_NOBODY, 0},
};

const char *lifecycle_name(enum lifecycle_state s)
{
    return states[s].name;
}

int lifecycle_find(const char *word)
{
    for (int i = 0; i < LIFECYCLE_STATES; i++) {
        if (!strcmp(states[i].name, word))
            return i;
    }
    return -1;
}

enum lifecycle_admits lifecycle_admits(enum lifecycle_state s)
{
    return states[s].admits;
}

/* When it is taken; LIFECYCLE_NO_DATE: it is not known yet. */
static int64_t taken_s(const struct lifecycle_step *s)
{
    if (s->actual_s != LIFECYCLE_NO_DATE || states[s->state].lets_in)
        return s->actual_s;
    return s->planned_s;
}

const char *lifecycle_fault(const struct lifecycle_step *s, int n, int *ret_i)
{
    int64_t planned = LIFECYCLE_NO_DATE, taken = LIFECYCLE_NO_DATE;

    for (int i = 0; i < n; i++) {
        int64_t at = taken_s(&s[i]);
        *ret_i = i;
        if (s[i].planned_s == LIFECYCLE_NO_DATE && s[i].actual_s == LIFECYCLE_NO_DATE)
            return "wants a date, planned or actual";
        if (s[i].planned_s != LIFECYCLE_NO_DATE && s[i].planned_s <= planned)
            return "planned: is not after that of a step before it";
        if (at != LIFECYCLE_NO_DATE && at <= taken)
            return "its date is not after that of a step before it";
        if (s[i].state == LIFECYCLE_DERATED &&
            (s[i].factor_ppm <= 0 || s[i].factor_ppm >= DERATE_ALL))
            return "derated wants a capacity_factor between 0 and 1";
        if (s[i].planned_s != LIFECYCLE_NO_DATE)
            planned = s[i].planned_s;
        if (at != LIFECYCLE_NO_DATE)
            taken = at;
    }
    return NULL;
}

struct lifecycle_now lifecycle_look(const struct lifecycle_step *s, int n, int64_t now_s)
{
    struct lifecycle_now r = {LIFECYCLE_PLANNED, DERATE_ALL, -1, -1, 0};

    for (int i = 0; i < n; i++) {
        int64_t at = taken_s(&s[i]);
        if (at != LIFECYCLE_NO_DATE && at <= now_s)
            r.i_step = i;
    }
    if (r.i_step >= 0)
        r.state = s[r.i_step].state;
    if (r.state == LIFECYCLE_DERATED)
        r.factor_ppm = s[r.i_step].factor_ppm;
    if (r.i_step + 1 < n)
        r.i_next = r.i_step + 1;
    r.is_late = r.i_next >= 0 && s[r.i_next].planned_s != LIFECYCLE_NO_DATE &&
                s[r.i_next].planned_s <= now_s;
    return r;
}
