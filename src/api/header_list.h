/* HTTP headers: those of requests that matter to a dialect, the key among them, and those of
 * answers. */
#ifndef API_HEADER_LIST_H
#define API_HEADER_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "api/sse.h"
#include "base/err.h"

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
    const char *region;          /* x-gaufre-region: where the user is */
};

/* The key a client sent: Authorization: Bearer, else x-api-key, else api-key. 1 and the key (within
 * the header's value), or 0. Any of the three may be NULL. */
int api_key_find(const char *authorization, const char *x_api_key, const char *api_key,
                 const char **ret, size_t *ret_n);

/* The value of the cookie of that name in the header Cookie. 1 and the first one's (within the
 * header's value, may be empty), or 0. */
int api_cookie_find(const char *cookies, const char *name, const char **ret, size_t *ret_n);

/* CORS for any answer (n <= 3) and for a preflight (n <= 6), to pages of `origin` ("*": all); NULL
 * allows none (n = 0). */
int api_cors_headers(int preflight, const char *origin, struct api_header *out, int max);
/* Headers of a stream of such frames: type, no cache, no proxy buffering. */
int api_stream_headers(const struct api_frame *frame, struct api_header *out, int max);
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

#endif
