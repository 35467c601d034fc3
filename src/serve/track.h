/* What is known of a request on its way: counts, a bounded timeline, and its row for people.
 *
 * A track belongs to its call, a track_past to its io thread: nothing here is shared, so nothing
 * here is atomic. Other threads learn of it by a trip (watch.h), which visits the io threads one by
 * one and copies. */
#ifndef SERVE_TRACK_H
#define SERVE_TRACK_H

#include <stdint.h>

#define TRACK_MARKS   64                 /* of one request; the dense ones are thinned out to fit */
#define TRACK_PAST    256                /* requests that ended, kept by each io thread */
#define TRACK_SAMPLES 256                /* times kept of each kind, model and io thread */
#define TRACK_SPAN_US INT64_C(300000000) /* older samples do not count */

enum track_what {
    TRACK_ACCEPTED,
    TRACK_QUEUED,
    TRACK_STARTED,
    TRACK_PREFILL,
    TRACK_FIRST_TOKEN,
    TRACK_DECODE,
    TRACK_PREEMPTED,
    TRACK_FINISHED,
    TRACK_N
};
const char *track_name(enum track_what what);

struct track_mark {
    int64_t at_us;
    int32_t n;
    int32_t what;
};

struct track {
    uint64_t order; /* of arrival at the suppliers; 0: not there yet */
    int32_t n_choices, n_prompt, n_cached, n_prefilled, n_generated, n_drafted, n_draft_right;
    int64_t first_us, last_us; /* tokens; 0: none yet */
    int64_t ended_us;
    int n_marks;
    uint32_t stride[TRACK_N], skipped[TRACK_N]; /* of those that come often */
    struct track_mark mark[TRACK_MARKS];
};

/* Note what happened at `at_us` with n tokens so far. Prefill and decode marks are thinned: when
 * the timeline is full every second one goes, and from then on every second one comes. */
void track_note(struct track *t, enum track_what what, int64_t at_us, int64_t n);
/* A token of one of its choices. */
static inline void track_token(struct track *t, int64_t now_us)
{
    t->n_generated++;
    t->last_us = now_us;
    if (t->first_us) {
        track_note(t, TRACK_DECODE, now_us, t->n_generated);
    } else {
        t->first_us = now_us;
        track_note(t, TRACK_FIRST_TOKEN, now_us, t->n_generated);
    }
}

/* ---- times of the last minutes --------------------------------------------------------------- */

enum track_time { TRACK_TTFT, TRACK_TPOT, TRACK_QUEUE, TRACK_TIMES };

/* The last values, in a ring. */
struct track_samples {
    int32_t n, next;
    struct {
        int64_t at_us;
        float seconds;
    } v[TRACK_SAMPLES];
};

void track_sample(struct track_samples *s, int64_t now_us, int64_t value_us);
/* Append those of the last TRACK_SPAN_US to out[n], as seconds; returns the new n. */
int track_recent(const struct track_samples *s, int64_t now_us, float *out, int n, int max);
/* Of n values, which are sorted in place. Nearest rank; 0 when there are none. */
double track_quantile(const float *sorted, int n, double q);
void track_sort(float *v, int n);

#endif
