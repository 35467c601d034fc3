#include "policy/derate.h"

#include "base/check.h"

int32_t derate_places(int32_t n_places, int32_t factor_ppm)
{
    int64_t n;

    CHECK(factor_ppm >= 0 && factor_ppm <= DERATE_ALL);
    if (n_places <= 0 || !factor_ppm)
        return 0;
    n = (int64_t)n_places * factor_ppm / DERATE_ALL;
    return n > 0 ? (int32_t)n : 1;
}

int32_t derate_lowest(const int32_t *factors_ppm, int n)
{
    int32_t lowest = DERATE_ALL;

    for (int i = 0; i < n; i++) {
        if (factors_ppm[i] >= 0 && factors_ppm[i] < lowest)
            lowest = factors_ppm[i];
    }
    return lowest;
}
