/* The client of services elsewhere, against a service that misbehaves. */
#include "tls_harness.h"
#include "upstream_harness.h"

#include <signal.h>
#include <sys/resource.h>

static const struct peer_row rows[] = {
    {"/hello", HOW_SEND, THEN_NEXT, OK_HELLO},
    {"/close", HOW_SEND, THEN_CLOSE, OK_HELLO},
    {"/once", HOW_IDLE_END, THEN_NEXT, OK_HELLO},
    {"/excess", HOW_SEND, THEN_NEXT, OK_HELLO OK_HELLO},
    {"/twice", HOW_TWICE, THEN_WAIT, OK_HELLO},
    {"/until-close", HOW_SEND, THEN_CLOSE, "HTTP/1.1 200 OK\r\n\r\nhello"},
    {"/chunks", HOW_BYTES, THEN_NEXT,
     CHUNKED "1\r\nh\r\n4;x=y\r\nello\r\n0\r\nX-Trailer: t\r\n\r\n"},
    {"/hold", HOW_SEND, THEN_WAIT, CHUNKED "5\r\nhello\r\n"},
    {"/silent", HOW_SEND, THEN_WAIT, ""},
    {"/slow", HOW_WHEN, THEN_NEXT, OK_HELLO},
    {"/worked", HOW_WHEN, THEN_CLOSE, ""},
    {"/cut-chunk", HOW_SEND, THEN_CLOSE, CHUNKED "5\r\nhel"},
    {"/cut-end", HOW_SEND, THEN_CLOSE, CHUNKED "5\r\nhello\r\n"},
    {"/cut-length", HOW_SEND, THEN_CLOSE, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"},
    {"/cut-head", HOW_SEND, THEN_CLOSE, "HTTP/1.1 200 OK\r\nContent-"},
    {"/cut-before", HOW_SEND, THEN_CLOSE, ""},
    {"/reset", HOW_SEND, THEN_RESET, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"},
    {"http://service.invalid/v1/hello", HOW_SEND, THEN_NEXT, OK_HELLO},
    {"service.invalid:443", HOW_SEND, THEN_CLOSE, "HTTP/1.1 403 No\r\nX-Type: p\r\n\r\n"},
    {"/early", HOW_SEND, THEN_NEXT,
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Type: early\r\n\r\n"
     "HTTP/1.1 200 OK\r\nX-Type:  late \r\nContent-Length: 5\r\n\r\nhello"},
    {"/empty", HOW_SEND, THEN_NEXT, "HTTP/1.1 204 No Content\r\n\r\n"},
    {"/moved", HOW_SEND, THEN_NEXT,
     "HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n"},
    {"/busy", HOW_SEND, THEN_NEXT,
     "HTTP/1.1 429 Too Many Requests\r\nX-Type: r\r\nContent-Length: 2\r\n\r\n{}"},
    {"/garbage", HOW_SEND, THEN_CLOSE, "SSH-2.0-OpenSSH_9.2\r\n"},
    {"/bad-chunk", HOW_SEND, THEN_WAIT, CHUNKED "zz\r\nhello"},
    {"/bad-head", HOW_SEND, THEN_WAIT, "HTTP/1.1 200 OK\r\nX-Type: a\001b\r\n\r\n"},
    {"/switch", HOW_SEND, THEN_CLOSE, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nhello"},
    {"/lots", HOW_LOTS, THEN_CLOSE, "HTTP/1.1 200 OK\r\n\r\n"},
    {"/lots-head", HOW_LOTS, THEN_CLOSE, "HTTP/1.1 200 OK\r\nX-Type: "},
    {"/echo", HOW_ECHO, THEN_NEXT, NULL},
    {"/unread", HOW_UNREAD, THEN_WAIT, ""},
    {"/ask", HOW_ASK, THEN_NEXT, NULL},
    {0},
};

static void test_answers(void **state)
{
    struct client c = {0};

    client_open(&c, rows, NULL);
    expect_answer(&c, "/hello", 0, 200, "hello");
    expect_answer(&c, "/chunks", 0, 200, "hello");
    expect_answer(&c, "/until-close", 0, 200, "hello");
    expect_answer(&c, "/empty", 0, 204, "");
    expect_answer(&c, "/moved", 0, 302, "");
    expect_answer(&c, "/busy", 0, 429, "{}");
    expect_answer(&c, "/lots", 0, 200, NULL);
    client_close(&c);
}

static void test_interim(void **state)
{
    struct client c = {0};
    struct ask k;

    client_open(&c, rows, NULL);
    ask_init(&k, &c, "GET", "/early");
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.code, 0);
    assert_int_equal(k.n_heads, 1);
    assert_string_equal(k.type, "late");
    ask_done(&k);
    client_close(&c);
}

static void test_broken(void **state)
{
    static const struct {
        const char *path;
        int code, status;
    } cases[] = {
        {"/cut-chunk", ERR_RESET, 200},  {"/cut-end", ERR_RESET, 200},  {"/cut-head", ERR_RESET, 0},
        {"/cut-length", ERR_RESET, 200}, {"/cut-before", ERR_RESET, 0}, {"/reset", ERR_RESET, 200},
        {"/garbage", ERR_FORMAT, 0},     {"/bad-head", ERR_FORMAT, 0},  {"/switch", ERR_FORMAT, 0},
        {"/bad-chunk", ERR_RESET, 200},
    };
    struct client c = {.config = {.total_ms = GUARD_S * 1000}};

    client_open(&c, rows, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_answer(&c, cases[i].path, cases[i].code, cases[i].status, NULL);
    expect_answer(&c, "/hello", 0, 200, "hello");
    client_close(&c);
}

static void test_limits(void **state)
{
    struct client c = {.config = {.body_max = 100000, .head_max = 4096}};

    client_open(&c, rows, NULL);
    expect_answer(&c, "/lots", ERR_TOO_LARGE, 200, NULL);
    expect_answer(&c, "/lots-head", ERR_TOO_LARGE, 0, NULL);
    expect_answer(&c, "/hello", 0, 200, "hello");
    client_close(&c);
}

static void test_echo(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, 100000, LOTS};
    struct client c = {0};
    char *body = malloc(LOTS);

    assert_non_null(body);
    for (int i = 0; i < LOTS; i++)
        body[i] = (char)(i * 7 + i / 251);
    client_open(&c, rows, NULL);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct ask k;
        ask_init(&k, &c, "POST", "/echo");
        k.a.body = body;
        k.a.n_body = sizes[i];
        ask_begin(&k);
        ask_wait(&k);
        assert_int_equal(k.code, 0);
        assert_int_equal(k.body.len, sizes[i]);
        if (sizes[i])
            assert_memory_equal(k.body.data, body, sizes[i]);
        ask_done(&k);
    }
    assert_int_equal(c.peer.n_conns, 1);
    client_close(&c);
    free(body);
}

/* What a service is sent: the caller's headers, and nothing that it does not know of. */
static void test_head(void **state)
{
    static const struct upstream_header h[] = {
        {"Authorization", "Bearer k"}, {"content-type", "application/json"}, {"X-Empty", ""}};
    struct client c = {.config = {.user_agent = "tester/1"}};
    struct ask k;
    char *want;

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "", 1);
    client_open(&c, rows, NULL);
    ask_init(&k, &c, "POST", "/ask");
    k.a.header = h;
    k.a.n_header = ARRAY_LEN(h);
    k.a.body = "{}";
    k.a.n_body = 2;
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.code, 0);
    assert_true(asprintf(&want,
                         "POST /ask HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: tester/1\r\n"
                         "Accept: */*\r\nAuthorization: Bearer k\r\n"
                         "content-type: application/json\r\nX-Empty:\r\n"
                         "Accept-Encoding: identity\r\nContent-Length: 2\r\n\r\n",
                         c.peer.port) > 0);
    assert_string_equal(k.body.data, want);
    free(want);
    ask_done(&k);
    client_close(&c);
    unsetenv("http_proxy");
    unsetenv("no_proxy");
}

