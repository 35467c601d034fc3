/* The server's HTTP/2 over real sockets, with nghttp2's client. */
#include "h2_harness.h"

#include <stdlib.h>

#define MEG (1 << 20)

static char *filled(size_t n)
{
    char *p = malloc(n);

    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 23);
    return p;
}

/* ---- requests and answers ---- */

static void answers_are_those_of_http_1(void **state)
{
    struct room r;
    struct h2_client *c;
    struct h2_told *t;

    room_open_default(&r);
    c = h2_dial(&r);
    t = h2_fetch(c, "/hello");
    h2_expect(t, 200, "hello");
    assert_non_null(strstr(t->head, "content-length: 5\n"));
    assert_non_null(strstr(t->head, "content-type: text/plain\n"));
    assert_non_null(strstr(t->head, "date: "));
    assert_null(strstr(t->head, "connection"));
    t = told_of(c, h2_ask_more(c, "HEAD", "/hello", NULL, NULL, 0));
    H2_UNTIL(c, t->is_closed);
    h2_expect(t, 200, "");
    assert_non_null(strstr(t->head, "content-length: 5\n"));
    t = h2_fetch(c, "/empty");
    h2_expect(t, 204, "");
    assert_null(strstr(t->head, "content-"));
    t = h2_fetch(c, "/headers");
    h2_expect(t, 200, "");
    assert_non_null(strstr(t->head, "x-good: 1\n"));
    assert_null(strstr(t->head, "x-bad"));
    assert_non_null(strstr(t->head, "content-length: 0\n"));
    h2_expect(h2_fetch(c, "/nothing"), 404, "none");
    h2_client_close(c);
    WAIT_STAT(&r, n_conns, ==, 0);
    WAIT_STAT(&r, h2_conns_total, ==, 1);
    WAIT_STAT(&r, requests_total, ==, 5);
    WAIT_STAT(&r, refused_total, ==, 0);
    room_close(&r);
}

static void post(struct h2_client *c, const char *path, const char *const *more, const char *body,
                 size_t n, int status)
{
    struct h2_told *t = told_of(c, h2_ask_more(c, "POST", path, more, body, n));

    H2_UNTIL(c, t->is_closed);
    assert_int_equal(t->status, status);
    if (status == 200) {
        assert_int_equal(t->n_body, n);
        assert_memory_equal(t->body, body, n < 500 ? n : 500);
    }
}

static void bodies_arrive_whole(void **state)
{
    const char *const length[] = {"content-length", "1048576", NULL};
    const char *const awaits[] = {"content-length", "100000", "expect", "100-continue", NULL};
    const char *const trailers[] = {"te", "trailers", NULL};
    char *body = filled(MEG + 1);
    struct h2_client *c;
    struct h2_told *t;
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    post(c, "/echo", NULL, body, 1, 200);
    post(c, "/echo", NULL, body, 40000, 200);
    post(c, "/echo", trailers, body, MEG, 200);
    post(c, "/echo", length, body, MEG, 200);
    post(c, "/echo", NULL, body, MEG + 1, 413);
    post(c, "/small", NULL, body, 11, 413);
    post(c, "/small", NULL, body, 10, 200);
    post(c, "/deny", NULL, body, 9000, 401);
    assert_int_equal(c->n_goaway, 0); /* refusals do not end the connection */
    t = told_of(c, h2_ask_more(c, "POST", "/echo", awaits, body, 100000));
    H2_UNTIL(c, t->is_closed);
    assert_int_equal(t->n_interim, 1);
    h2_expect(t, 200, NULL);
    assert_int_equal(t->n_body, 100000);
    h2_client_close(c);
    WAIT_STAT(&r, body_bytes, ==, 0);
    WAIT_STAT(&r, answer_bytes, ==, 0);
    room_close(&r);
    free(body);
}

