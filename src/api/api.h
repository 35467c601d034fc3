/* Door of the api room: dialects (OpenAI, Cerebras) <-> one neutral request and one neutral event.
 *
 * Pure functions over the caller's memory: no sockets, no engine, no clock, no locks. Any thread;
 * one object is used by one thread at a time. What a server does with it, in order:
 *
 *   api_route_find          method + target -> which endpoint, model id, 404/405
 *   api_key_find            which header carries the key
 *   api_parse_chat/...      body -> struct api_request, or a struct err for api_error_body
 *   api_check_tokens/...    what only the model knows: vocabulary, context
 *   api_reply_init          then api_reply_event for every event: bytes to send (stream), or
 *   api_reply_body          at the end (not stream)
 *
 * The contract's tables (fields, routes, errors) are tables here too; docs/api.md is checked
 * against them. */
#ifndef API_API_H
#define API_API_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "job/event.h"
#include "job/preset.h"
#include "job/sampling.h"
#include "job/tier.h"
#include "job/usage.h"

/* ---- routes ---------------------------------------------------------------------------------- */

enum api_route_id {
    API_ROUTE_HOME,          /* GET / */
    API_ROUTE_CHAT,          /* POST /v1/chat/completions */
    API_ROUTE_COMPLETION,    /* POST /v1/completions */
    API_ROUTE_MODELS,        /* GET /v1/models */
    API_ROUTE_MODEL,         /* GET /v1/models/{id}, id in match.arg */
    API_ROUTE_PUBLIC_MODELS, /* GET /public/v1/models, no key */
    API_ROUTE_PUBLIC_MODEL,
    API_ROUTE_WARMING,  /* GET /v1/tcp_warming: 200 {} */
    API_ROUTE_TOKENIZE, /* POST /tokenize */
    API_ROUTE_DETOKENIZE,
    API_ROUTE_APPLY_TEMPLATE,
    API_ROUTE_HEALTH,         /* GET /health, /healthz, /v1/health */
    API_ROUTE_READY,          /* GET /ready */
    API_ROUTE_METRICS,        /* GET /metrics */
    API_ROUTE_ENGINE_EVENTS,  /* GET /v1/engine/events */
    API_ROUTE_ENGINE_REQUEST, /* GET /v1/engine/requests/{id}, id in match.arg */
    API_ROUTE_ENGINE_CANCEL,  /* POST /v1/engine/requests/{id}/cancel */
    API_ROUTE_PREFLIGHT,      /* OPTIONS on any path: 204 with api_cors_headers */
    API_ROUTE_UNBUILT, /* in the contract, not built: api_route_find fails with a 400 naming it */
    API_ROUTE_N
};

/* What a request must show before it is answered. */
enum api_auth {
    API_AUTH_NONE,
    API_AUTH_KEY,     /* a valid key */
    API_AUTH_TENANT,  /* the same; the answer is about its tenant's requests only */
    API_AUTH_LIMITS,  /* the same, and its tenant's limits allow one more; then the body is read */
    API_AUTH_METRICS, /* as the server is set */
};

enum api_method {
    API_GET = 1,
    API_HEAD = 2,
    API_POST = 4,
    API_OPTIONS = 8,
    API_DELETE = 16,
    API_OTHER = 32
};

struct api_route_match {
    enum api_route_id id;
    enum api_auth auth;
    unsigned allow;    /* methods of the path, for the Allow header (also set on ERR_METHOD) */
    char arg[512];     /* percent-decoded rest of the path (a model id, may hold '/'), or "" */
    const char *query; /* within the target, after '?'; "" when none */
    size_t n_query;
};

/* target: origin form as received. Aliases without /v1, a doubled /v1, one trailing slash and any
 * query are understood; HEAD goes where GET goes. 0, or ERR_NO_ROUTE (404), ERR_METHOD (405;
 * `allow` is set), ERR_UNSUPPORTED (400: named by the contract, not built yet), ERR_SCHEMA (a bad
 * or too long id). */
int api_route_find(enum api_method method, const char *target, size_t n_target,
                   struct api_route_match *ret, struct err *e);
