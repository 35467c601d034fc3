/* An OpenAI-compatible service that costs as little as possible: one thread, epoll, answers that
 * are known beforehand. What it writes into a stream's pieces is when they were sent.
 *
 *   mock_upstream [--port N] [--pieces N] [--interval-us N] [--delay-us N]
 *
 * POST /v1/chat/completions: a fixed answer, or with "stream":true as many pieces as the request's
 * max_tokens (else --pieces), --interval-us apart; usage where the request asks for it; [DONE].
 * GET /v1/models, /health, and /stats: what was served. --delay-us: before an answer, or a stream's
 * first piece. Its port is the first line of the output. Nothing may be sent before an answer has
 * ended: no pipelining. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_net.h"
#include "wire.h"

#define READ_MAX    (1 << 20) /* of a request */
#define HEAD_MAX    (64 << 10)
#define EVENTS      256
#define PIECES_MAX  1000000
#define ANSWER_SIZE 380
#define OUT_MAX     4096

struct conn {
    int fd;
    int is_due; /* in the list of what is due */
    int64_t due_ns;
    struct conn *prev, *next;
    int is_stream, has_begun, wants_usage;
    int64_t n_pieces, n_sent;
    char *kept; /* of a request that is not complete */
    size_t n_kept;
};

static struct {
    int epoll, port;
    int64_t pieces, interval_ns, delay_ns;
    struct conn *first, *last; /* what is due, the earliest first */
    int64_t n_requests, n_streams, n_pieces, n_conns, n_open, n_cut, n_bad;
    char in[READ_MAX], body[READ_MAX + 1];
    char answer[1024];
    size_t n_answer;
} mock;

/* ---- time ---- */

static void due_drop(struct conn *c)
{
    if (!c->is_due)
        return;
    *(c->prev ? &c->prev->next : &mock.first) = c->next;
    *(c->next ? &c->next->prev : &mock.last) = c->prev;
    c->is_due = 0;
}

/* Nearly always behind the last: all wait equally long. */
static void due_add(struct conn *c, int64_t at_ns)
{
    struct conn *before = mock.last;

    while (before && before->due_ns > at_ns)
        before = before->prev;
    c->due_ns = at_ns;
    c->prev = before;
    c->next = before ? before->next : mock.first;
    *(c->prev ? &c->prev->next : &mock.first) = c;
    *(c->next ? &c->next->prev : &mock.last) = c;
    c->is_due = 1;
}

/* ---- connections ---- */

static void conn_close(struct conn *c)
{
    due_drop(c);
    if (c->is_stream)
        mock.n_cut++;
    mock.n_open--;
    close(c->fd);
    free(c->kept);
    free(c);
}

/* Sockets of loopback take an answer at once; who reads so little that they do not is cut. 0, or -1
 * and the connection is gone. */
static int conn_send(struct conn *c, const char *p, size_t n)
{
    if (send(c->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n)
        return 0;
    conn_close(c);
    return -1;
}

static void conn_accept(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct conn *c = fd < 0 ? NULL : calloc(1, sizeof *c);
        struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
        if (fd < 0)
            return;
        if (!c || epoll_ctl(mock.epoll, EPOLL_CTL_ADD, fd, &ev)) {
            free(c);
            close(fd);
            continue;
        }
        c->fd = fd;
        mock.n_conns++;
        mock.n_open++;
    }
}

/* ---- answers ---- */

static int send_json(struct conn *c, int status, const char *reason, const char *json)
{
    char out[1024];
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "\r\n%s",
                     status, reason, strlen(json), json);

    return conn_send(c, out, (size_t)n);
}

static void answer_make(void)
{
    char json[ANSWER_SIZE + 64], pad[ANSWER_SIZE] = "";
    const char *form =
        "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"Twelve words of an answer that never changes, whoever asks.%s\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":12,"
        "\"total_tokens\":24}}";
    int n = snprintf(json, sizeof json, form, pad);

    memset(pad, '.', (size_t)(ANSWER_SIZE - n));
    snprintf(json, sizeof json, form, pad);
    mock.n_answer = (size_t)snprintf(mock.answer, sizeof mock.answer,
                                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                     "Content-Length: %d\r\n\r\n%s",
                                     ANSWER_SIZE, json);
}

#define EVENT                                                                                      \
    "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000," \
    "\"model\":\"mock\",\"choices\":["

/* One event as one chunk, behind the n bytes there. */
static size_t put_event(char out[OUT_MAX], size_t n, const char *event)
{
    return n + (size_t)snprintf(out + n, OUT_MAX - n, "%zx\r\n%s\r\n", strlen(event), event);
}

