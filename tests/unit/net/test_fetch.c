/* Downloads, from a server of our own over loopback. */
#include "net_harness.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "net/fetch.h"

enum { FILE_N = 300000 };

struct source {
    struct room room;
    char *data;
    char url[64];
    int fd; /* of an empty temporary file */
    struct fetch_options o;
    struct fetch_result ret;
    struct err e;
};

static void source_open(struct source *s, int mode)
{
    char path[] = "/tmp/test_fetch_XXXXXX";

    memset(s, 0, sizeof *s);
    room_open_default(&s->room);
    s->data = malloc(FILE_N);
    assert_non_null(s->data);
    for (int i = 0; i < FILE_N; i++)
        s->data[i] = (char)(i * 7 + i / 251);
    s->room.file = s->data;
    s->room.file_n = FILE_N;
    s->room.file_mode = mode;
    s->fd = mkstemp(path);
    assert_true(s->fd >= 0);
    unlink(path);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/file", net_server_port(s->room.server));
    fetch_options_init(&s->o, s->url);
    s->o.fd = s->fd;
}

static void source_close(struct source *s)
{
    close(s->fd);
    room_close(&s->room);
    free(s->data);
}

static int source_get(struct source *s)
{
    s->e.text[0] = 0;
    return fetch_get(&s->o, &s->ret, &s->e);
}

/* The first n bytes are there, as after an interrupted download. */
static void source_partial(struct source *s, int64_t n)
{
    assert_int_equal(ftruncate(s->fd, 0), 0);
    assert_int_equal(pwrite(s->fd, s->data, (size_t)n, 0), n);
    s->o.resume_from = n;
}

static void expect_file(struct source *s)
{
    char *got = malloc(FILE_N + 1);

    assert_non_null(got);
    assert_int_equal(s->ret.bytes, FILE_N);
    assert_int_equal(pread(s->fd, got, FILE_N + 1, 0), FILE_N);
    assert_memory_equal(got, s->data, FILE_N);
    free(got);
}

static void expect_error(struct source *s, int code, const char *text)
{
    int got = source_get(s);
    if (got != code || !strstr(s->e.text, text))
        fail_msg("%d %s", got, s->e.text);
}

static int count_progress(void *ctx, int64_t bytes, int64_t total)
{
    int64_t *last = ctx;
    assert_true(bytes >= *last && bytes <= FILE_N);
    *last = bytes;
    return 0;
}

static int cancel_progress(void *ctx, int64_t bytes, int64_t total)
{
    return 1;
}

static void test_whole(void **state)
{
    struct source s;
    struct buf b;
    int64_t last = 0;

    source_open(&s, FILE_RANGES);
    s.o.size_expected = FILE_N;
    s.o.progress = count_progress;
    s.o.ctx = &last;
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    assert_int_equal(last, FILE_N);
    assert_int_equal(s.ret.status, 200);
    assert_string_equal(s.ret.etag, "\"v1\"");
    /* into a buffer */
    buf_init(&b, FILE_N);
    s.o.fd = -1;
    s.o.body = &b;
    s.o.progress = NULL;
    assert_int_equal(source_get(&s), 0);
    assert_int_equal(b.len, FILE_N);
    assert_memory_equal(b.data, s.data, FILE_N);
    buf_done(&b);
    buf_init(&b, FILE_N - 1);
    expect_error(&s, ERR_TOO_LARGE, "does not fit");
    buf_done(&b);
    source_close(&s);
}

