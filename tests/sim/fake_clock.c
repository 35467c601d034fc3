#include "base/clock.h"
#include "fakes.h"

static int64_t now, wall;

void fake_clock_set(int64_t now_us, int64_t wall_us)
{
    now = now_us;
    wall = wall_us;
}

void fake_clock_pass(int64_t us)
{
    now += us;
    wall += us;
}

int64_t clock_now_us(void)
{
    return now;
}

int64_t clock_wall_us(void)
{
    return wall;
}

int64_t clock_pace(void)
{
    return 1;
}

int64_t clock_thread_us(void)
{
    return now;
}

int64_t clock_process_us(void)
{
    return now;
}

void clock_sleep_us(int64_t us)
{
    fake_clock_pass(us);
}
