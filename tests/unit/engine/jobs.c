#include "jobs.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

struct sampling jobs_greedy(int max_tokens)
{
    return (struct sampling){
        .top_p = 1, .repetition_penalty = 1, .max_tokens = max_tokens, .logprobs = 1};
}

struct sampling jobs_seeded(int max_tokens, uint64_t seed)
{
    struct sampling s = jobs_greedy(max_tokens);
    s.temperature = 0.9f;
    s.seed = seed;
    return s;
}

int jobs_start(struct engine *e, struct job *j, struct mbox *box, const struct jobs_spec *spec,
               struct err *err)
{
    memset(j, 0, sizeof *j);
    j->prompt = spec->prompt;
    j->answer = spec->answer;
    j->n_prompt = spec->n_prompt;
    j->prediction = spec->prediction;
    j->n_prediction = spec->n_prediction;
    j->n_choices = spec->n_choices ? spec->n_choices : 1;
    j->sampling = spec->sampling;
    j->echo = spec->echo;
    j->salt = spec->salt;
    j->tier = (enum tier)spec->tier;
    j->tenant = spec->tenant;
    j->accepted_us = clock_now_us();
    j->reader = box;
    return engine_submit(e, j, err);
}

int jobs_next(struct engine *e, struct job *j, struct event *ret, char *text)
{
    static struct usage usage;
    static struct times times;
    int64_t until = clock_now_us() + JOBS_WAIT_US;
    const struct event *ev;

    while (!(ev = engine_event_peek(j))) {
        struct mbox_item *list;
        if (clock_now_us() > until)
            return -1;
        mbox_wait(j->reader, 20);
        list = mbox_take(j->reader); /* of any job here: only the wake-up matters */
        while (mbox_next(&list))
            ;
    }
    *ret = *ev;
    if (ev->usage)
        usage = *ev->usage;
    if (ev->times)
        times = *ev->times;
    ret->usage = &usage;
    ret->times = &times;
    if (text) {
        memcpy(text, ev->text, ev->n_text);
        text[ev->n_text] = 0;
    }
    engine_event_pop(e, j);
    return ret->kind;
}

void jobs_end(struct job *j)
{
    while (!engine_release(j)) {
        struct mbox_item *list = mbox_take(j->reader);
        while (mbox_next(&list))
            ;
    }
}

static void take(struct jobs_answer *a, const struct event *ev)
{
    if (ev->kind == EVENT_TEXT && a->n_tokens < JOBS_TOKENS) {
        a->token[a->n_tokens] = ev->token;
        a->logprob[a->n_tokens++] = ev->logprob;
    }
    if (ev->kind == EVENT_PROMPT && a->n_prompt_events < JOBS_TOKENS)
        a->prompt_logprob[a->n_prompt_events++] = ev->logprob;
    if (ev->kind == EVENT_FINISH) {
        a->finish = ev->finish;
        a->n_dropped = ev->n_unshown;
    }
    if (a->n_text + ev->n_text < sizeof a->text) {
        memcpy(a->text + a->n_text, ev->text, ev->n_text);
        a->n_text += ev->n_text;
        a->text[a->n_text] = 0;
    }
}

void jobs_run(struct engine *e, const struct jobs_spec *spec, int n, struct jobs_answer *answers,
              int per_job)
{
    struct job *job = calloc((size_t)n, sizeof *job);
    int *ended = calloc((size_t)n, sizeof *ended), left = n;
    struct mbox box;
    struct err err;

    CHECK(job && ended && !mbox_open(&box));
    memset(answers, 0, (size_t)n * (size_t)per_job * sizeof *answers);
    for (int i = 0; i < n; i++) {
        struct job *j = &job[i];
        j->prompt = spec[i].prompt;
        j->answer = spec[i].answer;
        j->n_prompt = spec[i].n_prompt;
        j->prediction = spec[i].prediction;
        j->n_prediction = spec[i].n_prediction;
        j->n_choices = spec[i].n_choices ? spec[i].n_choices : 1;
        j->sampling = spec[i].sampling;
        j->echo = spec[i].echo;
        j->salt = spec[i].salt;
        j->tier = (enum tier)spec[i].tier;
        j->tenant = spec[i].tenant;
        j->accepted_us = clock_now_us();
        j->reader = &box;
        if (engine_submit(e, j, &err)) {
            answers[i * per_job].err = err.code;
            left--;
        }
    }
    while (left) {
        struct mbox_item *list, *it;
        mbox_wait(&box, 1000);
        list = mbox_take(&box);
        while ((it = mbox_next(&list))) {
            struct job *j = (void *)((char *)it - offsetof(struct job, item));
            int i = (int)(j - job);
            const struct event *ev;
            if (spec[i].never_read_until && !ended[i])
                clock_sleep_us(spec[i].never_read_until * 1000);
            while (!ended[i] && (ev = engine_event_peek(j))) {
                struct jobs_answer *a = &answers[i * per_job + (per_job > 1 ? ev->choice : 0)];
                take(a, ev);
                if (ev->kind == EVENT_STARTED)
                    a->n_cached = ev->n_cached;
                if (ev->kind == EVENT_DONE) {
                    answers[i * per_job].err = ev->code;
                    ended[i] = 1;
                }
                if (spec[i].cancel_after && a->n_tokens == spec[i].cancel_after)
                    engine_cancel(e, j);
                engine_event_pop(e, j);
            }
            if (ended[i] == 1 && engine_release(j)) {
                ended[i] = 2;
                left--;
            }
        }
    }
    free(job);
    free(ended);
    mbox_close(&box);
}
