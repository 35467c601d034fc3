/* A job: one prompt and its choices on the way through a supplier. It has what is asked for, and
 * where its events are to be announced. The memory is the caller's; from submit until release the
 * supplier reads it, and nothing may change it. */
#ifndef JOB_JOB_H
#define JOB_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/mbox.h"
#include "job/sampling.h"
#include "job/tier.h"

#define JOB_CHOICES_MAX 16

/* A request in the client's words, for a supplier that takes it so and answers in the same dialect
 * (EVENT_RELAY). */
struct job_relay {
    const char *path; /* below /v1: "/chat/completions" */
    const char *body; /* JSON that was read and found well-formed */
    size_t n_body;
    int stream, include_usage;
    const char *traceparent, *tracestate; /* headers for it; NULL: none */
    int i_key;                            /* with which of this server's keys there */
    int32_t max_tokens; /* of each choice, where the client left it open; 0: as it says ... */
    int32_t max_held;   /* ... which is this; 0: nothing */
};

/* What was told of a choice before its job was cut off, by an engine that computes the same bits:
 * the answer goes on behind it. */
struct job_past {
    const int32_t *token; /* [n] as EVENT_TEXT told them */
    int32_t n;
    int is_over;         /* its EVENT_FINISH was told: nothing more comes of it, ... */
    int32_t n_generated; /* ... and it had so many tokens */
};

struct job {
    /* The prompt: its tokens, or for a supplier that takes none its text or the messages. */
    const int32_t *prompt;
    const uint32_t *answer; /* the phases of its tokens (job/phase.h), or NULL */
    int32_t n_prompt;
    const char *text;
    size_t n_text;
    const json_t *messages;
    const struct job_relay *relay; /* the whole request; NULL: the supplier takes none */

    const int32_t *prediction; /* text that the client expects in the answer: only for drafts */
    int32_t n_prediction;

    int32_t n_choices; /* 1..JOB_CHOICES_MAX, of one prompt */
    struct sampling sampling;
    int echo; /* EVENT_PROMPT for every prompt token, with its logprobs */
    const struct job_past *past; /* [n_choices], without echo; NULL: it begins */
    int32_t past_cached;         /* of the prompt's tokens, as EVENT_STARTED told them then */

    uint64_t salt;  /* caches are shared among equal salts only */
    int32_t tenant; /* >= 0: jobs of different tenants take turns */
    enum tier tier; /* granted */
    int goes_first; /* it is within a contract: it goes before all tiers */
    int64_t accepted_us;

    /* Where `item` is posted when there are events to read. Its kind and owner are the reader's. */
    struct mbox *reader;
    int io; /* the io thread whose mailbox it is */
    struct mbox_item item;

    void *inner; /* the supplier's */
    int waits; /* the supplier's, for the reader thread: it waits for its turn to be sent elsewhere
                */
};

#endif
