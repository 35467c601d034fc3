/* Fuzz target: what sensors answer. The first byte chooses quantity, form and path. Whatever the
 * bytes: one reading whose limits make sense, or a refusal with a sentence. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "serve/sensor_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const paths[] = {"a.b", "", "ups.status", "Inlet Temp"}, *const when[] = {
                                                                                    "OB"};
    static const struct {
        enum envelope_quantity quantity;
        enum sensor_unit unit;
    } whats[] = {{ENVELOPE_DRY_BULB, SENSOR_OWN},
                 {ENVELOPE_DRY_BULB, SENSOR_F},
                 {ENVELOPE_ON_BATTERY, SENSOR_OWN},
                 {ENVELOPE_FEEDER_POWER, SENSOR_W},
                 {ENVELOPE_HUMIDITY, SENSOR_RATIO}};
    struct sensor_reading v = {.value = INT64_MIN};
    struct envelope_sensor s = {0};
    struct sensor_want w = {0};
    const char *text = (const char *)data + 1;
    struct err e = {0};
    int r;

    if (!n)
        return 0;
    w.quantity = whats[data[0] / 3 % 5].quantity;
    w.unit = whats[data[0] / 3 % 5].unit;
    w.path = paths[data[0] / 15 % 4];
    w.time_path = data[0] / 60 % 2 ? "t" : NULL;
    w.when = when;
    w.n_when = data[0] / 120 % 2;
    if (data[0] % 3 == 0)
        r = sensor_reply_json(text, n - 1, &w, &v, &e);
    else if (data[0] % 3 == 1)
        r = sensor_reply_redfish(text, n - 1, &w, &v, &e);
    else
        r = sensor_reply_lines(text, n - 1, &w, &v, &e);
    CHECK(r ? e.text[0] && v.value == INT64_MIN
            : v.value != INT64_MIN && v.wall_s >= -1 && v.wall_s <= INT64_C(1) << 40 &&
                  !envelope_range_fault(w.quantity, &v.told));
    if (!r && !envelope_take(&s, w.quantity, v.value, 1, INT64_C(300000000)))
        CHECK(envelope_value_ppm(&v.told, v.value) <= DERATE_ALL);
    return 0;
}
