/* A preset: the values with which a model's tokens should be drawn, as its makers or the catalogue
 * recommend. It is shown to users, and a server with default_sampling set to "model" uses it where
 * a request states no value. Pure. */
#ifndef JOB_PRESET_H
#define JOB_PRESET_H

#include <stdint.h>

#include "base/buf.h"

struct preset {
    double temperature; /* 0..2; 0: greedy */
    double top_p;       /* above 0, to 1: off */
    double min_p;       /* 0..1; 0: off */
    int32_t top_k;      /* 0: off */
};

#define PRESET_TOP_K_MAX (1 << 20)

/* The API's defaults: the model's own distribution. */
struct preset preset_plain(void);
int preset_is_valid(const struct preset *s);
/* {"temperature":0.6,"top_p":0.9,"top_k":0,"min_p":0} */
int preset_put(struct buf *out, const struct preset *s);
/* For people: "temperature 0.6, top_p 0.9", without what is off. */
int preset_tell(struct buf *out, const struct preset *s);

#endif
