/* What meters that are asked over HTTP answer: JSON of others, turned into one reading or refused.
 * Pure functions. */
#ifndef SERVE_METER_REPLY_H
#define SERVE_METER_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define METER_REPLY_MAX ((size_t)64 << 10)

enum meter_unit { METER_W, METER_MW, METER_KW, METER_J, METER_WH, METER_KWH }; /* MW: milliwatts */
extern const char meter_unit_words[]; /* "W|mW|kW|J|Wh|kWh": a word's index is the unit */

struct meter_reading {
    int is_power;
    int64_t value; /* microwatts now, or microjoules since whenever the meter counts */
};

/* The number at `path`: names of members and indices of arrays, joined by points
 * ("emeters.0.power");
 * "" is the whole text. A string that is a number is one. ERR_SCHEMA, ERR_TOO_LARGE, ERR_NOTFOUND
 * (nothing at the path), ERR_FORMAT (no number, or none that can be): each with a sentence. */
int meter_reply_feed(const char *json, size_t n, const char *path, enum meter_unit unit,
                     struct meter_reading *ret, struct err *e);

/* Redfish's EnvironmentMetrics, or ThermalMetrics: each of its readings may be missing or null. */
enum meter_field { METER_ANY_FIELD, METER_ENERGY_JOULES, METER_POWER_WATTS, METER_ENERGY_KWH };
/* With METER_ANY_FIELD the first of these that is there, and *io_field is set to it, so that all
 * further readings are of the same. */
int meter_reply_redfish(const char *json, size_t n, enum meter_field *io_field,
                        struct meter_reading *ret, struct err *e);

#endif
