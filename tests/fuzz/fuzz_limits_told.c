/* Rate limit headers of suppliers: lines of "name: value". Whatever they are, what is told is a
 * count, a span, or nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/relayed.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *next = text;
    struct limits_told t;

    CHECK(text);
    memcpy(text, data, size);
    text[size] = 0;
    api_relayed_limits_none(&t);
    while (next) {
        char *line = strsep(&next, "\n"), *colon = strstr(line, ": ");
        if (!colon)
            continue;
        *colon = 0;
        api_relayed_limit(line, colon + 2, 1764000000, &t);
    }
    for (int k = 0; k < LIMITS_KINDS; k++) {
        for (int s = 0; s < LIMITS_SPANS; s++) {
            const struct limit_told *w = &t.window[k][s];
            CHECK(w->limit >= -1 && w->left >= -1 && w->reset_us >= -1);
            CHECK(w->reset_us <= INT64_C(86400000000));
            CHECK(t.any || (w->limit < 0 && w->left < 0 && w->reset_us < 0));
        }
    }
    free(text);
    return 0;
}
