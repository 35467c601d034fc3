/* Fuzz target: the hours of a site's carbon, CSV or JSON. Whatever is taken is within its bounds at
 * every time, and unknown beyond its hours. */
#include <stdint.h>

#include "base/check.h"
#include "cloud/carbon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t times[] = {-1, 0, 1700000000, 1796130000, 1796133599, 253402300799};
    struct carbon_hours *h = NULL;
    struct err e = {0};

    if (carbon_parse(&h, "f", (const char *)data, size, &e)) {
        CHECK(!h && e.code && e.text[0]);
        return 0;
    }
    CHECK(carbon_n_hours(h) > 0 && carbon_n_hours(h) <= CARBON_HOURS_MAX);
    for (int i = 0; i < 6; i++) {
        for (int b = 0; b < CARBON_BASES; b++) {
            int64_t mg = carbon_mg_per_kwh(h, (enum carbon_basis)b, NULL, times[i]);
            CHECK(mg >= CARBON_UNKNOWN && mg <= CARBON_MG_MAX);
            CHECK(carbon_ug(1000000, mg) >= CARBON_UNKNOWN);
        }
    }
    carbon_free(h);
    return 0;
}