enum api_method api_method_parse(const char *s, size_t n);
/* "GET, HEAD" of a mask. */
void api_allow_text(unsigned allow, char out[64]);
/* Value of ?name= (percent-decoded) into out, cut at cap; 1 when there. */
int api_query_get(const struct api_route_match *m, const char *name, char *out, size_t cap);

/* ---- headers --------------------------------------------------------------------------------- */

/* A response header; names are static. */
struct api_header {
    const char *name;
    char value[200];
};

/* Request headers that matter to a dialect, NUL-terminated, NULL when absent. */
struct api_request_headers {
    const char *content_type, *content_encoding;
    const char *version_patch;   /* X-Cerebras-Version-Patch */
    const char *queue_threshold; /* queue_threshold, ms */
};

/* The key a client sent: Authorization: Bearer, else x-api-key, else api-key. 1 and the key (within
 * the header's value), or 0. Any of the three may be NULL. */
int api_key_find(const char *authorization, const char *x_api_key, const char *api_key,
                 const char **ret, size_t *ret_n);

/* CORS for any answer (n <= 3) and for a preflight (n <= 6), to pages of `origin` ("*": all); NULL
 * allows none (n = 0). */
int api_cors_headers(int preflight, const char *origin, struct api_header *out, int max);
/* Headers of an event stream: type, no cache, no proxy buffering. */
int api_stream_headers(struct api_header *out, int max);
/* x-request-id, openai-processing-ms, openai-version. */
int api_common_headers(const char *request_id, int64_t processing_us, struct api_header *out,
                       int max);
/* retry-after-ms, retry-after (whole seconds, rounded up) and, where the client's own choice would
 * be wrong, x-should-retry. retry_us <= 0: no time is known. */
int api_retry_headers(const struct err *e, int64_t retry_us, struct api_header *out, int max);

/* One window of a rate limit; limit < 0: not limited. */
struct api_rate_window {
    int64_t limit, remaining, reset_us;
};
struct api_rate {
    struct api_rate_window requests_minute, requests_hour, requests_day;
    struct api_rate_window tokens_minute, tokens_hour, tokens_day;
};
/* Both spellings: OpenAI's (durations like 6m0s) and Cerebras' (seconds like 33011.382). At
 * most 24. */
int api_rate_headers(const struct api_rate *r, struct api_header *out, int max);
#define API_RATE_HEADERS_MAX 24

/* ---- errors ---------------------------------------------------------------------------------- */

/* Body of section 10, right for every client: flat and wrapped at once. Returns the HTTP status. */
int api_error_body(struct buf *out, const struct err *e);
/* 400 with both wordings that clients look for. n_completion: what was asked for, -1: nothing. */
int api_err_context(struct err *e, int64_t n_prompt, int64_t n_completion, int64_t context);
int api_err_model(struct err *e, const char *id); /* 404 model_not_found */

/* ---- requests -------------------------------------------------------------------------------- */

#define API_CHOICES_MAX  256
#define API_BIAS_MAX     4096
#define API_STOP_IDS_MAX 128
#define API_BODY_MAX     ((size_t)32 << 20)

/* Zero means "default" in every field. */
struct api_options {
    int strict; /* strict_compat: Cerebras' refusals (unknown fields, more than 4 stops ...) */
    int keep_developer;   /* the template knows the role developer; else it becomes system */
    size_t body_max;      /* API_BODY_MAX */
    size_t memory_max;    /* of the parsed tree; default by the body's size */
    int32_t messages_max; /* 65,536 */
    size_t
        *arguments_left; /* api's own: bytes that parsed arguments of tool calls may still take */
    int32_t prompts_max; /* 128; prompts x choices is at most API_CHOICES_MAX */
};

enum api_kind { API_CHAT, API_COMPLETION };

struct api_text {
    const char *s; /* NUL-terminated */
    size_t n;
};
struct api_prompt {
    const char *text; /* NULL: token ids */
    size_t n_text;
    const int32_t *id;
    int32_t n_id;
};

