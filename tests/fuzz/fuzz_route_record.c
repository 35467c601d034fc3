/* Decisions as they stand in a log: what is read can be asked about, and written again it is read
 * as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cloud/route_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct route_record r, back;
    struct route_verdict v[ROUTE_OFFERS_MAX], again[ROUTE_OFFERS_MAX];
    const char *names[ROUTE_OFFERS_MAX], *at, *at_back;
    char *text = malloc(size + 1);
    struct buf b;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    at = text;
    while (route_record_read(&at, &r) == 1) {
        int i = route_pick(&r.request, r.offer, r.n, v);
        CHECK(i >= -1 && i < r.n);
        for (int k = 0; k < r.n; k++)
            names[k] = r.name[k];
        buf_init(&b, ROUTE_RECORD_BYTES_MAX);
        CHECK(!route_record_put(&b, &r.request, r.offer, names, r.n));
        at_back = b.data;
        CHECK(route_record_read(&at_back, &back) == 1 && back.n == r.n);
        CHECK(route_pick(&back.request, back.offer, back.n, again) == i);
        buf_done(&b);
    }
    free(text);
    return 0;
}
