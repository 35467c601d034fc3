/* A load generator for gateways: one thread, epoll, connections that are kept.
 *
 *   load --port N [--rate N] [--seconds N | --requests N] [--connections N] [--stream --pieces N]
 *        [--path P] [--model M] [--header 'Name: value']... [--keys FILE] [--timeout-s N]
 *
 * With --rate it is open: requests have their times beforehand, and how long one took counts from
 * its time, also where no connection was free for it; so a service that stalls cannot hide the
 * requests that came meanwhile. Without, it is closed: each connection asks again when it is
 * answered, for the highest rate. Each request has the next key of FILE in place of the bearer in a
 * header. An answer that is not whole, or not 200, is an error. Pieces of a
 * stream that bear a stamp of the mock (bench_net.h) tell how long they were under way. One line of
 * JSON; times in it are microseconds. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench_net.h"
#include "loghist.h"
#include "wire.h"

#define READ_MAX    (256 << 10)
#define KEPT_MAX    (64 << 10) /* of a head or a line that is not complete */
#define EVENTS      256
#define CONNS_MAX   100000
#define REQUEST_MAX 4096
#define KEY_BEFORE  "Authorization: Bearer "
#define SHUT_MAX    16 /* connections in a row that cannot be made: nobody is there */

enum fault { FAULT_STATUS, FAULT_CONNECT, FAULT_CUT, FAULT_BODY, FAULT_TIMEOUT, FAULTS };

static const char *const fault_names[FAULTS] = {"status", "connect", "cut", "body", "timeout"};

struct conn {
    int fd; /* -1: none */
    int is_busy, is_sent;
    struct conn *next; /* free, or asking: the oldest first */
    struct conn *prev;
    int64_t from_ns; /* the request's time */
    int64_t sent_ns;
    struct wire wire;
    int n_pieces, is_done; /* of a stream; [DONE] was seen */
    int is_good;           /* the body has what an answer has */
    char *kept;
    size_t n_kept;
};

static struct {
    int port, n_conns, is_stream, pieces;
    int64_t rate, n_most, seconds, timeout_ns;
    const char *path, *model;
    char headers[2048];
    size_t n_headers;
    char *keys; /* one after the other, each with its newline */
    size_t key_len, n_keys;
} set = {.n_conns = 8,
         .pieces = 16,
         .seconds = 5,
         .timeout_ns = INT64_C(30000000000),
         .path = "/v1/chat/completions",
         .model = "mock"};

static struct {
    int epoll;
    int64_t begin_ns, end_ns;
    struct conn *conns, *idle, *oldest, *newest;
    int n_made, n_busy, n_busy_max, n_shut;
    int64_t n_begun, n_ended, n_good, n_pieces, fault[FAULTS];
    int status; /* the last that was not 200 */
    struct loghist took, first, piece;
    char request[REQUEST_MAX], in[KEPT_MAX + READ_MAX], line[KEPT_MAX + READ_MAX];
    size_t n_request, key_at, next_key;
} load;

/* ---- the schedule ---- */

/* When request i is to be sent: 0 in a closed loop. */
static int64_t time_of(int64_t i)
{
    return load.begin_ns + (int64_t)((double)i * 1e9 / (double)set.rate);
}

/* Whether request i belongs to the run. */
static int is_wanted(int64_t i, int64_t now_ns)
{
    if (set.n_most && i >= set.n_most)
        return 0;
    return set.n_most ||
           (set.rate ? time_of(i) : now_ns) < load.begin_ns + set.seconds * 1000000000;
}

/* ---- connections ---- */

static void busy_drop(struct conn *c)
{
    *(c->prev ? &c->prev->next : &load.oldest) = c->next;
    *(c->next ? &c->next->prev : &load.newest) = c->prev;
    c->is_busy = 0;
    load.n_busy--;
}

static void busy_add(struct conn *c)
{
    c->next = NULL;
    c->prev = load.newest;
    *(c->prev ? &c->prev->next : &load.oldest) = c;
    load.newest = c;
    c->is_busy = 1;
    if (++load.n_busy > load.n_busy_max)
        load.n_busy_max = load.n_busy;
}

static void conn_shut(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->kept);
    c->kept = NULL;
    c->n_kept = 0;
}

/* The request is over; its connection is free. */
static void conn_end(struct conn *c)
{
    load.n_ended++;
    busy_drop(c);
    c->next = load.idle;
    load.idle = c;
}

static void conn_fail(struct conn *c, enum fault f)
{
    load.fault[f]++;
    load.n_shut = f == FAULT_CONNECT ? load.n_shut + 1 : 0;
    conn_shut(c);
    conn_end(c);
}

