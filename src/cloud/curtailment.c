#include "cloud/curtailment.h"

#include <string.h>

#include "policy/derate.h"

#define DAY_S     INT64_C(86400)
#define SECOND_US INT64_C(1000000)

struct site_curtailed curtailment_none(void)
{
    return (struct site_curtailed){{CURTAIL_NONE, DERATE_ALL}, 0, 0};
}

/* An event of that target, with the power that there is at a time. */
static struct curtail_event event_of(const struct site_terms *t, int64_t at_s, int64_t from_s,
                                     int64_t until_s, int64_t ramp_us,
                                     const struct site_target *target)
{
    const struct power_row *p = site_terms_power(t, at_s);
    int32_t ppm =
        target->watts < 0 ? target->ppm : curtail_target_ppm(target->watts, p ? p->energised_w : 0);

    return (struct curtail_event){from_s * SECOND_US, until_s * SECOND_US, ramp_us, ppm};
}

struct curtail_event site_call_event(const struct site_terms *t, int64_t at_s,
                                     const struct site_call *call)
{
    int64_t until_s = call->until_s;

    if (call->cancelled_s && call->cancelled_s < until_s)
        until_s = call->cancelled_s > call->from_s ? call->cancelled_s : call->from_s;
    return event_of(t, at_s, call->from_s, until_s, call->ramp_us, &call->target);
}

/* Keep the lowest; of equal ones the first. */
static void keep(struct site_curtailed *best, const struct curtail_event *v, int64_t id,
                 int64_t at_us)
{
    struct curtail_now n = curtail_look(v, at_us);

    if (n.phase == CURTAIL_NONE ||
        (best->now.phase != CURTAIL_NONE && n.factor_ppm >= best->now.factor_ppm))
        return;
    *best = (struct site_curtailed){n, v->until_us / SECOND_US, id};
}

/* A clock's time in a zone as unix seconds, both given as seconds since 1970 began there. Of a time
 * that comes twice the first; one that is skipped is as much later. */
static int64_t from_local(const struct zone *z, int64_t local_s)
{
    int64_t before = local_s - zone_offset(z, local_s - DAY_S);
    int64_t after = local_s - zone_offset(z, local_s + DAY_S);

    return before + zone_offset(z, before) == local_s || after + zone_offset(z, after) != local_s
               ? before
               : after;
}

/* Hours of days: those of yesterday may last, or be ramped up yet. */
static void look_at_days(const struct site_terms *t, const struct site_schedule *s, int64_t at_us,
                         struct site_curtailed *best)
{
    int64_t at_s = at_us / SECOND_US, local_s = at_s + zone_offset(t->zone, at_s);
    int64_t today = local_s / DAY_S - (local_s % DAY_S < 0);

    for (int64_t day = today - 2; day <= today + 1; day++) {
        int64_t from_s = from_local(t->zone, day * DAY_S + (int64_t)s->from_minute * 60);
        int64_t until_s =
            from_local(t->zone, day * DAY_S + (int64_t)(s->from_minute + s->n_minutes) * 60);
        struct curtail_event v;
        if (!(s->days >> ((day + 3) % 7 + 7) % 7 & 1) || until_s < from_s)
            continue;
        v = event_of(t, at_s, from_s, until_s, s->ramp_us, &s->target);
        keep(best, &v, 0, at_us);
    }
}

struct site_curtailed curtailment_now(const struct site_terms *t, const struct site_call *calls,
                                      int n_calls, int64_t at_us)
{
    struct site_curtailed best = curtailment_none();
    struct curtail_event v;

    for (int i = 0; i < n_calls; i++) {
        if (strcmp(calls[i].site, t->name) != 0)
            continue;
        v = site_call_event(t, at_us / SECOND_US, &calls[i]);
        keep(&best, &v, calls[i].id, at_us);
    }
    for (int i = 0; i < t->curtail.n_schedules; i++) {
        const struct site_schedule *s = &t->curtail.schedule[i];
        if (!s->until_s) {
            look_at_days(t, s, at_us, &best);
            continue;
        }
        v = event_of(t, at_us / SECOND_US, s->from_s, s->until_s, s->ramp_us, &s->target);
        keep(&best, &v, 0, at_us);
    }
    return best;
}
