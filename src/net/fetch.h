/* Download over HTTP(S): one blocking GET with resume. The caller's thread; several at once are
 * fine. Proxies come from the environment (https_proxy, no_proxy, ...), certificates are checked.
 *
 * Two versions of a file are never mixed: a continued answer (206) is used only when it begins at
 * the requested byte, is of a file of the same size, and repeats the strong ETag of the earlier
 * part where the caller has one. Otherwise the whole file is downloaded again.
 *
 * Limits: bytes (size_max, unsized_max), time to connect, silence, redirects (5; http and https
 * only, and never from https down to http). */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct fetch_result {
    int status;           /* HTTP status of the last answer, 0 when there was none */
    int64_t bytes;        /* of the whole file now in fd or body, also after an error */
    int64_t resumed_from; /* where this download really began */
    char etag[128];       /* "" when there is none that is strong (or it is too long): bytes of two
                             answers with the same one belong together */
};

struct fetch_options {
    const char *url;
    /* Another method than GET, with a body to send (text, may be NULL): not resumed, and redirects
     * are not followed. NULL: GET. */
    const char *method, *send;
    /* Where to: a file descriptor (fd >= 0), written from offset `resume_from` on, or a buffer
     * whose ceiling counts too. */
    int fd;
    struct buf *body;
    /* Or to somebody who takes the bytes as they come, with `ctx` below; not 0 ends it with that
     * error, whose sentence it has set. Not resumed. NULL: fd or body. */
    int (*take)(void *ctx, const char *p, size_t n);
    /* The body of an answer that refuses (any status but 200 and 206), as far as it fits: what is
     * longer is dropped, whole. NULL: nowhere. */
    struct buf *refusal;
    /* Resume: bytes of the file that are already in fd, 0 for none. When the server will not
     * continue there (it sends the whole file, or says that the file changed), fd is truncated
     * and written from the start. */
    int64_t resume_from;
    const char *etag;       /* fetch_result's, of the earlier part; NULL: something else will tell
                               whether the parts belong together (a digest of the whole) */
    int64_t size_before;    /* of the file that the earlier part was of; -1 unknown */
    int64_t size_expected;  /* -1 unknown; another size is ERR_FORMAT, before a byte is written */
    int64_t size_max;       /* of the whole file: ERR_TOO_LARGE; 0: no limit */
    int64_t unsized_max;    /* the same for an answer that does not tell its size */
    int connect_timeout_ms; /* 0: 30 s */
    int stall_timeout_ms;   /* no byte for so long: ERR_TIMEOUT; 0: 60 s; rounded up to seconds */
    const char *ca_file;    /* certificates to trust (PEM); NULL: $CURL_CA_BUNDLE or $SSL_CERT_FILE
                               where set, else the system's */
    const char *const *headers; /* "Name: value", NULL-terminated; NULL: none. Not sent to other
                                   hosts after a redirect when they are Authorization or Cookie */
    /* Called at least once a second while waiting; bytes of the whole file (with resume_from),
     * total -1 when unknown. Non-zero cancels (ERR_CANCELLED). May be NULL. */
    int (*progress)(void *ctx, int64_t bytes, int64_t total);
    /* Called when the head of the answer is known and no byte of it is stored yet: r->resumed_from
     * and r->etag are set, total is -1 when unknown. Once more with resumed_from 0 when the rest
     * turned out to be of no use. An error ends the download and is returned, without a sentence.
     * May be NULL. */
    int (*begun)(void *ctx, const struct fetch_result *r, int64_t total);
    void *ctx;
};
/* fd, size_before and size_expected -1, the rest zero. */
void fetch_options_init(struct fetch_options *o, const char *url);

/* 0; or ERR_ARG (bad URL), ERR_NOTFOUND (404, 410), ERR_FORBIDDEN (401, 403), ERR_TIMEOUT,
 * ERR_CANCELLED, ERR_TOO_LARGE, ERR_FORMAT (size, range), ERR_UNSUPPORTED (a compressed answer),
 * ERR_AGAIN (429, 5xx), ERR_LIMIT (the disk is full), ERR_IO (name, connection, TLS, disk, other
 * statuses), each with a sentence. *ret is always written. */
int fetch_get(const struct fetch_options *o, struct fetch_result *ret, struct err *e);

#endif
