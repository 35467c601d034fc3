/* One request of a load that is measured: a chat of about so many tokens to an OpenAI-compatible
 * server, streamed, and what its answer tells of time, tokens and energy. Blocking, the caller's
 * thread; any number of them at once.
 *
 * Limits: LOAD_TOKENS_MAX tokens each way, an event of LOAD_EVENT_MAX bytes, an answer of 1 GiB. */
#ifndef CMD_LOAD_REQUEST_H
#define CMD_LOAD_REQUEST_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "job/energy.h"

#define LOAD_TOKENS_MAX 1000000
#define LOAD_EVENT_MAX  ((size_t)1 << 20)
#define LOAD_PRINT_MAX  128

/* The server. Strings are the caller's. */
struct load_server {
    const char *url;    /* of its API: "https://host/v1", without a slash at the end */
    const char *header; /* "Authorization: Bearer ..."; NULL: none */
    const char *ca;     /* certificates to trust; NULL: the system's */
};

/* What is asked. Prompts are words that are tokens of most vocabularies. */
struct load_ask {
    const char *model;
    int64_t words; /* of the prompt ... */
    int64_t
        shared_words;   /* ... of which so many are those of all others with this seed, in front */
    int64_t output;     /* tokens */
    uint64_t seed, nth; /* two with the same are the same */
    int no_ignore_eos;  /* the server does not know ignore_eos: answers may end before */
};

struct load_answer {
    int64_t input_tokens, cached_tokens, output_tokens;
    int64_t first_us, last_us;  /* from the sending on */
    int64_t parts, parts_in;    /* events with text, and those before is_over was set */
    struct energy energy;       /* method unknown: it was not told */
    char print[LOAD_PRINT_MAX]; /* system_fingerprint; "": none */
    int status;                 /* of HTTP; 0: there was none */
};

/* `is_over` (may be NULL): the time in which what is made counts is over. `stop` (may be NULL): the
 * request is given up within a second, ERR_CANCELLED. Errors of fetch.h with what the server said,
 * and ERR_FORMAT for an answer that is none. */
int load_request(const struct load_server *s, const struct load_ask *a, atomic_int *is_over,
                 atomic_int *stop, struct load_answer *ret, struct err *e);

#endif
