/* Fuzz target: what a meter that is asked over HTTP answers. The first byte chooses unit and path.
 * Whatever the bytes: a reading that a meter can have, or a refusal with a sentence. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "serve/meter_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int r, const struct meter_reading *v, const struct err *e)
{
    CHECK(r ? e->text[0] && v->value == -1 : v->value >= 0 && v->value <= INT64_C(1) << 62);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const paths[] = {"", "power", "emeters.0.power", "a..b", ".", "0", "1.0"};
    const char *json = (const char *)data + 1;
    struct meter_reading v = {.value = -1};
    enum meter_field field = METER_ANY_FIELD, again;
    struct err e = {0};
    int r;

    if (!n)
        return 0;
    r = meter_reply_feed(json, n - 1, paths[data[0] / 6 % 7], (enum meter_unit)(data[0] % 6), &v,
                         &e);
    check(r, &v, &e);
    v.value = -1;
    e = (struct err){0};
    r = meter_reply_redfish(json, n - 1, &field, &v, &e);
    check(r, &v, &e);
    CHECK(r ? field == METER_ANY_FIELD : field != METER_ANY_FIELD);
    again = field;
    if (!r)
        CHECK(!meter_reply_redfish(json, n - 1, &again, &v, &e) && again == field);
    return 0;
}