static void conn_good(struct conn *c, int64_t now_ns)
{
    load.n_good++;
    load.n_shut = 0;
    loghist_add(&load.took, now_ns - c->from_ns);
    if (c->wire.is_closed)
        conn_shut(c);
    conn_end(c);
}

static void conn_send(struct conn *c)
{
    if (set.n_keys) {
        memcpy(load.request + load.key_at, set.keys + load.next_key * (set.key_len + 1),
               set.key_len);
        load.next_key = (load.next_key + 1) % set.n_keys;
    }
    if (send(c->fd, load.request, load.n_request, MSG_NOSIGNAL) == (ssize_t)load.n_request)
        c->is_sent = 1;
    else if (errno != EAGAIN && errno != ENOTCONN)
        conn_fail(c, errno == ECONNREFUSED ? FAULT_CONNECT : FAULT_CUT);
}

/* Sends at once where the connection stands, else when it does. */
static void conn_ask(struct conn *c, int64_t from_ns, int64_t now_ns)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};

    wire_begin(&c->wire);
    c->from_ns = from_ns;
    c->sent_ns = now_ns;
    c->n_pieces = c->is_done = c->is_good = c->is_sent = 0;
    busy_add(c);
    load.n_begun++;
    if (c->fd >= 0) {
        conn_send(c);
        return;
    }
    c->fd = bench_connect(set.port);
    if (c->fd < 0 || epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &ev))
        conn_fail(c, FAULT_CONNECT);
}

static struct conn *conn_free(void)
{
    struct conn *c = load.idle;

    if (c) {
        load.idle = c->next;
        return c;
    }
    if (load.n_made == set.n_conns)
        return NULL;
    c = &load.conns[load.n_made++];
    c->fd = -1;
    return c;
}

/* ---- answers ---- */

static void take_line(struct conn *c, const char *p, size_t n, int64_t now_ns)
{
    int64_t sent_ns;

    if (n >= 12 && !memcmp(p, "data: [DONE]", 12)) {
        c->is_done = 1;
        return;
    }
    sent_ns = bench_stamp_find(p, n);
    if (sent_ns < 0)
        return;
    if (!c->n_pieces++)
        loghist_add(&load.first, now_ns - c->from_ns);
    loghist_add(&load.piece, now_ns - sent_ns);
    load.n_pieces++;
}

static int keep(struct conn *c, const char *p, size_t n)
{
    char *kept = n > KEPT_MAX ? NULL : n ? malloc(n) : NULL;

    if (n && !kept)
        return -1;
    if (n)
        memcpy(kept, p, n);
    free(c->kept);
    c->kept = kept;
    c->n_kept = n;
    return 0;
}

/* Whole lines of a stream's text, and what is left for later. */
static int take_lines(struct conn *c, const char *p, size_t n, int64_t now_ns)
{
    const char *end = p + n, *stop;

    if (c->n_kept) {
        memcpy(load.line, c->kept, c->n_kept);
        memcpy(load.line + c->n_kept, p, n);
        p = load.line;
        end = p + c->n_kept + n;
    }
    for (; p < end && (stop = memchr(p, '\n', (size_t)(end - p))); p = stop + 1) {
        if (stop > p)
            take_line(c, p, (size_t)(stop - p), now_ns);
    }
    return keep(c, p, (size_t)(end - p));
}

static int take_text(struct conn *c, const char *p, size_t n, int64_t now_ns)
{
    if (set.is_stream)
        return take_lines(c, p, n, now_ns);
    if (!c->n_kept && c->wire.state == WIRE_DONE) { /* all of it in one piece */
        c->is_good = memmem(p, n, "\"choices\"", 9) != NULL;
        return 0;
    }
    memcpy(load.line, c->n_kept ? c->kept : "", c->n_kept);
    memcpy(load.line + c->n_kept, p, n);
    n += c->n_kept;
    c->is_good = c->is_good || memmem(load.line, n, "\"choices\"", 9);
    return keep(c, load.line, n);
}

static void take_end(struct conn *c, int64_t now_ns)
{
    free(c->kept);
    c->kept = NULL;
    c->n_kept = 0;
    if (c->wire.status != 200) {
        load.status = c->wire.status;
        conn_fail(c, FAULT_STATUS);
    } else if (set.is_stream ? !c->is_done || c->n_pieces != set.pieces : !c->is_good)
        conn_fail(c, FAULT_BODY);
    else
        conn_good(c, now_ns);
}

