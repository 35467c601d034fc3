/* Inside the api room: log-probabilities as JSON text, gathered token by token. */
#ifndef API_LOGPROB_H
#define API_LOGPROB_H

#include "api/api.h"

/* Chat: list[0] is a run of objects. Completions: four parallel lists. Items are separated by
 * commas; the brackets come when they are written. */
enum { LP_OFFSETS, LP_VALUES, LP_TOKENS, LP_TOPS, LP_LISTS };
struct logprobs {
    struct buf list[LP_LISTS];
};

void logprobs_init(struct logprobs *lp, size_t max);
void logprobs_done(struct logprobs *lp);
void logprobs_clear(struct logprobs *lp);
size_t logprobs_bytes(const struct logprobs *lp);

/* One token of an event; n_top alternatives are shown at most. 0 or the failure of a buffer. */
int logprobs_add_chat(struct logprobs *lp, const struct api_event *ev, int32_t n_top);
/* offset: where the token begins in the text, in code points. */
int logprobs_add_completion(struct logprobs *lp, const struct api_event *ev, int32_t n_top,
                            int64_t offset);

/* {"content":[...],"refusal":null} */
int logprobs_put_chat(struct buf *out, const struct logprobs *lp);
/* {"text_offset":[...],...}; `first` (the prompt's, or NULL) goes before. */
int logprobs_put_completion(struct buf *out, const struct logprobs *first,
                            const struct logprobs *lp);

/* Code points that begin in these bytes. */
int64_t code_points(const char *s, size_t n);

#endif