/* A body that nobody has asked for yet stops at the window, and is there when it is asked for. */
static void a_body_waits_to_be_asked_for(void **state)
{
    char *body = filled(MEG);
    struct h2_client *c;
    struct h2_told *held, *t;
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    held = told_of(c, h2_ask_more(c, "POST", "/hold", NULL, body, MEG));
    while (c->n_settings < 2)
        h2_step(c);
    h2_push(c);
    room_wait(&r, &r.n_held, 1);
    WAIT_STAT(&r, body_bytes, >=, 16384);
    assert_true(c->n_upload >= MEG - 65535);
    t = h2_fetch(c, "/hello"); /* others are not held up */
    h2_expect(t, 200, "hello");
    room_order(&r, ORDER_REPLY, 0, 0);
    H2_UNTIL(c, held->is_closed); /* the rest is read and dropped */
    h2_expect(held, 200, "held");
    assert_int_equal(c->n_upload, 0);
    h2_client_close(c);
    WAIT_STAT(&r, body_bytes, ==, 0);
    room_close(&r);
    free(body);
}

static void many_megabytes_beside_small_answers(void **state)
{
    struct h2_client *c;
    struct h2_told *big[3], *small;
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    for (int i = 0; i < 3; i++)
        big[i] = told_of(c, h2_get(c, "/big"));
    H2_UNTIL(c, big[0]->n_body && big[1]->n_body && big[2]->n_body);
    assert_true(big[0]->n_body < BIG / 4); /* by turns */
    small = h2_fetch(c, "/hello");
    h2_expect(small, 200, "hello");
    assert_false(big[0]->is_closed);
    for (int i = 0; i < 3; i++) {
        H2_UNTIL(c, big[i]->is_closed);
        h2_expect(big[i], 200, NULL);
        assert_int_equal(big[i]->n_body, BIG);
    }
    h2_client_close(c);
    room_close(&r);
}

/* ---- many at once ---- */

static void a_hundred_streams_on_one_connection(void **state)
{
    struct h2_client *c;
    struct h2_told *t[100];
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    for (int i = 0; i < 100; i++)
        t[i] = told_of(c, h2_get(c, "/stream"));
    h2_push(c);
    room_wait(&r, &r.n_held, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(room_order(&r, ORDER_WRITE, i, (size_t)i + 1), 0);
    for (int i = 99; i >= 0; i--)
        room_order(&r, ORDER_END, i, 0);
    H2_UNTIL(c, c->n_closed == 100);
    for (int i = 0; i < 100; i++) {
        h2_expect(t[i], 200, NULL);
        assert_int_equal(t[i]->n_body, i + 1);
    }
    h2_client_close(c);
    WAIT_STAT(&r, n_exchanges, ==, 0);
    room_close(&r);
}

static void a_cancelled_stream_leaves_the_others(void **state)
{
    struct h2_client *c;
    int32_t id[3];
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    for (int i = 0; i < 3; i++)
        id[i] = h2_get(c, "/stream");
    h2_push(c);
    room_wait(&r, &r.n_held, 3);
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id[1], NGHTTP2_CANCEL);
    h2_push(c);
    room_wait(&r, &r.n_gone, 1);
    assert_int_equal(r.gone_code, ERR_CANCELLED);
    room_order(&r, ORDER_WRITE, 0, 10);
    room_order(&r, ORDER_END, 0, 0);
    room_order(&r, ORDER_END, 2, 0);
    H2_UNTIL(c, told_of(c, id[0])->is_closed && told_of(c, id[2])->is_closed);
    h2_expect(told_of(c, id[0]), 200, "wwwwwwwwww");
    h2_expect(h2_fetch(c, "/hello"), 200, "hello");
    assert_int_equal(r.n_gone, 1);
    h2_client_close(c);
    room_close(&r);
}

