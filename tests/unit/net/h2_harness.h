/* A client of HTTP/2 by nghttp2, beside net_harness.h's room: it begins without being asked, or
 * over what the test connects. Frames that nghttp2 would not send are written by hand. */
#ifndef TEST_H2_HARNESS_H
#define TEST_H2_HARNESS_H

#include "net_harness.h"

#include <nghttp2/nghttp2.h>

#define H2_CLIENT_STREAMS 2048

struct h2_told { /* of one request */
    int status, is_closed, n_interim;
    uint32_t code;
    size_t n_body;
    char body[512]; /* its beginning */
    char head[1024];
};

struct h2_client {
    int fd, is_over;
    nghttp2_session *session;
    struct h2_told told[H2_CLIENT_STREAMS]; /* by (id - 1) / 2 */
    int n_closed, n_goaway, n_settings;
    uint32_t goaway_code;
    int32_t goaway_last;
    size_t n_body; /* of all */
    const char *upload;
    size_t n_upload;
    int is_slow;                                         /* the end of an upload does not come */
    ssize_t (*send)(void *ctx, const void *p, size_t n); /* NULL: into fd */
    ssize_t (*recv)(void *ctx, void *p, size_t n);
    void *ctx;
};

static struct h2_told *told_of(struct h2_client *c, int32_t id)
{
    assert_true(id > 0 && id / 2 < H2_CLIENT_STREAMS);
    return &c->told[id / 2];
}

static ssize_t h2_client_send(nghttp2_session *s, const uint8_t *p, size_t n, int flags, void *user)
{
    struct h2_client *c = user;
    ssize_t r = c->send ? c->send(c->ctx, p, n) : send(c->fd, p, n, MSG_NOSIGNAL);

    if (r > 0)
        return r;
    c->is_over = 1;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int h2_client_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                            size_t n_name, const uint8_t *value, size_t n, uint8_t flags,
                            void *user)
{
    struct h2_told *t = told_of(user, frame->hd.stream_id);
    size_t len = strlen(t->head);

    if (n_name == 7 && !memcmp(name, ":status", 7))
        t->status = atoi((const char *)value);
    snprintf(t->head + len, sizeof t->head - len, "%s: %s\n", (const char *)name,
             (const char *)value);
    return 0;
}

static int h2_client_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        c->n_goaway++;
        c->goaway_code = frame->goaway.error_code;
        c->goaway_last = frame->goaway.last_stream_id;
    }
    if (frame->hd.type == NGHTTP2_SETTINGS)
        c->n_settings++;
    if (frame->hd.type == NGHTTP2_HEADERS && told_of(c, frame->hd.stream_id)->status == 100)
        told_of(c, frame->hd.stream_id)->n_interim++;
    return 0;
}

static int h2_client_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                          void *user)
{
    struct h2_client *c = user;
    struct h2_told *t = told_of(c, id);
    size_t room = sizeof t->body - 1;

    for (size_t i = 0; i < n && t->n_body + i < room; i++)
        t->body[t->n_body + i] = (char)p[i];
    t->n_body += n;
    c->n_body += n;
    return 0;
}

static int h2_client_closed(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
    struct h2_client *c = user;

    told_of(c, id)->is_closed = 1;
    told_of(c, id)->code = code;
    c->n_closed++;
    return 0;
}

/* window: of each stream. */
static struct h2_client *h2_client_new(int fd, uint32_t window)
{
    struct h2_client *c = calloc(1, sizeof *c);
    nghttp2_settings_entry window_size = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_session_callbacks *k;
    nghttp2_option *o;

