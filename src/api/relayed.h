/* Answers of OpenAI-compatible suppliers: read just enough to know how far they are, what was used
 * and what went wrong. Their bytes go on to the client as they are. Pure functions. */
#ifndef API_RELAYED_H
#define API_RELAYED_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "job/event.h"
#include "job/limits_told.h"
#include "job/usage.h"

/* ---- the frames of a stream ------------------------------------------------------------------ */

#define API_SSE_EVENT_MAX ((size_t)1 << 20) /* of one line, and of all data of an event */

/* A reader of server-sent events (WHATWG HTML, 9.2.6), in pieces of any size. */
struct api_sse_reader {
    struct buf line, data;
    int was_cr, has_data, is_past_bom;
};
void api_sse_reader_init(struct api_sse_reader *r);
void api_sse_reader_done(struct api_sse_reader *r);
/* Take bytes from *p, up to the end of one event: 1, and r->data has its data (until the next
 * call); 0: all is taken; or ERR_TOO_LARGE, ERR_NOMEM. */
int api_sse_read(struct api_sse_reader *r, const char **p, const char *end);

/* ---- chunks and bodies ----------------------------------------------------------------------- */

struct api_relayed_piece {
    int is_json;     /* well-formed; else nothing more is known */
    int is_error;    /* {"error": ...} in place of an answer */
    int has_content; /* text, reasoning or a tool call that is not empty */
    int n_finished;  /* choices that end with it */
    int n_choices;   /* in it */
    size_t n_text;   /* bytes of text in it, as JSON has them: for estimates */
    enum finish finish;
    const char *usage; /* the object, or NULL: none, or null */
    size_t n_usage;
    const char *energy; /* an object beside it; NULL: none */
    size_t n_energy;
    const char *end; /* of the object: the '}' */
};
/* One chunk of a stream, or a whole body, of chat and of completions. */
void api_relayed_look(const char *json, size_t n, struct api_relayed_piece *ret);

/* A chunk, and what another that has usage and no choices says more (usage, the time it took, a
 * supplier's own members), as one: members of the first that are not null stand, of the other not
 * more than a few are taken. Both are known to be objects. 0, or why there was no room in out. */
int api_relayed_join(const char *json, size_t n, const char *more, size_t n_more, struct buf *out);

/* Usage in any of the known shapes, as this project counts: what is cached is part of the prompt,
 * what is reasoning part of the completion. Where the numbers do not fit each other the state is
 * USAGE_DISPUTED, and what the supplier asks for at most is kept. What it says of energy is kept as
 * stated. 0; -1: it has no counts. */
int api_relayed_usage(const char *json, size_t n, struct usage *ret);

/* Tokens of n bytes of text, where nobody counted them. */
int64_t api_relayed_estimate(size_t n_bytes);

/* ---- limits ---------------------------------------------------------------------------------- */

/* Nothing was told yet. */
void api_relayed_limits_none(struct limits_told *ret);
/* One header of an answer, its name in lower case: if it tells of a limit, it is added. now_s: unix
 * seconds. */
void api_relayed_limit(const char *name, const char *value, int64_t now_s, struct limits_told *ret);

/* ---- errors ---------------------------------------------------------------------------------- */

/* What an answer that is no answer means: its status, body (may be empty) and `retry-after`
 * headers (NULL: absent). status 0: it came as an event of a stream or as a body with status 200;
 * then the error itself may have one (500 where it has none). Fills e: a code of the table and a
 * sentence, which holds no more of the supplier's own than is the client's to know. *ret_retry_us:
 * 0 unknown. now_s: unix seconds. */
int api_relayed_error(int status, const char *body, size_t n, const char *retry_after,
                      const char *retry_after_ms, int64_t now_s, int64_t *ret_retry_us,
                      struct err *e);

#endif