static void test_refused(void **state)
{
    static const struct {
        const char *method, *path, *name, *value;
    } cases[] = {
        {"POST", "/ask", "X-A", "a\r\nX-B: b"}, {"POST", "/ask", "X-A", "a\nb"},
        {"POST", "/ask", "X A", "a"},           {"POST", "/ask", "", "a"},
        {"GET", "/as k", "X-A", "a"},           {"GET", "ask", "X-A", "a"},
        {"GET", "/a\r\nX-B: b", "X-A", "a"},    {"PUT", "/ask", "X-A", "a"},
    };
    struct client c = {0};

    client_open(&c, rows, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct upstream_header h = {cases[i].name, cases[i].value};
        struct ask k;
        ask_init(&k, &c, cases[i].method, cases[i].path);
        k.a.header = &h;
        k.a.n_header = 1;
        on_io(&c, begin_now, &k);
        assert_int_equal(k.begun, ERR_ARG);
        ask_done(&k);
    }
    assert_int_equal(c.peer.n_conns, 0);
    expect_answer(&c, "/hello", 0, 200, "hello");
    client_close(&c);
}

/* The same connection as long as the service keeps it. */
static void test_kept(void **state)
{
    struct client c = {0};

    client_open(&c, rows, NULL);
    for (int i = 0; i < 20; i++)
        expect_answer(&c, i % 2 ? "/hello" : "/chunks", 0, 200, "hello");
    assert_int_equal(c.peer.n_conns, 1);
    /* it goes while nobody uses it */
    expect_answer(&c, "/close", 0, 200, "hello");
    peer_wait(&c.peer, &c.peer.n_open, 0, 0);
    expect_answer(&c, "/hello", 0, 200, "hello");
    assert_int_equal(c.peer.n_conns, 2);
    client_close(&c);
}