static void send_piece(struct conn *c, int64_t now_ns)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    char out[OUT_MAX], event[512], stamp[STAMP_LEN + 1] = "";
    size_t n = 0;

    if (!c->has_begun) {
        n = sizeof head - 1;
        memcpy(out, head, n);
        n = put_event(out, n,
                      EVENT "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":"
                            "\"\"},\"finish_reason\":null}]}\n\n");
        c->has_begun = 1;
    }
    if (c->n_sent < c->n_pieces) {
        bench_stamp(stamp, bench_now_ns());
        snprintf(event, sizeof event,
                 EVENT "{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                       "\"finish_reason\":null}]}\n\n",
                 stamp);
        n = put_event(out, n, event);
        c->n_sent++;
        mock.n_pieces++;
    }
    if (c->n_sent == c->n_pieces) {
        n = put_event(out, n,
                      EVENT "{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}"
                            "\n\n");
        if (c->wants_usage) {
            snprintf(event, sizeof event,
                     EVENT "],\"usage\":{\"prompt_tokens\":12,"
                           "\"completion_tokens\":%lld,\"total_tokens\":%lld}}"
                           "\n\n",
                     (long long)c->n_pieces, (long long)c->n_pieces + 12);
            n = put_event(out, n, event);
        }
        n = put_event(out, n, "data: [DONE]\n\n");
        n += (size_t)snprintf(out + n, OUT_MAX - n, "0\r\n\r\n");
        c->is_stream = 0;
    }
    if (!conn_send(c, out, n) && c->is_stream)
        due_add(c, (c->due_ns > 0 ? c->due_ns : now_ns) + mock.interval_ns);
}

static void send_due(int64_t now_ns)
{
    struct conn *c;

    while ((c = mock.first) && c->due_ns <= now_ns) {
        due_drop(c);
        if (c->is_stream)
            send_piece(c, now_ns);
        else
            conn_send(c, mock.answer, mock.n_answer);
    }
}

/* ---- requests ---- */

/* What follows "name": in JSON, blanks skipped; NULL where the name is not there. Texts that quote
 * it are not expected of a bench. */
static const char *json_value(const char *p, size_t n, const char *name)
{
    const char *end = p + n;

    p = memmem(p, n, name, strlen(name));
    if (!p)
        return NULL;
    for (p += strlen(name); p < end && (*p == ':' || *p == ' ');)
        p++;
    return p < end ? p : NULL;
}

static int is_true(const char *p, size_t n, const char *name)
{
    const char *v = json_value(p, n, name);

    return v && (size_t)(p + n - v) >= 4 && !memcmp(v, "true", 4);
}

static void ask_chat(struct conn *c, const char *body, size_t n)
{
    const char *most;
    int64_t now_ns = bench_now_ns();

    mock.n_requests++;
    c->is_stream = is_true(body, n, "\"stream\"");
    if (c->is_stream) {
        most = json_value(body, n, "\"max_tokens\"");
        if (!most)
            most = json_value(body, n, "\"max_completion_tokens\"");
        c->n_pieces = most ? strtoll(most, NULL, 10) : mock.pieces;
        if (c->n_pieces < 0 || c->n_pieces > PIECES_MAX)
            c->n_pieces = mock.pieces;
        c->n_sent = c->has_begun = 0;
        c->due_ns = now_ns + mock.delay_ns;
        c->wants_usage = is_true(body, n, "\"include_usage\"");
        mock.n_streams++;
    }
    if (mock.delay_ns)
        due_add(c, now_ns + mock.delay_ns);
    else if (c->is_stream)
        send_piece(c, now_ns);
    else
        conn_send(c, mock.answer, mock.n_answer);
}

static void ask_stats(struct conn *c)
{
    char json[512];

    snprintf(json, sizeof json,
             "{\"requests\":%lld,\"streams\":%lld,\"pieces\":%lld,\"connections\":%lld,"
             "\"open\":%lld,\"cut\":%lld,\"bad\":%lld}",
             (long long)mock.n_requests, (long long)mock.n_streams, (long long)mock.n_pieces,
             (long long)mock.n_conns, (long long)mock.n_open, (long long)mock.n_cut,
             (long long)mock.n_bad);
    send_json(c, 200, "OK", json);
}

static int is_route(const char *head, size_t n, const char *route)
{
    size_t len = strlen(route);

    return n > len && !memcmp(head, route, len) && (head[len] == ' ' || head[len] == '?');
}

