/* Which of the suppliers that offer a model gets a request. Pure. */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include <stdint.h>

struct route_choice {
    int usable; /* loaded, and alive */
    int32_t n_waiting, n_running, capacity;
};

/* Index of the usable one with the most free share, the first of equals; -1: none. */
int route_pick(const struct route_choice *c, int n);

#endif