/* A kept connection that ends when it is used again is not the request's fault: it goes out once
 * more on a new one. What nobody asked for is not taken for the next answer. */
static void test_kept_badly(void **state)
{
    struct client c = {0};

    client_open(&c, rows, NULL);
    expect_answer(&c, "/once", 0, 200, "hello");
    expect_answer(&c, "/once", 0, 200, "hello");
    assert_int_equal(c.peer.n_conns, 2);
    assert_int_equal(c.peer.n_requests, 2);
    expect_answer(&c, "/excess", 0, 200, "hello");
    expect_answer(&c, "/empty", 0, 204, "");
    assert_int_equal(c.peer.n_conns, 3);
    /* later; then the client shuts it down */
    expect_answer(&c, "/twice", 0, 200, "hello");
    peer_go(&c.peer);
    peer_wait(&c.peer, &c.peer.n_open, 0, 0);
    expect_answer(&c, "/empty", 0, 204, "");
    assert_int_equal(c.peer.n_conns, 4);
    client_close(&c);
}

/* No request is sent again after a byte of its answer, or after the service had time for it. */
static void test_sent_once(void **state)
{
    struct client c = {0};
    struct ask k;

    client_open(&c, rows, NULL);
    expect_answer(&c, "/hello", 0, 200, "hello");
    ask_init(&k, &c, "POST", "/cut-head");
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.code, ERR_RESET);
    assert_int_equal(c.peer.n_requests, 2);
    ask_done(&k);
    expect_answer(&c, "/hello", 0, 200, "hello");
    ask_init(&k, &c, "POST", "/worked");
    ask_begin(&k);
    peer_wait(&c.peer, &c.peer.n_requests, 4, 1);
    clock_sleep_us(1100000); /* it worked as long as that, or longer */
    peer_go(&c.peer);
    ask_wait(&k);
    assert_int_equal(k.code, ERR_RESET);
    assert_int_equal(c.peer.n_requests, 4);
    ask_done(&k);
    client_close(&c);
}

/* The service sees a cancel at once, whatever the request was waiting for. */
static void test_cancel(void **state)
{
    static const char *const paths[] = {"/silent", "/hold", "/hold", "/hold"};
    struct client c = {0};

    client_open(&c, rows, NULL);
    for (int i = 0; i < (int)ARRAY_LEN(paths); i++) {
        struct ask k;
        ask_init(&k, &c, "GET", paths[i]);
        k.cancel_at_head = i == 2;
        k.cancel_at_data = i == 3;
        ask_begin(&k);
        peer_wait(&c.peer, &c.peer.n_requests, i + 1, 1);
        if (i == 1)
            room_wait(&c.room, &k.n_bytes, 5);
        if (i < 2)
            on_io(&c, cancel_now, &k);
        peer_wait(&c.peer, &c.peer.n_open, 0, 0);
        assert_int_equal(k.n_ends, 0);
        ask_done(&k);
    }
    /* before it has begun, and an other one from inside a call */
    for (int i = 0; i < 2; i++) {
        struct ask k, other;
        ask_init(&other, &c, "GET", "/silent");
        ask_begin(&other);
        if (i)
            peer_wait(&c.peer, &c.peer.n_requests, 5 + i, 1);
        ask_init(&k, &c, "GET", "/hello");
        k.cancel_other = &other;
        ask_begin(&k);
        ask_wait(&k);
        assert_int_equal(other.n_ends, 0);
        ask_done(&k);
        ask_done(&other);
    }
    client_close(&c);
}

