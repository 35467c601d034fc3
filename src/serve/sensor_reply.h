/* What sensors answer: JSON of feeds and of Redfish, lines of commands and files, turned into one
 * reading of a quantity or refused. All of it was written by others. Pure functions. */
#ifndef SERVE_SENSOR_REPLY_H
#define SERVE_SENSOR_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/envelope.h"

#define SENSOR_REPLY_MAX ((size_t)64 << 10)

enum sensor_unit {
    SENSOR_OWN, /* the quantity's, or what the answer itself says */
    SENSOR_C,
    SENSOR_F,
    SENSOR_K,
    SENSOR_PERCENT,
    SENSOR_RATIO,
    SENSOR_W,
    SENSOR_KW,
    SENSOR_MW, /* megawatts */
    SENSOR_WH,
    SENSOR_KWH,
    SENSOR_MWH
};
#define SENSOR_UNIT_WORDS "auto|C|F|K|%|ratio|W|kW|MW|Wh|kWh|MWh"
/* Can a quantity be told in it? */
int sensor_unit_fits(enum envelope_quantity q, enum sensor_unit u);

struct sensor_want {
    enum envelope_quantity quantity;
    enum sensor_unit unit;
    const char *path;      /* JSON: where the number is; lines: the name before it; "": all of it */
    const char *time_path; /* JSON: where its time is; NULL: it tells none */
    const char *const *when; /* a switch is 1 where one of these words stands; none: as 0 or 1 */
    int n_when;
};

struct sensor_reading {
    int64_t value;              /* thousandths of the quantity's unit */
    int64_t wall_s;             /* when it was so, unix seconds; < 0: it does not tell */
    struct envelope_range told; /* limits that come with it: Redfish's thresholds */
};

/* ERR_SCHEMA, ERR_TOO_LARGE: no JSON; ERR_NOTFOUND: nothing is there; ERR_FORMAT: it is no reading
 * of the quantity. Each with a sentence. */
int sensor_reply_json(const char *text, size_t n, const struct sensor_want *w,
                      struct sensor_reading *ret, struct err *e);
/* A Redfish resource: by default a Sensor's Reading, in the unit that it tells, with its cautions
 * as limits of what is well and its criticals as limits of what is allowed. One that is not in
 * service has no reading. */
int sensor_reply_redfish(const char *text, size_t n, const struct sensor_want *w,
                         struct sensor_reading *ret, struct err *e);
/* "NAME: VALUE", "NAME = VALUE", "NAME | VALUE | ..." or "NAME,VALUE,..." in one of its lines; with
 * the path "" its first line whole. A unit behind a number is obeyed. */
int sensor_reply_lines(const char *text, size_t n, const struct sensor_want *w,
                       struct sensor_reading *ret, struct err *e);

#endif
