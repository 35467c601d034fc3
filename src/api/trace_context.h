/* The headers traceparent and tracestate: which trace a request belongs to, and whose child it is
 * there. Source: W3C Trace Context (level 1; of level 2 the flags). Pure functions.
 *
 * What is malformed is none: a traceparent that cannot be read is as if it were not there, and so
 * is then the tracestate. */
#ifndef API_TRACE_CONTEXT_H
#define API_TRACE_CONTEXT_H

#include <stddef.h>

#define TRACE_ID_BYTES   16
#define TRACE_SPAN_BYTES 8
#define TRACE_TEXT_MAX   56   /* of a traceparent, with its NUL */
#define TRACE_STATE_MAX  2048 /* bytes of a tracestate; a longer one is not passed on */

enum { TRACE_SAMPLED = 1, TRACE_RANDOM = 2 }; /* bits of flags; others are not passed on */

struct trace_context {
    unsigned char trace[TRACE_ID_BYTES], span[TRACE_SPAN_BYTES];
    unsigned flags;
};

/* 1, or 0: it is none. Those of later versions are read as far as version 00 goes. */
int api_trace_read(const char *traceparent, struct trace_context *ret);
void api_trace_write(const struct trace_context *t, char out[TRACE_TEXT_MAX]);
/* May it be passed on? All headers of that name, joined by commas. */
int api_trace_state_ok(const char *tracestate);

#endif
