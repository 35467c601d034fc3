/* The request parser: every malformed form, and every way of cutting the input into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/http.h"

/* ---- a readable trace of what the parser says about a byte string ---- */

static void trace_head(struct buf *t, const struct http_head *h)
{
    buf_addf(t, "%s %s 1.%d host=%s len=%lld chunked=%d expect=%d keep=%d\n",
             http_method_name(h->method), h->target, h->minor, h->host,
             (long long)h->content_length, h->chunked, h->expect_continue, h->keep_alive);
    for (int i = 0; i < h->n_fields; i++)
        buf_addf(t, "%s=[%s]\n", http_field_name(h, i), http_field_value(h, i));
}

/* Feed one piece, which is copied to a block of its exact size so that a sanitizer sees any read
 * beyond it. Returns 0 after HTTP_BAD. */
static int trace_piece(struct buf *t, struct http_parser *p, const char *in, size_t n)
{
    char *copy = malloc(n ? n : 1);
    size_t at = 0;
    int ok = 1;

    assert_non_null(copy);
    memcpy(copy, in, n);
    for (;;) {
        size_t used, n_data;
        const char *data;
        enum http_event ev = http_parser_feed(p, copy + at, n - at, &used, &data, &n_data);
        at += used;
        if (ev == HTTP_GOT_HEAD)
            trace_head(t, &p->head);
        else if (ev == HTTP_DATA)
            buf_add(t, data, n_data);
        else if (ev == HTTP_END) {
            buf_add_str(t, "END\n");
            struct http_limits l = p->limits;
            http_parser_done(p);
            http_parser_init(p, &l); /* the next message */
        } else if (ev == HTTP_BAD) {
            buf_addf(t, "BAD %d %s\n", p->status, p->why);
            ok = 0;
        }
        if (ev == HTTP_BAD || (ev == HTTP_MORE && at == n))
            break;
        assert_true(ev != HTTP_MORE);
    }
    free(copy);
    return ok;
}

static void trace(struct buf *t, const char *in, size_t n, size_t cut, size_t step)
{
    struct http_limits l = HTTP_LIMITS_DEFAULT;
    struct http_parser p;
    size_t at = cut;

    buf_init(t, 1 << 20);
    http_parser_init(&p, &l);
    if (trace_piece(t, &p, in, cut)) {
        while (at < n) {
            size_t take = n - at < step ? n - at : step;
            if (!trace_piece(t, &p, in + at, take))
                break;
            at += take;
        }
    }
    http_parser_done(&p);
    assert_int_equal(t->failed, 0);
}

/* The trace in one piece; asserts that no other cut gives another. */
static void trace_all_cuts(struct buf *t, const char *in, size_t n)
{
    struct buf other;

    trace(t, in, n, n, 1);
    trace(&other, in, n, 0, 1);
    assert_string_equal(t->data ? t->data : "", other.data ? other.data : "");
    buf_done(&other);
    for (size_t cut = 0; cut < n && n < 1024; cut++) {
        trace(&other, in, n, cut, n);
        assert_string_equal(t->data ? t->data : "", other.data ? other.data : "");
        buf_done(&other);
    }
}

static void expect_trace(const char *in, size_t n, const char *want)
{
    struct buf t;
    trace_all_cuts(&t, in, n);
    assert_string_equal(t.data, want);
    buf_done(&t);
}
#define EXPECT_TRACE(in, want) expect_trace(in, sizeof(in) - 1, want)

static int status_of(const char *in, size_t n)
{
    struct buf t;
    int status = 0;
    const char *bad;

    trace_all_cuts(&t, in, n);
    bad = t.data ? strstr(t.data, "BAD ") : NULL;
    if (bad)
        status = atoi(bad + 4);
    else if (t.len >= 4 && !strcmp(t.data + t.len - 4, "END\n"))
        status = 200;
    buf_done(&t);
    return status;
}

/* ---- good requests ---- */