    assert_non_null(c);
    c->fd = fd;
    assert_int_equal(nghttp2_session_callbacks_new(&k), 0);
    assert_int_equal(nghttp2_option_new(&o), 0);
    nghttp2_option_set_no_http_messaging(o, 1); /* so that what is wrong can be said */
    nghttp2_session_callbacks_set_send_callback(k, h2_client_send);
    nghttp2_session_callbacks_set_on_header_callback(k, h2_client_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(k, h2_client_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(k, h2_client_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(k, h2_client_closed);
    assert_int_equal(nghttp2_session_client_new2(&c->session, k, c, o), 0);
    nghttp2_session_callbacks_del(k);
    nghttp2_option_del(o);
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &window_size, 1);
    return c;
}

MAYBE static struct h2_client *h2_dial(const struct room *r)
{
    struct h2_client *c = h2_client_new(dial(r), 65535);

    /* much for the connection, so that streams have windows of their own */
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 1 << 28);
    return c;
}

MAYBE static void h2_client_close(struct h2_client *c)
{
    nghttp2_session_del(c->session);
    close(c->fd);
    free(c);
}

/* Write what there is to write. */
MAYBE static void h2_push(struct h2_client *c)
{
    if (!c->is_over)
        nghttp2_session_send(c->session);
}

/* And read once. */
static void h2_step(struct h2_client *c)
{
    char in[65536];
    ssize_t n;

    h2_push(c);
    if (c->is_over)
        return;
    n = c->recv ? c->recv(c->ctx, in, sizeof in) : recv(c->fd, in, sizeof in, 0);
    assert_true(n >= 0 || errno == ECONNRESET);
    if (n <= 0)
        c->is_over = 1;
    else
        assert_true(nghttp2_session_mem_recv(c->session, (uint8_t *)in, (size_t)n) >= 0);
}

#define H2_UNTIL(c, condition)                                                                     \
    do {                                                                                           \
        while (!(condition) && !(c)->is_over)                                                      \
            h2_step(c);                                                                            \
        assert_true(condition);                                                                    \
    } while (0)

static nghttp2_nv nv_of(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t h2_upload(nghttp2_session *s, int32_t id, uint8_t *to, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct h2_client *c = user;
    size_t n = c->n_upload < max ? c->n_upload : max;

    if (!n && c->is_slow)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(to, c->upload, n);
    c->upload += n;
    c->n_upload -= n;
    if (!c->n_upload && !c->is_slow)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

#define H2_FIELDS_MAX 200

/* A request of that method; `more`: fields, name and value by turns, to NULL. Its id. */
static int32_t h2_ask_more(struct h2_client *c, const char *method, const char *path,
                           const char *const *more, const char *body, size_t n_body)
{
    const nghttp2_data_provider upload = {.read_callback = h2_upload};
    nghttp2_nv nv[H2_FIELDS_MAX] = {nv_of(":method", method), nv_of(":scheme", "http"),
                                    nv_of(":path", path), nv_of(":authority", "t")};
    size_t n = 4;
    int32_t id;

    for (; more && *more; more += 2) {
        assert_true(n < H2_FIELDS_MAX);
        nv[n++] = nv_of(more[0], more[1]);
    }
    if (body) { /* one at a time */
        c->upload = body;
        c->n_upload = n_body;
    }
    id = nghttp2_submit_request(c->session, NULL, nv, n, body ? &upload : NULL, NULL);
    assert_true(id > 0);
    memset(told_of(c, id), 0, sizeof(struct h2_told));
    return id;
}

MAYBE static int32_t h2_get(struct h2_client *c, const char *path)
{
    return h2_ask_more(c, "GET", path, NULL, NULL, 0);
}

/* Its answer, whole. */
MAYBE static struct h2_told *h2_fetch(struct h2_client *c, const char *path)
{
    struct h2_told *t = told_of(c, h2_get(c, path));

    H2_UNTIL(c, t->is_closed);
    return t;
}

MAYBE static void h2_expect(const struct h2_told *t, int status, const char *body)
{
    assert_true(t->is_closed);
    assert_int_equal(t->code, 0);
    assert_int_equal(t->status, status);
    if (body)
        assert_string_equal(t->body, body);
}

/* A frame as it stands on the wire, past the client's session. */
MAYBE static void h2_frame(struct h2_client *c, uint8_t type, uint8_t flags, int32_t id,
                           const void *p, size_t n)
{
    uint8_t head[9] = {
        (uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

    if (send(c->fd, head, sizeof head, MSG_NOSIGNAL | MSG_MORE) != sizeof head ||
        (n && send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n))
        c->is_over = 1;
}

#endif