static void begin_and_cancel(void *ctx)
{
    begin_now(ctx);
    cancel_now(ctx);
}

static void test_cancel_unbegun(void **state)
{
    struct client c = {0};
    struct ask k;

    client_open(&c, rows, NULL);
    ask_init(&k, &c, "GET", "/hello");
    on_io(&c, begin_and_cancel, &k);
    expect_answer(&c, "/hello", 0, 200, "hello");
    assert_int_equal(k.n_heads + k.n_ends, 0);
    assert_int_equal(c.peer.n_requests, 1);
    ask_done(&k);
    client_close(&c);
}

/* From inside on_end, as a fallback does. */
static void test_begin_at_end(void **state)
{
    struct client c = {0};
    struct ask k, next;

    client_open(&c, rows, NULL);
    ask_init(&next, &c, "GET", "/hello");
    ask_init(&k, &c, "GET", "/busy");
    k.then = &next;
    ask_begin(&k);
    ask_wait(&k);
    ask_wait(&next);
    assert_int_equal(next.code, 0);
    assert_int_equal(next.status, 200);
    ask_done(&k);
    ask_done(&next);
    client_close(&c);
}

static void test_pause(void **state)
{
    struct client c = {0};
    struct ask k;
    int n;

    client_open(&c, rows, NULL);
    ask_init(&k, &c, "GET", "/lots");
    k.pause_at_head = k.pause_at_data = 1;
    ask_begin(&k);
    room_wait(&c.room, &k.n_heads, 1);
    for (int i = 0; i < 3; i++) {
        expect_answer(&c, "/chunks", 0, 200, "hello"); /* others go on */
        n = k.n_bytes;
        assert_true(i || n == 0);
        on_io(&c, resume_now, &k);
        room_wait(&c.room, &k.n_bytes, n + 1);
        n = k.n_bytes;
        expect_answer(&c, "/hello", 0, 200, "hello");
        assert_int_equal(k.n_bytes, n);
        assert_int_equal(k.n_data, i + 1);
    }
    pthread_mutex_lock(&c.room.lock);
    k.pause_at_data = 0;
    pthread_mutex_unlock(&c.room.lock);
    on_io(&c, resume_now, &k);
    ask_wait(&k);
    assert_int_equal(k.code, 0);
    assert_int_equal(k.n_bytes, LOTS);
    ask_done(&k);
    /* all of it was here before the pause ended */
    ask_init(&k, &c, "GET", "/hello");
    k.pause_at_head = 1;
    ask_begin(&k);
    room_wait(&c.room, &k.n_heads, 1);
    expect_answer(&c, "/hello", 0, 200, "hello");
    assert_int_equal(k.n_bytes + k.n_ends, 0);
    on_io(&c, resume_now, &k);
    ask_wait(&k);
    assert_string_equal(k.body.data, "hello");
    ask_done(&k);
    client_close(&c);
}

static void test_silent(void **state)
{
    static const char big[LOTS];
    struct client c = {.config = {.first_byte_ms = 50}};
    struct ask k;

    client_open(&c, rows, NULL);
    expect_answer(&c, "/silent", ERR_SILENT, 0, NULL);
    /* nobody takes the request */
    ask_init(&k, &c, "POST", "/unread");
    k.a.body = big;
    k.a.n_body = LOTS;
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.code, ERR_SILENT);
    ask_done(&k);
    peer_go(&c.peer);
    peer_wait(&c.peer, &c.peer.n_open, 0, 0); /* they were closed */
    client_close(&c);
}

