#include "policy/energy_flow.h"

__extension__ typedef __int128 wide;

#define UJ_MAX (INT64_MAX / 4)

static int64_t uj_of(int64_t uw, int64_t us)
{
    wide uj = (wide)uw * us / 1000000;

    return uj > UJ_MAX ? UJ_MAX : (int64_t)uj;
}

static int64_t power_of(int64_t uj, int64_t us)
{
    wide uw = (wide)uj * 1000000 / us;

    return uw > ENERGY_POWER_MAX_UW ? ENERGY_POWER_MAX_UW : (int64_t)uw;
}

void energy_flow_open(struct energy_flow *f, int64_t interval_us, int is_quick, int64_t now_us)
{
    *f = (struct energy_flow){.interval_us = interval_us,
                              .is_quick = is_quick,
                              .from_us = now_us,
                              .read_us = now_us,
                              .power_us = now_us,
                              .line_us = now_us};
}

static int64_t late_us(const struct energy_flow *f)
{
    return ENERGY_LATE * f->interval_us;
}

int energy_flow_is_late(const struct energy_flow *f, int64_t now_us)
{
    return now_us - f->read_us > late_us(f);
}

/* Where the line is now; it ends when the next reading is late. */
static int64_t line_now(const struct energy_flow *f, int64_t now_us)
{
    int64_t us = now_us - f->line_us;

    us = us < 0 ? 0 : us > late_us(f) ? late_us(f) : us;
    return f->line_uj + uj_of(f->slope_uw, us);
}

/* The line goes from where it is to what is expected when the next reading is due. */
static void aim(struct energy_flow *f, int64_t now_us)
{
    int64_t at = line_now(f, now_us), to = f->metered_uj + uj_of(f->power_uw, f->interval_us);

    f->line_uj = at;
    f->line_us = now_us;
    f->slope_uw = to > at ? power_of(to - at, f->interval_us) : 0;
}

static void believe(struct energy_flow *f, int64_t now_us, int64_t uj, int64_t uw)
{
    int was_late = energy_flow_is_late(f, now_us);

    f->metered_uj += uj;
    f->power_uw = uw;
    f->from_us = f->read_us = now_us;
    f->n_readings++;
    if (f->is_quick) {
        f->line_uj = f->metered_uj;
        return;
    }
    if (was_late) {
        int64_t more = f->metered_uj - line_now(f, now_us);
        energy_flow_idle(f, now_us); /* up to the line's end, which nobody took */
        if (more > 0) {
            f->taken_uj += more;
            f->unattributed_uj += more;
            f->line_uj += more;
        }
    }
    aim(f, now_us);
}

static int refuse(struct energy_flow *f, int64_t now_us)
{
    f->n_refused++;
    f->has_power = 0;
    energy_flow_skip(f, now_us);
    return 0;
}

/* The power of readings of energy: over some of them where they come fast, because a counter has
 * grains. */
static int64_t power_after(struct energy_flow *f, int64_t now_us, int64_t uj)
{
    int64_t us = now_us - f->power_us, now_uj = f->metered_uj + uj, before_uj = f->power_uj;
    int is_long = us > 0 && us >= f->interval_us / 10;

    if (is_long) {
        f->power_us = now_us;
        f->power_uj = now_uj;
    }
    return is_long || (us > 0 && !f->power_uw) ? power_of(now_uj - before_uj, us) : f->power_uw;
}

int energy_flow_add(struct energy_flow *f, int64_t now_us, int64_t uj)
{
    int64_t us = now_us - f->from_us;

    if (us < 0 || uj < 0 || uj > uj_of(ENERGY_POWER_MAX_UW, us) || uj > UJ_MAX - f->metered_uj)
        return refuse(f, now_us);
    believe(f, now_us, uj, power_after(f, now_us, uj));
    return 1;
}

int energy_flow_power(struct energy_flow *f, int64_t now_us, int64_t uw)
{
    int64_t us = now_us - f->from_us, uj = 0;

    if (us < 0 || uw < 0 || uw > ENERGY_POWER_MAX_UW)
        return refuse(f, now_us);
    us = us > late_us(f) ? late_us(f) : us;
    if (f->has_power)
        uj = uj_of((f->power_uw + uw) / 2, us);
    if (uj > UJ_MAX - f->metered_uj)
        return refuse(f, now_us);
    f->has_power = 1;
    believe(f, now_us, uj, uw);
    return 1;
}

void energy_flow_skip(struct energy_flow *f, int64_t now_us)
{
    f->from_us = now_us > f->from_us ? now_us : f->from_us;
    f->power_us = f->from_us;
    f->power_uj = f->metered_uj;
}

int64_t energy_flow_take(struct energy_flow *f, int64_t now_us)
{
    int64_t uj = line_now(f, now_us) - f->taken_uj;

    if (uj <= 0)
        return 0;
    f->taken_uj += uj;
    f->attributed_uj += uj;
    return uj;
}

void energy_flow_idle(struct energy_flow *f, int64_t now_us)
{
    int64_t uj = energy_flow_take(f, now_us);

    f->attributed_uj -= uj;
    f->unattributed_uj += uj;
}

void energy_flow_close(struct energy_flow *f)
{
    int64_t rest = f->metered_uj - f->taken_uj;

    f->taken_uj += rest;
    f->unattributed_uj += rest;
    f->line_uj = f->metered_uj;
    f->slope_uw = 0;
}

int64_t energy_counter_see(struct energy_counter *c, uint64_t value, uint64_t top)
{
    uint64_t last = c->last, more;
    int had_last = c->has_last;

    c->last = value;
    c->has_last = 1;
    if (!had_last || (top && value > top))
        return -1;
    if (value >= last) {
        more = value - last;
    } else {
        if (!top || last > top)
            return -1;
        more = top - last + value; /* to its end, and on from 0 */
        if (more > top / 2)
            return -1;
    }
    return more > INT64_MAX ? -1 : (int64_t)more;
}
