/* What was calibrated (energy.json): a curve that is found can be computed with. */
#include <string.h>

#include "base/check.h"
#include "fuzz_file.h"
#include "serve/energy_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct energy_calibration c = {.measured = -7};
    int64_t before = 0;

    if (energy_store_get(fuzz_file(data, n), "a CPU", &c)) {
        CHECK(c.measured == -7);
        return 0;
    }
    CHECK(!strcmp(c.cpu, "a CPU") && c.curve.n > 0 && c.curve.n <= ENERGY_CURVE_MAX);
    CHECK(c.by.uncertainty_permille >= 0 && c.by.uncertainty_permille <= 1000);
    for (int64_t busy = 0; busy < 10000000; busy += 99991) {
        int64_t uw = energy_curve_uw(&c.curve, busy);
        CHECK(uw >= before);
        before = uw;
    }
    return 0;
}
