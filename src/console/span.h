/* Spans of a traced request, as OTLP's JSON (opentelemetry-proto, trace/v1). Names are those of
 * OpenTelemetry's conventions for HTTP and GenAI. Nothing of a prompt or an answer is in them: only
 * numbers, and names of models, suppliers and tenants. Pure functions.
 *
 * A request is one SERVER span. Each try at a supplier is its child: CLIENT where the supplier is
 * elsewhere (its id was sent there as the parent), INTERNAL where the engine is in this process. A
 * try's children are queue, prefill and decode. Tokens stand on the tries alone, so that a sum over
 * all spans counts none twice. */
#ifndef CONSOLE_SPAN_H
#define CONSOLE_SPAN_H

#include <stdint.h>

#include "api/api.h"
#include "base/buf.h"
#include "job/usage.h"

#define SPAN_TRIES_MAX 12
#define SPAN_BYTES_MAX ((size_t)64 << 10) /* of all spans of one request */

/* A try at a supplier. Times by clock_now_us; 0: it did not come so far. */
struct span_try {
    unsigned char span[TRACE_SPAN_BYTES];
    const char *supplier; /* "NAME/MODEL" */
    int is_local;
    int64_t began_us, started_us, first_us, last_us, ended_us;
    int code;       /* 0 or ERR_* */
    int is_hedge;   /* beside another */
    int has_answer; /* it is the one that was answered: usage and finish are its */
};

/* What is told of a request. Strings are borrowed; NULL or "": nothing to say. */
struct span_request {
    struct trace_context context; /* its own span */
    const char *state;            /* tracestate */
    int has_parent;
    unsigned char parent[TRACE_SPAN_BYTES];
    const char *operation; /* "chat", "text_completion"; NULL: it generates nothing */
    const char *method, *path, *id, *client_id, *tenant, *key_id;
    const char *model_asked, *model;
    const char *tier, *finish, *reply_id;
    const char *site, *contract, *lender; /* contract: as x-gaufre-contract says it */
    int stream, status, code;
    int32_t max_tokens, n_choices; /* <= 0: not said */
    int64_t started_us, first_us, ended_us;
    int64_t wall_us; /* what the wall clock said at ended_us */
    struct usage usage;
    struct span_try list[SPAN_TRIES_MAX];
    int n_tries;
};

/* Objects of OTLP's "spans", with commas between them. `random`: 24 bytes for each try, for the ids
 * of its children. 0 or the buffer's failure. */
int span_put(struct buf *out, const struct span_request *r, const unsigned char *random);
int span_count(const struct span_request *r); /* how many spans that makes */
/* {"key":K,"value":{"stringValue":V}} */
void span_put_text(struct buf *out, const char *key, const char *value);

#endif
