/* A server with a fake supplier on a free port of this machine, and a client of plain sockets. */
#ifndef TEST_SERVE_HARNESS_H
#define TEST_SERVE_HARNESS_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "fake_supplier.h"
#include "serve/server.h"

#define MAYBE   __attribute__((unused))
#define WAIT_MS 60000 /* for what must come; a test fails long after it would have */

struct room {
    struct fake f;
    struct serve_config config;
    struct server *s;
    pthread_t runner;
    int running, run_result;
    const char *other; /* a second model, without offers; or NULL */
    char dir[64], ledger[128], keys[128];
};

static void *room_run(void *arg)
{
    struct room *r = arg;
    struct err e = {0};

    while ((r->run_result = serve_run(r->s, &e)) == SERVE_RELOAD)
        serve_swap(r->s, &r->config, &e); /* the same again: the keys are read */
    return NULL;
}

/* Defaults for tests; change r->config between room_init and room_start. */
static void room_init(struct room *r)
{
    memset(r, 0, sizeof *r);
    log_setup(LOG_OFF, 0);
    strcpy(r->dir, "/tmp/gaufre-serve-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->ledger, sizeof r->ledger, "%s/ledger.db", r->dir);
    snprintf(r->keys, sizeof r->keys, "%s/keys", r->dir);
    serve_config_init(&r->config);
    r->config.port = 0;
    r->config.ledger = r->ledger;
    r->config.body_limit = 1 << 20;
    fake_open(&r->f);
}

static void room_start(struct room *r)
{
    static const char *const names[] = {"fake", "other-name"};
    struct err e = {0};

    if (server_new(&r->s, &r->config, &e) || server_add_model(r->s, names, 2, &e) ||
        cloud_add_offer(r->s->cloud, 0, &r->f.s, &e) ||
        (r->other && server_add_model(r->s, &r->other, 1, &e)) || server_start(r->s, &e))
        fail_msg("%s", e.text);
    pthread_create(&r->runner, NULL, room_run, r);
    r->running = 1;
}

static void room_stop(struct room *r)
{
    serve_drain(r->s);
    if (r->running)
        pthread_join(r->runner, NULL);
    r->running = 0;
}

static void room_done(struct room *r)
{
    char cmd[128];

    room_stop(r);
    assert_int_equal(atomic_load(&r->s->n_calls), 0);
    serve_close(r->s); /* checks that no ticket is open */
    fake_close(&r->f);
    assert_null(r->f.jobs);
    serve_config_done(&r->config);
    snprintf(cmd, sizeof cmd, "rm -rf %s", r->dir);
    assert_int_equal(system(cmd), 0);
}

/* ---- client ---------------------------------------------------------------------------------- */

static int dial(struct room *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)serve_port(r->s)),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t k = send(fd, text, n, MSG_NOSIGNAL);
        assert_true(k > 0);
        text += k;
        n -= (size_t)k;
    }
}

static const char *host_line(const char *extra)
{
    return extra && strstr(extra, "Host: ") ? "" : "Host: localhost\r\n";
}

/* A request with that body; extra: more header lines ("A: b\r\n"). */
static void post(int fd, const char *path, const char *extra, const char *body)
{
    struct buf b;

    buf_init(&b, 1 << 24);
    buf_addf(&b, "POST %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n%s%s\r\n", path,
             strlen(body), host_line(extra), extra ? extra : "");
    buf_add_str(&b, body);
    say(fd, b.data, b.len);
    buf_done(&b);
}

/* Read until `until` is there (NULL: until the end). What was read is in *all. */
static void hear(int fd, struct buf *all, const char *until)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char chunk[8192];
    ssize_t n;

    while (!until || !all->data || !strstr(all->data, until)) {
        if (poll(&p, 1, WAIT_MS) <= 0)
            fail_msg("nothing came; so far: %s", all->data ? all->data : "");
        n = recv(fd, chunk, sizeof chunk, 0);
        if (n <= 0 && !until)
            return;
        if (n <= 0)
            fail_msg("closed; so far: %s", all->data ? all->data : "");
        buf_add(all, chunk, (size_t)n);
    }
}

/* The whole answer to one request, on a connection of its own. Free it. */
MAYBE static char *ask(struct room *r, const char *path, const char *extra, const char *body)
{
    struct buf all;
    int fd = dial(r);

    buf_init(&all, 1 << 24);
    post(fd, path, extra, body);
    hear(fd, &all, NULL);
    close(fd);
    return all.data;
}

MAYBE static char *get(struct room *r, const char *method, const char *path, const char *extra)
{
    struct buf all;
    int fd = dial(r);

    buf_init(&all, 1 << 24);
    buf_addf(&all, "%s %s HTTP/1.1\r\nConnection: close\r\n%s%s\r\n", method, path,
             host_line(extra), extra ? extra : "");
    say(fd, all.data, all.len);
    buf_clear(&all);
    hear(fd, &all, NULL);
    close(fd);
    return all.data;
}

static int status_of(const char *answer)
{
    return answer && !strncmp(answer, "HTTP/1.1 ", 9) ? atoi(answer + 9) : 0;
}

#define HAS(text, what)                                                                            \
    do {                                                                                           \
        if (!strstr(text, what))                                                                   \
            fail_msg("no '%s' in:\n%s", what, text);                                               \
    } while (0)
#define HAS_NOT(text, what)                                                                        \
    do {                                                                                           \
        if (strstr(text, what))                                                                    \
            fail_msg("'%s' in:\n%s", what, text);                                                  \
    } while (0)

MAYBE static int count_of(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* Wait for what another thread will do. */
#define EVENTUALLY(cond)                                                                           \
    do {                                                                                           \
        int64_t until_ = clock_now_us() + WAIT_MS * 1000;                                          \
        while (!(cond)) {                                                                          \
            if (clock_now_us() > until_)                                                           \
                fail_msg("never: %s", #cond);                                                      \
            clock_sleep_us(1000);                                                                  \
        }                                                                                          \
    } while (0)

#endif
