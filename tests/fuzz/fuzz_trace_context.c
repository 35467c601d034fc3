/* A traceparent, and behind a line break a tracestate: what is read can be written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *state, again[TRACE_TEXT_MAX];
    struct trace_context t, u;

    CHECK(text);
    memcpy(text, data, n);
    text[n] = 0;
    state = strchr(text, '\n');
    if (state)
        *state++ = 0;
    if (api_trace_read(text, &t)) {
        api_trace_write(&t, again);
        CHECK(strlen(again) == TRACE_TEXT_MAX - 1 && !strncmp(again + 2, text + 2, 51));
        CHECK(api_trace_read(again, &u) && !memcmp(u.trace, t.trace, sizeof t.trace) &&
              !memcmp(u.span, t.span, sizeof t.span) && u.flags == t.flags);
    }
    if (state && api_trace_state_ok(state))
        CHECK(strlen(state) <= TRACE_STATE_MAX && !strpbrk(state, "\r\n") && strchr(state, '='));
    free(text);
    return 0;
}
