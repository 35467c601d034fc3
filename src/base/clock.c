#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

/* The pretended calendar: written before there are other threads, but for `gone_us`. */
static struct {
    int64_t wall_us, pace;
    _Atomic int64_t gone_us; /* when it began to go, of the monotonic clock; 0: it stands */
} pretended = {.pace = 1};

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_now_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_wall_us(void)
{
    int64_t gone_us;

    if (pretended.pace == 1)
        return read_us(CLOCK_REALTIME);
    gone_us = atomic_load(&pretended.gone_us);
    return pretended.wall_us + (gone_us ? (clock_now_us() - gone_us) * pretended.pace : 0);
}

int64_t clock_thread_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

int64_t clock_process_us(void)
{
    return read_us(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_sleep_us(int64_t us)
{
    struct timespec t = {us / 1000000, (us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

void clock_pretend(int64_t wall_us, int64_t pace)
{
    pretended.wall_us = wall_us;
    pretended.pace = pace;
}

void clock_pretend_go(void)
{
    atomic_store(&pretended.gone_us, clock_now_us());
}

int64_t clock_pace(void)
{
    return pretended.pace;
}