static void test_resume(void **state)
{
    struct source s;

    source_open(&s, FILE_RANGES);
    source_partial(&s, 100000);
    s.o.etag = "\"v1\"";
    s.o.size_expected = FILE_N;
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    assert_int_equal(s.ret.status, 206);
    assert_int_equal(s.ret.resumed_from, 100000);
    /* it was whole already */
    source_partial(&s, FILE_N);
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    assert_int_equal(s.ret.resumed_from, FILE_N);
    /* the file has changed: from the start */
    source_partial(&s, 100000);
    s.o.etag = "\"v0\"";
    assert_int_equal(pwrite(s.fd, "old", 3, 0), 3);
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    assert_int_equal(s.ret.resumed_from, 0);
    /* more is here than there */
    s.o.etag = NULL;
    source_partial(&s, FILE_N);
    assert_int_equal(pwrite(s.fd, "more", 4, FILE_N), 4);
    s.o.resume_from = FILE_N + 4;
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    /* a source without ranges */
    s.room.file_mode = FILE_NO_RANGES;
    source_partial(&s, 100000);
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    assert_int_equal(s.ret.resumed_from, 0);
    source_close(&s);
}

/* A server's 206 is taken for the rest of the same version only when it proves it. */
static void test_versions(void **state)
{
    static const char *const etags[] = {"\"v2\"", "W/\"v1\"", "v1", "\"v1", "\"v\"1\"", "\"", ""};
    struct source s;

    source_open(&s, FILE_ANY_RANGE);
    for (size_t i = 0; i < sizeof etags / sizeof etags[0]; i++) {
        s.room.file_etag = etags[i];
        s.o.etag = "\"v1\"";
        source_partial(&s, 100000);
        assert_int_equal(pwrite(s.fd, "old", 3, 0), 3);
        assert_int_equal(source_get(&s), 0);
        expect_file(&s);
        assert_int_equal(s.ret.resumed_from, 0);
        assert_string_equal(s.ret.etag, i == 0 ? "\"v2\"" : ""); /* strong ones only */
        /* whole as it seems (416), but of which version? */
        source_partial(&s, FILE_N);
        assert_int_equal(source_get(&s), 0);
        assert_int_equal(s.ret.resumed_from, 0);
        /* someone else judges */
        s.o.etag = NULL;
        source_partial(&s, 100000);
        assert_int_equal(source_get(&s), 0);
        expect_file(&s);
        assert_int_equal(s.ret.resumed_from, 100000);
    }
    /* the same ETag, another size */
    s.room.file_etag = s.o.etag = "\"v1\"";
    s.o.size_before = FILE_N + 1;
    source_partial(&s, 100000);
    assert_int_equal(source_get(&s), 0);
    assert_int_equal(s.ret.resumed_from, 0);
    s.o.size_before = FILE_N;
    source_partial(&s, 100000);
    assert_int_equal(source_get(&s), 0);
    assert_int_equal(s.ret.resumed_from, 100000);
    source_close(&s);
}

struct beginning {
    struct source *s;
    int n, fail;
    int64_t from[4], bytes[4];
};

static int note_begun(void *ctx, const struct fetch_result *r, int64_t total)
{
    struct beginning *b = ctx;
    struct stat st;

    assert_true(b->n < 4);
    assert_int_equal(total, FILE_N);
    assert_int_equal(fstat(b->s->fd, &st), 0);
    b->bytes[b->n] = st.st_size;
    b->from[b->n++] = r->resumed_from;
    return b->fail;
}

/* Said before a byte of this answer is in the file. */
static void test_begun(void **state)
{
    struct source s;
    struct beginning b = {.s = &s};

    source_open(&s, FILE_ANY_RANGE);
    s.o.begun = note_begun;
    s.o.ctx = &b;
    source_partial(&s, 100000);
    assert_int_equal(source_get(&s), 0);
    s.o.etag = "\"v0\"";
    source_partial(&s, 100000);
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    assert_int_equal(b.n, 2);
    assert_int_equal(b.from[0], 100000);
    assert_int_equal(b.bytes[0], 100000);
    assert_int_equal(b.from[1], 0);
    assert_int_equal(b.bytes[1], 0);
    /* no, thank you */
    b.fail = ERR_LIMIT;
    source_partial(&s, 0);
    assert_int_equal(source_get(&s), ERR_LIMIT);
    assert_int_equal(s.ret.bytes, 0);
    source_close(&s);
}