static void test_good(void **state)
{
    EXPECT_TRACE("GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                 "GET / 1.1 host=a len=-1 chunked=0 expect=0 keep=1\nhost=[a]\nEND\n");
    EXPECT_TRACE("\r\nHEAD /x?y=%20z&w=a+b|c HTTP/1.0\r\n\r\n",
                 "HEAD /x?y=%20z&w=a+b|c 1.0 host= len=-1 chunked=0 expect=0 keep=0\nEND\n");
    EXPECT_TRACE("POST /p HTTP/1.1\r\nhost:[::1]:80\r\nqueue_threshold: \t 50 \t\r\nX-Empty:\r\n"
                 "Content-Length: 5\r\nConnection: foo, Close\r\n\r\nhello",
                 "POST /p 1.1 host=[::1]:80 len=5 chunked=0 expect=0 keep=0\nhost=[[::1]:80]\n"
                 "queue_threshold=[50]\nx-empty=[]\ncontent-length=[5]\nconnection=[foo, Close]\n"
                 "helloEND\n");
    EXPECT_TRACE("OPTIONS * HTTP/1.1\r\nHost: a\r\nX: caf\xc3\xa9\r\n\r\n",
                 "OPTIONS * 1.1 host=a len=-1 chunked=0 expect=0 keep=1\nhost=[a]\n"
                 "x=[caf\xc3\xa9]\nEND\n");
}

static void test_pipelined(void **state)
{
    EXPECT_TRACE("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                 "GET /2 HTTP/1.1\r\nHost: b\r\n\r\n"
                 "DELETE /3 HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\n\r\n",
                 "POST /1 1.1 host=a len=3 chunked=0 expect=0 keep=1\nhost=[a]\n"
                 "content-length=[3]\nabcEND\n"
                 "GET /2 1.1 host=b len=-1 chunked=0 expect=0 keep=1\nhost=[b]\nEND\n"
                 "DELETE /3 1.1 host=c len=0 chunked=0 expect=0 keep=1\nhost=[c]\n"
                 "content-length=[0]\nEND\n");
}

static void test_chunked(void **state)
{
    EXPECT_TRACE("PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n"
                 "Expect: 100-Continue\r\n\r\n"
                 "5;ext=\"v\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\nb:\r\n\r\n"
                 "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                 "PUT /c 1.1 host=a len=-1 chunked=1 expect=1 keep=1\nhost=[a]\n"
                 "transfer-encoding=[Chunked]\nexpect=[100-Continue]\nhello0123456789END\n"
                 "GET / 1.1 host=a len=-1 chunked=0 expect=0 keep=1\nhost=[a]\nEND\n");
}

static void test_absolute_form(void **state)
{
    EXPECT_TRACE("GET http://x.org:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n",
                 "GET /a?b 1.1 host=x.org:81 len=-1 chunked=0 expect=0 keep=1\n"
                 "host=[other]\nEND\n");
    EXPECT_TRACE("GET HTTPS://x HTTP/1.1\r\nHost: x\r\n\r\n",
                 "GET / 1.1 host=x len=-1 chunked=0 expect=0 keep=1\nhost=[x]\nEND\n");
    EXPECT_TRACE("GET http://x?q HTTP/1.1\r\nHost: x\r\n\r\n",
                 "GET /?q 1.1 host=x len=-1 chunked=0 expect=0 keep=1\nhost=[x]\nEND\n");
    EXPECT_TRACE("OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n",
                 "OPTIONS / 1.1 host=x len=-1 chunked=0 expect=0 keep=1\nhost=[x]\nEND\n");
}

static void test_lookup(void **state)
{
    static const char in[] = "GET / HTTP/1.1\r\nHost: a\r\nQueue_Threshold: 7\r\nAccept: a\r\n"
                             "Accept: b , C\r\n\r\n";
    struct http_limits l = HTTP_LIMITS_DEFAULT;
    struct http_parser p;
    size_t used, n;
    const char *data;

    http_parser_init(&p, &l);
    assert_int_equal(http_parser_feed(&p, in, sizeof in - 1, &used, &data, &n), HTTP_GOT_HEAD);
    assert_int_equal(used, sizeof in - 1);
    assert_string_equal(http_field(&p.head, "QUEUE_THRESHOLD"), "7");
    assert_null(http_field(&p.head, "queue-threshold"));
    assert_string_equal(http_field(&p.head, "accept"), "a");
    assert_true(http_field_has(&p.head, "Accept", "c"));
    assert_true(http_field_has(&p.head, "Accept", "b"));
    assert_false(http_field_has(&p.head, "Accept", "b , C"));
    assert_int_equal(http_parser_feed(&p, NULL, 0, &used, &data, &n), HTTP_END);
    http_parser_done(&p);
    assert_true(http_name_ok("X-a_b"));
    assert_false(http_name_ok("") || http_name_ok("a b") || http_name_ok("a:"));
    assert_true(http_value_ok("a\tb c") && http_value_ok(""));
    assert_false(http_value_ok("a\r\nb: c") || http_value_ok("a\nb") || http_value_ok("\x7f"));
}

/* Each byte at each place of a name and a value, also where eight are looked at together. */
static void test_each_byte(void **state)
{
    char text[20] = "abcdefghijklmnopqrs";

    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (int c = 1; c < 256; c++) {
            int letter = c < 128 && (c | 32) >= 'a' && (c | 32) <= 'z',
                digit = c >= '0' && c <= '9';
            char was = text[at];
            text[at] = (char)c;
            assert_int_equal(http_name_ok(text),
                             letter || digit || strchr("!#$%&'*+-.^_`|~", c) != NULL);
            assert_int_equal(http_value_ok(text), c == '\t' || (c >= ' ' && c != 0x7f));
            text[at] = was;
        }
    }
}

