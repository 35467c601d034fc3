#include "serve/meter_reply.h"

#include <math.h>

#include "base/check.h"
#include "base/json_path.h"

#define VALUE_MAX 4e18 /* micro-units: below 2^62 */

const char meter_unit_words[] = "W|mW|kW|J|Wh|kWh";

static const struct unit {
    int is_power;
    double micros;
} units[] = {
    [METER_W] = {1, 1e6}, [METER_MW] = {1, 1e3},   [METER_KW] = {1, 1e9},
    [METER_J] = {0, 1e6}, [METER_WH] = {0, 3.6e9}, [METER_KWH] = {0, 3.6e12},
};

static int reading_of(const json_t *v, enum meter_unit unit, const char *what,
                      struct meter_reading *ret, struct err *e)
{
    const struct unit *u = &units[unit];
    double x;

    if (!json_path_number(v, &x))
        return err_set(e, ERR_FORMAT, "%.100s is no number", what);
    if (!isfinite(x) || x < 0 || x * u->micros > VALUE_MAX)
        return err_set(e, ERR_FORMAT, "%.100s is %g, which no meter can read", what, x);
    *ret = (struct meter_reading){u->is_power, (int64_t)(x * u->micros)};
    return 0;
}

static int parse(json_t **ret, const char *json, size_t n, struct err *e)
{
    if (n > METER_REPLY_MAX)
        return err_set(e, ERR_TOO_LARGE, "an answer of more than %zu bytes", METER_REPLY_MAX);
    return json_parse(ret, json, n, 0, e);
}

int meter_reply_feed(const char *json, size_t n, const char *path, enum meter_unit unit,
                     struct meter_reading *ret, struct err *e)
{
    json_t *root = NULL;
    const json_t *at;
    int r = parse(&root, json, n, e);

    CHECK((unsigned)unit < ARRAY_LEN(units));
    if (r)
        return r;
    at = json_path_find(root, path);
    r = at ? reading_of(at, unit, *path ? path : "the answer", ret, e)
           : err_set(e, ERR_NOTFOUND, "the answer has nothing at '%.100s'", path);
    json_decref(root);
    return r;
}

static const struct field {
    const char *name;
    enum meter_unit unit;
} fields[] = {
    [METER_ENERGY_JOULES] = {"EnergyJoules", METER_J},
    [METER_POWER_WATTS] = {"PowerWatts", METER_W},
    [METER_ENERGY_KWH] = {"EnergykWh", METER_KWH},
};

/* A sensor's excerpt, {"Reading": 374}, or a bare number. */
static const json_t *reading_in(const json_t *root, const struct field *f)
{
    const json_t *v = json_object_get(root, f->name);

    if (json_is_object(v))
        v = json_object_get(v, "Reading");
    return json_is_null(v) ? NULL : v;
}

int meter_reply_redfish(const char *json, size_t n, enum meter_field *io_field,
                        struct meter_reading *ret, struct err *e)
{
    json_t *root = NULL;
    const json_t *v = NULL;
    int first = *io_field ? (int)*io_field : METER_ENERGY_JOULES;
    int last = *io_field ? (int)*io_field : METER_ENERGY_KWH, i;
    int r = parse(&root, json, n, e);

    if (r)
        return r;
    for (i = first; i <= last && !v; i++)
        v = reading_in(root, &fields[i]);
    if (v)
        r = reading_of(v, fields[i - 1].unit, fields[i - 1].name, ret, e);
    else
        r = err_set(e, ERR_NOTFOUND, "the answer has no reading of %s",
                    *io_field ? fields[first].name : "EnergyJoules, PowerWatts or EnergykWh");
    if (!r)
        *io_field = (enum meter_field)(i - 1);
    json_decref(root);
    return r;
}
