/* The supplier's door: something that computes answers of one model. The engine in this process is
 * one (serve/local_supplier.c); a service elsewhere can be another. The server asks it for its
 * load, hands over jobs and reads neutral events; it does not know what kind of supplier it is.
 *
 * Threads. Everything marked [any] may be called on any thread at any time and does not block.
 * A job belongs to one reader thread: submit, cancel, peek, pop and release are called there.
 *
 * When a job has something new, job->item is posted in job->reader. A job is the supplier's from a
 * successful submit until EVENT_DONE has been popped and `release` said so. When its reader does
 * not pop, the supplier pauses the job; a pause beyond its patience ends it with ERR_SLOW_READER.
 */
#ifndef CLOUD_SUPPLIER_H
#define CLOUD_SUPPLIER_H

#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/patience.h"
#include "job/chat.h"
#include "job/energy.h"
#include "job/event.h"
#include "job/job.h"
#include "job/load.h"
#include "job/tokens.h"

/* What does not change while the supplier is ready. Strings live as long as it. */
struct supplier_facts {
    int32_t context, context_trained;
    int32_t output_max; /* cap where the client sets none; 0: the context */
    int32_t n_vocab;
    uint64_t n_params, size_bytes;
    const char *quantization, *fingerprint, *description;
    const char *weights, *engine; /* for receipts: which, as books_row has it; NULL: not known */
    int chat;                     /* has a chat template */
    const char *no_chat_why;      /* a sentence, when not; NULL, "": it has none */
    struct preset sampling;       /* recommended */
    int default_sampling;         /* draw with it where a request says nothing */
    int relays;                   /* takes requests whole (job->relay) and answers by EVENT_RELAY */
    int64_t first_token_us; /* so long a first content may take while another offer can; 0: any */
    int reads_prompts;      /* offers tokenize and render: prompts are given as tokens */
};

/* How an engine in this process computes, for people to see. As lasting as the facts. */
struct supplier_engine {
    const char *kernels, *cls, *kv_type, *family;
    int32_t batch_max, chunk, page_tokens;
    uint64_t weight_bytes, kv_bytes, work_bytes, vocab_bytes;
    /* What this machine allows it at most, as `gaufre bench` measured; 0: not known. */
    double read_bytes_per_s, decode_per_s, prefill_per_s; /* tokens, of one sequence */
    int64_t measured;                                     /* unix seconds; 0: never */
};

struct supplier;

struct supplier_ops {
    void (*load)(const struct supplier *s, struct load *ret); /* [any] */
    /* After load said READY. [any] */
    const struct supplier_facts *(*facts)(const struct supplier *s);
    /* Likewise; the op is NULL where the supplier is no engine of this process. */
    const struct supplier_engine *(*engine)(const struct supplier *s);
    /* Text to tokens; special: control tokens in the text count, and BOS is not added to a text
     * that begins with it. At most max, else ERR_LIMIT. [any], may compute for long: big texts on a
     * prep thread, and as long as the patience (may be NULL) lasts. */
    int (*tokenize)(const struct supplier *s, const char *text, size_t n, int special, int bos,
                    size_t max, const struct patience *patience, struct tokens *ret, struct err *e);
    int (*detokenize)(const struct supplier *s, const int32_t *id, int32_t n, struct buf *out,
                      struct err *e);
    /* Bytes of a token, read-only memory. [any] */
    const char *(*token_bytes)(const struct supplier *s, int32_t id, size_t *ret_n);
    /* The chat template over checked messages; its text where ret_text is not NULL. [any], may
     * compute for long, as above. */
    int (*render)(const struct supplier *s, const struct chat *chat, struct buf *ret_text,
                  struct tokens *ret_tokens, struct err *e);

    int (*submit)(struct supplier *s, struct job *j, struct err *e);
    void (*cancel)(struct supplier *s, struct job *j); /* DONE still follows */
    /* Its client has left. 1: the answer is heard to its end all the same, to know what is owed for
     * it, and nothing but DONE is told any more, or where it is kept for the client all of it; it
     * may still be cancelled. 0: it was cancelled. NULL: it is to be cancelled. */
    int (*leave)(struct supplier *s, struct job *j, int is_kept);
    /* The oldest event, valid until the pop; NULL when none. total_us and created_us of its times
     * are the reader's to know. */
    const struct event *(*peek)(struct supplier *s, struct job *j);
    void (*pop)(struct supplier *s, struct job *j);
    /* After DONE was popped: 1, and the job's memory is the caller's again; 0 when its item will
     * come out of the reader's mailbox once more: ask again then. */
    int (*release)(struct supplier *s, struct job *j);
    /* How many of those that wait there go before it, as it was a moment ago, while it waits; -1:
     * not known. NULL: never. On the reader's thread. */
    int32_t (*before)(struct supplier *s, const struct job *j);
    /* It is off the table, and the last request that was there has ended: it may be freed. NULL:
     * nobody wants to know. [any] */
    void (*gone)(struct supplier *s);
    /* So much of its places may be used from now on, in millionths; with 0 nothing new begins, and
     * what waits and has not begun ends with ERR_SITE_CLOSED. NULL: it has no places of its own.
     * [any] */
    void (*derate)(struct supplier *s, int32_t factor_ppm);
    /* Places are kept for jobs that go first: so many as contracts are promised, where what runs
     * there does not give them its places; and the share of them that contracts do not lend, in
     * millionths. NULL: none are. [any] */
    void (*keep)(struct supplier *s, int32_t n, int32_t unlent_ppm);
};

/* The energy of its tokens, as it was agreed upon with who runs it. */
struct supplier_energy {
    int is_agreed;
    int64_t input_nj, output_nj; /* nanojoules a token */
    enum energy_boundary boundary;
    int32_t uncertainty_permille;
};

/* What its owner says of it; not what it measures. Zeroed: nothing was said. Strings live as long
 * as it. */
struct supplier_terms {
    const char *region, *residency, *owner; /* NULL: not said */
    const char *site;                       /* to which it belongs; NULL: none */
    uint32_t residency_bit;                 /* the word's among those of the configuration */
    uint32_t tiers;                         /* bits 1 << TIER_*; 0: all */
    uint32_t lacks;                         /* bits 1 << FEATURE_* */
    int32_t weight;
    int32_t max_share, owner_max_share; /* percent of what is spent in a day; 0: any */
    struct supplier_energy energy;      /* where it does not say itself */
    int64_t price_max; /* nano-units for a million of a request's tokens; 0: any price */
};

/* The head of every supplier: embedded first in its own struct. */
struct credentials;
struct supplier {
    const struct supplier_ops *ops;
    struct credentials *keys; /* of this server there; NULL: it has no keys of its own */
    const char *id;    /* stable over restarts, booked with each request: "local/smollm2-135m" */
    const char *model; /* its own name of the model */
    struct supplier_terms terms;
};

#endif
