/* A bounded timeline of one request: what happened to it, and when. Also a ring of the last times
 * of one kind. Both belong to one thread, so nothing here is atomic. */
#ifndef CONSOLE_TIMELINE_H
#define CONSOLE_TIMELINE_H

#include <stdint.h>

#define TIMELINE_MARKS   64  /* of one request; the dense ones are thinned out to fit */
#define TIMELINE_SAMPLES 256 /* times kept of each kind, model and io thread */
#define TIMELINE_SPAN_US INT64_C(300000000) /* older samples do not count */

enum timeline_what {
    TIMELINE_ACCEPTED,
    TIMELINE_QUEUED,
    TIMELINE_STARTED,
    TIMELINE_PREFILL,
    TIMELINE_FIRST_TOKEN,
    TIMELINE_DECODE,
    TIMELINE_PREEMPTED,
    TIMELINE_FINISHED,
    TIMELINE_N
};
const char *timeline_name(enum timeline_what what);

struct timeline_mark {
    int64_t at_us;
    int32_t n;
    int32_t what;
};

struct timeline {
    int n_marks;
    uint32_t stride[TIMELINE_N], skipped[TIMELINE_N]; /* of those that come often */
    struct timeline_mark mark[TIMELINE_MARKS];
};

/* Note what happened at `at_us` with n tokens so far. Prefill and decode marks are thinned out:
 * when the timeline is full every second one is removed, and from then on every second one is
 * noted. */
void timeline_note(struct timeline *t, enum timeline_what what, int64_t at_us, int64_t n);

/* ---- times of the last minutes --------------------------------------------------------------- */

enum timeline_time { TIMELINE_TTFT, TIMELINE_TPOT, TIMELINE_QUEUE, TIMELINE_TIMES };

/* The last values, in a ring. */
struct timeline_samples {
    int32_t n, next;
    struct {
        int64_t at_us;
        float seconds;
    } v[TIMELINE_SAMPLES];
};

void timeline_sample(struct timeline_samples *s, int64_t now_us, int64_t value_us);
/* Append those of the last TIMELINE_SPAN_US to out[n], as seconds; returns the new n. */
int timeline_recent(const struct timeline_samples *s, int64_t now_us, float *out, int n, int max);
/* Of n values, which are sorted in place. Nearest rank; 0 when there are none. */
double timeline_quantile(const float *sorted, int n, double q);
void timeline_sort(float *v, int n);

#endif