/* Bits of api_request.given: the client sent it (null is not sending). Every field has its default
 * otherwise; these are those where a server may put another. */
enum {
    API_GIVEN_TEMPERATURE = 1 << 0,
    API_GIVEN_TOP_P = 1 << 1,
    API_GIVEN_TOP_K = 1 << 2,
    API_GIVEN_MIN_P = 1 << 3,
    API_GIVEN_SEED = 1 << 4,
    API_GIVEN_TIER = 1 << 5,
};

/* Lives until api_request_done; the strings lie in the arena. */
struct api_request {
    enum api_kind kind;
    const char *model;
    uint32_t given;

    /* chat */
    json_t *messages;           /* normalised: see api_messages_check */
    int continue_final;         /* the last message is the assistant's: continue it */
    json_t *template_kwargs;    /* object or NULL: variables for the chat template */
    struct api_text prediction; /* what the answer may look like; s NULL: nothing given */

    /* completion */
    struct api_prompt *prompt;
    int32_t n_prompts; /* >= 1; 0 for chat */
    int parse_special; /* extension: control tokens in the texts of prompts */

    int32_t n;     /* choices answered per prompt */
    int32_t n_run; /* choices to generate per prompt: max(n, best_of) */
    float temperature, top_p, min_p;
    int32_t top_k; /* 0: off */
    float frequency_penalty, presence_penalty, repetition_penalty;
    int64_t seed;       /* look at API_GIVEN_SEED */
    int32_t max_tokens; /* -1: to the end of the context */
    int32_t min_tokens; /* 0: none; -1: as many as max_tokens */
    int ignore_eos;
    struct api_text stop[SAMPLING_STOPS_MAX];
    int32_t n_stop;
    const int32_t *stop_id;
    int32_t n_stop_id;
    const struct bias *bias;
    int32_t n_bias;
    int logprobs;      /* answer them */
    int32_t n_top;     /* alternatives, 0..20 */
    int need_logprobs; /* generate them (logprobs, or best_of chooses by them) */
    int echo;          /* completion: the prompt comes first */

    int stream, include_usage;
    int return_token_ids; /* extension: token_ids beside the text */
    int raw_tokens;       /* completion: tokens instead of text */

    enum tier tier;
    int32_t queue_threshold_ms; /* 0: none */
    const char *cache_salt;     /* NULL: none */

    json_t *root; /* the body, while it is read */
};

/* Bytes that reading a body can take at most beside it; much less stays. */
size_t api_read_cost(const char *body, size_t n);
/* Body -> request. The arena (its ceiling bounds the request) must outlive *ret. `h` and `o` may be
 * NULL. 0; else *ret is untouched and `e` has the sentence, beginning with the JSON path of the
 * value at fault: ERR_SCHEMA (400), ERR_UNSUPPORTED (400: in the contract, not built yet; names
 * it), ERR_TOO_LARGE, ERR_MEDIA, ERR_NOMEM. */
int api_parse_chat(struct api_request *ret, struct arena *a, const char *body, size_t n,
                   const struct api_request_headers *h, const struct api_options *o, struct err *e);
int api_parse_completion(struct api_request *ret, struct arena *a, const char *body, size_t n,
                         const struct api_request_headers *h, const struct api_options *o,
                         struct err *e);
void api_request_rendered(struct api_request *r); /* messages and their variables may go */
void api_request_done(struct api_request *r);     /* accepts NULL and zeroed */

/* Check a messages array and make the neutral one (new reference): objects with only role (system,
 * user, assistant, tool; developer if kept), content (always a string: parts joined, empty where
 * there is none), name, reasoning_content, tool_calls (arguments an object where they parse),
 * tool_call_id. */
int api_messages_check(json_t **ret, const json_t *messages, const struct api_options *o,
                       struct err *e);

/* Once the model is known: token ids in prompts, bias and stops must be below n_vocab. */
int api_check_tokens(const struct api_request *r, int32_t n_vocab, struct err *e);
/* Draw with `s` where the request says nothing; one that asks to be greedy stays so. */
void api_request_recommend(struct api_request *r, const struct preset *s);
/* Does the prompt with what was asked for fit? Then *ret_max is the number of tokens to generate at
 * most (output_max: the server's cap where the client sets none, 0: none), else ERR_CONTEXT. */
