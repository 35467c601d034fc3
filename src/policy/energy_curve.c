#include "policy/energy_curve.h"

__extension__ typedef __int128 wide;

int64_t energy_curve_uw(const struct energy_curve *c, int64_t busy_permille)
{
    const struct energy_point *a = c->point, *b = a;
    wide uw;

    for (int i = 1; i < c->n && b->busy_permille < busy_permille; i++) {
        a = b;
        b = &c->point[i];
    }
    if (a == b || busy_permille <= a->busy_permille)
        return a->uw;
    uw = a->uw + (wide)(b->uw - a->uw) * (busy_permille - a->busy_permille) /
                     (b->busy_permille - a->busy_permille);
    return uw > INT64_MAX ? INT64_MAX : (int64_t)uw;
}

void energy_curve_line(struct energy_curve *c, int64_t idle_uw, int64_t thread_uw)
{
    *c = (struct energy_curve){.n = 2, .point = {{0, idle_uw}, {1000, idle_uw + thread_uw}}};
}
