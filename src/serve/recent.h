/* Rows of requests, as they are told to people: of a call under way, and the last that ended on
 * each io thread, with their times. Everything here belongs to one io thread. */
#ifndef SERVE_RECENT_H
#define SERVE_RECENT_H

#include "console/timeline.h"
#include "serve/serve.h"

struct call;

enum recent_state { RECENT_QUEUED, RECENT_PREFILL, RECENT_DECODE, RECENT_FINISHED };

struct recent_row {
    char id[40], client_id[80];
    const char *model, *endpoint, *finish; /* static, or the server's; finish NULL: not yet */
    enum recent_state state;
    int i_tenant, i_model, service, stream;
    uint64_t order;
    int32_t n_choices, n_prompt, n_cached, n_prefilled, n_generated, n_drafted, n_draft_right;
    int64_t started_us, first_us, last_us, ended_us; /* 0: not yet */
};

struct recent_one {
    struct recent_row row;
    int n_marks;
    struct timeline_mark mark[TIMELINE_MARKS];
};

struct recent {
    uint64_t n; /* requests that ended, ever */
    struct recent_one one[TIMELINE_PAST];
    uint64_t n_requests[SERVE_MODELS_MAX]; /* that reached the model */
    struct timeline_samples *samples;      /* [model][kind] */
};

/* NULL: out of memory. */
struct recent *recent_new(int n_models);
void recent_free(struct recent *p); /* accepts NULL */

/* Does this call hand jobs to a supplier? */
int recent_is_job(const struct call *c);
void recent_row(struct recent_row *r, const struct call *c);
void recent_marks(struct recent_one *p, const struct timeline *t);
/* The i-th newest that ended; NULL past the oldest kept. */
const struct recent_one *recent_get(const struct recent *p, int i);

/* From the call's io thread: its jobs are at the supplier; its first token came; it is over. */
void recent_began(struct call *c);
void recent_first_token(struct call *c);
void recent_back(struct call *c); /* they are not, and the call is routed again */
void recent_add(struct call *c);

#endif