static void a_client_that_leaves_loses_all(void **state)
{
    struct h2_client *c;
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    for (int i = 0; i < 5; i++)
        h2_get(c, i % 2 ? "/stream" : "/hold");
    h2_push(c);
    room_wait(&r, &r.n_held, 5);
    h2_client_close(c);
    room_wait(&r, &r.n_gone, 5);
    WAIT_STAT(&r, n_exchanges, ==, 0);
    WAIT_STAT(&r, n_conns, ==, 0);
    room_close(&r);
}

static void abort_and_close_after(void **state)
{
    struct h2_client *c;
    struct h2_told *held, *ended;
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    held = told_of(c, h2_get(c, "/stream"));
    h2_push(c);
    room_wait(&r, &r.n_held, 1);
    room_order(&r, ORDER_ABORT, 0, 0);
    H2_UNTIL(c, held->is_closed);
    assert_int_equal(held->code, NGHTTP2_INTERNAL_ERROR);
    ended = told_of(c, h2_get(c, "/stream"));
    held = told_of(c, h2_get(c, "/stream"));
    h2_push(c);
    room_wait(&r, &r.n_held, 3);
    room_order(&r, ORDER_CLOSE_END, 1, 0);
    H2_UNTIL(c, ended->is_closed);
    assert_int_equal(c->n_goaway, 0); /* another answer runs */
    room_order(&r, ORDER_END, 2, 0);
    H2_UNTIL(c, c->is_over);
    h2_expect(held, 200, "");
    assert_int_equal(c->n_goaway, 1);
    assert_int_equal(c->goaway_code, NGHTTP2_NO_ERROR);
    assert_int_equal(r.n_gone, 0);
    h2_client_close(c);
    room_close(&r);
}

/* ---- slow readers ---- */

static void a_slow_reader_stalls_its_own_stream(void **state)
{
    struct net_config config;
    struct h2_client *c;
    struct h2_told *slow, *quick;
    struct room r;

    room_config(&config);
    config.stall_timeout_ms = 300;
    config.rate_min = 1 << 30;
    room_open(&r, &config);
    c = h2_client_new(dial(&r), 0);  /* no stream may send a byte */
    H2_UNTIL(c, c->n_settings == 2); /* the server knows */
    slow = told_of(c, h2_get(c, "/stream"));
    h2_push(c);
    room_wait(&r, &r.n_held, 1);
    assert_int_equal(room_order(&r, ORDER_WRITE, 0, 1000), 0);
    quick = told_of(c, h2_get(c, "/hello"));
    h2_push(c);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 3, 1000);
    H2_UNTIL(c, quick->is_closed);
    h2_expect(quick, 200, "hello");
    H2_UNTIL(c, slow->is_closed);
    assert_int_equal(slow->code, NGHTTP2_CANCEL);
    room_wait(&r, &r.n_gone, 1);
    assert_int_equal(r.gone_code, ERR_SLOW_READER);
    WAIT_STAT(&r, slow_total, ==, 1);
    quick = told_of(c, h2_get(c, "/empty"));
    H2_UNTIL(c, quick->is_closed);
    h2_expect(quick, 204, "");
    h2_client_close(c);
    WAIT_STAT(&r, answer_bytes, ==, 0);
    room_close(&r);
}

/* The rest of an answer that the upper room has ended does not lie here for ever either. */
static void an_answer_that_is_not_read_is_dropped(void **state)
{
    struct net_config config;
    struct h2_client *c;
    struct h2_told *t;
    struct room r;

    room_config(&config);
    config.stall_timeout_ms = 200;
    config.rate_min = 1 << 30;
    room_open(&r, &config);
    c = h2_client_new(dial(&r), 0);
    t = told_of(c, h2_get(c, "/hello"));
    H2_UNTIL(c, t->is_closed);
    assert_int_equal(t->status, 200);
    assert_int_equal(t->code, NGHTTP2_CANCEL);
    assert_int_equal(r.n_gone, 0);
    h2_client_close(c);
    room_close(&r);
}

