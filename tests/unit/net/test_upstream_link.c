/* Connections to services: names, proxies, TLS, and what is kept. */
#include "tls_harness.h"
#include "upstream_harness.h"

#include <dirent.h>
#include <signal.h>

static const struct peer_row rows[] = {
    {"/hello", HOW_SEND, THEN_NEXT, OK_HELLO},
    {"/close", HOW_SEND, THEN_CLOSE, OK_HELLO},
    {"/chunks", HOW_BYTES, THEN_NEXT, CHUNKED "5\r\nhello\r\n0\r\n\r\n"},
    {"/lots", HOW_LOTS, THEN_CLOSE, "HTTP/1.1 200 OK\r\n\r\n"},
    {"/hold", HOW_SEND, THEN_WAIT, CHUNKED "5\r\nhello\r\n"},
    {"/silent", HOW_SEND, THEN_WAIT, ""},
    {"/cut", HOW_SEND, THEN_RESET, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"},
    {"/early", HOW_EARLY, THEN_LATER, "HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\n{}"},
    {"/echo", HOW_ECHO, THEN_NEXT, NULL},
    {"/last", HOW_SEND, THEN_WAIT,
     "HTTP/1.1 200 OK\r\nConnection: close\r\nA:\r\nA: b \r\nContent-Length: 5\r\n\r\nhello"},
    {"/old", HOW_SEND, THEN_WAIT, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
    {"/both", HOW_SEND, THEN_WAIT, CHUNKED "X: y\r\nContent-Length: 5\r\n\r\nhello"},
    {"/smuggled", HOW_SEND, THEN_WAIT,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello"},
    {"/interims", HOW_LOTS, THEN_CLOSE, "HTTP/1.1 100 Continue\r\nX: "},
    {"service.cloud.test:443", HOW_TUNNEL, THEN_NEXT,
     "HTTP/1.1 200 Connection established\r\n\r\n"},
    {0},
};

static int count_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* By a name, which a thread looks up; of several addresses the one that answers. */
static void test_name(void **state)
{
    struct client c = {0};
    struct ask k[4];

    (void)state;
    room_open_default(&c.room);
    peer_open(&c.peer, rows, NULL);
    snprintf(c.url, sizeof c.url, "http://localhost:%d", c.peer.port);
    c.config.base_url = c.url;
    client_up(&c);
    for (int i = 0; i < 4; i++) { /* all of them wait for the address */
        ask_init(&k[i], &c, "GET", "/hello");
        ask_begin(&k[i]);
    }
    for (int i = 0; i < 4; i++) {
        ask_wait(&k[i]);
        if (k[i].code)
            fail_msg("%s", k[i].text);
        assert_string_equal(k[i].body.data, "hello");
        ask_done(&k[i]);
    }
    expect_answer(&c, "/hello", 0, 200, "hello");
    client_close(&c);
}

static void begin_and_cancel(void *ctx)
{
    begin_now(ctx);
    cancel_now(ctx);
}

/* The service is closed while its name is being looked up. */
static void test_name_left(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct client c = {.config = {.base_url = "http://no-such-host.invalid"}};
        struct ask k;
        room_open_default(&c.room);
        peer_open(&c.peer, rows, NULL);
        client_up(&c);
        ask_init(&k, &c, "GET", "/hello");
        on_io(&c, i % 2 ? begin_and_cancel : begin_now, &k);
        client_close(&c);
        if (i % 2)
            assert_int_equal(k.n_ends, 0);
        buf_done(&k.body);
    }
}

/* The answer comes before the request was taken: it is the answer, and the connection is over. */
static void test_early(void **state)
{
    static const char big[LOTS];
    struct client c = {0};
    struct ask k;

    (void)state;
    client_open(&c, rows, NULL);
    ask_init(&k, &c, "POST", "/early");
    k.a.body = big;
    k.a.n_body = LOTS;
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.code, 0);
    assert_int_equal(k.status, 413);
    assert_int_equal(k.n_headers, 1);
    assert_string_equal(k.body.data, "{}");
    ask_done(&k);
    peer_go(&c.peer);
    peer_wait(&c.peer, &c.peer.n_open, 0, 0);
    expect_answer(&c, "/hello", 0, 200, "hello");
    assert_int_equal(c.peer.n_conns, 2);
    client_close(&c);
}

static void test_headers(void **state)
{
    struct client c = {0};
    struct ask k;

    (void)state;
    client_open(&c, rows, NULL);
    ask_init(&k, &c, "GET", "/last");
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.n_headers, 4);
    ask_done(&k);
    ask_init(&k, &c, "GET", "/lots"); /* has none */
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.n_headers, 0);
    ask_done(&k);
    client_close(&c);
}

