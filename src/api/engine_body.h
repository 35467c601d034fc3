/* The engine at work: what /v1/engine/... answers; the members are in docs/api.md. Strings are the
 * caller's. */
#ifndef API_ENGINE_BODY_H
#define API_ENGINE_BODY_H

#include <stdint.h>

#include "api/endpoint.h"
#include "base/buf.h"
#include "base/err.h"

struct api_spread { /* of times in seconds; n 0: none were seen */
    double p50, p95, p99;
    int64_t n;
};

struct api_engine_model {
    const char *id, *state; /* "loaded", "loading", "failed", "frozen" */
    double loading;         /* 0..1 */
    const char *kernels, *cls, *kv_type, *formats, *family; /* NULL: not known */
    int64_t context, batch_max, chunk;
    uint64_t weight_bytes, kv_bytes, work_bytes, vocab_bytes;
    int has_limit; /* as last measured; a rate of 0 is not known */
    double read_bytes_per_s, decode_tokens_per_s, prefill_tokens_per_s;
    int64_t measured; /* unix seconds */
    int64_t n_running, n_waiting, batch_tokens, batch_sequences;
    int64_t pages, pages_used, pages_shared, pages_free, page_tokens;
    uint64_t steps, prompt_tokens, cached_tokens, generated_tokens, weight_bytes_read, preemptions,
        requests, draft_tokens, draft_accepted;
    struct api_spread ttft, tpot, queue;
};

struct api_engine_mark {
    double t; /* seconds since the request was accepted */
    const char *what;
    int64_t n; /* tokens so far */
};

struct api_engine_request {
    const char *id, *client_id, *model, *endpoint, *state;
    const char *finish; /* NULL: not yet */
    int stream;
    int64_t position; /* in the queue, 1 is next; 0: not waiting */
    int64_t prompt_tokens, cached_tokens, prefilled_tokens, generated_tokens, choices;
    int64_t draft_tokens, draft_accepted;
    double tokens_per_s, age_s, accepted;
    double ttft_s; /* < 0: no token yet */
};

struct api_engine_state {
    double time, uptime_s, cpu_s;
    const char *version, *cpu;
    uint64_t resident_bytes, machine_bytes, available_bytes;
    int64_t threads;
    const struct api_engine_model *models;
    int n_models;
    const struct api_engine_request *requests;
    int n_requests;
    int64_t others;
};
/* Bodies: 0 or the buffer's failure. */
int api_engine_state_body(struct buf *out, const struct api_engine_state *s);
int api_engine_request_body(struct buf *out, const struct api_engine_request *r,
                            const struct api_engine_mark *marks, int n_marks);
int api_engine_cancel_body(struct buf *out, const char *id, int cancelled);
/* ?interval_ms= of the events, 500 where absent. ERR_SCHEMA outside 100..10000. */
int api_engine_interval(const struct api_route_match *m, int *ret_ms, struct err *e);
int api_err_request(struct err *e, const char *id); /* ERR_NOTFOUND: no such request */

#endif
