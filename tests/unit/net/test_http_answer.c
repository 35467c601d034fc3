/* The parser of answers: every form, and every way of cutting the input into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/http.h"

#define OK     "HTTP/1.1 200 OK\r\n"
#define LENGTH "Content-Length: "

/* What the parser says of one answer: its head, its body in brackets, and how it ended. */
static void trace(struct buf *t, const char *in, size_t n, size_t step, enum http_kind kind,
                  const struct http_limits *l)
{
    struct http_parser p;
    enum http_event ev = HTTP_MORE;
    int has_body = 0;
    size_t at = 0;

    http_parser_init_answer(&p, l, kind);
    buf_clear(t);
    for (size_t end = 0; ev != HTTP_BAD && ev != HTTP_END && (at < n || ev != HTTP_MORE);) {
        size_t used, n_data;
        const char *data;
        if (ev == HTTP_MORE)
            end = n - at < step ? n : at + step;
        ev = http_parser_feed(&p, in + at, end - at, &used, &data, &n_data);
        at += used;
        if (ev == HTTP_GOT_HEAD) {
            buf_addf(t, "%d 1.%d len=%lld chunked=%d close=%d keep=%d", p.head.status, p.head.minor,
                     (long long)p.head.content_length, p.head.chunked, p.head.until_close,
                     p.head.keep_alive);
            for (int i = 0; i < p.head.n_fields; i++)
                buf_addf(t, " %s=%s", http_field_name(&p.head, i), http_field_value(&p.head, i));
        } else if (ev == HTTP_DATA) {
            buf_add_str(t, has_body++ ? "" : " [");
            buf_add(t, data, n_data);
        }
    }
    buf_add_str(t, has_body ? "]" : "");
    if (ev == HTTP_BAD)
        buf_addf(t, "BAD %d", p.status);
    else if (ev == HTTP_END)
        buf_addf(t, " END %d", (int)(n - at));
    http_parser_done(&p);
}

static void check(const char *in, const char *want, enum http_kind kind)
{
    const struct http_limits l = HTTP_LIMITS_DEFAULT;
    size_t n = strlen(in);
    struct buf t;

    buf_init(&t, 1 << 20);
    for (size_t step = n ? n : 1; step; step--) {
        trace(&t, in, n, step, kind, &l);
        if (strcmp(t.data ? t.data : "", want) &&
            !(strstr(want, "END") && step < n)) /* what is behind the end is then not fed */
            fail_msg("%s\nsaid %s\nwanted %s", in, t.data, want);
    }
    buf_done(&t);
}

static void test_forms(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {OK LENGTH "5\r\n\r\nhello",
         "200 1.1 len=5 chunked=0 close=0 keep=1 content-length=5 [hello] END 0"},
        {OK LENGTH "5\r\n\r\nhelloHTTP",
         "200 1.1 len=5 chunked=0 close=0 keep=1 content-length=5 [hello] END 4"},
        {OK LENGTH "0\r\n\r\n", "200 1.1 len=0 chunked=0 close=0 keep=1 content-length=0 END 0"},
        {OK "\r\nto the end", "200 1.1 len=-1 chunked=0 close=1 keep=0 [to the end]"},
        {OK "Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n",
         "200 1.1 len=-1 chunked=1 close=0 keep=1 transfer-encoding=Chunked [hello] END 0"},
        {"HTTP/1.1 204\r\n" LENGTH "5\r\n\r\nhello",
         "204 1.1 len=5 chunked=0 close=0 keep=1 content-length=5 END 5"},
        {"HTTP/1.1 304 \r\n\r\n", "304 1.1 len=-1 chunked=0 close=0 keep=1 END 0"},
        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" LENGTH "1\r\n\r\na",
         "200 1.0 len=1 chunked=0 close=0 keep=0 connection=keep-alive content-length=1 [a] END 0"},
        {OK "Connection: x, Close\r\n" LENGTH "1\r\n\r\na",
         "200 1.1 len=1 chunked=0 close=0 keep=0 connection=x, Close content-length=1 [a] END 0"},
        {"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 Hints\r\n" LENGTH
         "9\r\n\r\nHTTP/1.1 429 Too Many\r\n" LENGTH "0\r\n\r\n",
         "429 1.1 len=0 chunked=0 close=0 keep=1 content-length=0 END 0"},
        {OK "A:  b c\t\r\nSet-Cookie: 1\r\nSet-Cookie: 2\r\n" LENGTH "0\r\n\r\n",
         "200 1.1 len=0 chunked=0 close=0 keep=1 a=b c set-cookie=1 set-cookie=2 "
         "content-length=0 END 0"},
        {"HTTP/1.1 200 OK", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i].in, cases[i].want, HTTP_ANSWER);
}