/* Connections that the service will not use again, and answers that two readers could split
 * differently. */
static void test_not_kept(void **state)
{
    static const struct {
        const char *path;
        int code, status;
    } cases[] = {{"/last", 0, 200},
                 {"/old", 0, 200},
                 {"/both", ERR_RESET, 200},
                 {"/smuggled", ERR_FORMAT, 0},
                 {"/interims", ERR_TOO_LARGE, 0}};
    struct client c = {.config = {.head_max = 4096}};

    (void)state;
    client_open(&c, rows, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_answer(&c, cases[i].path, cases[i].code, cases[i].status, NULL);
        peer_wait(&c.peer, &c.peer.n_open, 0, 0); /* it was closed at once */
    }
    assert_int_equal(c.peer.n_conns, ARRAY_LEN(cases));
    client_close(&c);
}

/* What only the client may say. */
static void test_own_headers(void **state)
{
    static const char *const names[] = {
        "content-length", "Transfer-Encoding", "Connection", "host", "TE", "Upgrade", "Trailer"};
    struct client c = {0};

    (void)state;
    client_open(&c, rows, NULL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct upstream_header h = {names[i], "5"};
        struct ask k;
        ask_init(&k, &c, "POST", "/echo");
        k.a.header = &h;
        k.a.n_header = 1;
        on_io(&c, begin_now, &k);
        assert_int_equal(k.begun, ERR_ARG);
        ask_done(&k);
    }
    client_close(&c);
}

/* Paused and resumed before and in every phase. */
static void pause_now(void *ctx)
{
    struct ask *k = ctx;
    upstream_pause(k->r, 1);
}

static void begin_and_pause(void *ctx)
{
    begin_now(ctx);
    pause_now(ctx);
}

static void pause_at_once(struct client *c)
{
    struct ask k;

    ask_init(&k, c, "GET", "/chunks");
    on_io(c, begin_and_pause, &k);
    expect_answer(c, "/chunks", 0, 200, "hello");
    assert_int_equal(k.n_heads + k.n_bytes + k.n_ends, 0);
    on_io(c, resume_now, &k);
    ask_wait(&k);
    assert_int_equal(k.code, 0);
    assert_string_equal(k.body.data, "hello");
    ask_done(&k);
}

static void pause_often(struct client *c)
{
    struct ask k;
    int n = 0;

    ask_init(&k, c, "GET", "/lots");
    k.pause_at_head = k.pause_at_data = 1;
    ask_begin(&k);
    room_wait(&c->room, &k.n_heads, 1);
    for (int i = 0; i < 20; i++) {
        on_io(c, resume_now, &k);
        room_wait(&c->room, &k.n_bytes, n + 1);
        n = k.n_bytes;
        if (i == 10)
            expect_answer(c, "/hello", 0, 200, "hello");
        assert_int_equal(k.n_bytes, n);
    }
    pthread_mutex_lock(&c->room.lock);
    k.pause_at_data = 0;
    pthread_mutex_unlock(&c->room.lock);
    on_io(c, resume_now, &k);
    ask_wait(&k);
    assert_int_equal(k.code, 0);
    assert_int_equal(k.n_bytes, LOTS);
    assert_int_equal(strspn(k.body.data, "x"), LOTS);
    ask_done(&k);
}

static void test_pauses(void **state)
{
    struct client c = {0};

    (void)state;
    client_open(&c, rows, NULL);
    pause_at_once(&c);
    pause_often(&c);
    client_close(&c);
}