static void test_redirects(void **state)
{
    struct source s;

    source_open(&s, FILE_REDIRECT);
    assert_int_equal(source_get(&s), 0);
    expect_file(&s);
    assert_int_equal(s.room.n_file_requests, 2);
    s.room.file_mode = FILE_LOOP;
    expect_error(&s, ERR_IO, "redirects too often");
    source_close(&s);
}

static void test_refusals(void **state)
{
    struct source s;
    struct buf said;
    char url[80];

    source_open(&s, FILE_RANGES);
    s.o.size_expected = FILE_N + 1;
    expect_error(&s, ERR_FORMAT, "offers 300000 bytes where 300001 were expected");
    s.o.size_expected = -1;
    s.o.size_max = FILE_N - 1;
    expect_error(&s, ERR_TOO_LARGE, "the limit is 299999");
    s.o.size_max = 0;
    s.room.file_mode = FILE_SHORT; /* chunked: the size shows at the end only */
    s.o.size_expected = FILE_N;
    expect_error(&s, ERR_FORMAT, "sent 150000 bytes where 300000 were expected");
    s.o.size_expected = 1000;
    expect_error(&s, ERR_TOO_LARGE, "more than 1000 bytes");
    s.o.size_expected = -1;
    s.o.unsized_max = FILE_N / 2 - 1;
    expect_error(&s, ERR_TOO_LARGE, "does not tell how long the file is");
    s.o.unsized_max = FILE_N / 2;
    assert_int_equal(source_get(&s), 0);
    s.room.file_mode = FILE_RANGES; /* a size that is told needs no such limit */
    assert_int_equal(source_get(&s), 0);
    s.room.file_mode = FILE_GZIP;
    expect_error(&s, ERR_UNSUPPORTED, "compressed (Content-Encoding: gzip)");
    s.room.file_mode = FILE_BUSY;
    expect_error(&s, ERR_AGAIN, "HTTP 503");
    s.o.progress = cancel_progress;
    expect_error(&s, ERR_CANCELLED, "cancelled");
    s.o.progress = NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/none", net_server_port(s.room.server));
    s.o.url = url;
    buf_init(&said, 4);
    s.o.refusal = &said;
    expect_error(&s, ERR_NOTFOUND, "127.0.0.1 does not have this file (HTTP 404)");
    assert_string_equal(said.data, "none"); /* the server's own words */
    assert_int_equal(said.len, 4);
    buf_done(&said);
    buf_init(&said, 3);
    expect_error(&s, ERR_NOTFOUND, "127.0.0.1 does not have this file (HTTP 404)");
    assert_int_equal(said.len, 0); /* all of them or nothing */
    buf_done(&said);
    s.o.refusal = NULL;
    s.o.url = "http://no-such-host.invalid/x";
    expect_error(&s, ERR_IO, "Cannot find the address of no-such-host.invalid");
    s.o.url = "file:///etc/passwd";
    expect_error(&s, ERR_ARG, "Not an http or https URL");
    s.o.url = "nonsense";
    assert_true(source_get(&s) < 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/file", net_server_port(s.room.server));
    s.o.url = url;
    expect_error(&s, ERR_IO, "TLS connection to 127.0.0.1 failed");
    snprintf(url, sizeof url, "http://127.0.0.1:%d/file", net_server_port(s.room.server));
    net_server_drain(s.room.server, 0);
    net_server_join(s.room.server);
    expect_error(&s, ERR_IO, "Cannot connect to 127.0.0.1");
    source_close(&s);
}

static void test_full_disk(void **state)
{
    struct source s;

    source_open(&s, FILE_RANGES);
    s.o.fd = open("/dev/full", O_WRONLY);
    assert_true(s.o.fd >= 0);
    expect_error(&s, ERR_LIMIT, "the disk is full");
    close(s.o.fd);
    source_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),     cmocka_unit_test(test_resume),
        cmocka_unit_test(test_redirects), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_versions),
        cmocka_unit_test(test_begun),
    };
    /* the loopback server needs no proxy */
    setenv("no_proxy", "*", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