/* While it is paused, a request's silence is not the service's. */
static void test_silent_later(void **state)
{
    struct client c = {.config = {.silence_ms = 50}};
    struct ask k;

    client_open(&c, rows, NULL);
    ask_init(&k, &c, "GET", "/hold");
    k.pause_at_head = 1;
    ask_begin(&k);
    room_wait(&c.room, &k.n_heads, 1);
    expect_answer(&c, "/hold", ERR_SILENT, 200, "hello");
    assert_int_equal(k.n_ends, 0);
    on_io(&c, resume_now, &k);
    ask_wait(&k);
    assert_int_equal(k.code, ERR_SILENT);
    assert_string_equal(k.body.data, "hello");
    ask_done(&k);
    client_close(&c);
}

/* The server ends while requests wait, one of them not even begun. */
static void test_close(void **state)
{
    struct client c = {0};
    struct ask k[3];

    client_open(&c, rows, NULL);
    for (int i = 0; i < 3; i++) {
        ask_init(&k[i], &c, "GET", i == 1 ? "/hold" : "/silent");
        k[i].pause_at_head = 1;
        ask_begin(&k[i]);
        if (i < 2)
            peer_wait(&c.peer, &c.peer.n_requests, i + 1, 1);
    }
    client_close(&c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(k[i].n_ends, 0);
        buf_done(&k[i].body);
    }
}

static void test_total(void **state)
{
    struct client c = {.config = {.first_byte_ms = 1, .total_ms = 50}};
    struct ask k;

    client_open(&c, rows, NULL);
    ask_init(&k, &c, "GET", "/silent");
    k.a.first_byte_ms = GUARD_S * 1000; /* of this one */
    ask_begin(&k);
    ask_wait(&k);
    assert_int_equal(k.code, ERR_TIMEOUT);
    ask_done(&k);
    client_close(&c);
}

/* As many at the same time as may be, and the others one by one on their connections. */
static void ask_many(int n_all, int n_busy)
{
    struct client c = {.config = {.conns_max = n_busy}};
    struct ask *k = calloc((size_t)n_all, sizeof *k);
    int n_begun = 0;

    assert_non_null(k);

    client_open(&c, rows, NULL);
    for (int i = 0; i < n_all; i++) {
        ask_init(&k[i], &c, "GET", "/slow");
        on_io(&c, begin_now, &k[i]);
        assert_int_equal(k[i].begun, i < n_busy ? 0 : ERR_LIMIT);
        n_begun += !k[i].begun;
    }
    assert_int_equal(n_begun, n_busy);
    peer_go(&c.peer);
    for (int i = 0; i < n_busy; i++) {
        ask_wait(&k[i]);
        assert_int_equal(k[i].code, 0);
        assert_string_equal(k[i].body.data, "hello");
    }
    for (int i = n_busy; i < n_all; i++)
        expect_answer(&c, "/hello", 0, 200, "hello");
    assert_int_equal(c.peer.n_conns, n_busy);
    for (int i = 0; i < n_all; i++)
        ask_done(&k[i]);
    client_close(&c);
    free(k);
}

static void test_many(void **state)
{
    ask_many(100, 8);
    ask_many(150, 140); /* more than a pool of libcurl's takes */
}

static void test_unreached(void **state)
{
    struct client c = {.config = {.connect_ms = 50}};
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), full[8];

    room_open_default(&c.room);
    peer_open(&c.peer, rows, NULL);
    c.config.base_url = c.url;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(c.url, sizeof c.url, "http://127.0.0.1:%d", ntohs(a.sin_port));
    client_up(&c);
    expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
    /* more wait there than are accepted */
    assert_int_equal(listen(fd, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(full[i], (struct sockaddr *)&a, sizeof a);
    }
    expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(full); i++)
        close(full[i]);
    close(fd);
    client_close(&c);
}