int api_check_context(const struct api_request *r, int64_t n_prompt, int64_t context,
                      int32_t output_max, int32_t *ret_max, struct err *e);

/* ---- events and replies ---------------------------------------------------------------------- */

/* What stays the same through one reply. Strings must outlive it. */
struct api_reply_setup {
    const struct api_request *req;
    const char *id;          /* api_id_make */
    int64_t created;         /* unix seconds */
    const char *fingerprint; /* "fp_..." */
    const char *tier_used;   /* the tier it got, or NULL: the one it asked for */
    size_t text_max;         /* all that one reply may gather; default 64 MiB */
    const char *frame_begin; /* default "data: " */
    const char *frame_end;   /* default "\n\n"; some clients need one more (net/sse.h) */
    int no_reasoning_alias;  /* do not repeat `reasoning` as `reasoning_content` */
};

struct api_reply; /* the state of one response */

/* 0, ERR_NOMEM. */
int api_reply_new(struct api_reply **ret, const struct api_reply_setup *s);
void api_reply_free(struct api_reply *r); /* accepts NULL */
/* Completion: the text of prompt i, for echo and text offsets, before its first event. Its own
 * string for a text prompt, the detokenised one for token ids. Copied. */
int api_reply_prompt(struct api_reply *r, int32_t i, const char *text, size_t n, const int32_t *id,
                     int32_t n_id);
/* Stream, chat: the role chunk of every choice, so that the client hears of its admission before
 * the prompt is computed. Optional; after api_reply_prompt, before the first event. 0, or the
 * buffer's failure. */
int api_reply_begin(struct api_reply *r, struct buf *out);
/* Take one event. A stream's bytes (whole frames) are appended to `out`; without stream nothing is
 * (out may be NULL). 0; ERR_LIMIT or ERR_NOMEM when the reply (or `out`) is full: give up with
 * an ERROR event. Events out of order are a bug and stop the program. */
int api_reply_event(struct api_reply *r, const struct event *ev, struct buf *out);
/* 1 when every choice has finished and every prompt is DONE, or after ERROR: the stream has its
 * last byte, or api_reply_body may be called. */
int api_reply_is_done(const struct api_reply *r);
/* Without stream, after the last DONE: the JSON body. */
int api_reply_body(struct api_reply *r, struct buf *out);
size_t api_reply_bytes(const struct api_reply *r); /* gathered so far */
/* Sums so far, for the ledger and the log. */
void api_reply_usage(const struct api_reply *r, struct usage *ret);

/* "chatcmpl-<uuid>" or "cmpl-<uuid>" from 16 random bytes. */
#define API_ID_MAX 64
void api_id_make(char out[API_ID_MAX], enum api_kind kind, const unsigned char random[16]);

/* ---- models ---------------------------------------------------------------------------------- */

enum api_model_status {
    API_MODEL_LOADED,
    API_MODEL_LOADING,
    API_MODEL_UNLOADED,
    API_MODEL_SLEEPING
};
enum api_models_format {
    API_MODELS_PLAIN,
    API_MODELS_OPENROUTER,
    API_MODELS_HUGGINGFACE,
    API_MODELS_PUBLIC
};

struct api_model {
    const char *id, *name, *description, *owned_by; /* NULL: id, "", "gaufre" */
    const char *hugging_face_id, *quantization;     /* NULL: "" */
    int64_t created;
    enum api_model_status status;
    int32_t context, context_trained, output_max; /* output_max 0: the context */
    int32_t n_vocab;
    uint64_t n_params, size_bytes;
    int chat;                      /* has a chat template */
    const struct preset *sampling; /* recommended; NULL: not known */
    int default_sampling;          /* requests that say nothing are drawn with it */
    double price_prompt, price_completion, price_cached; /* per token */
};
/* "", "openrouter", "huggingface"; public: the path was /public/v1. ERR_SCHEMA for another. */
int api_models_format(const char *format, int is_public, enum api_models_format *ret,
                      struct err *e);
