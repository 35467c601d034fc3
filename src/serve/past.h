/* Rows of requests, as they are told to people: of a call under way, and the last that ended on
 * each io thread, with their times. Everything here belongs to one io thread. */
#ifndef SERVE_PAST_H
#define SERVE_PAST_H

#include "serve/serve.h"
#include "serve/track.h"

struct call;

enum past_state { PAST_QUEUED, PAST_PREFILL, PAST_DECODE, PAST_FINISHED };

struct past_row {
    char id[40], client_id[80];
    const char *model, *endpoint, *finish; /* static, or the server's; finish NULL: not yet */
    enum past_state state;
    int i_tenant, i_model, service, stream;
    uint64_t order;
    int32_t n_choices, n_prompt, n_cached, n_prefilled, n_generated, n_drafted, n_draft_right;
    int64_t started_us, first_us, last_us, ended_us; /* 0: not yet */
};

struct past_one {
    struct past_row row;
    int n_marks;
    struct track_mark mark[TRACK_MARKS];
};

struct past {
    uint64_t n; /* requests that ended, ever */
    struct past_one one[TRACK_PAST];
    uint64_t n_requests[SERVE_MODELS_MAX]; /* that reached the model */
    struct track_samples *samples;         /* [model][kind] */
};

/* NULL: out of memory. */
struct past *past_new(int n_models);
void past_free(struct past *p); /* accepts NULL */

/* Does this call hand jobs to a supplier? */
int past_is_job(const struct call *c);
void past_row(struct past_row *r, const struct call *c);
void past_marks(struct past_one *p, const struct track *t);
/* The i-th newest that ended; NULL past the oldest kept. */
const struct past_one *past_get(const struct past *p, int i);

/* From the call's io thread: its jobs are at the supplier; its first token came; it is over. */
void past_began(struct call *c);
void past_first_token(struct call *c);
void past_add(struct call *c);

#endif
