/* The reply: events in; out come the bytes of a stream, or one body at the end. */
#ifndef API_REPLY_H
#define API_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "api/request.h"
#include "api/sse.h"
#include "base/buf.h"
#include "job/event.h"
#include "job/usage.h"

/* What stays the same through one reply. Strings must outlive it. */
struct api_reply_setup {
    const struct api_request *req;
    const char *id;                /* api_id_make */
    int64_t created;               /* unix seconds */
    const char *fingerprint;       /* "fp_..." */
    const char *tier_used;         /* the tier it got, or NULL: the one it asked for */
    size_t text_max;               /* all that one reply may gather; default 64 MiB */
    int relayed;                   /* it comes as EVENT_RELAY */
    const struct api_frame *frame; /* NULL: of a client that nothing is known of */
    int no_reasoning_alias;        /* do not repeat `reasoning` as `reasoning_content` */
};

struct api_reply; /* the state of one response */

/* 0, ERR_NOMEM. */
int api_reply_new(struct api_reply **ret, const struct api_reply_setup *s);
void api_reply_free(struct api_reply *r); /* accepts NULL */
/* Completion: the text of prompt i, for echo and text offsets, before its first event. Its own
 * string for a text prompt, the detokenised one for token ids. Copied. */
int api_reply_prompt(struct api_reply *r, int32_t i, const char *text, size_t n, const int32_t *id,
                     int32_t n_id);
/* Stream: what the dialect has to say before anything is computed (chat: the role of every choice),
 * so that the client hears of its admission; of one that is relayed its supplier says it. Optional;
 * after api_reply_prompt, before the first event. 0, or the buffer's failure. */
int api_reply_begin(struct api_reply *r, struct buf *out);
/* Take one event; the usage and times of a DONE are the whole request's so far. A stream's bytes
 * (whole frames) are appended to `out`; without stream nothing is (out may be NULL). 0; ERR_LIMIT
 * or ERR_NOMEM when the reply (or `out`) is full: give up with an ERROR event. Events out of order
 * are a bug and stop the program. */
int api_reply_event(struct api_reply *r, const struct event *ev, struct buf *out);
/* 1 when every choice has finished and every prompt is DONE, or after ERROR: the stream has its
 * last byte, or api_reply_body may be called. */
int api_reply_is_done(const struct api_reply *r);
/* Without stream, after the last DONE: the JSON body. */
int api_reply_body(struct api_reply *r, struct buf *out);
size_t api_reply_bytes(const struct api_reply *r); /* gathered so far */
#endif
