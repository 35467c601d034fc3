/* Server-sent events: frames as bytes (WHATWG HTML, "Server-sent events"). Pure functions that
 * append to a buffer; its ceiling is the limit.
 *
 * No `event:` or `id:` lines unless asked for: an `event:` line changes what some SDKs deliver. */
#ifndef NET_SSE_H
#define NET_SSE_H

#include <stddef.h>

#include "base/buf.h"

enum sse_form {
    SSE_PLAIN, /* a frame ends with an empty line */
    SSE_EXTRA, /* and one more newline, for readers that show a frame only when bytes follow it */
};
/* SSE_EXTRA for the User-Agent that needs it (it starts with "Cerebras/JS"), else SSE_PLAIN. NULL
 * is allowed. */
enum sse_form sse_form_for(const char *user_agent);

/* All return 0, ERR_ARG, or the buffer's failure. */

/* `data: ...`; several lines of text become several `data:` lines. Empty data is ERR_ARG: readers
 * that parse JSON choke on it. */
int sse_data(struct buf *out, enum sse_form form, const char *data, size_t n);
int sse_data_str(struct buf *out, enum sse_form form, const char *data);
/* With an event name and an id, each may be NULL; neither may contain line ends (ERR_ARG). */
int sse_event(struct buf *out, enum sse_form form, const char *event, const char *id,
              const char *data, size_t n);
/* `: text`, which readers skip: a heartbeat. No line ends in text (ERR_ARG). */
int sse_comment(struct buf *out, enum sse_form form, const char *text);

#endif
