/* The request log: a row of every request that asked for what a model does, and of every other that
 * failed for this server's sake, in one table of an SQLite file or of PostgreSQL ("where", as in
 * base/sql.h; several servers may share it). A row has what is known of the request but its texts.
 * Prompt and answer are kept beside it only where its tenant has agreed (account.h, keep_texts):
 * redacted, and until the days are over for which it agreed.
 *
 * It is a log and not the ledger: it never holds up a request. Rows come from a fixed pool and are
 * written together a few times a second by one thread; those that find the pool empty, or that the
 * database does not take, are dropped and counted. Rows older than their time are removed.
 *
 * Threads: open, start and close: one; request_store_add: [any]; reading: [any], also while a
 * server writes. */
#ifndef CONSOLE_REQUEST_STORE_H
#define CONSOLE_REQUEST_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define REQUEST_ROWS_MAX   4096 /* on their way */
#define REQUEST_FIELDS_MAX 32
#define REQUEST_TEXTS_MAX  ((size_t)64 << 20) /* bytes of texts on their way */

struct request_store;

/* All columns, and members of struct request_row of the same name: kind, name, size of its text. A
 * new one is added at the end. Times in microseconds; of the wall clock: at_us, when it ended. */
#define REQUEST_FIELDS(X)                                                                          \
    X(TEXT, id, 40)                                                                                \
    X(LONG, at_us, )                                                                               \
    X(TEXT, tenant, 64)                                                                            \
    X(TEXT, key_id, 64)                                                                            \
    X(TEXT, peer, 64)                                                                              \
    X(TEXT, method, 12)                                                                            \
    X(TEXT, path, 96)                                                                              \
    X(TEXT, model, 128)                                                                            \
    X(TEXT, supplier, 128)                                                                         \
    X(TEXT, tier, 12)                                                                              \
    X(LONG, status, )                                                                              \
    X(LONG, stream, )                                                                              \
    X(TEXT, finish, 16)                                                                            \
    X(TEXT, error, 40)                                                                             \
    X(TEXT, why, 256)                                                                              \
    X(LONG, prompt_tokens, )                                                                       \
    X(LONG, cached_tokens, )                                                                       \
    X(LONG, completion_tokens, )                                                                   \
    X(LONG, energy_uj, )                                                                           \
    X(LONG, queue_us, )                                                                            \
    X(LONG, first_us, )                                                                            \
    X(LONG, total_us, )                                                                            \
    X(TEXT, client_id, 80)                                                                         \
    X(TEXT, route, 2048)

struct request_row {
#define REQUEST_TEXT_(name, size)         char name[size];
#define REQUEST_LONG_(name, size)         int64_t name;
#define REQUEST_MEMBER_(kind, name, size) REQUEST_##kind##_(name, size)
    REQUEST_FIELDS(REQUEST_MEMBER_)
#undef REQUEST_TEXT_
#undef REQUEST_LONG_
#undef REQUEST_MEMBER_
    /* Filled when a row is read: its number in the order in which rows were written; and its texts
     * as JSON (request_text.h), where they were asked for and are kept, until `row` returns. */
    int64_t seq;
    const char *request, *answer;
};

/* What was asked and answered, as it went over the wire; allocated by malloc. */
struct request_texts {
    char *request, *answer; /* NULL: none */
    size_t n_request, n_answer;
    int is_stream;
    int64_t days; /* they are kept so long */
};

struct request_field {
    const char *name;
    int is_text;
    uint32_t at, size; /* in struct request_row */
};
/* Field i, or NULL past the last. */
const struct request_field *request_field_row(int i);

struct request_store_config {
    const char *where;
    int64_t days;             /* rows live so long, 0: for ever */
    const char *const *rules; /* of redaction (redact.h) */
    int n_rules;
};
/* Makes the file or schema and its tables where missing. */
int request_store_open(struct request_store **ret, const struct request_store_config *c,
                       struct err *e);
/* Writes what was added, closes. Accepts NULL. */
void request_store_close(struct request_store *s);
/* A copy of the row is on its way; or it is dropped. [any], never waits for the disk. Texts go with
 * it, redacted, where there is one of the places for REQUEST_TEXTS_MAX bytes; their memory is the
 * store's from now on. t NULL: none. */
void request_store_add(struct request_store *s, const struct request_row *r,
                       const struct request_texts *t);
int64_t request_store_dropped(const struct request_store *s); /* [any]; rows, and rows' texts */

/* Which rows: NULL and 0 mean any. */
struct request_where {
    const char *id, *tenant, *key_id, *model, *supplier;
    int status_from, status_to; /* [from, to] */
    int64_t from_us, slower_us; /* ended then or later; took at least so long */
    int64_t after_seq;          /* written later than that one */
    int only_failed;            /* with an error, or a status of 400 and above */
    int with_texts, only_texts; /* read texts too; rows that have some */
};

/* A request log that stays open for many questions. One thread at a time. ERR_NOTFOUND: there is
 * none. */
struct request_reader;
int request_reader_open(struct request_reader **ret, const char *where, struct err *e);
void request_reader_close(struct request_reader *r); /* accepts NULL */
/* The n_max newest of these rows, oldest first; n_max 0: all. Stops where `row` returns not 0, and
 * returns that. */
int request_reader_each(struct request_reader *r, const struct request_where *w, int64_t n_max,
                        int (*row)(void *arg, const struct request_row *r), void *arg,
                        struct err *e);
/* Remove the texts of that tenant's requests, or of that one (the other is NULL); their rows stay.
 */
int request_reader_forget(struct request_reader *r, const char *tenant, const char *id,
                          int64_t *ret_n, struct err *e);

#endif
