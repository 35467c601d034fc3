#include "policy/curtail.h"

#include "base/check.h"
#include "policy/derate.h"

__extension__ typedef __int128 wide;

const char *curtail_phase_name(enum curtail_phase p)
{
    static const char *const names[] = {"none", "ramp_down", "hold", "ramp_up"};

    return names[p];
}

const char *curtail_baseline_name(enum curtail_baseline b)
{
    return b == CURTAIL_ENERGISED ? "energised" : "like_days";
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* a * b / c of numbers >= 0, rounded up. */
static int64_t part_up(int64_t a, int64_t b, int64_t c)
{
    return (int64_t)(((wide)a * b + c - 1) / c);
}

/* How far below all it is so long after its start, while it holds. */
static int64_t depth_after(const struct curtail_event *v, int64_t us)
{
    int64_t whole = DERATE_ALL - v->target_ppm;

    return us >= v->ramp_us ? whole : part_up(whole, us, v->ramp_us);
}

struct curtail_now curtail_look(const struct curtail_event *v, int64_t at_us)
{
    int64_t whole = DERATE_ALL - v->target_ppm, depth, up;

    CHECK(v->until_us >= v->from_us && v->ramp_us >= 0);
    if (at_us < v->from_us)
        return (struct curtail_now){CURTAIL_NONE, DERATE_ALL};
    if (at_us < v->until_us) {
        depth = depth_after(v, at_us - v->from_us);
        return (struct curtail_now){at_us - v->from_us < v->ramp_us ? CURTAIL_DOWN : CURTAIL_HOLD,
                                    (int32_t)(DERATE_ALL - depth)};
    }
    up = at_us - v->until_us;
    depth = depth_after(v, v->until_us - v->from_us);
    depth -= up >= v->ramp_us ? whole : (int64_t)((wide)whole * up / v->ramp_us);
    if (depth <= 0)
        return (struct curtail_now){CURTAIL_NONE, DERATE_ALL};
    return (struct curtail_now){CURTAIL_UP, (int32_t)(DERATE_ALL - depth)};
}

int32_t curtail_target_ppm(int64_t target_w, int64_t energised_w)
{
    if (energised_w <= 0)
        return 0;
    return target_w >= energised_w ? DERATE_ALL
                                   : (int32_t)((wide)target_w * DERATE_ALL / energised_w);
}

int64_t curtail_missing_j(const struct curtail_event *v, int64_t energised_w, int64_t need_w)
{
    int64_t lasts_us = v->until_us - v->from_us, whole = DERATE_ALL - v->target_ppm;
    int64_t down_us = least(lasts_us, v->ramp_us), depth = depth_after(v, lasts_us), below;
    wide microjoules;

    if (!whole)
        return 0;
    need_w = least(need_w, energised_w);
    below = need_w - (int64_t)((wide)energised_w * (DERATE_ALL - depth) / DERATE_ALL);
    if (below <= 0)
        return 0;
    microjoules = (wide)below * (lasts_us - down_us); /* while it holds */
    /* The ramp goes over `whole` of what could be used. */
    microjoules += (wide)below * below * v->ramp_us / energised_w * DERATE_ALL / whole;
    microjoules /= 1000000;
    return microjoules > INT64_MAX ? INT64_MAX : (int64_t)microjoules;
}

int64_t curtail_money(int64_t joules, int64_t nano_per_mwh)
{
    wide nano = ((wide)joules * nano_per_mwh + CURTAIL_MWH_J / 2) / CURTAIL_MWH_J;

    return nano > INT64_MAX ? INT64_MAX : (int64_t)nano;
}

static int is_weekend(int64_t day)
{
    return (((day + 3) % 7) + 7) % 7 >= 5; /* 0 is a Monday */
}

int curtail_like_days(int64_t day, int64_t other)
{
    return is_weekend(day) == is_weekend(other);
}

int64_t curtail_mean_w(const int64_t *joules, int n, int64_t seconds)
{
    wide sum = 0;
    int known = 0;

    for (int i = 0; i < n; i++) {
        if (joules[i] < 0)
            continue;
        sum += joules[i];
        known++;
    }
    return known && seconds > 0 ? (int64_t)(sum / known / seconds) : -1;
}
