/* Who takes part in the runs of the team while other processes want our cores.
 *
 * A worker that shares its core with a busy process runs for one slice of the scheduler, some
 * milliseconds, and is then off for as long. Whoever holds a claim at that moment stops the run,
 * and a decode step has 150 runs in 3 ms: in every period of two slices the whole team stands still
 * for one. So two threads beside one busy process were slower than one (158 tokens/s of 225,
 * SmolLM2 on two cores of an EPYC), and where the system shares the cores between groups of
 * processes (control groups, sessions), which may leave both threads on one core, much slower
 * (122).
 *
 * Therefore: a worker that was found off its core while we waited for it stops being a member. It
 * sleeps, which leaves the others a core each, and becomes the part-time worker, which comes for
 * visits that are shorter than a slice: it goes before it is sent away, holding nothing. The caller
 * never waits for one that has not come yet. How long a visit can be depends on the system's tick
 * and on the neighbours; it is found by growing slowly and by halving when it was too long. A
 * part-time worker that can stay for longer than any slice is a member again.
 *
 * One worker at a time is the part-time worker, the one after the last member; those behind it
 * sleep. */
#include <sched.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/team_int.h"

#define OFF_US 200 /* off its core for so long in a wait of 300 or more: preempted, not slow */

/* Visits. Linux gives slices of 1.4 to 4 ms on few cores with 250 ticks a second, at most 10 ms
 * with 100. Growing by a 256th costs a stall in some 50 visits (a 64th: one in 7, and all was lost
 * again). */
#define VISIT_US_MIN   500
#define VISIT_US_FIRST 1500
#define VISIT_US_MAX   16000
#define GROW_UNTRIED   16
#define GROW_TRIED     256

/* A core that is idle wakes a part-time worker at once, a busy one nearly always at its next tick.
 * Visits that all came so soon grow twofold, so that a team is whole again within some 100 ms. */
#define PROMPT_US     300
#define PROMPT_VISITS 4

/* Nothing is lost by calling one that left in time at once, its neighbour had its slice then; one
 * that kept us waiting is left alone, longer each time. */
#define GAP_US     2000
#define GAP_US_MAX 64000

/* ---- the worker's side ----------------------------------------------------------------------- */

static long preemptions(void)
{
    struct rusage u;
    return getrusage(RUSAGE_THREAD, &u) ? 0 : u.ru_nivcsw;
}

static void stay_away(struct worker *me)
{
    struct team *t = me->team;
    int was_here = atomic_load(&me->state) == PART_TIME_HERE;
    enum part_time_state state =
        was_here && preemptions() != me->preemptions ? PART_TIME_DISTURBED : PART_TIME_AWAY;
    int64_t now;

    for (;;) {
        uint32_t calls = atomic_load(&me->calls);
        atomic_store(&me->state, (int)state);
        while (atomic_load(&me->calls) == calls && !atomic_load(&t->quit))
            team_sleep(&me->calls, calls);
        /* On the caller's own core we could only work instead of it. */
        if (atomic_load(&t->quit) || me->index < atomic_load(&t->members) ||
            sched_getcpu() != atomic_load(&t->caller_cpu))
            break;
        state = PART_TIME_STACKED;
    }
    now = clock_now_us();
    me->preemptions = preemptions();
    atomic_store(&me->until_us, now + atomic_load(&t->visit_us));
    atomic_store(&me->came_us, now);
    atomic_store(&me->state, PART_TIME_HERE);
}

int part_time_may_stay(struct worker *me, int64_t *ret_until_us)
{
    *ret_until_us = 0;
    if (me->index < atomic_load_explicit(&me->team->members, memory_order_acquire))
        return 1;
    *ret_until_us = atomic_load(&me->until_us);
    if (clock_now_us() < *ret_until_us)
        return 1;
    stay_away(me);
    return 0;
}

/* ---- the caller's side ----------------------------------------------------------------------- */

void part_time_call(struct worker *w)
{
    atomic_store(&w->state, PART_TIME_CALLED);
    atomic_fetch_add(&w->calls, 1);
    team_wake(&w->calls);
}

/* Let worker w run wherever we may run, but for core `but` (-1: there too). */
static void steer(struct team *t, struct worker *w, int but)
{
    cpu_set_t set;

    if (but == t->steered_from || sched_getaffinity(0, sizeof set, &set))
        return;
    if (but >= 0)
        CPU_CLR((size_t)but, &set);
    if (CPU_COUNT(&set) > 0 && !sched_setaffinity(atomic_load(&w->tid), sizeof set, &set))
        t->steered_from = but;
}

static void set_visit(struct team *t, int64_t us)
{
    us = us < VISIT_US_MIN ? VISIT_US_MIN : us;
    atomic_store(&t->visit_us, us > VISIT_US_MAX ? VISIT_US_MAX : us);
}

