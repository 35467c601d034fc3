#include "job/energy.h"

#include <string.h>

#include "base/check.h"

static const char *const boundaries[] = {
    [ENERGY_ACCELERATOR] = "accelerator",
    [ENERGY_IT] = "it",
    [ENERGY_FACILITY] = "facility",
};
static const char *const methods[] = {
    [ENERGY_UNKNOWN] = "unknown",       [ENERGY_RAPL] = "rapl",
    [ENERGY_REDFISH] = "redfish",       [ENERGY_FEED] = "feed",
    [ENERGY_MODEL] = "model",           [ENERGY_STATED] = "stated",
    [ENERGY_CONTRACTED] = "contracted",
};
_Static_assert(ARRAY_LEN(boundaries) == ENERGY_BOUNDARIES, "each has a name");
_Static_assert(ARRAY_LEN(methods) == ENERGY_METHODS, "each has a name");

const char *energy_boundary_name(enum energy_boundary b)
{
    CHECK((unsigned)b < ENERGY_BOUNDARIES);
    return boundaries[b];
}

const char *energy_method_name(enum energy_method m)
{
    CHECK((unsigned)m < ENERGY_METHODS);
    return methods[m];
}

static int find(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (!strcmp(names[i], name))
            return i;
    }
    return -1;
}

int energy_boundary_find(const char *name)
{
    return find(boundaries, ENERGY_BOUNDARIES, name);
}

int energy_method_find(const char *name)
{
    return find(methods, ENERGY_METHODS, name);
}

#define NO_CLAIM 1000 /* permille: it may be off by all of it */

void energy_add(struct energy *sum, const struct energy *part)
{
    int is_empty = !sum->method && !sum->uncertainty_permille;
    struct energy add = *part;

    if (!part->method)
        add.uncertainty_permille = NO_CLAIM;
    if (is_empty) {
        *sum = add;
        return;
    }
    sum->uj += add.uj;
    if (add.boundary < sum->boundary)
        sum->boundary = add.boundary;
    if (add.uncertainty_permille > sum->uncertainty_permille)
        sum->uncertainty_permille = add.uncertainty_permille;
    if (!sum->method || !add.method)
        sum->method = ENERGY_UNKNOWN;
    else if (add.method > sum->method)
        sum->method = add.method;
}
