/* A dialect: the form in which one kind of client sends requests and reads answers. Each is one
 * row, and everything that depends on the dialect is in the row's functions. Their files begin with
 * the name of its family (openai_*.c). The row of an endpoint that generates names its dialect
 * (endpoint.h), and a request keeps it. */
#ifndef API_DIALECT_H
#define API_DIALECT_H

#include <stddef.h>
#include <stdint.h>

#include "api/sse.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct api_options;
struct api_reply;
struct api_request;
struct api_request_headers;
struct event;

struct api_dialect {
    const char *name;         /* for people: "chat" */
    const char *id_prefix;    /* of an answer's id */
    const char *prompt_field; /* for refusals */

    /* Body -> neutral request: api_parse. */
    int (*parse)(const struct api_dialect *d, struct api_request *ret, struct arena *a,
                 const char *body, size_t n, const struct api_request_headers *h,
                 const struct api_options *o, struct err *e);
    /* The frames of a stream to the client of that User-Agent (may be NULL). */
    const struct api_frame *(*frame)(const char *user_agent);
    /* A reply was made: allocate what this dialect keeps for it, and write the parts that repeat in
     * every chunk. 0 or ERR_NOMEM. close frees it, also after open has failed. */
    int (*open)(struct api_reply *r);
    void (*close)(struct api_reply *r);
    /* api_reply_prompt: what is kept of a prompt that the answer may tell of. */
    int (*prompt)(struct api_reply *r, int32_t i, const char *text, size_t n, const int32_t *id,
                  int32_t n_id);
    /* Stream: what comes before the first event; NULL: nothing. */
    int (*begin)(struct api_reply *r, struct buf *out);
    /* Called after the neutral state took the event. In a stream: append the event's frames to
     * `out`. Else: gather what the body needs of it; out may be NULL. */
    int (*event)(struct api_reply *r, const struct event *ev, struct buf *out);
    /* Without stream, after the last event: the body. */
    int (*body)(struct api_reply *r, struct buf *out);
    /* A body, or the data of a stream's frame. Returns the HTTP status. */
    int (*error)(struct buf *out, const struct err *e, int in_stream);
};

enum api_dialect_id { API_CHAT, API_COMPLETION, API_DIALECTS };
extern const struct api_dialect *const api_dialects[API_DIALECTS];

/* Body -> request. The arena (its ceiling bounds the request) must outlive *ret. `h` and `o` may be
 * NULL. 0; else *ret is untouched and `e` has the sentence, beginning with the JSON path of the
 * value at fault: ERR_SCHEMA (400), ERR_UNSUPPORTED (400: in the contract, not built yet; names
 * it), ERR_TOO_LARGE, ERR_MEDIA, ERR_NOMEM. */
int api_parse(const struct api_dialect *d, struct api_request *ret, struct arena *a,
              const char *body, size_t n, const struct api_request_headers *h,
              const struct api_options *o, struct err *e);
/* The body of an answer that is an error; d NULL: where no dialect is known. Returns the HTTP
 * status. */
int api_error_body(struct buf *out, const struct api_dialect *d, const struct err *e);
/* "chatcmpl-<uuid>" or the like from 16 random bytes. */
#define API_ID_MAX 64
void api_id_make(char out[API_ID_MAX], const struct api_dialect *d, const unsigned char random[16]);

#endif
