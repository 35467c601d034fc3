/* One event of a job, on its way from the supplier that computes it (the engine, or another) to the
 * code that writes the answer. A plain value. The memory that it points to belongs to the supplier
 * and stays unchanged until the supplier is told that the event was read. */
#ifndef JOB_EVENT_H
#define JOB_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "job/receipt.h"
#include "job/usage.h"

struct err;

enum event_kind {
    EVENT_STARTED,   /* left the queue: n_cached prompt tokens are there, times->queue_us */
    EVENT_PREFILL,   /* n_done of the prompt's tokens are computed; nothing to answer */
    EVENT_PREEMPTED, /* a choice lost its place, and is computed again later; nothing to answer */
    EVENT_PROMPT,    /* echo with logprobs: one prompt token, in order */
    EVENT_TEXT,      /* one generated token; its text may be empty (held back) */
    EVENT_FINISH,    /* a choice ended; the text is what was held back */
    EVENT_DONE,      /* the job ended, after the FINISH of its choices; nothing follows */
    EVENT_RELAY,     /* a piece of an answer that is in the client's dialect already: in a stream
                        the JSON of one chunk, else the whole body. EVENT_DONE follows the last */
    EVENT_ERROR      /* the request failed; nothing follows */
};

/* Why a choice ended. */
enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_TOOL_CALLS, FINISH_CONTENT_FILTER };

enum channel { CHANNEL_CONTENT, CHANNEL_REASONING };

/* One of the likeliest tokens at a position, reported beside the drawn one (top_logprobs). */
struct top {
    int32_t token;
    float logprob;
    const char *bytes;
    size_t n_bytes;
};

struct event {
    enum event_kind kind;
    int32_t choice; /* of the job, 0..n_choices-1 */

    /* TEXT, FINISH: whole UTF-8 to append. RELAY: the JSON. */
    const char *text;
    size_t n_text;
    enum channel channel;

    /* TEXT: how many of the choice's last tokens, this one included, have no text shown yet.
     * FINISH: how many never will: they lie in or after a stop string and do not belong to the
     * answer. */
    int32_t n_unshown;

    /* TEXT, PROMPT: the token. Its logprob is the model's own (temperature 1), NaN for the first
     * prompt token; it and the alternatives (best first) are there where they were asked for. */
    int32_t token;
    int special; /* its bytes are no part of the text (control tokens) */
    const char *bytes;
    size_t n_bytes;
    float logprob;
    int32_t n_top;
    const struct top *top;

    enum finish finish; /* FINISH; RELAY: where it is_last */
    int has_content;    /* RELAY: part of the answer (text, reasoning, a tool call), not only its
                           opening */
    int is_last;        /* RELAY: it ends a choice */

    int32_t n_generated;              /* TEXT, FINISH: of the choice, so far */
    int32_t n_cached, n_done;         /* STARTED, PREFILL: of the prompt's tokens, so far */
    int32_t n_drafted, n_draft_right; /* TEXT, DONE: of the job so far */

    /* RELAY: where in the text its object `usage` is, which is told in `usage` so far; 0: none. */
    size_t usage_from, usage_to;
    const struct usage *usage; /* DONE */
    /* DONE; RELAY with usage: what its client is told beside the tokens; NULL: nothing */
    const struct receipt *receipt;
    const struct usage *owed;  /* DONE: to the supplier, where that is another number; or NULL */
    const struct times *times; /* STARTED, DONE */
    int64_t energy_uj;         /* of the job so far, where its supplier meters it; else 0 */
    int code;                  /* DONE: 0, or the ERR_* that ended the job */
    const struct err *err;     /* ERROR; DONE with a code: its sentence, or NULL */
    int64_t retry_us;          /* DONE with a code: when to come back; 0: unknown */
};

#endif
