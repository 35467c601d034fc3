#include "policy/route.h"

int route_pick(const struct route_choice *c, int n)
{
    int best = -1;
    int64_t load, best_load = 0;

    for (int i = 0; i < n; i++) {
        if (!c[i].usable)
            continue;
        load = ((int64_t)c[i].n_waiting + c[i].n_running) * 1024 /
               (c[i].capacity > 0 ? c[i].capacity : 1);
        if (best < 0 || load < best_load) {
            best = i;
            best_load = load;
        }
    }
    return best;
}
