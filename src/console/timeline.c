#include "console/timeline.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"

const char *timeline_name(enum timeline_what what)
{
    static const char *const names[] = {"accepted",    "queued", "started",   "prefill",
                                        "first_token", "decode", "preempted", "finished"};

    _Static_assert(sizeof names / sizeof names[0] == TIMELINE_N, "a name each");
    return names[what];
}

static int is_dense(int what)
{
    return what == TIMELINE_PREFILL || what == TIMELINE_DECODE || what == TIMELINE_PREEMPTED;
}

/* Remove every second mark of each frequent kind (prefill, decode). */
static void thin_out(struct timeline *t)
{
    uint32_t seen[TIMELINE_N] = {0};
    int n = 0;

    for (int i = 0; i < t->n_marks; i++) {
        int what = t->mark[i].what;
        if (is_dense(what) && seen[what]++ & 1)
            continue;
        t->mark[n++] = t->mark[i];
    }
    for (int k = 0; k < TIMELINE_N; k++)
        t->stride[k] *= 2;
    t->n_marks = n;
}

void timeline_note(struct timeline *t, enum timeline_what what, int64_t at_us, int64_t n)
{
    if (is_dense(what)) {
        if (!t->stride[what])
            t->stride[what] = 1;
        if (t->skipped[what]++ % t->stride[what])
            return;
        if (t->n_marks >= TIMELINE_MARKS - 2) { /* keep room for kinds that occur once */
            thin_out(t);
            t->skipped[what] = 1;
        }
    }
    if (t->n_marks && at_us < t->mark[t->n_marks - 1].at_us)
        at_us = t->mark[t->n_marks - 1].at_us; /* clocks of two threads: order wins */
    if (t->n_marks < TIMELINE_MARKS)
        t->mark[t->n_marks++] = (struct timeline_mark){
            .at_us = at_us, .n = (int32_t)(n < INT32_MAX ? n : INT32_MAX), .what = what};
}

/* ---- times of the last minutes --------------------------------------------------------------- */

void timeline_sample(struct timeline_samples *s, int64_t now_us, int64_t value_us)
{
    s->v[s->next].at_us = now_us;
    s->v[s->next].seconds = (float)value_us / 1e6f;
    s->next = (s->next + 1) % TIMELINE_SAMPLES;
    if (s->n < TIMELINE_SAMPLES)
        s->n++;
}

int timeline_recent(const struct timeline_samples *s, int64_t now_us, float *out, int n, int max)
{
    for (int i = 0; i < s->n && n < max; i++) {
        int k = (s->next - 1 - i + TIMELINE_SAMPLES) % TIMELINE_SAMPLES; /* newest first */
        if (now_us - s->v[k].at_us > TIMELINE_SPAN_US)
            break;
        out[n++] = s->v[k].seconds;
    }
    return n;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void timeline_sort(float *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
}

double timeline_quantile(const float *sorted, int n, double q)
{
    int k = (int)ceil(q * n) - 1;

    CHECK(q >= 0 && q <= 1);
    if (!n)
        return 0;
    return sorted[k < 0 ? 0 : k];
}
