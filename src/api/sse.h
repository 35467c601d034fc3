/* How the events of a stream are framed: server-sent events (WHATWG HTML, "Server-sent events").
 * Only this file knows it. The data of an event is one line of JSON, so that a frame is what comes
 * before it and what comes after. There are no `event:` lines: they change what some SDKs deliver.
 * Streams that can be taken up again have `id:` lines, "ID/N": the Nth event of the answer ID. */
#ifndef API_SSE_H
#define API_SSE_H

#include <stddef.h>
#include <stdint.h>

struct buf;

struct api_frame {
    const char *type; /* of the whole stream: Content-Type */
    const char *begin, *end;
    const char *ping; /* whole, and skipped by readers: keeps a silent connection alive */
};

/* The form that this client's reader needs; NULL: none is known of it. */
const struct api_frame *api_sse_frame(const char *user_agent);

/* Append whole frames to `out`, each with the line of its id before it. *n counts them; those up to
 * `skip` are left out. 0, or the buffer's failure. */
int api_sse_number(const struct buf *frames, const struct api_frame *f, const char *id, int64_t *n,
                   int64_t skip, struct buf *out);
/* The position in a Last-Event-ID of that answer: "ID/N", or N alone. -1: it is none. */
int64_t api_sse_position(const char *text, const char *id);

#endif