static void ask(struct conn *c, const char *head, size_t n_head, const char *body, size_t n_body)
{
    if (is_route(head, n_head, "POST /v1/chat/completions"))
        ask_chat(c, body, n_body);
    else if (is_route(head, n_head, "GET /v1/models"))
        send_json(c, 200, "OK",
                  "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":"
                  "\"model\",\"created\":1700000000,\"owned_by\":\"bench\"}]}");
    else if (is_route(head, n_head, "GET /health"))
        send_json(c, 200, "OK", "{\"status\":\"ok\"}");
    else if (is_route(head, n_head, "GET /stats"))
        ask_stats(c);
    else
        send_json(c, 404, "Not Found", "{\"error\":{\"message\":\"no such route\"}}");
}

static void refuse(struct conn *c)
{
    mock.n_bad++;
    if (!send_json(c, 400, "Bad Request", "{\"error\":{\"message\":\"not understood\"}}"))
        conn_close(c);
}

/* A request's end, if it lies in the n bytes: 1 when it was answered or refused, 0 when more must
 * come. */
static int take_request(struct conn *c, const char *p, size_t n)
{
    struct wire w;
    size_t at, n_head, n_body = 0;

    wire_begin(&w);
    at = n_head = wire_head(&w, p, n, 0);
    if (w.state == WIRE_HEAD && n < HEAD_MAX)
        return 0;
    while (w.state == WIRE_BODY && at < n) {
        const char *data;
        size_t n_data;
        at += wire_body(&w, p + at, n - at, &data, &n_data);
        memcpy(mock.body + n_body, data, n_data);
        n_body += n_data;
    }
    if (w.state == WIRE_BODY && n < READ_MAX)
        return 0;
    mock.body[n_body] = 0;
    if (w.state == WIRE_DONE && at == n)
        ask(c, p, n_head, mock.body, n_body);
    else
        refuse(c);
    return 1;
}

static void conn_read(struct conn *c)
{
    ssize_t got;
    size_t n = c->n_kept;

    memcpy(mock.in, c->kept ? c->kept : "", n);
    got = recv(c->fd, mock.in + n, READ_MAX - n, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        conn_close(c);
        return;
    }
    if (c->is_due || c->is_stream) { /* nothing was to be sent yet */
        mock.n_bad++;
        conn_close(c);
        return;
    }
    n += (size_t)got;
    free(c->kept);
    c->kept = NULL;
    c->n_kept = 0;
    if (take_request(c, mock.in, n))
        return;
    c->kept = malloc(n);
    if (!c->kept) {
        conn_close(c);
        return;
    }
    memcpy(c->kept, mock.in, n);
    c->n_kept = n;
}

/* ---- the program ---- */

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},     {"pieces", 1, NULL, 'n'}, {"interval-us", 1, NULL, 'i'},
        {"delay-us", 1, NULL, 'd'}, {NULL, 0, NULL, 0},
    };
    int o, at;

    mock.pieces = 16;
    mock.interval_ns = 10000000;
    while ((o = getopt_long(argc, argv, "", options, &at)) != -1) {
        switch (o) {
        case 'p':
            mock.port = (int)bench_number(options[at].name, optarg, 65535);
            break;
        case 'n':
            mock.pieces = bench_number(options[at].name, optarg, PIECES_MAX);
            break;
        case 'i':
            mock.interval_ns = 1000 * bench_number(options[at].name, optarg, 1000000000);
            break;
        case 'd':
            mock.delay_ns = 1000 * bench_number(options[at].name, optarg, 1000000000);
            break;
        default:
            exit(2);
        }
    }
}

static void serve(int listener)
{
    struct epoll_event ready[EVENTS];

    for (;;) {
        int64_t wait_ns = mock.first ? mock.first->due_ns - bench_now_ns() : INT64_C(1000000000);
        struct timespec t = {0, 0};
        int n;
        if (wait_ns > 0) {
            t.tv_sec = wait_ns / 1000000000;
            t.tv_nsec = wait_ns % 1000000000;
        }
        n = epoll_pwait2(mock.epoll, ready, EVENTS, &t, NULL);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr)
                conn_read(ready[i].data.ptr);
            else
                conn_accept(listener);
        }
        if (mock.first)
            send_due(bench_now_ns());
    }
}

int main(int argc, char **argv)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int listener;

    read_options(argc, argv);
    answer_make();
    bench_files_raise();
    prctl(PR_SET_TIMERSLACK, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* who measures takes it along */
    listener = bench_listen(mock.port, &mock.port);
    mock.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || mock.epoll < 0 || epoll_ctl(mock.epoll, EPOLL_CTL_ADD, listener, &ev)) {
        perror("mock_upstream");
        return 1;
    }
    printf("%d\n", mock.port);
    fflush(stdout);
    serve(listener);
}
