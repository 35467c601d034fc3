#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/team_int.h"

#define SPIN_IDLE 4000 /* pauses before a worker sleeps: some tens of microseconds */
#define NOTE_US   100  /* a wait so long at a run's end: note who is running */
#define STALL_US  400  /* and so long: let others have this core, and see who was not */

void team_sleep(_Atomic uint32_t *at, uint32_t value)
{
    syscall(SYS_futex, (void *)at, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void team_wake(_Atomic uint32_t *at)
{
    syscall(SYS_futex, (void *)at, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Claim up to `chunk` items of part p in this epoch; 1 and the range, or 0. */
static int claim(struct part *p, uint32_t epoch, int32_t chunk, int32_t *ret_begin,
                 int32_t *ret_end)
{
    uint64_t v = atomic_load_explicit(&p->next, memory_order_acquire);
    for (;;) {
        int32_t next = (int32_t)(uint32_t)v,
                end = atomic_load_explicit(&p->end, memory_order_acquire);
        int32_t stop;
        if ((uint32_t)(v >> 32) != epoch || next >= end)
            return 0;
        stop = end - next <= chunk ? end : next + chunk;
        if (atomic_compare_exchange_weak_explicit(&p->next, &v,
                                                  (uint64_t)epoch << 32 | (uint32_t)stop,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            *ret_begin = next;
            *ret_end = stop;
            return 1;
        }
    }
}

/* Work on the run of `epoch` until nothing is left to claim: own part first, then the others'. Stop
 * claiming at until_us if that is not 0. */
static void work(struct team *t, int w, uint32_t epoch, int64_t until_us)
{
    team_fn *fn = atomic_load_explicit(&t->fn, memory_order_relaxed);
    void *arg = atomic_load_explicit(&t->arg, memory_order_relaxed);
    int32_t chunk = atomic_load_explicit(&t->chunk, memory_order_relaxed);
    int active = atomic_load_explicit(&t->active, memory_order_relaxed);

    for (int k = 0; k < active; k++) {
        struct part *p = &t->part[(w + k) % active];
        int32_t begin, end;
        while ((!until_us || clock_now_us() < until_us) && claim(p, epoch, chunk, &begin, &end)) {
            fn(arg, w, begin, end);
            atomic_fetch_sub_explicit(&t->todo, end - begin, memory_order_acq_rel);
        }
    }
}

static void *worker_main(void *arg)
{
    struct worker *me = arg;
    struct team *t = me->team;
    uint32_t seen = 0;

    prctl(PR_SET_NAME, "gaufre-team", 0, 0, 0);
    atomic_store(&me->tid, gettid());
    for (;;) {
        uint32_t epoch;
        int64_t until_us;
        int spins = 0;
        while ((epoch = atomic_load_explicit(&t->epoch, memory_order_acquire)) == seen) {
            if (spins++ < SPIN_IDLE) {
                pause_cpu();
                continue;
            }
            atomic_fetch_add(&t->sleepers, 1);
            if (atomic_load(&t->epoch) == seen)
                team_sleep(&t->epoch, seen);
            atomic_fetch_sub(&t->sleepers, 1);
            spins = 0;
        }
        if (atomic_load_explicit(&t->quit, memory_order_acquire))
            return NULL;
        if (!part_time_may_stay(me, &until_us))
            continue;
        seen = epoch;
        if (me->index < atomic_load_explicit(&t->active, memory_order_relaxed)) {
            atomic_store_explicit(&me->at_work, 1, memory_order_relaxed);
            work(t, me->index, epoch, until_us);
            atomic_store_explicit(&me->at_work, 0, memory_order_relaxed);
        }
    }
}

static void wait_done(struct team *t)
{
    int64_t start = 0, noted = 0, now;
    int spins = 0;

    while (atomic_load_explicit(&t->todo, memory_order_acquire) > 0) {
        pause_cpu();
        if (++spins < 256)
            continue;
        spins = 0;
        now = clock_now_us();
        if (!start) {
            start = now;
        } else if (!noted && !t->always_all && now - start > NOTE_US) {
            noted = now;
            part_time_note(t);
        } else if (now - start > STALL_US) {
            sched_yield(); /* the one we wait for may need this core */
        }
    }
    if (noted && clock_now_us() - start > STALL_US)
        part_time_blame(t, start, noted);
}

void team_run(struct team *t, int32_t n, int32_t chunk, team_fn *fn, void *arg)
{
    int active = part_time_choose_active(t);
    uint32_t epoch = atomic_load_explicit(&t->epoch, memory_order_relaxed) + 1;

    if (n <= 0)
        return;
    if (active == 1 || n <= chunk) {
        fn(arg, 0, 0, n);
        return;
    }
    atomic_store_explicit(&t->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&t->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&t->chunk, chunk, memory_order_relaxed);
    atomic_store_explicit(&t->active, active, memory_order_relaxed);
    atomic_store_explicit(&t->todo, n, memory_order_relaxed);
    for (int i = 0; i < active; i++) {
        int32_t begin = (int32_t)((int64_t)n * i / active);
        int32_t end = (int32_t)((int64_t)n * (i + 1) / active);
        atomic_store_explicit(&t->part[i].next, (uint64_t)epoch << 32 | CLOSED,
                              memory_order_relaxed);
        atomic_store_explicit(&t->part[i].end, end, memory_order_release);
        atomic_store_explicit(&t->part[i].next, (uint64_t)epoch << 32 | (uint32_t)begin,
                              memory_order_release);
    }
    atomic_store(&t->epoch, epoch);
    if (atomic_load(&t->sleepers))
        team_wake(&t->epoch);
    work(t, 0, epoch, 0);
    wait_done(t);
}

void team_set_part_time(struct team *t, int on)
{
    t->always_all = !on;
}

void team_lock(struct team *t)
{
    pthread_mutex_lock(&t->lock);
}

void team_unlock(struct team *t)
{
    pthread_mutex_unlock(&t->lock);
}

int team_size(const struct team *t)
{
    return t->n;
}

int team_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

int team_open(struct team **ret, int n, struct err *e)
{
    struct team *t;
    int cpus = team_cpus();

    if (n < 0 || n > TEAM_THREADS_MAX)
        return err_set(e, ERR_ARG, "threads: %d is not in [0, %d]", n, TEAM_THREADS_MAX);
    if (n == 0)
        n = cpus < TEAM_THREADS_MAX ? cpus : TEAM_THREADS_MAX;
    t = aligned_alloc(64, (sizeof *t + 63) & ~(size_t)63);
    if (!t)
        return err_set(e, ERR_NOMEM, "no memory for the compute team");
    memset(t, 0, sizeof *t);
    t->n = n;
    atomic_store(&t->members, n);
    pthread_mutex_init(&t->lock, NULL);
    t->worker = aligned_alloc(64, (size_t)n * sizeof *t->worker);
    t->part = aligned_alloc(64, (size_t)n * sizeof *t->part);
    if (!t->worker || !t->part) {
        t->n = 1;
        team_close(t);
        return err_set(e, ERR_NOMEM, "no memory for the compute team");
    }
    memset(t->worker, 0, (size_t)n * sizeof *t->worker);
    memset(t->part, 0, (size_t)n * sizeof *t->part);
    for (int i = 1; i < n; i++) {
        struct worker *w = &t->worker[i];
        w->team = t;
        w->index = i;
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            t->n = i;
            team_close(t);
            return err_set(e, ERR_NOMEM, "cannot start compute thread %d of %d: %s", i + 1, n,
                           strerror(errno));
        }
        if (pthread_getcpuclockid(w->thread, &w->clock))
            w->clock = CLOCK_MONOTONIC; /* it will seem to run always */
    }
    *ret = t;
    return 0;
}

void team_close(struct team *t)
{
    if (!t)
        return;
    atomic_store(&t->quit, 1);
    atomic_fetch_add(&t->epoch, 1);
    team_wake(&t->epoch);
    for (int i = 1; i < t->n; i++) {
        part_time_call(&t->worker[i]);
        pthread_join(t->worker[i].thread, NULL);
    }
    pthread_mutex_destroy(&t->lock);
    free(t->worker);
    free(t->part);
    free(t);
}