/* Whatever becomes of requests, every descriptor is given back. */
static void end_in_all_ways(struct client *c)
{
    static const char *const paths[] = {"/hello", "/close", "/cut",   "/hold",
                                        "/lots",  "/last",  "/silent"};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct ask k;
        ask_init(&k, c, "GET", paths[i]);
        ask_begin(&k);
        ask_wait(&k);
        ask_done(&k);
    }
    for (int i = 0; i < 4; i++) {
        struct ask k;
        ask_init(&k, c, "GET", i % 2 ? "/hold" : "/lots");
        k.cancel_at_head = i < 2;
        k.cancel_at_data = 1;
        ask_begin(&k);
        room_wait(&c->room, i < 2 ? &k.n_heads : &k.n_data, 1);
        expect_answer(c, "/hello", 0, 200, "hello");
        ask_done(&k);
    }
}

static void test_files(void **state)
{
    int n_files = 0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct client c = {.config = {.silence_ms = 30, .first_byte_ms = 30}};
        client_open(&c, rows, NULL);
        end_in_all_ways(&c);
        client_close(&c);
        if (round == 0)
            n_files = count_files();
        assert_int_equal(count_files(), n_files);
    }
}

/* ---- TLS ---- */

/* Of a service by its name, through a proxy's tunnel; by another name its certificate is none. */
static void test_tunnel(void **state)
{
    static const char *const names[] = {"DNS:service.cloud.test", "DNS:*.cloud.test",
                                        "DNS:other.cloud.test"};
    char path[] = "/tmp/test_upstream_link_XXXXXX";

    (void)state;
    close(mkstemp(path));
    for (int i = 0; i < 3; i++) {
        struct client c = {.config = {.base_url = "https://service.cloud.test/", .ca_file = path}};
        SSL_CTX *tls = service_tls(path, names[i]);
        room_open_default(&c.room);
        peer_open(&c.peer, rows, NULL);
        c.peer.tunnel = tls;
        snprintf(c.url, sizeof c.url, "http://u@127.0.0.1:%d", c.peer.port);
        c.config.proxy = c.url;
        client_up(&c);
        for (int n = 0; n < 3 && i < 2; n++)
            expect_answer(&c, "/hello", 0, 200, "hello");
        if (i == 2)
            expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
        assert_int_equal(c.peer.n_conns, 1); /* the tunnel is kept */
        client_close(&c);
        SSL_CTX_free(tls);
    }
    unlink(path);
}

/* Bytes that TLS has read ahead are not forgotten in a pause, and large bodies go both ways. */
static void test_tls_bytes(void **state)
{
    char path[] = "/tmp/test_upstream_link_XXXXXX";
    struct client c = {.config = {.ca_file = path}};
    char *body = malloc(LOTS);
    SSL_CTX *tls;
    struct ask k;

    (void)state;
    close(mkstemp(path));
    tls = service_tls(path, "IP:127.0.0.1");
    client_open(&c, rows, tls);
    pause_at_once(&c);
    pause_often(&c);
    assert_non_null(body);
    for (int i = 0; i < LOTS; i++)
        body[i] = (char)(i * 7 + i / 251);
    for (size_t n = 1; n <= LOTS; n *= 16) {
        ask_init(&k, &c, "POST", "/echo");
        k.a.body = body;
        k.a.n_body = n;
        ask_begin(&k);
        ask_wait(&k);
        assert_int_equal(k.code, 0);
        assert_int_equal(k.body.len, n);
        assert_memory_equal(k.body.data, body, n);
        ask_done(&k);
    }
    free(body);
    client_close(&c);
    SSL_CTX_free(tls);
    unlink(path);
}

static void test_tls_config(void **state)
{
    char path[] = "/tmp/test_upstream_link_XXXXXX";
    struct upstream_config config = {.base_url = "https://127.0.0.1", .ca_file = path};
    struct upstream *u;
    struct err e = {0};
    struct room room;

    (void)state;
    close(mkstemp(path));
    room_open_default(&room);
    assert_int_equal(upstream_open(&u, room.server, &config, &e), ERR_ARG); /* it is empty */
    assert_non_null(strstr(e.text, path));
    room_close(&room);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name),       cmocka_unit_test(test_name_left),
        cmocka_unit_test(test_headers),    cmocka_unit_test(test_early),
        cmocka_unit_test(test_not_kept),   cmocka_unit_test(test_own_headers),
        cmocka_unit_test(test_pauses),     cmocka_unit_test(test_files),
        cmocka_unit_test(test_tunnel),     cmocka_unit_test(test_tls_bytes),
        cmocka_unit_test(test_tls_config),
    };
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to clients that have left */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