/* Learn from the visit that ended. Returns 1 when the part-time worker is to be a member. */
static int judge_visit(struct team *t, struct worker *g, int state)
{
    int64_t v = atomic_load(&t->visit_us);
    int failed = t->stalled || state == PART_TIME_STACKED, join = 0;

    if (failed || state == PART_TIME_DISTURBED) {
        if (!failed)
            set_visit(t, v - v / 8);
        t->good_us = atomic_load(&t->visit_us);
        t->prompt = 0;
    } else {
        join = v >= VISIT_US_MAX;
        t->prompt = atomic_load(&g->came_us) - t->called_us < PROMPT_US ? t->prompt + 1 : 0;
        if (t->prompt >= PROMPT_VISITS) {
            t->prompt = 0;
            set_visit(t, v * 2);
        } else {
            set_visit(t, v + v / (v < t->good_us ? GROW_UNTRIED : GROW_TRIED));
        }
    }
    if (!failed)
        t->gap_us /= 2;
    else
        t->gap_us = t->gap_us > GAP_US / 2 ? t->gap_us * 2 : GAP_US;
    if (t->gap_us > GAP_US_MAX)
        t->gap_us = GAP_US_MAX;
    t->stalled = 0;
    return join;
}

int part_time_choose_active(struct team *t)
{
    int members = atomic_load_explicit(&t->members, memory_order_relaxed), state;
    struct worker *g = &t->worker[members];
    int64_t now;

    if (members == t->n)
        return members;
    state = atomic_load(&g->state);
    if (state == PART_TIME_CALLED || state == PART_TIME_HERE)
        return members + 1; /* one that was called may come in the middle of a long run */
    now = clock_now_us();
    if (!t->left_us) {
        t->left_us = now;
        if (t->called_us && judge_visit(t, g, state)) {
            steer(t, g, -1);
            t->called_us = t->left_us = t->gap_us =
                0; /* the next worker, if any, is the part-time worker */
            atomic_store(&t->members, members + 1);
            part_time_call(g);
            return members + 1;
        }
    }
    if (now - t->left_us >= t->gap_us) {
        t->left_us = 0;
        t->called_us = now;
        atomic_store(&t->caller_cpu, sched_getcpu());
        steer(t, g, atomic_load(&t->caller_cpu));
        part_time_call(g);
    }
    return members;
}

static int64_t cpu_time_us(const struct worker *w)
{
    struct timespec ts;
    if (clock_gettime(w->clock, &ts))
        return 0;
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void part_time_note(struct team *t)
{
    int active = atomic_load_explicit(&t->active, memory_order_relaxed);

    for (int i = 1; i < active; i++) {
        struct worker *w = &t->worker[i];
        w->noted_us = atomic_load_explicit(&w->at_work, memory_order_relaxed) ? cpu_time_us(w) : -1;
    }
}

/* The last member becomes the part-time worker. */
static void part_with_member(struct team *t)
{
    int members = atomic_load_explicit(&t->members, memory_order_relaxed) - 1;
    struct worker *g = &t->worker[members];

    t->called_us = t->left_us = 0;
    t->gap_us = GAP_US;
    t->good_us = VISIT_US_MAX;
    t->prompt = t->stalled = 0;
    t->steered_from = -1;
    set_visit(t, VISIT_US_FIRST);
    atomic_store(&g->until_us, 0);
    atomic_store(&g->state, PART_TIME_CALLED);
    atomic_store(&t->members, members);
    /* An epoch without a run, so that it sees this even if it sleeps. */
    atomic_fetch_add(&t->epoch, 1);
    team_wake(&t->epoch);
}

void part_time_blame(struct team *t, int64_t wait_began_us, int64_t noted_us)
{
    int active = atomic_load_explicit(&t->active, memory_order_relaxed), off = 0;
    int members = atomic_load_explicit(&t->members, memory_order_relaxed);
    int64_t waited = clock_now_us() - noted_us;

    for (int i = 1; i < active && !off; i++) {
        const struct worker *w = &t->worker[i];
        off = w->noted_us >= 0 && waited - (cpu_time_us(w) - w->noted_us) > OFF_US;
    }
    if (!off)
        return;
    if (active == members) {
        part_with_member(t);
    } else {
        struct worker *g = &t->worker[members];
        int64_t v = atomic_load(&t->visit_us);
        int64_t was = wait_began_us - atomic_load(&g->came_us); /* how long it went well */
        was = was < v ? was : v;
        set_visit(t, was * 3 / 4 > v / 2 ? was * 3 / 4 : v / 2);
        atomic_store(&g->until_us, 0); /* enough for now */
        t->stalled = 1;
    }
}