/* What this process has not is not the service's fault. */
static void test_no_descriptors(void **state)
{
    struct client c = {0};
    struct rlimit was, none;

    client_open(&c, rows, NULL);
    expect_answer(&c, "/until-close", 0, 200, "hello"); /* no connection is kept */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = 3; /* those are taken; what is open above stays */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    expect_answer(&c, "/hello", ERR_NOMEM, 0, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    expect_answer(&c, "/hello", 0, 200, "hello");
    client_close(&c);
}

static void test_names(void **state)
{
    struct client c = {0};

    room_open_default(&c.room);
    peer_open(&c.peer, rows, NULL);
    c.config.base_url = "http://no-such-host.invalid/v1";
    client_up(&c);
    expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
    client_close(&c);
}

/* The peer is the proxy: it is asked for the service, by its name. */
static void test_proxy(void **state)
{
    static const char *const urls[] = {"http://service.invalid/v1/", "https://service.invalid/v1"};

    for (int i = 0; i < 2; i++) {
        struct client c = {.config = {.base_url = urls[i]}};
        room_open_default(&c.room);
        peer_open(&c.peer, rows, NULL);
        snprintf(c.url, sizeof c.url, "http://u:p@127.0.0.1:%d", c.peer.port);
        c.config.proxy = c.url;
        client_up(&c);
        if (i == 0)
            expect_answer(&c, "/hello", 0, 200, "hello");
        else
            expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
        assert_int_equal(c.peer.n_requests, 1);
        client_close(&c);
    }
}

static void test_config(void **state)
{
    static const struct upstream_config cases[] = {
        {.base_url = NULL},
        {.base_url = ""},
        {.base_url = "nonsense"},
        {.base_url = "ftp://h/"},
        {.base_url = "file:///etc/passwd"},
        {.base_url = "https://user:key@h/v1"},
        {.base_url = "https://user@h/v1"},
        {.base_url = "https://h/v1?key=1"},
        {.base_url = "https://h/v1#x"},
        {.base_url = "http://h", .ca_file = "/nonexistent"},
        {.base_url = "http://h", .proxy = "gopher://h"},
        {.base_url = "http://h", .connect_ms = -1},
        {.base_url = "http://h", .conns_max = -1},
        {.base_url = "http://h", .user_agent = "a\nb"},
    };
    struct room room;

    room_open_default(&room);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct upstream *u;
        struct err e = {0};
        assert_int_equal(upstream_open(&u, room.server, &cases[i], &e), ERR_ARG);
        assert_true(e.text[0]);
    }
    upstream_close(NULL);
    room_close(&room);
}

/* ---- TLS ---- */

static void test_tls(void **state)
{
    char path[] = "/tmp/test_upstream_XXXXXX";
    struct client c = {.config = {.ca_file = path}};
    SSL_CTX *tls;

    close(mkstemp(path));
    tls = service_tls(path, "IP:127.0.0.1");
    client_open(&c, rows, tls);
    for (int i = 0; i < 5; i++)
        expect_answer(&c, "/chunks", 0, 200, "hello");
    assert_int_equal(c.peer.n_conns, 1);
    expect_answer(&c, "/lots", 0, 200, NULL);
    expect_answer(&c, "/cut-end", ERR_RESET, 200, NULL);
    client_close(&c);
    /* of another name */
    SSL_CTX_free(tls);
    tls = service_tls(path, "IP:127.0.0.2");
    client_open(&c, rows, tls);
    expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
    client_close(&c);
    /* nobody we know signed it */
    SSL_CTX_free(tls);
    tls = service_tls(path, "IP:127.0.0.1");
    c.config.ca_file = NULL;
    client_open(&c, rows, tls);
    expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
    assert_int_equal(c.peer.n_requests, 0);
    client_close(&c);
    SSL_CTX_free(tls);
    unlink(path);
}

/* The service accepts, and says nothing of TLS. */
static void test_tls_silent(void **state)
{
    struct client c = {.config = {.connect_ms = 50}};

    room_open_default(&c.room);
    peer_open(&c.peer, rows, NULL);
    snprintf(c.url, sizeof c.url, "https://127.0.0.1:%d", c.peer.port);
    c.config.base_url = c.url;
    client_up(&c);
    expect_answer(&c, "/hello", ERR_CONNECT, 0, NULL);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_interim),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_kept_badly),
        cmocka_unit_test(test_sent_once),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_unbegun),
        cmocka_unit_test(test_begin_at_end),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_silent_later),
        cmocka_unit_test(test_total),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_unreached),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_tls_silent),
    };
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to clients that have left */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
