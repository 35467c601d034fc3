/* One reading of a sensor, from where the configuration says: a URL, a file or a command. It takes
 * its time, at most the sensor's timeout and a second. Any thread; several at once are fine. */
#ifndef SERVE_SENSOR_ASK_H
#define SERVE_SENSOR_ASK_H

#include "serve/sensor_reply.h"
#include "serve/serve.h"

struct sensor_ask {
    const struct serve_sensor *sensor;
    int (*is_over)(void *ctx); /* asked at least once a second; not 0: give up */
    void *ctx;
};

/* *ret_age_us: how long ago it was so, where that is told; else 0. ERR_FORMAT: what was said is no
 * reading; all else: nothing was said (of late), which a later try may mend. */
int sensor_ask(const struct sensor_ask *a, struct sensor_reading *ret, int64_t *ret_age_us,
               struct err *e);

#endif
