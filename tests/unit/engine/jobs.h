/* Run many jobs on an engine at once and collect what came, for tests. */
#ifndef TESTS_JOBS_H
#define TESTS_JOBS_H

#include "engine/engine.h"

#define JOBS_TOKENS 512

struct jobs_answer {
    int n_tokens, finish, err, n_cached, n_prompt_events;
    int n_dropped; /* of the tokens: behind the end of the text */
    int32_t token[JOBS_TOKENS];
    float logprob[JOBS_TOKENS];
    float prompt_logprob[JOBS_TOKENS];
    char text[8192];
    size_t n_text;
};

struct jobs_spec {
    const int32_t *prompt;
    const uint32_t *answer; /* phases, or NULL */
    int32_t n_prompt;
    struct sampling sampling;
    int n_choices; /* 0: 1 */
    int echo;
    const int32_t *prediction;
    int32_t n_prediction;
    uint64_t salt;
    int tier;
    int tenant;
    int cancel_after;     /* > 0: cancel once so many tokens have come */
    int never_read_until; /* > 0: the reader sleeps so many ms before reading */
};

/* All n at once; answers[i * JOB_CHOICES_MAX + choice] for n_choices > 1, else answers[i]. */
void jobs_run(struct engine *e, const struct jobs_spec *spec, int n, struct jobs_answer *answers,
              int per_job);

/* One job by hand, for tests that look at single events. */
#define JOBS_TEXT    8192
#define JOBS_WAIT_US 120000000
/* Initialise and submit; box is the mailbox of this thread's jobs. */
int jobs_start(struct engine *e, struct job *j, struct mbox *box, const struct jobs_spec *spec,
               struct err *err);
/* Wait for the next event, copy and pop it (text: JOBS_TEXT bytes or NULL). Its kind, or -1 when
 * none came for JOBS_WAIT_US. Of what it points to only usage and times stay, until the next. */
int jobs_next(struct engine *e, struct job *j, struct event *ret, char *text);
/* After DONE was read. */
void jobs_end(struct job *j);

struct sampling jobs_greedy(int max_tokens);
struct sampling jobs_seeded(int max_tokens, uint64_t seed);

#endif
