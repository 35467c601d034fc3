/* The records of a stored answer (stored.h): its head, then one for each event that was told. Bytes
 * in a row, the same in memory and in its file; a record has a length and a checksum. Whatever the
 * bytes are, only records that are whole, fit each other and make an answer are read. Pure.
 *
 * Bytes are those of this machine and of this version of gaufre: only an engine that computes the
 * same can go on with an answer. */
#ifndef CLOUD_STORED_RECORD_H
#define CLOUD_STORED_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "job/event.h"
#include "job/job.h"
#include "job/receipt.h"
#include "job/usage.h"

#define STORED_BODY_MAX   ((size_t)1 << 20) /* of a request */
#define STORED_ANSWER_MAX ((size_t)8 << 20) /* all records of one answer */
#define STORED_ID_MAX     64

/* Texts of a head. Optional ones may be NULL, and are then "". */
enum stored_text {
    STORED_ID, /* of the answer: "chatcmpl-..." */
    STORED_REQUEST_ID,
    STORED_TENANT,
    STORED_KEY_ID,
    STORED_MODEL,       /* as it was asked for */
    STORED_FINGERPRINT, /* of who computes it */
    STORED_CONTENT_TYPE,
    STORED_CONTENT_ENCODING,
    STORED_VERSION_PATCH,
    STORED_QUEUE_THRESHOLD,
    STORED_TEXTS
};

/* What of an answer is told in numbers. */
struct stored_numbers {
    int64_t created; /* unix seconds */
    uint64_t seed;
    uint32_t given; /* API_GIVEN_* */
    int32_t n_prompt, has_phases;
    int32_t dialect; /* enum api_dialect_id */
    int32_t tier, asked_tier;
    int32_t max_tokens; /* of a choice */
    int32_t n, n_run, n_top;
    int32_t include_usage, logprobs, return_token_ids, raw_tokens;
};

/* All that an answer depends on but its tokens. */
struct stored_head {
    const char *text[STORED_TEXTS];
    const char *body; /* as it came */
    size_t n_body;
    const int32_t *prompt;  /* as it was computed; in a head that was read not aligned */
    const uint32_t *answer; /* its phases, or NULL; likewise */
    struct stored_numbers v;
};

/* An event that was read, with what it points to. */
struct stored_event {
    struct event ev;
    struct top top[SAMPLING_TOP_MAX];
    struct usage usage;
    struct times times;
    struct receipt receipt;
    char currency[4];
};

/* Append a record: 0, or the buffer's failure. Of events STARTED, TEXT, FINISH and DONE are kept.
 */
int stored_put_head(struct buf *out, const struct stored_head *h);
int stored_put_event(struct buf *out, const struct event *ev);

/* The head at the beginning of n bytes, which the texts point into: its bytes; 0 where there is
 * none that is whole. */
size_t stored_read_head(const char *image, size_t n, struct stored_head *ret);
/* The event at `at`: its bytes; 0 where there is none that is whole. It is checked by itself, not
 * whether it may stand there. */
size_t stored_read_event(const char *image, size_t n, size_t at, struct stored_event *ret);

/* Behind all of an answer in its file: where it was sent, for whom to go on with. */
int stored_put_move(struct buf *out, const char *to);
/* The one at `at`: where to, within the image; NULL: there is none. */
const char *stored_read_move(const char *image, size_t n, size_t at);

/* How far an answer is, by its events. */
struct stored_story {
    int32_t n_choices, n_over, n_prompt;
    int32_t n_told[JOB_CHOICES_MAX];      /* tokens, of each choice ... */
    int32_t n_generated[JOB_CHOICES_MAX]; /* ... and those that were not told with them */
    unsigned char is_over[JOB_CHOICES_MAX];
    int has_started, is_done;
    int32_t n_cached;
};
void stored_story_begin(struct stored_story *s, const struct stored_head *h);
/* The next event: 0; or -1, it may not come now, and nothing is changed. */
int stored_story_take(struct stored_story *s, const struct event *ev);
/* All of an image: the story up to its last record that is whole and may stand there, which ends at
 * *ret_end. -1: it has no head. */
int stored_story_read(const char *image, size_t n, struct stored_head *ret_head,
                      struct stored_story *ret, size_t *ret_end);
/* Where the ends of the answer begin, behind its last token: what comes from there on can be told
 * again. */
size_t stored_ends_at(const char *image, size_t n);

#endif