/* ---- refusals ---- */

struct bad_case {
    int status;
    const char *in;
    size_t n;
};
#define BAD(status, in)                                                                            \
    {                                                                                              \
        (status), (in), sizeof(in) - 1                                                             \
    }
/* Around a target, a header, a chunked body. */
#define REQ(line)     line "\r\nHost: a\r\n\r\n"
#define HDR(h)        "POST / HTTP/1.1\r\nHost: a\r\n" h "\r\n\r\n"
#define CHUNKED(body) "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" body

static const struct bad_case bad_cases[] = {
    /* framing: what smuggling is made of */
    BAD(400, HDR("Content-Length: 5\r\nTransfer-Encoding: chunked")),
    BAD(400, HDR("Transfer-Encoding: chunked\r\nContent-Length: 5")),
    BAD(400, HDR("Content-Length: 5\r\nContent-Length: 6")),
    BAD(400, HDR("Content-Length: 5\r\nContent-Length: 5")),
    BAD(400, HDR("Content-Length: 5, 5")),
    BAD(400, HDR("Content-Length: +5")),
    BAD(400, HDR("Content-Length: -5")),
    BAD(400, HDR("Content-Length: 0x5")),
    BAD(400, HDR("Content-Length: 5 5")),
    BAD(400, HDR("Content-Length: 5.0")),
    BAD(400, HDR("Content-Length:")),
    BAD(400, HDR("Content-Length: \xc2\xb2")),
    BAD(413, HDR("Content-Length: 9223372036854775808")),
    BAD(413, HDR("Content-Length: 18446744073709551621")),
    BAD(413, HDR("Content-Length: 99999999999999999999999999999999999999999")),
    BAD(501, HDR("Transfer-Encoding: gzip")),
    BAD(501, HDR("Transfer-Encoding: gzip, chunked")),
    BAD(501, HDR("Transfer-Encoding: chunked, chunked")),
    BAD(501, HDR("Transfer-Encoding: identity")),
    BAD(501, HDR("Transfer-Encoding: xchunked")),
    BAD(400, HDR("Transfer-Encoding: \x0b"
                 "chunked")),
    BAD(400, HDR("Transfer-Encoding:")),
    BAD(400, HDR("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
    BAD(400, HDR("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")),
    BAD(400, HDR("Transfer-Encoding : chunked")),
    BAD(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    /* names, folding, values */
    BAD(400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    BAD(400, HDR("X: a\r\n b")),
    BAD(400, HDR("X: a\r\n\tb")),
    BAD(400, HDR(": v")),
    BAD(400, HDR("novalue")),
    BAD(400, HDR("na me: v")),
    BAD(400, HDR("na\xc3\xa9: v")),
    BAD(400, HDR("n(a): v")),
    BAD(400, HDR("n\0a: v")),
    BAD(400, HDR("X: a\0b")),
    BAD(400, HDR("X: a\rb")),
    BAD(400, HDR("X: a\nY: b")),
    BAD(400, HDR("X: a\x01")),
    BAD(400, HDR("X: a\x7f")),
    BAD(400, HDR("X: a\x1b[31m")),
    BAD(400, HDR("Authorization: a\r\nAuthorization: b")),
    BAD(400, HDR("Content-Type: a\r\ncontent-type: b")),
    /* line ends */
    BAD(400, "GET / HTTP/1.1\nHost: a\n\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    BAD(400, "GET / HTTP/1.1\rHost: a\r\r"),
    BAD(400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    /* Host */
    BAD(400, "GET / HTTP/1.1\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    BAD(400, "GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    /* request line */
    BAD(400, REQ("GET /")),
    BAD(400, REQ("GET")),
    BAD(400, REQ(" GET / HTTP/1.1")),
    BAD(400, REQ("GET  / HTTP/1.1")),
    BAD(400, REQ("GET /  HTTP/1.1")),
    BAD(400, REQ("GET / HTTP/1.1 ")),
    BAD(400, REQ("GET\t/\tHTTP/1.1")),
    BAD(400, REQ("GET /a b HTTP/1.1")),
    BAD(400, REQ("GET / http/1.1")),
    BAD(400, REQ("GET / HTTP/1,1")),
    BAD(400, REQ("GET / HTTP/11")),
    BAD(400, REQ("GET / HTTP/1.10")),
    BAD(400, REQ("GET / HTTP/x.1")),
    BAD(505, REQ("GET / HTTP/2.0")),
    BAD(505, REQ("GET / HTTP/0.9")),
    BAD(505, REQ("GET / HTTP/1.2")),
    BAD(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    BAD(501, REQ("get / HTTP/1.1")),
    BAD(501, REQ("CONNECT a:80 HTTP/1.1")),
    BAD(501, REQ("TRACE / HTTP/1.1")),
    BAD(501, REQ("BREW / HTTP/1.1")),
    BAD(400, REQ("G\xc3\x89T / HTTP/1.1")),
    BAD(400, REQ("G(ET / HTTP/1.1")),
    BAD(400, REQ("GET a HTTP/1.1")),
    BAD(400, REQ("GET * HTTP/1.1")),
    BAD(400, REQ("GET a:80 HTTP/1.1")),
    BAD(400, REQ("GET ftp://a/ HTTP/1.1")),
    BAD(400, REQ("GET http:// HTTP/1.1")),
    BAD(400, REQ("GET http:///x HTTP/1.1")),
    BAD(400, REQ("GET http://u@a/x HTTP/1.1")),
    BAD(400, REQ("GET /a#b HTTP/1.1")),
    BAD(400, REQ("GET /a\"b HTTP/1.1")),
    BAD(400, REQ("GET /a\\b HTTP/1.1")),
    BAD(400, REQ("GET /\xc3\xa9 HTTP/1.1")),
    BAD(400, REQ("GET /\0 HTTP/1.1")),
    BAD(400, REQ("GET /\x7f HTTP/1.1")),
    BAD(400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), /* TLS on a plain port */
    /* expectations */
    BAD(417, HDR("Expect: magic")),
    BAD(417, HDR("Expect: 100-continue, magic")),
    BAD(417, HDR("Expect:")),
    /* chunks */
    BAD(400, CHUNKED("0x5\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("+5\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("-1\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED(" 5\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("5 \r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("5 ;a\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED(";a\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("g\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("5\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("5\r\nhello0\r\n\r\n")),
    BAD(400, CHUNKED("5\r\nhello\n0\r\n\r\n")),
    BAD(400, CHUNKED("5\r\nhellooo\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("5;a\0\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("5;a\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("5;a\rhello\r\n0\r\n\r\n")),
    BAD(413, CHUNKED("fffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
    BAD(413, CHUNKED("0000000000000005\r\nhello\r\n0\r\n\r\n")),
    BAD(400, CHUNKED("0\r\n\n")),
    BAD(400, CHUNKED("0\r\n: x\r\n\r\n")),
    BAD(400, CHUNKED("0\r\nname\r\n\r\n")),
    BAD(400, CHUNKED("0\r\n fold: x\r\n\r\n")),
    BAD(400, CHUNKED("0\r\nGET / HTTP/1.1\r\n\r\n")),
    BAD(400, CHUNKED("0\r\na: x\ny: z\r\n\r\n")),
    BAD(400, CHUNKED("0\r\na: \0\r\n\r\n")),
};

static void test_bad(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_cases); i++) {
        int got = status_of(bad_cases[i].in, bad_cases[i].n);
        if (got != bad_cases[i].status)
            fail_msg("case %zu: status %d, wanted %d: %s", i, got, bad_cases[i].status,
                     bad_cases[i].in);
    }
}

/* ---- limits: the last size that passes, the first that does not ---- */

static int status_of_filled(const char *before, size_t n_fill, const char *after)
{
    struct buf b;
    int status;

    buf_init(&b, 1 << 20);
    buf_add_str(&b, before);
    for (size_t i = 0; i < n_fill; i++)
        buf_add_char(&b, 'a');
    buf_add_str(&b, after);
    status = status_of(b.data, b.len);
    buf_done(&b);
    return status;
}

static int status_of_fields(int n)
{
    struct buf b;
    int status;

    buf_init(&b, 1 << 20);
    buf_add_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 1; i < n; i++)
        buf_addf(&b, "x%d: %d\r\n", i, i);
    buf_add_str(&b, "\r\n");
    status = status_of(b.data, b.len);
    buf_done(&b);
    return status;
}

static void test_limits(void **state)
{
    const size_t line = 8192 - strlen("GET / HTTP/1.1");
    const size_t head = 65536 - strlen("GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n");
    const size_t extra = 16384 - strlen("\r"
                                        "\r"); /* the CR of "5;" and of the last line */

    assert_int_equal(status_of_filled("GET /", line, " HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_int_equal(status_of_filled("GET /", line + 1, " HTTP/1.1\r\nHost: a\r\n\r\n"), 414);
    assert_int_equal(status_of_filled("GET /", 100000, ""), 414);
    assert_int_equal(status_of_filled("GET / HTTP/1.1\r\nHost: a\r\nX: ", head, "\r\n\r\n"), 200);
    assert_int_equal(status_of_filled("GET / HTTP/1.1\r\nHost: a\r\nX: ", head + 1, "\r\n\r\n"),
                     431);
    assert_int_equal(status_of_filled("GET / HTTP/1.1\r\nHost: a\r\n", 100000, ""), 431);
    assert_int_equal(status_of_fields(100), 200);
    assert_int_equal(status_of_fields(101), 431);
    assert_int_equal(status_of_filled(CHUNKED("5;"), extra, "\r\nhello\r\n0\r\n\r\n"), 200);
    assert_int_equal(status_of_filled(CHUNKED("5;"), extra + 1, "\r\nhello\r\n0\r\n\r\n"), 400);
    assert_int_equal(status_of_filled(CHUNKED("0\r\n"), 20000, ": b\r\n\r\n"), 400);
}

/* Cut short anywhere, a good message is neither complete nor wrong. */
static void test_unfinished(void **state)
{
    static const char *const in[] = {
        "\r\nPOST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED("5;e\r\nhello\r\n0\r\nT: u\r\n\r\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        for (size_t n = 0; n < strlen(in[i]); n++)
            assert_int_equal(status_of(in[i], n), 0);
        assert_int_equal(status_of(in[i], strlen(in[i])), 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_chunked),    cmocka_unit_test(test_absolute_form),
        cmocka_unit_test(test_lookup),     cmocka_unit_test(test_bad),
        cmocka_unit_test(test_each_byte),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_unfinished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