/* The n bytes at load.in, of which those of a head that was not complete come first. */
static void take_bytes(struct conn *c, size_t n, int64_t now_ns)
{
    size_t at = 0;

    while (c->wire.state == WIRE_HEAD) {
        size_t head = wire_head(&c->wire, load.in + at, n - at, 1);
        if (!head && c->wire.state == WIRE_HEAD) {
            if (keep(c, load.in + at, n - at))
                conn_fail(c, FAULT_BODY);
            return;
        }
        at += head;
        if (head && c->wire.status < 200)
            wire_begin(&c->wire);
        keep(c, NULL, 0);
    }
    while (c->wire.state == WIRE_BODY && at < n) {
        const char *p;
        size_t n_text;
        at += wire_body(&c->wire, load.in + at, n - at, &p, &n_text);
        if (n_text && take_text(c, p, n_text, now_ns)) {
            conn_fail(c, FAULT_BODY);
            return;
        }
    }
    if (c->wire.state == WIRE_BAD || at < n)
        conn_fail(c, FAULT_BODY);
    else if (c->wire.state == WIRE_DONE)
        take_end(c, now_ns);
}

/* is_last: its end has come too, and will not be told again. */
static void conn_read(struct conn *c, int is_last)
{
    while (c->fd >= 0) {
        size_t had = c->is_busy && c->wire.state == WIRE_HEAD ? c->n_kept : 0;
        ssize_t got;
        memcpy(load.in, had ? c->kept : "", had);
        got = recv(c->fd, load.in + had, READ_MAX, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (!c->is_busy) /* it ends a connection that nobody uses, or talks out of turn */
            conn_shut(c);
        else if (got <= 0 && c->wire.state == WIRE_BODY && c->wire.left < 0) {
            c->wire.is_closed = 1;
            take_end(c, bench_now_ns());
        } else if (got <= 0)
            conn_fail(c, c->is_sent ? FAULT_CUT : FAULT_CONNECT);
        else
            take_bytes(c, had + (size_t)got, bench_now_ns());
        if (got > 0 && got < READ_MAX && !is_last)
            return;
    }
}

/* ---- the run ---- */

static void begin_due(int64_t now_ns)
{
    while (load.n_shut < SHUT_MAX && is_wanted(load.n_begun, now_ns)) {
        int64_t from_ns = set.rate ? time_of(load.n_begun) : now_ns;
        struct conn *c = from_ns <= now_ns ? conn_free() : NULL;
        if (!c)
            return;
        conn_ask(c, from_ns, now_ns);
    }
}

static void cut_late(int64_t now_ns)
{
    while (load.oldest && load.oldest->sent_ns + set.timeout_ns <= now_ns)
        conn_fail(load.oldest, FAULT_TIMEOUT);
}

/* Until the next request's time, or until something comes. */
static int64_t wait_ns(int64_t now_ns)
{
    int64_t until = now_ns + 100000000;

    if (set.rate && is_wanted(load.n_begun, now_ns) && (load.idle || load.n_made < set.n_conns) &&
        time_of(load.n_begun) < until)
        until = time_of(load.n_begun);
    return until > now_ns ? until - now_ns : 0;
}

static void run(void)
{
    struct epoll_event ready[EVENTS];
    int64_t now_ns = load.begin_ns = bench_now_ns();

    for (;;) {
        struct timespec t = {0, 0};
        int n;
        begin_due(now_ns);
        if (!load.n_busy && (load.n_shut >= SHUT_MAX || !is_wanted(load.n_begun, now_ns)))
            break;
        t.tv_nsec = wait_ns(bench_now_ns());
        n = epoll_pwait2(load.epoll, ready, EVENTS, &t, NULL);
        for (int i = 0; i < n; i++) {
            struct conn *c = ready[i].data.ptr;
            if (c->is_busy && !c->is_sent && (ready[i].events & EPOLLOUT))
                conn_send(c);
            if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                conn_read(c, (ready[i].events & (EPOLLRDHUP | EPOLLHUP)) != 0);
        }
        now_ns = bench_now_ns();
        cut_late(now_ns);
    }
    load.end_ns = bench_now_ns();
}

/* ---- the report ---- */

static void print_times(const char *name, const struct loghist *h)
{
    printf("\"%s\":{\"n\":%llu,\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,"
           "\"p999\":%.2f,\"max\":%.2f},",
           name, (unsigned long long)h->n, loghist_mean(h) / 1e3, loghist_percentile(h, 50) / 1e3,
           loghist_percentile(h, 90) / 1e3, loghist_percentile(h, 99) / 1e3,
           loghist_percentile(h, 99.9) / 1e3, loghist_percentile(h, 100) / 1e3);
}

static void print_report(void)
{
    double s = (double)(load.end_ns - load.begin_ns) / 1e9;
    struct timespec cpu;
    int64_t n_errors = 0;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    printf("{\"requests\":%lld,\"good\":%lld,\"pieces\":%lld,\"seconds\":%.6f,"
           "\"rate\":%.2f,\"open_max\":%d,",
           (long long)load.n_begun, (long long)load.n_good, (long long)load.n_pieces, s,
           (double)load.n_good / s, load.n_busy_max);
    print_times("took_us", &load.took);
    print_times("first_us", &load.first);
    print_times("piece_us", &load.piece);
    printf("\"faults\":{");
    for (int i = 0; i < FAULTS; i++) {
        n_errors += load.fault[i];
        printf("%s\"%s\":%lld", i ? "," : "", fault_names[i], (long long)load.fault[i]);
    }
    printf("},\"errors\":%lld,\"status\":%d,\"cpu_us\":%.2f}\n", (long long)n_errors, load.status,
           ((double)cpu.tv_sec * 1e6 + (double)cpu.tv_nsec / 1e3) /
               (double)(load.n_begun ? load.n_begun : 1));
}

static void request_make(void)
{
    char body[1024], stream[128] = "";
    int n;

    if (set.is_stream)
        snprintf(stream, sizeof stream,
                 ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":%d",
                 set.pieces);
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"Say twelve words "
             "about the sea, and no more.\"}]%s}",
             set.model, stream);
    n = snprintf(load.request, sizeof load.request,
                 "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                 "%sContent-Length: %zu\r\n\r\n%s",
                 set.path, set.port, set.headers, strlen(body), body);
    if (n >= (int)sizeof load.request) {
        fprintf(stderr, "load: the request does not fit\n");
        exit(2);
    }
    load.n_request = (size_t)n;
    if (set.n_keys) {
        const char *key = strstr(load.request, KEY_BEFORE);
        if (!key || strcspn(key += strlen(KEY_BEFORE), "\r") != set.key_len) {
            fprintf(stderr, "load: --keys wants a --header with a key in it, as long as these\n");
            exit(2);
        }
        load.key_at = (size_t)(key - load.request);
    }
}