static void a_stream_has_a_ceiling(void **state)
{
    struct h2_client *c;
    struct h2_told *t;
    struct room r;

    room_open_default(&r);
    c = h2_client_new(dial(&r), 0);
    t = told_of(c, h2_get(c, "/stream"));
    h2_push(c);
    room_wait(&r, &r.n_held, 1);
    assert_int_equal(room_order(&r, ORDER_WRITE, 0, MEG), 0);
    assert_int_equal(room_order(&r, ORDER_WRITE, 0, 1), ERR_SLOW_READER);
    room_wait(&r, &r.n_gone, 1);
    H2_UNTIL(c, t->is_closed);
    assert_int_equal(t->code, NGHTTP2_CANCEL);
    h2_client_close(c);
    WAIT_STAT(&r, answer_bytes, ==, 0);
    room_close(&r);
}

/* ---- drains ---- */

static void a_drain_ends_what_runs(void **state)
{
    struct h2_client *c, *idle;
    struct h2_told *t, *late;
    struct room r;

    room_open_default(&r);
    idle = h2_dial(&r);
    h2_expect(h2_fetch(idle, "/hello"), 200, "hello");
    c = h2_dial(&r);
    t = told_of(c, h2_get(c, "/stream"));
    h2_push(c);
    room_wait(&r, &r.n_held, 1);
    net_server_drain(r.server, 60000);
    H2_UNTIL(idle, idle->is_over);
    assert_int_equal(idle->n_goaway, 1);
    assert_int_equal(idle->goaway_last, 1);
    late = told_of(c, h2_get(c, "/hello")); /* still served */
    H2_UNTIL(c, late->is_closed);
    h2_expect(late, 200, "hello");
    assert_int_equal(c->n_goaway, 0);
    room_order(&r, ORDER_WRITE, 0, 3);
    room_order(&r, ORDER_END, 0, 0);
    H2_UNTIL(c, c->is_over);
    h2_expect(t, 200, "www");
    assert_int_equal(c->n_goaway, 1);
    assert_int_equal(c->goaway_last, 3);
    h2_client_close(c);
    h2_client_close(idle);
    WAIT_STAT(&r, n_conns, ==, 0);
    room_close(&r);
}

static void a_drain_ends_at_its_deadline(void **state)
{
    struct h2_client *c;
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    h2_get(c, "/stream");
    h2_get(c, "/hold");
    h2_push(c);
    room_wait(&r, &r.n_held, 2);
    net_server_drain(r.server, 50);
    room_wait(&r, &r.n_gone, 2);
    assert_int_equal(r.gone_code, ERR_DRAINING);
    H2_UNTIL(c, c->is_over);
    h2_client_close(c);
    room_close(&r);
}

/* Who leaves to another process answers what is still asked, and then says goodbye. */
static void leaving_refuses_nobody(void **state)
{
    struct h2_client *c;
    struct room r;

    room_open_default(&r);
    c = h2_dial(&r);
    h2_expect(h2_fetch(c, "/hello"), 200, "hello");
    net_server_leave(r.server, 60000);
    WAIT_STAT(&r, n_conns, ==, 1);
    h2_expect(h2_fetch(c, "/hello"), 200, "hello");
    H2_UNTIL(c, c->is_over);
    assert_int_equal(c->n_goaway, 1);
    assert_int_equal(c->goaway_last, 3);
    h2_client_close(c);
    room_close(&r);
}

/* ---- time limits ---- */

static void idle_connections_end(void **state)
{
    struct net_config config;
    struct h2_client *c;
    struct room r;
    int silent;

    room_config(&config);
    config.idle_timeout_ms = 200;
    config.header_timeout_ms = 200;
    room_open(&r, &config);
    c = h2_dial(&r);
    h2_expect(h2_fetch(c, "/hello"), 200, "hello");
    H2_UNTIL(c, c->is_over);
    assert_int_equal(c->n_goaway, 1);
    assert_int_equal(c->goaway_code, NGHTTP2_NO_ERROR);
    h2_client_close(c);
    silent = dial(&r);
    say(silent, "PRI * HTTP/2.0\r\n\r\n"); /* and no more */
    hear_cut(silent);
    room_close(&r);
}

