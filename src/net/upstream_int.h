/* Inside the client of room net: what its files share. All of it belongs to one io thread, except
 * struct upstream, which nobody changes once it is open.
 *
 * A pool is one multi handle of libcurl, with its connections. libcurl looks for a free connection
 * among all of them, one after the other, so that with thousands of streams open each new request
 * would cost more than all the rest of it: a pool is small, and a thread has as many as it needs.
 *
 * libcurl's callbacks only note what came (upstream_easy.c). The upper room is told when libcurl
 * has returned (upstream_pool.c), so whatever it does then, also to other requests, is done at
 * once. */
#ifndef NET_UPSTREAM_INT_H
#define NET_UPSTREAM_INT_H

#include "base/buf.h"
#include "net/curl_lib.h"
#include "net/upstream.h"

struct event;
struct event_base;
struct net_io;
struct upstream_sock;

#define UPSTREAM_HEADERS_MAX 40     /* of a request */
#define UPSTREAM_ASK_MAX     32768  /* bytes of a request's head */
#define UPSTREAM_TURN_MAX    262144 /* bytes of answers taken before the upper room is told */
#define UPSTREAM_POOL_MAX    128    /* requests of a pool */
#define UPSTREAM_FREE_MAX    32     /* requests kept for the next ones, a pool */

enum upstream_phase {
    PHASE_CONNECT, /* until the request may be sent: address, connection, TLS */
    PHASE_WAIT,    /* until the head is complete */
    PHASE_BODY,
    PHASE_DONE, /* libcurl has ended it, or was stopped */
};

enum upstream_list {
    LIST_TODO, /* libcurl is to begin it, or to go on */
    LIST_NEWS, /* the upper room is to be told */
    N_LISTS,
};

struct upstream_request {
    struct upstream_pool *pool;
    CURL *easy;
    struct upstream_handler handler;
    struct upstream_request *next, *prev; /* of those under way */
    struct upstream_request *list_next[N_LISTS];
    uint8_t is_in[N_LISTS];
    uint8_t phase;
    uint8_t is_added;  /* libcurl has it */
    uint8_t is_ended;  /* cancelled, or on_end was called */
    uint8_t is_busy;   /* the upper room is being told */
    uint8_t has_head;  /* to be told */
    uint8_t is_paused; /* by the upper room */
    uint8_t is_held;   /* libcurl keeps what came until it is told to go on */
    int code;          /* of the end, with why */
    const char *why;
    /* times, by CLOCK_MONOTONIC */
    int64_t begun_us, mark_us; /* mark: when the phase began, or its last byte came */
    int64_t sent_us;           /* first; 0: not yet */
    int64_t due_us;
    int first_byte_ms;
    /* the request's head, in the form that libcurl wants */
    struct buf ask;
    struct curl_slist lines[UPSTREAM_HEADERS_MAX];
    /* the answer */
    struct buf head; /* names and values, each NUL-terminated */
    size_t n_head, n_answer;
    int status;
    size_t data_at, data_n; /* in the io thread's buffer */
    struct buf held;        /* what came before a pause */
};

struct upstream_pool {
    struct upstream_pool *next;
    struct upstream_io *io;
    const struct upstream_config *config;
    const struct curl_lib *lib;
    CURLM *multi;
    struct event *timer_ev, *todo_ev, *sweep_ev;
    struct upstream_request *requests, *unused;
    int n_requests, n_unused;
    struct upstream_request *first[N_LISTS], *last[N_LISTS];
    int64_t now_us, sweep_us; /* sweep: when the next is due; 0: none is */
};

struct upstream_io {
    struct upstream *up;
    struct net_io *net;
    struct upstream_pool *pools; /* the first of them with a place takes the next request */
    int n_requests;
    struct upstream_sock **socks; /* by descriptor */
    int n_socks;
    struct buf data; /* what came in this turn of a pool */
};

struct upstream {
    struct upstream_config config;
    char *url, *ca_file, *proxy, *user_agent; /* config's, copied */
    char *ca_dir; /* of the system's certificates, by hash; NULL: ca_file, or the system's file */
    struct net_server *server;
    const struct curl_lib *lib;
    int n_io;
    struct upstream_io io[]; /* by io thread */
};

/* upstream_easy.c */
int upstream_easy_open(struct upstream_request *r); /* 0 or ERR_NOMEM */
int upstream_easy_ask(struct upstream_request *r, const struct upstream_ask *a, struct err *e);
/* libcurl has ended it with `result`: sets code and why. */
void upstream_easy_judge(struct upstream_request *r, CURLcode result);
void upstream_fail(struct upstream_request *r, int code, const char *why); /* the first one stays */

/* upstream_pool.c */
int upstream_pool_new(struct upstream_pool **ret, struct upstream_io *io); /* 0 or ERR_NOMEM */
void upstream_pool_free(struct upstream_pool *pool);
void upstream_pool_now(struct upstream_pool *pool); /* look at the clock */
/* Let libcurl go on, and tell what came of it. */
void upstream_pool_act(struct upstream_pool *pool, curl_socket_t fd, int what);
void upstream_pool_push(struct upstream_request *r, enum upstream_list l);
void upstream_pool_stop(struct upstream_request *r); /* libcurl is to leave it */
/* Set its deadline from its phase, and the sweep's. */
void upstream_pool_expect(struct upstream_request *r);
void upstream_pool_drop(struct upstream_request *r); /* it has ended: keep it for the next one */

/* upstream_sock.c: callbacks of libcurl; ctx is the pool of the first, else the io thread's struct
 */
/* libcurl waits for a socket, no longer, or for something else. Without memory it is not waited
 * for, and the request ends when it is overdue. */
int upstream_sock_set(CURL *easy, curl_socket_t fd, int what, void *ctx, void *sock_ctx);
curl_socket_t upstream_sock_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a);
int upstream_sock_close(void *ctx, curl_socket_t fd);
void upstream_sock_forget_all(struct upstream_io *io); /* at the end */

#endif