/* The keys of a file. */
static void keys_read(const char *path)
{
    FILE *f = fopen(path, "r");
    long n;

    if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 2 || !(set.keys = malloc((size_t)n + 1))) {
        perror(path);
        exit(2);
    }
    rewind(f);
    set.keys[fread(set.keys, 1, (size_t)n, f)] = 0;
    fclose(f);
    set.key_len = strcspn(set.keys, "\n");
    set.n_keys = (size_t)n / (set.key_len + 1);
}

static const struct option options[] = {
    {"port", 1, NULL, 'p'},     {"rate", 1, NULL, 'r'},        {"seconds", 1, NULL, 's'},
    {"requests", 1, NULL, 'n'}, {"connections", 1, NULL, 'c'}, {"pieces", 1, NULL, 'k'},
    {"path", 1, NULL, 'u'},     {"model", 1, NULL, 'm'},       {"header", 1, NULL, 'H'},
    {"stream", 0, NULL, 'S'},   {"timeout-s", 1, NULL, 't'},   {"keys", 1, NULL, 'K'},
    {NULL, 0, NULL, 0},
};

static void take_option(int o, int at)
{
    const char *name = options[at].name;

    if (o == 'p')
        set.port = (int)bench_number(name, optarg, 65535);
    else if (o == 'r')
        set.rate = bench_number(name, optarg, 10000000);
    else if (o == 's')
        set.seconds = bench_number(name, optarg, 86400);
    else if (o == 'n')
        set.n_most = bench_number(name, optarg, INT64_C(1) << 40);
    else if (o == 'c')
        set.n_conns = (int)bench_number(name, optarg, CONNS_MAX);
    else if (o == 'k')
        set.pieces = (int)bench_number(name, optarg, 1000000);
    else if (o == 't')
        set.timeout_ns = bench_number(name, optarg, 86400) * 1000000000;
    else if (o == 'u')
        set.path = optarg;
    else if (o == 'm')
        set.model = optarg;
    else if (o == 'S')
        set.is_stream = 1;
    else if (o == 'K')
        keys_read(optarg);
    else if (o == 'H' && set.n_headers + strlen(optarg) + 3 < sizeof set.headers)
        set.n_headers += (size_t)snprintf(set.headers + set.n_headers,
                                          sizeof set.headers - set.n_headers, "%s\r\n", optarg);
    else
        exit(2);
}

int main(int argc, char **argv)
{
    int o, at = 0;

    while ((o = getopt_long(argc, argv, "", options, &at)) != -1)
        take_option(o, at);
    if (!set.port || set.n_conns < 1 || optind < argc) {
        fprintf(stderr, "usage: load --port N [OPTIONS] (bench/gateway/load.c says which)\n");
        return 2;
    }
    request_make();
    bench_files_raise();
    prctl(PR_SET_TIMERSLACK, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.conns = calloc((size_t)set.n_conns, sizeof *load.conns);
    if (load.epoll < 0 || !load.conns) {
        perror("load");
        return 1;
    }
    run();
    print_report();
    return 0;
}
