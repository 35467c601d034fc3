/* Inside the api room: tokens, with their ids and log-probabilities, as JSON text, gathered one by
 * one. The last of them may wait until something of their text is shown. */
#ifndef API_OPENAI_LOGPROB_H
#define API_OPENAI_LOGPROB_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "job/event.h"

/* Chat: list[0] is a run of objects. Completions: four parallel lists. And one of ids. Items are
 * separated by commas; the brackets come when they are written. */
enum { LP_OFFSETS, LP_VALUES, LP_TOKENS, LP_TOPS, LP_IDS, LP_LISTS };
struct lp_mark {
    size_t len[LP_LISTS];
};
struct logprobs {
    struct buf list[LP_LISTS];
    struct lp_mark *mark; /* [n_marks] where the items begin that wait */
    int32_t n_marks, marks_cap;
};

void logprobs_init(struct logprobs *lp, size_t max);
void logprobs_done(struct logprobs *lp);
size_t logprobs_bytes(const struct logprobs *lp);

/* Begin one token's items. The last n_waiting tokens, this one included, wait until their text is
 * shown. 0 or ERR_NOMEM. */
int logprobs_begin(struct logprobs *lp, int32_t n_waiting);
int logprobs_add_id(struct logprobs *lp, int32_t id);
/* The end of a choice: the last n_dropped tokens are removed, and the others do not wait any more.
 */
void logprobs_end(struct logprobs *lp, int32_t n_dropped);
/* The bytes of a list that do not wait; whether any list has such bytes; remove them. */
size_t logprobs_shown(const struct logprobs *lp, int list);
int logprobs_any_shown(const struct logprobs *lp);
void logprobs_take_shown(struct logprobs *lp);

/* One token of an event; n_top alternatives are shown at most. offset: where the token begins in
 * the text, in code points; completions tell it. 0 or the failure of a buffer. */
int logprobs_add_chat(struct logprobs *lp, const struct event *ev, int32_t n_top, int64_t offset);
int logprobs_add_completion(struct logprobs *lp, const struct event *ev, int32_t n_top,
                            int64_t offset);

/* What does not wait: {"content":[...],"refusal":null}, or {"text_offset":[...],...}. `first` goes
 * before: the prompt's, or NULL; chat has none. */
int logprobs_put_chat(struct buf *out, const struct logprobs *first, const struct logprobs *lp);
int logprobs_put_completion(struct buf *out, const struct logprobs *first,
                            const struct logprobs *lp);

/* Code points that begin in these bytes. */
int64_t code_points(const char *s, size_t n);

#endif