int api_models_body(struct buf *out, const struct api_model *m, int n, enum api_models_format f);
int api_model_body(struct buf *out, const struct api_model *m, enum api_models_format f);

/* ---- text tools ------------------------------------------------------------------------------ */

struct api_tokenize {
    const char *content;
    size_t n_content;
    int add_special;   /* BOS (and EOS) where the model wants them; default no */
    int parse_special; /* control tokens in the text; default no */
    int with_pieces;   /* {"id","piece"} objects */
    const char *model; /* NULL when absent */
    json_t *root;
};
int api_parse_tokenize(struct api_tokenize *ret, const char *body, size_t n,
                       const struct api_request_headers *h, const struct api_options *o,
                       struct err *e);
void api_tokenize_done(struct api_tokenize *t);
struct api_piece {
    const char *s;
    size_t n;
};
/* {"tokens":[..]} in parts: n tokens beginning with `from` of all; their pieces, or NULL: plain
 * ids. 0 or the buffer's failure. */
int api_tokens_part(struct buf *out, const int32_t *id, int32_t all, int32_t from, int32_t n,
                    const struct api_piece *pieces);

/* {tokens:[...]} -> ids in the arena. */
struct api_detokenize {
    const int32_t *id;
    int32_t n;
    const char *model; /* in the arena, or NULL */
};
int api_parse_detokenize(struct api_detokenize *ret, struct arena *a, const char *body, size_t n,
                         const struct api_request_headers *h, const struct api_options *o,
                         struct err *e);
/* {"key": s} in parts: the one that begins at `from`, some 64 KiB. Where the next begins; `all`
 * after the last. */
size_t api_text_part(struct buf *out, const char *key, const char *s, size_t all, size_t from);

struct api_template {
    const char *model; /* NULL when absent */
    json_t *messages, *template_kwargs;
    int continue_final, no_generation_prompt;
    json_t *root;
};
int api_parse_template(struct api_template *ret, const char *body, size_t n,
                       const struct api_request_headers *h, const struct api_options *o,
                       struct err *e);
void api_template_done(struct api_template *t);

/* ---- the engine's state ------------------------------------------------------------------------
 * What /v1/engine/... answers; the members are in docs/api.md. Strings are the caller's. */

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
int api_engine_state_body(struct buf *out, const struct api_engine_state *s);
int api_engine_request_body(struct buf *out, const struct api_engine_request *r,
                            const struct api_engine_mark *marks, int n_marks);
int api_engine_cancel_body(struct buf *out, const char *id, int cancelled);
/* ?interval_ms= of the events, 500 where absent. ERR_SCHEMA outside 100..10000. */
int api_engine_interval(const struct api_route_match *m, int *ret_ms, struct err *e);
int api_err_request(struct err *e, const char *id); /* ERR_NOTFOUND: no such request */

/* ---- tables for docs and tests --------------------------------------------------------------- */

enum api_field_state {
    API_FIELD_SERVED,
    API_FIELD_IGNORED, /* checked, without effect */
    API_FIELD_UNBUILT, /* without effect, and what would have one is refused */
};
struct api_field_doc {
    const char *name, *type, *range, *dflt;
    unsigned kinds; /* 1: chat, 2: completion */
    enum api_field_state state;
    int extension;
};
/* Row i of the table of request fields, and of the headers read like them; 0 past the end. */
int api_field_row(int i, struct api_field_doc *ret);
int api_header_row(int i, struct api_field_doc *ret);
struct api_error_doc {
    int status;
    const char *type, *code, *param; /* param NULL: the field at fault */
    const char *when;
};
/* Row i of the table of errors; 0 past the end. */
int api_error_row(int i, struct api_error_doc *ret);
/* Row i of the route table: "POST /v1/completions", 1 when built; 0 past the end. */
int api_route_row(int i, const char **ret_path, unsigned *ret_methods, int *ret_built);

#endif
