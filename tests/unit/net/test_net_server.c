/* The server over real sockets: requests, answers, and clients that leave. */
#include "net_harness.h"

/* ---- requests and answers ---- */

static void test_keep_alive(void **state)
{
    struct room r;
    struct buf b;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    for (int i = 0; i < 3; i++) {
        say(fd, GET("/hello"));
        hear(fd, &b, HELLO_BODY);
        expect_in(&b, "HTTP/1.1 200 OK\r\nDate: ");
        expect_in(&b, " GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
        buf_done(&b);
    }
    say(fd, "GET /none HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    hear_end(fd, "Connection: close\r\n\r\nnone");
    say(fd = dial(&r), "GET /hello HTTP/1.0\r\n\r\n");
    hear_end(fd, "Connection: close" HELLO_BODY);
    room_close(&r);
}

static void test_pipelined(void **state)
{
    enum { N = 200 };
    struct room r;
    struct buf out, b;
    const char *at;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < N; i++)
        buf_addf(&out,
                 "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\n<%04d>" GET("/hello"),
                 i);
    buf_add_str(&out, "GET /none HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    say_n(fd, out.data, out.len);
    assert_int_equal(hear(fd, &b, NULL), 1);
    at = b.data;
    for (int i = 0; i < N; i++) { /* all answers, in order */
        char want[16];
        snprintf(want, sizeof want, "<%04d>", i);
        at = strstr(at, "\r\n\r\n<");
        assert_non_null(at);
        assert_memory_equal(at + 4, want, 6);
        at = strstr(at, HELLO_BODY);
        assert_non_null(at);
    }
    assert_non_null(strstr(at, "none"));
    buf_done(&b);
    buf_done(&out);
    close(fd);
    room_close(&r);
}

static void test_bodies(void **state)
{
    static const char chunked[] = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: "
                                  "chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nT: u\r\n"
                                  "\r\n";
    struct room r;
    struct buf out, b;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    for (size_t i = 0; i < sizeof chunked - 1; i++) /* byte by byte */
        say_n(fd, chunked + i, 1);
    hear_in(fd, "hello, world", "Content-Length: 12\r\n");
    say(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
    hear_in(fd, "\r\n\r\n", "Content-Length: 0\r\n");
    say(fd, GET("/echo")); /* no body at all */
    hear_in(fd, "\r\n\r\n", "Content-Length: 0\r\n");
    /* a large one, which also fills the connection's output */
    buf_init(&out, 4 << 20);
    buf_add_str(&out, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1048576\r\n"
                      "Connection: close\r\n\r\n");
    for (int i = 0; i < 65536; i++)
        buf_addf(&out, "%015d.", i);
    say_n(fd, out.data, out.len);
    assert_int_equal(hear(fd, &b, NULL), 1);
    assert_true(b.len > 1048576);
    assert_memory_equal(b.data + b.len - 1048576, out.data + out.len - 1048576, 1048576);
    buf_done(&b);
    buf_done(&out);
    close(fd);
    WAIT_STAT(&r, body_bytes, ==, 0);
    room_close(&r);
}

static void test_expect_continue(void **state)
{
    struct room r;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    say(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    hear_in(fd, "\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "body");
    hear_in(fd, "body", "200 OK");
    /* a client that does not wait needs no invitation */
    say(fd,
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody");
    hear_in(fd, "body", "200 OK");
    /* refused: a final answer, no 100, and the connection ends: would the body come or not? */
    say(fd, "POST /deny HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    hear_end(fd, "401 Unauthorized");
    say(fd = dial(&r),
        "POST /small HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n");
    hear_end(fd, "413 Content Too Large");
    say(fd = dial(&r), "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: x\r\n\r\n");
    hear_end(fd, "417 Expectation Failed");
    room_close(&r);
}

static void test_head_and_empty(void **state)
{
    struct room r;
    struct buf b;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\n" GET("/empty"));
    hear(fd, &b, "204 No Content");
    expect_in(&b, "Content-Length: 5\r\n\r\nHTTP/1.1 204");
    buf_done(&b);
    hear(fd, &b, "\r\n\r\n");
    expect_not_in(&b, "Content-Length");
    buf_done(&b);
    /* bad headers are left out; an empty body has no JSON type */
    say(fd, GET("/headers"));
    hear(fd, &b, "\r\n\r\n");
    expect_in(&b, "X-Good: 1\r\n");
    expect_in(&b, "Content-Length: 0\r\n");
    expect_not_in(&b, "Injected");
    expect_not_in(&b, "json");
    expect_not_in(&b, "Content-Length: 7");
    buf_done(&b);
    close(fd);
    room_close(&r);
}

/* Answered without reading: a small body is dropped, a large one ends the connection. */
static void test_unread_body(void **state)
{
    struct room r;
    struct buf b;
    char *large = calloc(1, BIG);
    int fd;

    assert_non_null(large);
    room_open_default(&r);
    fd = dial(&r);
    say(fd, "POST /deny HTTP/1.1\r\nHost: t\r\nContent-Length: 2000\r\n\r\n");
    hear(fd, &b, "\r\n\r\nno");
    expect_not_in(&b, "Connection: close");
    buf_done(&b);
    say_n(fd, large, 2000);
    say(fd, GET("/hello"));
    hear_in(fd, HELLO_BODY, "200 OK");
    say(fd, "POST /deny HTTP/1.1\r\nHost: t\r\nContent-Length: 33554432\r\n\r\n");
    say_n(fd, large, BIG); /* all of it: the answer must not be lost to a reset */
    hear_end(fd, "Connection: close\r\n\r\nno");
    say(fd = dial(&r), "POST /deny HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    hear_end(fd, "Connection: close\r\n\r\nno");
    free(large);
    room_close(&r);
}

/* ---- streams ---- */

/* Pieces of all sizes, each a chunk of its own. */
static void test_pieces(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 4095, 4096, 4097, 65536};
    struct room r;
    struct buf b;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    say(fd, GET("/stream"));
    hear(fd, &b, "\r\n\r\n");
    buf_done(&b);
    room_wait(&r, &r.n_held, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char size[32];
        size_t n = (size_t)snprintf(size, sizeof size, "%zx\r\n", sizes[i]);
        assert_int_equal(room_order(&r, ORDER_WRITE, 0, sizes[i]), 0);
        hear(fd, &b, "w\r\n");
        assert_int_equal(b.len, n + sizes[i] + 2);
        assert_memory_equal(b.data, size, n);
        assert_int_equal(strspn(b.data + n, "w"), sizes[i]);
        buf_done(&b);
    }
    room_order(&r, ORDER_END, 0, 0);
    hear_in(fd, "\r\n\r\n", "0\r\n\r\n");
    close(fd);
    room_close(&r);
}

static void test_stream(void **state)
{
    struct room r;
    struct buf b;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    say(fd, GET("/stream"));
    hear(fd, &b, "\r\n\r\n"); /* the head comes before the first piece */
    expect_in(&b, "Content-Type: text/event-stream; charset=utf-8\r\n");
    expect_in(&b, "Transfer-Encoding: chunked\r\n\r\n");
    expect_not_in(&b, "Content-Length");
    buf_done(&b);
    room_wait(&r, &r.n_held, 1);
    assert_int_equal(room_order(&r, ORDER_WRITE, 0, 3), 0);
    hear_in(fd, "www\r\n", "3\r\nwww\r\n"); /* and each piece before the next */
    assert_int_equal(room_order(&r, ORDER_WRITE, 0, 17), 0);
    hear_in(fd, "w\r\n", "11\r\nwwww");
    room_order(&r, ORDER_END, 0, 0);
    hear_in(fd, "\r\n\r\n", "0\r\n\r\n");
    say(fd, GET("/stream")); /* the connection goes on */
    room_wait(&r, &r.n_held, 2);
    room_order(&r, ORDER_CLOSE_END, 1, 0);
    hear_end(fd, "\r\n\r\n0\r\n\r\n");
    /* until close for HTTP/1.0 */
    say(fd = dial(&r), "GET /stream HTTP/1.0\r\n\r\n");
    room_wait(&r, &r.n_held, 3);
    room_order(&r, ORDER_WRITE, 2, 3);
    room_order(&r, ORDER_END, 2, 0);
    assert_int_equal(hear(fd, &b, NULL), 1);
    expect_in(&b, "Connection: close\r\n\r\nwww");
    expect_not_in(&b, "chunked");
    buf_done(&b);
    close(fd);
    /* cut: the client must see that it is not whole */
    say(fd = dial(&r), GET("/stream"));
    room_wait(&r, &r.n_held, 4);
    hear_in(fd, "\r\n\r\n", "chunked");
    room_order(&r, ORDER_ABORT, 3, 0);
    hear(fd, &b, NULL);
    expect_not_in(&b, "0\r\n\r\n");
    buf_done(&b);
    close(fd);
    assert_int_equal(r.n_gone, 0);
    room_close(&r);
}

static void test_stream_head(void **state)
{
    struct room r;
    struct buf b;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    say(fd, "HEAD /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    room_wait(&r, &r.n_held, 1);
    assert_int_equal(room_order(&r, ORDER_WRITE, 0, 100), 0);
    room_order(&r, ORDER_END, 0, 0);
    say(fd, GET("/hello"));
    hear(fd, &b, HELLO_BODY);
    expect_in(&b, "chunked\r\n\r\nHTTP/1.1 200 OK");
    buf_done(&b);
    close(fd);
    room_close(&r);
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    struct room r;
    char *long_line = malloc(70001);
    int fd;

    assert_non_null(long_line);
    memset(long_line, 'a', 70000);
    long_line[70000] = 0;
    room_open_default(&r);
    say(fd = dial(&r), "GET / HTTP/1.1\r\n\r\n");
    hear_end(fd, "{\"error\":{\"code\":400,\"message\":\"The Host header is missing.\"}}");
    say(fd = dial(&r), "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n");
    hear_end(fd, "400 Bad Request\r\n");
    say(fd = dial(&r), "\x16\x03\x01 hello");
    hear_end(fd, "Content-Type: application/json\r\n");
    say(fd = dial(&r), "BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    hear_end(fd, "501 Not Implemented");
    say(fd = dial(&r), "GET / HTTP/2.0\r\nHost: a\r\n\r\n");
    hear_end(fd, "505 HTTP Version");
    say(fd = dial(&r), "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    say(fd, long_line);
    hear_end(fd, "431 Request Header Fields");
    say(fd = dial(&r), "GET /");
    say(fd, long_line);
    hear_end(fd, "414 URI Too Long");
    /* bodies: over the limit in chunks, malformed chunks */
    say(fd = dial(&r), "POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "6\r\nhello \r\n6\r\nworld!\r\n0\r\n\r\n");
    hear_end(fd, "413 Content Too Large");
    say(fd = dial(&r), "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "0x5\r\nhello\r\n0\r\n\r\n");
    hear_end(fd, "400 Bad Request");
    /* and all is well */
    say(fd = dial(&r), GET("/hello"));
    hear_in(fd, HELLO_BODY, "200 OK");
    close(fd);
    free(long_line);
    room_close(&r);
}

/* ---- clients that leave ---- */

static void hold_one(struct room *r, int fd, const char *request)
{
    int before = r->n_held;
    say(fd, request);
    room_wait(r, &r->n_held, before + 1);
}

static void expect_gone(struct room *r, int n, int code)
{
    room_wait(r, &r->n_gone, n);
    assert_int_equal(r->n_gone, n);
    assert_int_equal(r->gone_code, code);
}

static void test_client_leaves(void **state)
{
    struct linger reset = {.l_onoff = 1};
    struct room r;
    char *ahead = malloc(100000);
    int fd;

    room_open_default(&r);
    /* while its answer is silent: closed, half-closed, reset */
    hold_one(&r, fd = dial(&r), GET("/hold"));
    close(fd);
    expect_gone(&r, 1, ERR_CANCELLED);
    hold_one(&r, fd = dial(&r), GET("/hold"));
    shutdown(fd, SHUT_WR);
    expect_gone(&r, 2, ERR_CANCELLED);
    close(fd);
    hold_one(&r, fd = dial(&r), GET("/hold"));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    expect_gone(&r, 3, ERR_CANCELLED);
    /* in a silent stream, and with further requests ahead */
    hold_one(&r, fd = dial(&r), GET("/stream") GET("/hello"));
    close(fd);
    expect_gone(&r, 4, ERR_CANCELLED);
    /* with so much ahead that reading had to pause */
    assert_non_null(ahead);
    memset(ahead, 'a', 100000);
    hold_one(&r, fd = dial(&r), "POST /hold HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
    say_n(fd, ahead, 100000);
    close(fd);
    expect_gone(&r, 5, ERR_CANCELLED);
    /* in the middle of its body */
    say(fd = dial(&r), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 20000\r\n\r\nabc");
    WAIT_STAT(&r, body_bytes, >, 0);
    close(fd);
    expect_gone(&r, 6, ERR_CANCELLED);
    /* between requests, or within a head: nobody needs to know */
    close(dial(&r));
    say(fd = dial(&r), "GET / HT");
    close(fd);
    WAIT_STAT(&r, n_conns, ==, 0);
    assert_int_equal(r.n_gone, 6);
    WAIT_STAT(&r, body_bytes, ==, 0);
    WAIT_STAT(&r, n_exchanges, ==, 0);
    free(ahead);
    room_close(&r);
}

/* A half-closed client still gets an answer that was complete. */
static void test_half_close(void **state)
{
    struct room r;
    int fd;

    room_open_default(&r);
    say(fd = dial(&r), GET("/hello") GET("/none"));
    shutdown(fd, SHUT_WR);
    hear_end(fd, "none");
    say(fd = dial(&r), GET("/big"));
    shutdown(fd, SHUT_WR);
    hear_end(fd, "Content-Length: 33554432");
    assert_int_equal(r.n_gone, 0);
    room_close(&r);
}

/* ---- threads ---- */

struct crowd {
    struct room *r;
    int id, n_good;
};

static void *crowd_main(void *ctx)
{
    struct crowd *c = ctx;
    char request[128], want[64];

    for (int i = 0; i < 20; i++) {
        int fd = dial_buffered(c->r, 0);
        for (int k = 0; k < 5; k++) {
            struct buf b;
            int n = snprintf(want, sizeof want, "<%d.%d.%d>", c->id, i, k);
            snprintf(request, sizeof request,
                     "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s", n, want);
            say(fd, request);
            hear(fd, &b, want);
            c->n_good += strstr(b.data, "200 OK") != NULL;
            buf_done(&b);
        }
        close(fd);
    }
    return NULL;
}

static void test_io_threads(void **state)
{
    enum { N = 8 };
    struct crowd crowd[N];
    pthread_t threads[N];
    struct net_config c;
    struct room r;

    room_config(&c);
    c.n_io = 3;
    room_open(&r, &c);
    assert_int_equal(net_n_io(r.server), 3);
    for (int i = 0; i < N; i++) {
        crowd[i] = (struct crowd){.r = &r, .id = i};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowd[i].n_good, 100);
    }
    WAIT_STAT(&r, n_conns, ==, 0);
    room_close(&r);
}

struct timer_test {
    struct room *r;
    struct net_timer *timer;
    int n_fired;
};

static void timer_fired(void *ctx)
{
    struct timer_test *t = ctx;
    int n;

    pthread_mutex_lock(&t->r->lock);
    n = ++t->n_fired;
    room_signal(t->r);
    if (n < 3)
        net_timer_arm(t->timer, 1);
    else
        net_timer_free(t->timer); /* inside its own function */
}

static void timer_start(void *ctx)
{
    struct timer_test *t = ctx;
    t->timer = net_timer_new(t->r->server, 1, timer_fired, t);
    CHECK(t->timer);
    net_timer_arm(t->timer, 1);
}

static void test_mail_and_timers(void **state)
{
    struct net_config c;
    struct room r;
    struct timer_test t = {.r = &r};
    struct order start = {.kind = ORDER_CALL, .fn = timer_start, .ctx = &t};

    room_config(&c);
    c.n_io = 2;
    room_open(&r, &c);
    room_wait(&r, &r.n_mail_starts, 2); /* once on each thread, unasked */
    room_order_at(&r, 1, &start);
    room_wait(&r, &t.n_fired, 3);
    room_close(&r);
}

static void test_addresses(void **state)
{
    struct net_config c;
    struct net_server *s = NULL;
    struct room r;
    struct err e;
    const struct net_handler h = {
        .on_request = room_request, .on_body = room_body, .on_gone = room_gone};

    assert_true(net_host_is_loopback("127.0.0.1") && net_host_is_loopback("127.1.2.3"));
    assert_true(net_host_is_loopback("::1") && net_host_is_loopback("localhost"));
    assert_false(net_host_is_loopback("0.0.0.0") || net_host_is_loopback("::"));
    assert_false(net_host_is_loopback("8.8.8.8"));
    room_open_default(&r);
    room_config(&c);
    c.port = net_server_port(r.server);
    assert_int_equal(net_server_open(&s, &c, &h, &e), ERR_IO);
    assert_non_null(strstr(e.text, "Address already in use"));
    assert_null(s);
    c.host = "203.0.113.1"; /* for documentation: nobody has it */
    assert_int_equal(net_server_open(&s, &c, &h, &e), ERR_IO);
    c.host = "127.0.0.1";
    c.n_io = 0;
    assert_int_equal(net_server_open(&s, &c, &h, &e), ERR_ARG);
    c.n_io = 2;
    c.port = 0;
    assert_int_equal(net_server_open(&s, &c, &h, &e), 0);
    net_server_close(s); /* never started */
    room_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),     cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_bodies),         cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_head_and_empty), cmocka_unit_test(test_unread_body),
        cmocka_unit_test(test_stream),         cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_stream_head),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_client_leaves),  cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_io_threads),     cmocka_unit_test(test_mail_and_timers),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
