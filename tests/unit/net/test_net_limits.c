/* The server's limits: time, memory, descriptors, connections; and the drain. */
#include <sys/resource.h>

#include "net_harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

/* ---- time ---- */

static void test_slow_clients(void **state)
{
    struct net_config c;
    struct room r;
    struct buf b;
    int idle, head, empty, body, served;

    room_config(&c);
    c.header_timeout_ms = c.body_timeout_ms = 150;
    c.idle_timeout_ms = 400;
    room_open(&r, &c);
    say(served = dial(&r), GET("/hello"));
    hear_in(served, HELLO_BODY, "200 OK");
    idle = dial(&r);
    say(head = dial(&r), "GET / HTTP/1.1\r\nHo");
    say(empty = dial(&r), "\r\n");
    say(body = dial(&r), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc");
    hear_end(head, "408 Request Timeout");
    hear_end(body, "408 Request Timeout");
    assert_int_equal(r.body_code, ERR_TIMEOUT);
    assert_int_equal(hear(empty, &b, NULL), 1); /* no request, no answer */
    assert_int_equal(b.len, 0);
    buf_done(&b);
    close(empty);
    assert_int_equal(hear(idle, &b, NULL), 1);
    assert_int_equal(b.len, 0);
    buf_done(&b);
    close(idle);
    assert_int_equal(hear(served, &b, NULL), 1);
    assert_int_equal(b.len, 0);
    buf_done(&b);
    close(served);
    room_close(&r);
}

/* ---- readers that do not read ---- */

static int hold_stream(struct room *r, int rcvbuf)
{
    int fd = dial_buffered(r, rcvbuf), before = r->n_held;
    assert_true(fd >= 0);
    say(fd, GET("/stream"));
    room_wait(r, &r->n_held, before + 1);
    return fd;
}

static void test_stream_ceiling(void **state)
{
    struct room r;
    int fd, code = 0;

    room_open_default(&r);
    fd = hold_stream(&r, 4096);
    /* the kernel takes some megabytes at most, the stream one more */
    for (int i = 0; i < 4096 && code == 0; i++)
        code = room_order(&r, ORDER_WRITE, 0, 65536);
    /* cut between two orders: the room has already forgotten the exchange */
    assert_true(code == ERR_SLOW_READER || code == ERR_CANCELLED);
    room_wait(&r, &r.n_gone, 1);
    assert_int_equal(r.gone_code, ERR_SLOW_READER);
    hear_cut(fd);
    WAIT_STAT(&r, slow_total, ==, 1);
    WAIT_STAT(&r, n_conns, ==, 0);
    room_close(&r);
}

static void test_stalled_reader(void **state)
{
    struct net_config c;
    struct room r;
    int stream, reply, slow;
    struct buf b;

    room_config(&c);
    c.stall_timeout_ms = 1000;
    c.idle_timeout_ms = 250; /* begins when the answer is read */
    c.stream_pending_max = 64 << 20;
    room_open(&r, &c);
    stream = hold_stream(&r, 4096);
    assert_int_equal(room_order(&r, ORDER_WRITE, 0, BIG), 0);
    room_wait(&r, &r.n_gone, 1);
    assert_int_equal(r.gone_code, ERR_SLOW_READER);
    hear_cut(stream);
    /* a whole answer: nobody above needs to know */
    say(reply = dial_buffered(&r, 4096), GET("/big"));
    WAIT_STAT(&r, requests_total, ==, 2);
    WAIT_STAT(&r, n_conns, ==, 0);
    hear_cut(reply);
    /* slow is not stalled: who reads gets it all */
    say(slow = dial(&r), GET("/big"));
    hear(slow, &b, "\r\n\r\n");
    buf_done(&b);
    for (size_t got = 0; got < BIG;) {
        char piece[1 << 18];
        ssize_t n = recv(slow, piece, sizeof piece, 0);
        assert_true(n > 0);
        got += (size_t)n;
        if (got < 4 << 20)
            clock_sleep_us(25000);
    }
    close(slow);
    assert_int_equal(r.n_gone, 1);
    room_close(&r);
}

/* Progress buys time, but not more than it is worth. */
static void test_trickling_reader(void **state)
{
    static char piece[1 << 20];
    struct net_config c;
    struct room r;
    size_t got = 0;
    ssize_t n;
    int fd;

    room_config(&c);
    c.stall_timeout_ms = 300;
    c.rate_min = 1 << 30;
    room_open(&r, &c);
    say(fd = dial_buffered(&r, 65536), GET("/big"));
    while ((n = recv(fd, piece, sizeof piece, 0)) > 0) { /* 20 MB/s and less */
        got += (size_t)n;
        clock_sleep_us(50000);
    }
    assert_true(got < BIG);
    close(fd);
    WAIT_STAT(&r, n_conns, ==, 0);
    room_close(&r);
}

/* A client that sends requests and reads no answers cannot make them pile up. */
static void test_deaf_pipeliner(void **state)
{
    struct net_config c;
    struct room r;
    struct net_stats st;
    int fd;

    room_config(&c);
    c.stall_timeout_ms = 300;
    room_open(&r, &c);
    fd = dial_buffered(&r, 4096);
    for (int i = 0; i < 20; i++)
        say(fd, GET("/big"));
    WAIT_STAT(&r, accepted_total, ==, 1);
    WAIT_STAT(&r, n_conns, ==, 0);
    net_server_stats(r.server, &st);
    assert_int_equal(st.requests_total, 1); /* the second waited for the first to be read */
    hear_cut(fd);
    room_close(&r);
}

/* ---- memory of bodies ---- */

static void test_body_budget(void **state)
{
    static const char post[] = "POST /keep HTTP/1.1\r\nHost: t\r\nContent-Length: 6000\r\n\r\n";
    static const char chunks[] = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
                                 "\r\n1770\r\n";
    struct net_config c;
    struct room r;
    char body[6000];
    int first, second;

    memset(body, 'b', sizeof body);
    room_config(&c);
    c.body_budget_bytes = 20000;
    room_open(&r, &c);
    say(first = dial(&r), post);
    say_n(first, body, sizeof body);
    room_wait(&r, &r.n_held, 1);
    say(second = dial(&r), post);
    hear_in(second, "\r\n\r\n", "503 Service Unavailable"); /* before its body was sent */
    close(second);
    say(second = dial(&r), chunks);
    hear_end(second, "503 Service Unavailable");
    /* the taken body outlives its exchange and still counts */
    room_order(&r, ORDER_REPLY, 0, 0);
    hear_in(first, "held", "200 OK");
    WAIT_STAT(&r, body_bytes, ==, 6000);
    assert_int_equal(r.taken.len, 6000);
    assert_memory_equal(r.taken.data, body, 6000);
    net_body_done(&r.taken);
    WAIT_STAT(&r, body_bytes, ==, 0);
    say(first, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 6000\r\n\r\n");
    say_n(first, body, sizeof body);
    hear_in(first, "bbbb", "200 OK");
    close(first);
    room_close(&r);
}

static int begin_body(int fd, size_t announced, size_t sent)
{
    char head[128], *body = calloc(1, sent);

    assert_non_null(body);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n",
             announced);
    say(fd, head);
    say_n(fd, body, sent);
    free(body);
    return fd;
}

/* What was announced and does not come costs nothing. */
static void test_announced_bodies(void **state)
{
    enum { N = 8, SIZE = 1 << 20 };
    struct net_config c;
    struct room r;
    struct net_stats st;
    int fd[N], other;

    room_config(&c);
    c.body_budget_bytes = 2 * SIZE + 400000;
    room_open(&r, &c);
    for (int i = 0; i < N; i++)
        begin_body(fd[i] = dial(&r), SIZE, 100);
    WAIT_STAT(&r, requests_total, ==, N);
    net_server_stats(r.server, &st);
    assert_true(st.body_bytes <= N * 16384);
    begin_body(other = dial(&r), SIZE, SIZE);
    hear_in(other, "\r\n\r\n", "200 OK");
    close(other);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    WAIT_STAT(&r, body_bytes, ==, 0);
    room_close(&r);
}

/* Progress buys time, but not more than it is worth. */
static void test_trickled_body(void **state)
{
    static const char bytes[500];
    struct net_config c;
    struct room r;
    int fd, sent = 0, code = 0;

    room_config(&c);
    c.body_timeout_ms = 1000;
    room_open(&r, &c);
    begin_body(fd = dial(&r), 1 << 20, 500);
    for (; code == 0; sent++) { /* 5 KB/s and less */
        assert_true(sent < 100);
        clock_sleep_us(100000);
        (void)!send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        pthread_mutex_lock(&r.lock);
        code = r.body_code;
        pthread_mutex_unlock(&r.lock);
    }
    hear_in(fd, "\r\n\r\n", "408 Request Timeout");
    assert_int_equal(code, ERR_TIMEOUT);
    close(fd);
    room_close(&r);
}

/* One that takes all it can leaves as much to others. */
static void test_shares(void **state)
{
    enum { SIZE = 30000 };
    struct net_config c;
    struct room r;
    int held, more, other;

    room_config(&c);
    c.body_budget_bytes = 100000;
    room_open(&r, &c);
    begin_body(held = dial_from(&r, 1), SIZE, SIZE - 1);
    WAIT_STAT(&r, body_bytes, ==, SIZE);
    begin_body(more = dial_from(&r, 1), SIZE, 0);
    hear_in(more, "\r\n\r\n", "503 Service Unavailable"); /* open until its body came, or not */
    close(more);
    begin_body(other = dial_from(&r, 2), SIZE, SIZE);
    hear_in(other, "\r\n\r\n", "200 OK");
    close(other);
    close(held);
    WAIT_STAT(&r, body_bytes, ==, 0);
    begin_body(more = dial_from(&r, 1), SIZE, SIZE);
    hear_in(more, "\r\n\r\n", "200 OK");
    close(more);
    room_close(&r);
}

/* ---- many connections ---- */

static void allow_files(rlim_t want)
{
    struct rlimit l;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
    if (l.rlim_cur < want) {
        l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
    }
    assert_true(l.rlim_cur >= want);
}

static int64_t resident_bytes(void)
{
    long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static void test_thousand_idle(void **state)
{
    enum { N = 1000 };
    struct room r;
    int fd[N];
    int64_t before;

    allow_files(2 * N + 100);
    room_open_default(&r);
    before = resident_bytes();
    for (int i = 0; i < N; i++) {
        fd[i] = dial(&r);
        if (i % 2 == 0) { /* idle from the start, or after a request */
            say(fd[i], GET("/hello"));
            hear_in(fd[i], HELLO_BODY, "200 OK");
        }
    }
    WAIT_STAT(&r, n_conns, ==, N);
    if (!HAS_SANITIZER)
        assert_true(resident_bytes() - before < 20 << 20);
    for (int i = 0; i < N; i += 10) {
        say(fd[i], "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nping");
        hear_in(fd[i], "ping", "200 OK");
    }
    for (int i = 0; i < N; i++)
        close(fd[i]);
    WAIT_STAT(&r, n_conns, ==, 0);
    room_close(&r);
}

static void test_connection_cap(void **state)
{
    enum { CAP = 4, RESERVE = 2, N = 10 };
    struct net_config c;
    struct room r;
    struct net_stats st;
    int fd[N];

    room_config(&c);
    c.conns_max = CAP;
    c.conns_reserve = RESERVE;
    c.evict_after_ms = GUARD_S * 1000;
    c.n_io = 2;
    room_open(&r, &c);
    for (int i = 0; i < N; i++)
        say(fd[i] = dial(&r), GET("/hello"));
    for (int i = 0; i < N; i++) { /* each gets its turn when an earlier one closes */
        hear_in(fd[i], HELLO_BODY, "200 OK");
        net_server_stats(r.server, &st);
        assert_true(st.n_conns <= CAP + RESERVE);
        close(fd[i]);
    }
    WAIT_STAT(&r, accepted_total, ==, N);
    room_close(&r);
}

static void open_few(struct room *r, int n_io)
{
    struct net_config c;

    room_config(&c);
    c.n_io = n_io;
    c.conns_max = 8;
    c.conns_reserve = 2;
    c.evict_after_ms = 1;
    room_open(r, &c);
}

/* `text` from many clients that then only wait; whoever comes is let in, in place of the one that
 * has waited longest. */
static void crowd_out(const char *text, int n_io)
{
    enum { N = 40 };
    struct room r;
    int fd[N];

    open_few(&r, n_io);
    for (int i = 0; i < N; i++) {
        say(fd[i] = dial(&r), text);
        WAIT_STAT(&r, accepted_total, ==, i + 1);
        clock_sleep_us(2000);
    }
    say(fd[0], text); /* gone: it had waited longest */
    hear_cut(fd[0]);
    fd[0] = dial(&r);
    say(fd[0], GET("/place"));
    hear_in(fd[0], "r", "200 OK");
    WAIT_STAT(&r, evicted_total, >=, N - 10);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    WAIT_STAT(&r, n_conns, ==, 0);
    room_close(&r);
}

static void test_idle_crowd(void **state)
{
    crowd_out("", 1);
    crowd_out(GET("/hello"), 1);
    crowd_out("", 3);
}

static void test_slow_heads_crowd(void **state)
{
    crowd_out("GET / HTTP/1.1\r\nHo", 1);
}

/* All are busy: a new connection is a reserve one until a place is free. */
static void test_reserve(void **state)
{
    enum { N = 8 };
    struct room r;
    int fd[N], reserve, late[3];

    open_few(&r, 1);
    for (int i = 0; i < N; i++)
        say(fd[i] = dial(&r), GET("/hold"));
    room_wait(&r, &r.n_held, N);
    for (int i = 0; i < 20; i++) { /* one by one, and each is let go */
        say(reserve = dial(&r), GET("/place"));
        hear_end(reserve, "Connection: close\r\n\r\nreserve");
    }
    for (int i = 0; i < 3; i++) /* the two reserve places, and the backlog */
        late[i] = dial(&r);
    say(late[2], GET("/place"));
    hear_end(late[2], "reserve"); /* a reserve connection that only waits gives way, too */
    room_order(&r, ORDER_REPLY, 0, 0);
    hear_in(fd[0], "held", "200 OK");
    close(fd[0]);
    WAIT_STAT(&r, n_conns, <, N + 2);
    say(reserve = dial(&r), GET("/place"));
    hear_in(reserve, "r", "200 OK");
    close(reserve);
    for (int i = 0; i < N; i++) {
        if (i)
            room_order(&r, ORDER_ABORT, i, 0);
    }
    for (int i = 1; i < N; i++)
        hear_cut(fd[i]);
    close(late[0]);
    close(late[1]);
    WAIT_STAT(&r, n_conns, ==, 0);
    say(reserve = dial(&r), GET("/place"));
    hear_in(reserve, "regular", "200 OK");
    close(reserve);
    room_close(&r);
}

/* One address has a limit of its own, and the others' places are theirs. */
static void test_peers(void **state)
{
    enum { OWN = 3 };
    struct net_config c;
    struct room r;
    int fd[OWN], more;

    room_config(&c);
    c.conns_per_peer = OWN;
    c.evict_after_ms = 1;
    room_open(&r, &c);
    for (int i = 0; i < OWN; i++)
        say(fd[i] = dial_from(&r, 1), GET("/hold"));
    room_wait(&r, &r.n_held, OWN);
    say(more = dial_from(&r, 1), GET("/place"));
    hear_end(more, "reserve");
    say(more = dial_from(&r, 2), GET("/place"));
    hear_in(more, "regular", "200 OK");
    close(more);
    for (int i = 0; i < OWN; i++) {
        room_order(&r, ORDER_REPLY, i, 0);
        hear_in(fd[i], "held", "200 OK");
    }
    clock_sleep_us(5000);
    say(more = dial_from(&r, 1), GET("/place")); /* one of its own that waits goes */
    hear_in(more, "regular", "200 OK");
    hear_cut(fd[0]);
    close(fd[1]);
    close(fd[2]);
    close(more);
    room_close(&r);
    c.near_is_free = 1;
    room_open(&r, &c);
    for (int i = 0; i < OWN; i++)
        say(fd[i] = dial(&r), GET("/hold"));
    room_wait(&r, &r.n_held, OWN);
    say(more = dial(&r), GET("/place"));
    hear_in(more, "regular", "200 OK");
    close(more);
    for (int i = 0; i < OWN; i++)
        close(fd[i]);
    room_close(&r);
}

/* Descriptors run out with clients waiting in the backlog: accepting rests instead of spinning,
 * those inside are served, and those outside come in when there is room again. */
static void test_out_of_descriptors(void **state)
{
    enum { N = 10 };
    struct rlimit old, low;
    struct net_config c;
    struct room r;
    struct net_stats st;
    int inside, fd[N], next;

    room_config(&c);
    c.evict_after_ms = GUARD_S * 1000;
    room_open(&r, &c);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    say(inside = dial(&r), GET("/hello"));
    hear_in(inside, HELLO_BODY, "200 OK");
    for (int i = 0; i < N; i++)
        assert_true((fd[i] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    next = dup(0); /* the lowest free number */
    assert_true(next >= 0);
    close(next);
    low = old;
    low.rlim_cur = (rlim_t)next + 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(dial_on(&r, fd[i]), 0);
        say(fd[i], GET("/hello"));
    }
    WAIT_STAT(&r, accept_fails_total, >=, 2);
    for (int i = 0; i < 100; i++) { /* turns of the loop that must not try again each time */
        say(inside, GET("/hello"));
        hear_in(inside, HELLO_BODY, "200 OK");
    }
    net_server_stats(r.server, &st);
    assert_int_equal(st.n_conns, 3);
    assert_true(st.accept_fails_total < 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    for (int i = 0; i < N; i++) {
        hear_in(fd[i], HELLO_BODY, "200 OK");
        close(fd[i]);
    }
    close(inside);
    room_close(&r);
}

/* Descriptors run out before places do: who only waits leaves for who comes. */
static void test_idle_hold_descriptors(void **state)
{
    enum { N = 10 };
    struct rlimit old, low;
    struct net_config c;
    struct room r;
    int fd[N], next;

    room_config(&c);
    c.evict_after_ms = 1;
    c.linger_ms = 100; /* the io thread looks as often as its shortest limit asks for */
    room_open(&r, &c);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (int i = 0; i < N; i++)
        assert_true((fd[i] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    next = dup(0);
    assert_true(next >= 0);
    close(next);
    low = old;
    low.rlim_cur = (rlim_t)next + 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int i = 0; i < N - 1; i++)
        assert_int_equal(dial_on(&r, fd[i]), 0);
    WAIT_STAT(&r, accept_fails_total, >=, 1);
    assert_int_equal(dial_on(&r, fd[N - 1]), 0);
    say(fd[N - 1], GET("/hello"));
    hear_in(fd[N - 1], HELLO_BODY, "200 OK");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    room_close(&r);
}

/* ---- drain ---- */

static void test_drain(void **state)
{
    enum { N = 8 };
    struct net_config c;
    struct room r;
    int idle, fd[N], held, begun;

    room_config(&c);
    c.n_io = 2;
    room_open(&r, &c);
    say(idle = dial(&r), GET("/hello"));
    hear_in(idle, HELLO_BODY, "200 OK");
    for (int i = 0; i < N; i++)
        fd[i] = hold_stream(&r, 0);
    say(held = dial(&r), GET("/hold"));
    room_wait(&r, &r.n_held, N + 1);
    say(begun = dial(&r), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab");
    WAIT_STAT(&r, body_bytes, >, 0);
    assert_false(net_server_is_draining(r.server));
    net_server_drain(r.server, GUARD_S * 1000);
    assert_true(net_server_is_draining(r.server));
    hear_cut(idle);
    while ((idle = dial_buffered(&r, 0)) >= 0) /* and soon nobody comes in */
        close(idle);
    /* what is under way goes on to its end */
    say(begun, "cd");
    hear_end(begun, "Connection: close\r\n\r\nabcd");
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < N; i++)
            assert_int_equal(room_order(&r, ORDER_WRITE, i, 100), 0);
    }
    for (int i = 0; i < N; i++) {
        struct buf b;
        const char *at;
        room_order(&r, ORDER_END, i, 0);
        assert_int_equal(hear(fd[i], &b, NULL), 1);
        at = b.data;
        for (int k = 0; k < 3; k++) {
            at = strstr(at, "64\r\nw");
            assert_non_null(at++);
        }
        assert_non_null(strstr(at, "\r\n0\r\n\r\n"));
        buf_done(&b);
        close(fd[i]);
    }
    room_order(&r, ORDER_REPLY, N, 0);
    hear_end(held, "Connection: close\r\n\r\nheld");
    net_server_join(r.server);
    assert_int_equal(r.n_gone, 0);
    room_close(&r);
}

/* A request that was on its way when the drain began is answered. */
static void test_drain_idle(void **state)
{
    struct net_config c;
    struct room r;
    int fd;

    room_config(&c);
    c.drain_idle_ms = GUARD_S * 1000;
    room_open(&r, &c);
    say(fd = dial(&r), GET("/hello"));
    hear_in(fd, HELLO_BODY, "200 OK");
    net_server_drain(r.server, GUARD_S * 1000);
    say(fd, GET("/hello"));
    hear_end(fd, "Connection: close" HELLO_BODY);
    net_server_join(r.server);
    room_close(&r);
}

/* Connections that wait in the backlog believe that they are connected. */
static void test_drain_backlog(void **state)
{
    enum { N = 20 };
    struct net_config c;
    struct net_server *s;
    struct room r;
    struct err e;
    const struct net_handler h = {
        .ctx = &r, .on_request = room_request, .on_body = room_body, .on_gone = room_gone};
    int fd[N];

    memset(&r, 0, sizeof r);
    room_config(&c);
    assert_int_equal(net_server_open(&s, &c, &h, &e), 0);
    r.server = s;
    for (int i = 0; i < N; i++)
        say(fd[i] = dial(&r), GET("/hello"));
    net_server_drain(s, GUARD_S * 1000);
    assert_int_equal(net_server_start(s, &e), 0);
    for (int i = 0; i < N; i++)
        hear_end(fd[i], "Connection: close" HELLO_BODY);
    net_server_join(s);
    net_server_close(s);
}

static void test_drain_deadline(void **state)
{
    struct room r;
    int fd, stream;

    room_open_default(&r);
    say(fd = dial(&r), GET("/hold"));
    room_wait(&r, &r.n_held, 1);
    stream = hold_stream(&r, 0);
    net_server_drain(r.server, GUARD_S * 1000);
    net_server_drain(r.server, 100); /* shorter wins */
    net_server_drain(r.server, GUARD_S * 1000);
    net_server_join(r.server);
    assert_int_equal(r.n_gone, 2);
    assert_int_equal(r.gone_code, ERR_DRAINING);
    hear_cut(fd);
    hear_cut(stream);
    room_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_clients),
        cmocka_unit_test(test_stream_ceiling),
        cmocka_unit_test(test_stalled_reader),
        cmocka_unit_test(test_trickling_reader),
        cmocka_unit_test(test_deaf_pipeliner),
        cmocka_unit_test(test_body_budget),
        cmocka_unit_test(test_announced_bodies),
        cmocka_unit_test(test_trickled_body),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_thousand_idle),
        cmocka_unit_test(test_idle_hold_descriptors),
        cmocka_unit_test(test_idle_crowd),
        cmocka_unit_test(test_slow_heads_crowd),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_connection_cap),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_idle),
        cmocka_unit_test(test_drain_backlog),
        cmocka_unit_test(test_drain_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
