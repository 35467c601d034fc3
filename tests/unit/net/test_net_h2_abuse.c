/* What clients of HTTP/2 may not do: heads that are malformed or too large, and floods. Frames are
 * written by hand, as nghttp2's client would not send them. */
#include "h2_harness.h"

#include <stdlib.h>

#define HEAD_MAX 200000
#define N_FLOOD  6000

/* ---- a client by hand ---- */

struct raw {
    int fd;
    nghttp2_hd_inflater *inflater;
};

static void raw_frame(const struct raw *w, uint8_t type, uint8_t flags, int32_t id, const void *p,
                      size_t n)
{
    uint8_t head[9] = {
        (uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

    /* The server may have ended it. */
    if (send(w->fd, head, sizeof head, MSG_NOSIGNAL | (n ? MSG_MORE : 0)) > 0 && n)
        (void)!send(w->fd, p, n, MSG_NOSIGNAL);
}

static void raw_open(struct raw *w, const struct room *r)
{
    w->fd = dial(r);
    assert_int_equal(nghttp2_hd_inflate_new(&w->inflater), 0);
    say(w->fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    raw_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static void raw_close(struct raw *w)
{
    nghttp2_hd_inflate_del(w->inflater);
    close(w->fd);
}

static int status_in(struct raw *w, const uint8_t *p, size_t n)
{
    int status = 0, flags = 0;

    while (n) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(w->inflater, &nv, &flags, p, n, 1);
        assert_true(used >= 0);
        p += used;
        n -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT && nv.namelen == 7 && !memcmp(nv.name, ":status", 7))
            status = atoi((const char *)nv.value);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(w->inflater);
    return status;
}

static uint32_t number(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#define RESET(code)   (1000 + (int)(code))
#define GOODBYE(code) (2000 + (int)(code))
#define CLOSED        3000

/* What became of that stream: a status, RESET, GOODBYE (of the connection) or CLOSED. */
static int outcome(struct raw *w, int32_t id)
{
    static uint8_t p[1 << 20];
    uint8_t head[9];

    for (;;) {
        size_t n;
        int32_t of;
        if (recv(w->fd, head, sizeof head, MSG_WAITALL) != sizeof head)
            return CLOSED;
        n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        of = (int32_t)number(head + 5);
        assert_true(n < sizeof p);
        if (n && recv(w->fd, p, n, MSG_WAITALL) != (ssize_t)n)
            return CLOSED;
        if (head[3] == NGHTTP2_HEADERS) {
            int status = status_in(w, p, n);
            if (of == id)
                return status;
        } else if (head[3] == NGHTTP2_RST_STREAM && of == id)
            return RESET(number(p));
        else if (head[3] == NGHTTP2_GOAWAY)
            return GOODBYE(number(p + 4));
    }
}

struct block {
    uint8_t p[HEAD_MAX];
    size_t n;
};

/* An integer of HPACK with a prefix of 7 bits. */
static void add_number(struct block *b, size_t v)
{
    if (v < 127) {
        b->p[b->n++] = (uint8_t)v;
        return;
    }
    b->p[b->n++] = 127;
    for (v -= 127; v >= 128; v >>= 7)
        b->p[b->n++] = (uint8_t)(v | 128);
    b->p[b->n++] = (uint8_t)v;
}

/* A field as it stands, that is kept in no table. */
static void add_field(struct block *b, const char *name, const char *value, size_t n)
{
    b->p[b->n++] = 0;
    add_number(b, strlen(name));
    memcpy(b->p + b->n, name, strlen(name));
    b->n += strlen(name);
    add_number(b, n);
    memcpy(b->p + b->n, value, n);
    b->n += n;
    assert_true(b->n < HEAD_MAX - 70000);
}

static void add_text(struct block *b, const char *name, const char *value)
{
    add_field(b, name, value, strlen(value));
}

static void add_ask(struct block *b, const char *method, const char *path)
{
    add_text(b, ":method", method);
    add_text(b, ":scheme", "http");
    add_text(b, ":path", path);
    add_text(b, ":authority", "t");
}

static void add_get(struct block *b, const char *path)
{
    add_ask(b, "GET", path);
}

/* In as many frames as it takes. */
static void send_block(struct raw *w, int32_t id, const struct block *b)
{
    size_t at = 0;

    do {
        size_t n = b->n - at < 16384 ? b->n - at : 16384;
        uint8_t flags = at + n == b->n ? NGHTTP2_FLAG_END_HEADERS : 0;
        if (at)
            raw_frame(w, NGHTTP2_CONTINUATION, flags, id, b->p + at, n);
        else
            raw_frame(w, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_STREAM, id, b->p, n);
        at += n;
    } while (at < b->n);
}

/* ---- heads ---- */

static struct block block;

#define GET_ ":method", "GET", ":scheme", "http", ":path", "/hello"

static void malformed_heads_are_refused(void **state)
{
    static const struct {
        const char *fields[20];
        int outcome;
    } rows[] = {
        {{GET_, ":authority", "t"}, 200},
        {{GET_, ":authority", "t", "host", "T"}, 200},
        {{GET_, "host", "t"}, 200},
        {{GET_, ":authority", "t", "te", "trailers"}, 200},
        {{GET_, ":authority", "t", "cookie", "a=1", "cookie", "b=2"}, 200},
        {{":method", "GET", ":scheme", "http", ":authority", "t"}, RESET(1)},
        {{":method", "GET", ":path", "/hello", ":authority", "t"}, RESET(1)},
        {{":scheme", "http", ":path", "/hello", ":authority", "t"}, RESET(1)},
        {{GET_}, RESET(1)},
        {{GET_, ":authority", ""}, RESET(1)},
        {{GET_, ":path", "/hello", ":authority", "t"}, RESET(1)},
        {{GET_, ":authority", "t", ":authority", "t"}, RESET(1)},
        {{GET_, "x", "1", ":authority", "t"}, RESET(1)},
        {{GET_, ":authority", "t", ":other", "1"}, RESET(1)},
        {{GET_, ":authority", "t", ":status", "200"}, RESET(1)},
        {{GET_, ":authority", "t", "X-Capital", "1"}, RESET(1)},
        {{GET_, ":authority", "t", "a b", "1"}, 400},
        {{GET_, ":authority", "t", "", "1"}, 400},
        {{GET_, ":authority", "t", "x", "a\nb"}, 400},
        {{GET_, ":authority", "t", "x", " a"}, 400},
        {{GET_, ":authority", "t", "x", "a\t"}, 400},
        {{GET_, ":authority", "t", "connection", "close"}, RESET(1)},
        {{GET_, ":authority", "t", "keep-alive", "1"}, RESET(1)},
        {{GET_, ":authority", "t", "proxy-connection", "1"}, RESET(1)},
        {{GET_, ":authority", "t", "upgrade", "websocket"}, RESET(1)},
        {{GET_, ":authority", "t", "transfer-encoding", "chunked"}, RESET(1)},
        {{GET_, ":authority", "t", "te", "gzip"}, RESET(1)},
        {{GET_, ":authority", "t", "host", "u"}, 400},
        {{GET_, ":authority", "a/b"}, RESET(1)},
        {{GET_, ":authority", "t", "authorization", "a", "authorization", "b"}, 400},
        {{GET_, ":authority", "t", "content-length", "1"}, RESET(1)},
        {{GET_, ":authority", "t", "content-length", "0", "content-length", "0"}, RESET(1)},
        {{GET_, ":authority", "t", "content-length", "x"}, RESET(1)},
        {{GET_, ":authority", "t", "expect", "tea"}, 417},
        {{":method", "BREW", ":scheme", "http", ":path", "/hello", ":authority", "t"}, 501},
        {{":method", "CONNECT", ":authority", "t"}, 501},
        {{":method", "GET", ":scheme", "ftp", ":path", "/hello", ":authority", "t"}, 400},
        {{":method", "GET", ":scheme", "http", ":path", "hello", ":authority", "t"}, RESET(1)},
        {{":method", "GET", ":scheme", "http", ":path", "", ":authority", "t"}, RESET(1)},
        {{":method", "GET", ":scheme", "http", ":path", "*", ":authority", "t"}, RESET(1)},
        {{":method", "GET", ":scheme", "http", ":path", "http://t/", ":authority", "t"}, RESET(1)},
        {{":method", "GET", ":scheme", "http", ":path", "/a b", ":authority", "t"}, RESET(1)},
    };
    struct room r;
    int n_wrong = 0;

    room_open_default(&r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct raw w;
        int got;
        raw_open(&w, &r);
        block.n = 0;
        for (int k = 0; rows[i].fields[k]; k += 2)
            add_text(&block, rows[i].fields[k], rows[i].fields[k + 1]);
        send_block(&w, 1, &block);
        got = outcome(&w, 1);
        if (got != rows[i].outcome) {
            print_message("row %zu: %d, not %d\n", i, got, rows[i].outcome);
            n_wrong++;
        }
        block.n = 0; /* and the connection goes on */
        add_get(&block, "/hello");
        send_block(&w, 3, &block);
        assert_int_equal(outcome(&w, 3), 200);
        raw_close(&w);
    }
    assert_int_equal(n_wrong, 0);
    WAIT_STAT(&r, n_exchanges, ==, 0);
    room_close(&r);
}

static void large_heads_are_refused(void **state)
{
    static char text[66000];
    struct room r;
    struct raw w;

    memset(text, 'x', sizeof text - 1);
    room_open_default(&r);
    raw_open(&w, &r);
    block.n = 0;
    text[0] = '/';
    add_text(&block, ":method", "GET");
    add_text(&block, ":scheme", "http");
    add_field(&block, ":path", text, 9000);
    add_text(&block, ":authority", "t");
    send_block(&w, 1, &block);
    assert_int_equal(outcome(&w, 1), 414);
    block.n = 0;
    add_get(&block, "/hello");
    for (int i = 0; i < 101; i++)
        add_text(&block, "x", "y");
    send_block(&w, 3, &block);
    assert_int_equal(outcome(&w, 3), 431);
    block.n = 0;
    add_get(&block, "/hello");
    add_field(&block, "x", text, 40000);
    add_field(&block, "y", text, 40000);
    send_block(&w, 5, &block);
    assert_int_equal(outcome(&w, 5), 431);
    WAIT_STAT(&r, refused_total, ==, 3);
    raw_close(&w);
    room_close(&r);
}

/* ---- floods ---- */

/* It is told to be calm, where it still reads, and the connection ends; others are served. */
static void expect_calm(struct room *r, struct raw *w, int64_t n)
{
    int got = outcome(w, -1);

    assert_true(got == GOODBYE(NGHTTP2_ENHANCE_YOUR_CALM) || got == CLOSED);
    WAIT_STAT(r, h2_abuse_total, ==, n);
    raw_close(w);
    WAIT_STAT(r, n_exchanges, ==, 0);
    raw_open(w, r);
    block.n = 0;
    add_get(&block, "/hello");
    send_block(w, 1, &block);
    assert_int_equal(outcome(w, 1), 200);
    raw_close(w);
}

static void resets_are_limited(void **state)
{
    static const uint8_t cancel[4] = {0, 0, 0, NGHTTP2_CANCEL};
    static const uint8_t too_much[4] = {0x7f, 0xff, 0xff, 0xff};
    struct room r;
    struct raw w;

    room_open_default(&r);
    for (int induced = 0; induced < 2; induced++) {
        raw_open(&w, &r);
        for (int32_t id = 1; id < 2 * 1000; id += 2) {
            block.n = 0;
            add_ask(&block, "POST", "/echo"); /* its body does not come */
            raw_frame(&w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, block.p, block.n);
            if (induced) /* the server has to reset it */
                raw_frame(&w, NGHTTP2_WINDOW_UPDATE, 0, id, too_much, 4);
            else
                raw_frame(&w, NGHTTP2_RST_STREAM, 0, id, cancel, 4);
        }
        expect_calm(&r, &w, induced + 1);
    }
    room_close(&r);
}

/* Who opens more streams than there may be, again and again, is a flood, too, however many of them
 * the server reads at once. */
static void refused_streams_are_limited(void **state)
{
    struct net_config config;
    struct room r;
    struct raw w;

    room_config(&config);
    config.h2_streams = 10;
    room_open(&r, &config);
    raw_open(&w, &r);
    block.n = 0;
    add_get(&block, "/hold");
    for (int32_t id = 1; id < 2 * 300; id += 2)
        send_block(&w, id, &block);
    expect_calm(&r, &w, 1);
    room_close(&r);
}

static void idle_frames_are_limited(void **state)
{
    static const uint8_t eight[8] = {0, 0, 0, 1}; /* also a priority's, and a window's increment */
    static const struct {
        uint8_t type;
        int32_t id;
        size_t n;
    } rows[] = {
        {NGHTTP2_PING, 0, 8},          {NGHTTP2_SETTINGS, 0, 0}, {NGHTTP2_PRIORITY, 7, 5},
        {NGHTTP2_WINDOW_UPDATE, 0, 4}, {NGHTTP2_DATA, 1, 0},
    };
    struct room r;
    struct raw w;

    room_open_default(&r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        raw_open(&w, &r);
        block.n = 0;
        add_ask(&block, "POST", "/echo");
        raw_frame(&w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block.p, block.n);
        for (int k = 0; k < N_FLOOD; k++)
            raw_frame(&w, rows[i].type, 0, rows[i].id, eight, rows[i].n);
        expect_calm(&r, &w, (int64_t)i + 1);
    }
    room_close(&r);
}

/* Few bytes that name a large field again and again. */
static void small_heads_that_grow_are_limited(void **state)
{
    static char text[4000];
    struct room r;
    struct raw w;

    memset(text, 'x', sizeof text);
    room_open_default(&r);
    raw_open(&w, &r);
    block.n = 0;
    add_get(&block, "/hello");
    block.p[block.n++] = 0x40; /* kept in the table, where it is the first: 62 */
    add_number(&block, 1);
    block.p[block.n++] = 'x';
    add_number(&block, sizeof text);
    memcpy(block.p + block.n, text, sizeof text);
    block.n += sizeof text;
    for (int i = 0; i < 10000; i++)
        block.p[block.n++] = 0x80 | 62;
    send_block(&w, 1, &block);
    expect_calm(&r, &w, 1);
    room_close(&r);
}

static void heads_in_many_pieces_are_limited(void **state)
{
    struct room r;
    struct raw w;

    room_open_default(&r);
    raw_open(&w, &r);
    raw_frame(&w, NGHTTP2_HEADERS, 0, 1, "\x82", 1);
    for (int i = 0; i < N_FLOOD; i++)
        raw_frame(&w, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
    assert_true(outcome(&w, -1) >= GOODBYE(0));
    raw_close(&w);
    WAIT_STAT(&r, n_conns, ==, 0);
    WAIT_STAT(&r, n_exchanges, ==, 0);
    room_close(&r);
}

static void streams_are_limited(void **state)
{
    struct net_config config;
    struct room r;
    struct raw w;

    room_config(&config);
    config.h2_streams = 10;
    room_open(&r, &config);
    raw_open(&w, &r);
    block.n = 0;
    add_get(&block, "/hold");
    for (int32_t id = 1; id <= 21; id += 2)
        send_block(&w, id, &block);
    assert_int_equal(outcome(&w, 21), RESET(NGHTTP2_REFUSED_STREAM));
    room_wait(&r, &r.n_held, 10);
    room_order(&r, ORDER_REPLY, 0, 0);
    assert_int_equal(outcome(&w, 1), 200);
    send_block(&w, 23, &block);
    room_wait(&r, &r.n_held, 11);
    raw_close(&w);
    room_wait(&r, &r.n_gone, 10);
    room_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_heads_are_refused),
        cmocka_unit_test(large_heads_are_refused),
        cmocka_unit_test(resets_are_limited),
        cmocka_unit_test(refused_streams_are_limited),
        cmocka_unit_test(idle_frames_are_limited),
        cmocka_unit_test(small_heads_that_grow_are_limited),
        cmocka_unit_test(heads_in_many_pieces_are_limited),
        cmocka_unit_test(streams_are_limited),
    };
    return cmocka_run_group_tests_name("net/h2 abuse", tests, NULL, NULL);
}
