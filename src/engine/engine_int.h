/* Inside of the engine, shared by its own files only. */
#ifndef ENGINE_ENGINE_INT_H
#define ENGINE_ENGINE_INT_H

#include <pthread.h>

#include "base/ring.h"
#include "base/team.h"
#include "engine/energy_meter.h"
#include "engine/engine.h"
#include "engine/kv.h"
#include "engine/lookup.h"
#include "engine/model.h"
#include "engine/sample.h"
#include "engine/step.h"
#include "job/phase.h"
#include "policy/batch.h"
#include "policy/draft.h"
#include "policy/energy_split.h"
#include "policy/sched.h"
#include "text/detok.h"
#include "text/jinja.h"
#include "text/stop.h"
#include "text/vocab.h"

/* Positions with logits in one step beside one of each sequence: of a prompt, or drafted. */
#define MORE_ROWS 64
/* Runs of one phase in one step beside one of each sequence. */
#define MORE_RUNS 256

/* A job in the engine's hands: made by engine_submit, freed by engine_release. */
struct engine_job {
    struct job *ask; /* the caller's, read only; but `item` in it is posted */
    struct mbox_item inbox;
    _Atomic int cancel, paused, released;
    _Atomic int32_t n_before; /* of those that wait; -1: not known */
    struct sched_job sched;   /* its place among the others */
    int32_t limit;            /* generated tokens at most */
    int32_t n_inside;         /* choices that have not ended */
    int32_t n_finished, n_cached, n_generated;
    int32_t n_predicted_right, n_predicted_wrong, n_drafted, n_draft_right;
    int32_t n_prompt_done; /* computed so far; once, however often it was preempted */
    int err;
    int64_t energy_uj;
    int energy_is_late; /* of a step nothing was known */
    uint64_t salt;
    int64_t scheduled_us, first_us;
    struct ring ring; /* of its events */
    _Alignas(8) unsigned char data[];
};

/* How what was told of a choice before (job_past) ends. */
enum past_end { PAST_GOES_ON, PAST_TOLD, PAST_STOP, PAST_LENGTH, PAST_FAILED };

/* One choice of a job, in a slot. */
struct engine_seq {
    struct sched_seq slot; /* as policy sees it: its state, and what it takes in the step */
    struct engine_job *job;
    int32_t choice;
    struct kv_seq kv;
    int32_t *token;          /* [context + 1] prompt, then answer */
    uint32_t *answer;        /* their phases; all 0 where the class has none */
    int32_t n_token, n_done; /* tokens; positions computed */
    int32_t n_generated;
    int32_t n_told; /* echo: prompt tokens whose event was sent, also before a preemption */
    struct detok detok;
    struct stop stop;
    int32_t tok[2];      /* its first token of each phase in the step under way */
    int32_t out, n_out;  /* its logits */
    int32_t row, n_rows; /* and its draws */
    int prompt_err;
    enum past_end past_end;
    /* Speculation: token[n_token ...] holds n_draft proposed tokens during a step. */
    struct lookup lookup;
    struct draft_trust trust;
    int32_t n_indexed; /* of its tokens in the lookup */
    int32_t n_draft, n_draft_predicted, draft_match;
};

/* A draw of the step under way. */
struct loop_row {
    struct engine_seq *seq;
    int32_t ahead; /* how many draft tokens precede it: it is valid only if they are accepted */
    int err;
    struct sample_out out;
};

struct loop {
    struct engine_seq *seq; /* [n_seqs] */
    int32_t n_seqs;
    struct sched sched;             /* all jobs, and who is in which slot */
    struct sched_seq **slot;        /* [n_seqs] those of seq */
    struct sample_scratch *scratch; /* per worker */
    struct sched_seq **plan;        /* [n_seqs] those of the step, in the order in which they go */
    int32_t *tokens, *out;
    struct step_seg *seg;
    struct loop_row *rows; /* [n_seqs + MORE_ROWS], of a sequence in order of position */
    int32_t n_rows;
    struct draft_cost cost;        /* of steps without prompt tokens */
    struct draft_cost prompt_cost; /* of steps of prompt tokens only */
    struct energy_share *share;    /* [n_seqs] */
    struct draft_trust trust[2];   /* of greedy sequences, of sampled ones */
    int64_t placed_us;             /* when those that wait were told their places */
    int64_t step_began_us;
    int step_has_prompt, step_has_answer;
    int is_working;  /* as the meter was told */
    int32_t *banned; /* end-of-generation tokens, not drawn before min_tokens */
    int32_t n_banned;
    struct buf text, piece; /* scratch for one token: the text to send, the detokenised piece */
    int wake_n;
    struct mbox *wake[64]; /* readers to wake at the end of the step */
};

struct engine {
    struct engine_info info;
    struct arena arena; /* strings of info, the template's text */
    struct model model;
    struct vocab *vocab;
    struct jinja *jinja;
    const struct kern_table *kern;
    struct team *team;
    struct energy_meter *meter;
    struct kv *kv;
    struct step *step;
    enum engine_class cls;
    int use_cache, use_drafts, draft_always;
    int64_t stall_us_max;
    char no_template[600];

    struct mbox inbox;
    pthread_t thread;
    int has_thread;
    _Atomic int quit;
    _Atomic int32_t places;     /* sequences that may be computed together ... */
    _Atomic int32_t others_max; /* ... and all but those that go first; 0: all */
    struct loop loop;

    /* Observation: written by the engine thread; n_waiting and n_inside also by who submits. */
    _Atomic int64_t beat_us; /* the end of the last step or idle tick (<= 250 ms) */
    _Atomic uint64_t n_steps, prompt_tokens, cached_tokens, generated_tokens, weight_bytes_read,
        preemptions, draft_tokens, draft_accepted, energy_uj;
    _Atomic int32_t n_waiting, n_inside, n_running, pages_free, pages_cached, last_tokens,
        last_seqs;
    _Atomic int32_t turn[TIER_AUTO];
};

int loop_open(struct engine *e, struct err *err);
void loop_close(struct engine *e);
/* The engine thread. */
void *loop_main(void *engine);

#endif
