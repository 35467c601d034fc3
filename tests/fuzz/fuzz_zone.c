/* Fuzz target: a time zone's file. Whatever is taken has windows that every time lies in. */
#include <stdint.h>

#include "base/check.h"
#include "base/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t times[] = {INT64_MIN, -1, 0, 1700000000, 5000000000, INT64_MAX};
    struct zone *z = NULL;
    struct err e = {0};

    if (zone_parse(&z, "f", data, size, &e)) {
        CHECK(!z && e.text[0]);
        return 0;
    }
    for (int i = 0; i < 6; i++) {
        for (enum zone_span s = ZONE_DAY; s <= ZONE_MONTH; s++) {
            int64_t from, until;
            zone_window(z, s, times[i], &from, &until);
            CHECK(from < until);
            if (times[i] > -(INT64_C(1) << 40) && times[i] < INT64_C(1) << 40)
                CHECK(from <= times[i] && times[i] < until);
        }
    }
    zone_free(z);
    return 0;
}