static void test_connect(void **state)
{
    (void)state;
    check("HTTP/1.1 200 Established\r\n" LENGTH "5\r\n\r\nhello",
          "200 1.1 len=5 chunked=0 close=0 keep=1 content-length=5 END 5", HTTP_CONNECT);
    check("HTTP/1.1 407 No\r\n" LENGTH "2\r\n\r\nno",
          "407 1.1 len=2 chunked=0 close=0 keep=1 content-length=2 [no] END 0", HTTP_CONNECT);
}

static void test_bad(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"SSH-2.0-OpenSSH_9.2\r\n", "BAD 400"},
        {"HTTP/1.1\r\n", "BAD 400"},
        {"HTTP/1.1 20\r\n", "BAD 400"},
        {"HTTP/1.1 2000 OK\r\n", "BAD 400"},
        {"HTTP/1.1 2x0 OK\r\n", "BAD 400"},
        {"HTTP/1.1  200 OK\r\n", "BAD 400"},
        {"http/1.1 200 OK\r\n", "BAD 400"},
        {"HTTP/1.1 099 OK\r\n", "BAD 400"},
        {"HTTP/1.1 101 Switching\r\n\r\n", "BAD 400"},
        {"HTTP/2.0 200 OK\r\n", "BAD 505"},
        {"\r\n" OK, "BAD 400"},
        {" " OK, "BAD 400"},
        {"HTTP/1.1 200 OK\n", "BAD 400"},
        {OK "A: b\n", "BAD 400"},
        {OK "A: b\r\r\n", "BAD 400"},
        {OK "A: b\r\n c\r\n", "BAD 400"},
        {OK "A : b\r\n", "BAD 400"},
        {OK ": b\r\n", "BAD 400"},
        {OK "A\r\n", "BAD 400"},
        {OK "A: \001\r\n", "BAD 400"},
        {OK LENGTH "5\r\n" LENGTH "5\r\n\r\n", "BAD 400"},
        {OK LENGTH "5, 5\r\n\r\n", "BAD 400"},
        {OK LENGTH "+5\r\n\r\n", "BAD 400"},
        {OK LENGTH "\r\n\r\n", "BAD 400"},
        {OK LENGTH "5\r\nTransfer-Encoding: chunked\r\n\r\n", "BAD 400"},
        {OK "Transfer-Encoding: gzip\r\n\r\n", "BAD 501"},
        {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "BAD 501"},
        {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "BAD 400"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "BAD 400"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i].in, cases[i].want, HTTP_ANSWER);
}

/* Interim answers count with the head that follows them. */
static void test_limits(void **state)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct http_limits l = {
        .line_max = 64, .head_max = 1000, .fields_max = 4, .chunk_extra_max = 64};
    struct buf in, t;

    (void)state;
    buf_init(&in, 1 << 20);
    buf_init(&t, 1 << 20);
    for (int i = 0; i < 100; i++)
        buf_add_str(&in, interim);
    trace(&t, in.data, in.len, in.len, HTTP_ANSWER, &l);
    assert_string_equal(t.data, "BAD 431");
    buf_clear(&in);
    buf_add_str(&in, OK "A: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\n\r\n");
    trace(&t, in.data, in.len, in.len, HTTP_ANSWER, &l);
    assert_string_equal(t.data, "BAD 431");
    buf_clear(&in);
    buf_add_str(&in, "HTTP/1.1 200 ");
    for (int i = 0; i < 100; i++)
        buf_add_char(&in, 'x');
    trace(&t, in.data, in.len, in.len, HTTP_ANSWER, &l);
    assert_string_equal(t.data, "BAD 414");
    buf_done(&in);
    buf_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
