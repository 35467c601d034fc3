/* Requests to services elsewhere, on the io threads of a server: HTTP/1.1 over connections that
 * are kept, TLS verified, nothing blocks. Bytes, not their meaning.
 *
 * A struct upstream is one service's address and how it is reached. Each io thread has its own
 * connections and requests: a request is begun, read and cancelled on one io thread. DNS names are
 * looked up again when their answers age.
 *
 * Limits: connections per service and io thread, bytes of head and of body, the four timeouts. */
#ifndef NET_UPSTREAM_H
#define NET_UPSTREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct net_server;
struct upstream;
struct upstream_request;

/* Members that are 0 or NULL have their defaults. */
struct upstream_config {
    const char *base_url;   /* "https://api.cerebras.ai/v1"; paths are appended */
    const char *ca_file;    /* NULL: the system's */
    const char *proxy;      /* URL, NULL: none */
    int connect_ms;         /* to connect, TLS included; default 3 s */
    int first_byte_ms;      /* from the request sent to the answer's head; default 60 s */
    int silence_ms;         /* between bytes of an answer; default 30 s */
    int total_ms;           /* of all of it; default 600 s */
    int conns_max;          /* per io thread, also requests: one more is ERR_LIMIT; default 256 */
    size_t body_max;        /* of an answer; default 64 MiB */
    size_t head_max;        /* default 64 KiB */
    const char *user_agent; /* default "gaufre/VERSION" */
};

/* What upstream_open would find wrong with it: ERR_ARG with a sentence. */
int upstream_check(const struct upstream_config *c, struct err *e);
/* ERR_ARG with a sentence (bad URL, no such file), ERR_UNSUPPORTED (no libssl), ERR_NOMEM. Strings
 * are copied. */
int upstream_open(struct upstream **ret, struct net_server *s, const struct upstream_config *c,
                  struct err *e);
/* Between net_server_join and net_server_close. What is still under way is cut, and nobody is told.
 * Accepts NULL. */
void upstream_close(struct upstream *u);

/* [any] A round trip to it, as the kernel measured on its connections, a running mean; behind a
 * proxy that to the proxy. 0: not measured yet. */
int64_t upstream_rtt_us(const struct upstream *u);

struct upstream_header {
    const char *name, *value;
};

/* The way upward, on the request's io thread; never from inside a call made by the upper room.
 * on_end is called exactly once, unless the request was cancelled: then nothing is called. */
struct upstream_handler {
    void *ctx;
    /* The head is complete; interim answers (1xx) are not told. Look at it with
     * upstream_status and upstream_answer_header. */
    void (*on_head)(void *ctx, struct upstream_request *r);
    /* Bytes of the body as they come. Not called while paused. */
    void (*on_data)(void *ctx, struct upstream_request *r, const char *p, size_t n);
    /* code 0: the answer is complete by its framing. ERR_CONNECT (never reached it: nothing was
     * sent), ERR_TIMEOUT, ERR_SILENT, ERR_RESET (ended in the middle), ERR_FORMAT, ERR_TOO_LARGE,
     * ERR_NOMEM; e has the sentence, without addresses and keys. The request is freed after it. */
    void (*on_end)(void *ctx, struct upstream_request *r, const struct err *e);
};

struct upstream_ask {
    const char *method, *path; /* "POST", "PATCH" or "GET"; "/chat/completions" */
    const struct upstream_header *header;
    int n_header;
    const char *body; /* must stay until on_end or the cancel */
    size_t n_body;
    int first_byte_ms; /* 0: the service's */
};

/* [io thread `io`] 0 and *ret; or ERR_LIMIT (all connections are busy), ERR_ARG (bytes that do not
 * belong in a head), ERR_NOMEM. All but the body is copied. Redirects are not followed. */
int upstream_begin(struct upstream *u, int io, const struct upstream_ask *a,
                   const struct upstream_handler *h, struct upstream_request **ret, struct err *e);
/* The service sees it at once: its connection is closed. Any time before on_end has returned, also
 * from inside the calls of this request and of others; so are the functions below. */
void upstream_cancel(struct upstream_request *r);
/* Its reader's mailbox, on the same io thread, has mail: net_io_mail. */
void upstream_mail(struct upstream *u, int io);
void upstream_pause(struct upstream_request *r, int paused); /* reading, for a slow reader */
int upstream_status(const struct upstream_request *r);       /* 0 before on_head */
/* Has all of the request been handed to the connection? The service may have read it. */
int upstream_is_sent(const struct upstream_request *r);
/* The headers one after the other, names in lower case: *name is NULL, then what was told last. 0:
 * there are no more. */
int upstream_answer_next(const struct upstream_request *r, const char **name, const char **value);
/* A header of the answer by its name in lower case, or NULL; until on_end returns. */
const char *upstream_answer_header(const struct upstream_request *r, const char *name);

#endif