static void slow_heads_and_bodies_end(void **state)
{
    struct net_config config;
    struct h2_client *c;
    struct h2_told *t;
    struct room r;
    const char *const length[] = {"content-length", "100", NULL};

    room_config(&config);
    config.header_timeout_ms = 200;
    config.body_timeout_ms = 200;
    room_open(&r, &config);
    c = h2_dial(&r);
    h2_step(c);
    h2_push(c);
    h2_frame(c, NGHTTP2_HEADERS, NGHTTP2_FLAG_NONE, 1, "\x82", 1); /* :method: GET, to go on */
    H2_UNTIL(c, c->is_over);
    h2_client_close(c);
    c = h2_dial(&r);
    t = told_of(c, h2_ask_more(c, "POST", "/echo", length, NULL, 0));
    H2_UNTIL(c, t->is_closed); /* the head says that it ends here */
    assert_int_equal(t->code, NGHTTP2_PROTOCOL_ERROR);
    c->is_slow = 1;
    t = told_of(c, h2_ask_more(c, "POST", "/echo", length, "some", 4));
    H2_UNTIL(c, t->status); /* and this one does not come */
    assert_int_equal(t->status, 408);
    assert_int_equal(r.body_code, ERR_TIMEOUT);
    h2_client_close(c);
    room_close(&r);
}

/* ---- how it begins ---- */

static void a_preface_in_pieces(void **state)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    char in[9];
    struct room r;
    int fd;

    room_open_default(&r);
    fd = dial(&r);
    for (size_t i = 0; i < sizeof preface - 1; i++)
        say_n(fd, preface + i, 1);
    assert_int_equal(recv(fd, in, 9, MSG_WAITALL), 9);
    assert_int_equal(in[3], NGHTTP2_SETTINGS);
    close(fd);
    fd = dial(&r); /* what only looks like it */
    say(fd, "PRI / HTTP/1.1\r\nHost: t\r\n\r\n");
    hear_end(fd, "501 Not Implemented");
    fd = dial(&r); /* not as a later request */
    say(fd, GET("/hello") "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    hear_end(fd, "505 HTTP Version");
    fd = dial(&r);
    say(fd, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    hear_cut(fd);
    room_close(&r);
}

static void it_can_be_switched_off(void **state)
{
    struct net_config config;
    struct room r;
    int fd;

    room_config(&config);
    config.h2_streams = 0;
    room_open(&r, &config);
    fd = dial(&r);
    say(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    hear_end(fd, "505 HTTP Version");
    WAIT_STAT(&r, h2_conns_total, ==, 0);
    room_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_http_1),
        cmocka_unit_test(bodies_arrive_whole),
        cmocka_unit_test(a_body_waits_to_be_asked_for),
        cmocka_unit_test(many_megabytes_beside_small_answers),
        cmocka_unit_test(a_hundred_streams_on_one_connection),
        cmocka_unit_test(a_cancelled_stream_leaves_the_others),
        cmocka_unit_test(a_client_that_leaves_loses_all),
        cmocka_unit_test(abort_and_close_after),
        cmocka_unit_test(a_slow_reader_stalls_its_own_stream),
        cmocka_unit_test(an_answer_that_is_not_read_is_dropped),
        cmocka_unit_test(a_stream_has_a_ceiling),
        cmocka_unit_test(a_drain_ends_what_runs),
        cmocka_unit_test(a_drain_ends_at_its_deadline),
        cmocka_unit_test(leaving_refuses_nobody),
        cmocka_unit_test(idle_connections_end),
        cmocka_unit_test(slow_heads_and_bodies_end),
        cmocka_unit_test(a_preface_in_pieces),
        cmocka_unit_test(it_can_be_switched_off),
    };
    return cmocka_run_group_tests_name("net/h2", tests, NULL, NULL);
}
