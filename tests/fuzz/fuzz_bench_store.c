/* What bench measured (bench.json): a row that is found has figures that can be shown. */
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "console/bench_store.h"
#include "fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bench_rates l = {.model = "m.gguf",
                            .cls = "q8",
                            .kernels = "avx2",
                            .cpu = "a CPU",
                            .file_bytes = 1000,
                            .threads = 2},
                       was = l;

    if (bench_store_find(fuzz_file(data, n), &l)) {
        CHECK(!memcmp(&l, &was, sizeof l));
        return 0;
    }
    CHECK(!strcmp(l.model, was.model) && !strcmp(l.cpu, was.cpu) && l.threads == was.threads);
    CHECK(isfinite(l.read_bytes_per_s) && l.read_bytes_per_s >= 0 && isfinite(l.int8_per_s) &&
          l.int8_per_s >= 0);
    CHECK(isfinite(l.decode_median) && isfinite(l.decode_limit) && isfinite(l.prefill_median) &&
          isfinite(l.prefill_limit) && l.measured >= 0);
    return 0;
}
