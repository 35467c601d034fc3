/* How the events of a stream are framed: server-sent events (WHATWG HTML, "Server-sent events").
 * Only this file knows it. The data of an event is one line of JSON, so that a frame is what comes
 * before it and what comes after. There are no `event:` and no `id:` lines: an `event:` line
 * changes what some SDKs deliver. */
#ifndef API_SSE_H
#define API_SSE_H

struct api_frame {
    const char *type; /* of the whole stream: Content-Type */
    const char *begin, *end;
    const char *ping; /* whole, and skipped by readers: keeps a silent connection alive */
};

/* The form that this client's reader needs; NULL: none is known of it. */
const struct api_frame *api_sse_frame(const char *user_agent);

#endif
