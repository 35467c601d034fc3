/* Frames of HTTP/2 on a connection: whatever comes, the server answers or ends it, and nothing
 * stays behind. A real server, on sockets of this machine; the target's first letter says what its
 * room does with a request. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define GUARD_US 60000000

static struct net_server *server;

static void on_request(void *ctx, struct net_exchange *x)
{
    const struct http_head *h = net_head(x);
    const struct net_header type = {"Content-Type", "text/plain"};

    CHECK(h->target[0] == '/' || !strcmp(h->target, "*"));
    for (int i = 0; i < h->n_fields; i++) {
        CHECK(http_name_ok(http_field_name(h, i)) && http_value_ok(http_field_value(h, i)));
        CHECK(!http_field_has(h, "te", "gzip"));
    }
    switch (h->target[0] == '/' ? h->target[1] : 0) {
    case 'b':
        if (net_read_body(x, 4096))
            net_reply(x, 413, NULL, 0, NULL, 0);
        break;
    case 's':
        net_stream_begin(x, 200, &type, 1);
        for (int i = 0; i < 40; i++)
            net_stream_write(x, h->target, strlen(h->target));
        net_want_room(x);
        break;
    case 'h': /* its client goes at last */
        break;
    case 'a':
        net_abort(x);
        break;
    case 'c':
        net_close_after(x);
        net_reply(x, 204, NULL, 0, NULL, 0);
        break;
    default:
        net_reply(x, 200, &type, 1, "hello", 5);
        break;
    }
}

static void on_body(void *ctx, struct net_exchange *x, int code)
{
    size_t n = 0;
    const char *p = code ? NULL : net_body(x, &n);

    CHECK(n <= 4096);
    net_reply(x, code ? err_http_status(code) : 200, NULL, 0, p, n);
}

static void on_room(void *ctx, struct net_exchange *x)
{
    net_stream_end(x);
}

static void on_gone(void *ctx, struct net_exchange *x, int code)
{
    CHECK(net_stream_write(x, "x", 1) == ERR_CANCELLED);
}

static void open_server(void)
{
    const struct net_handler h = {
        .on_request = on_request, .on_body = on_body, .on_gone = on_gone, .on_room = on_room};
    struct net_config c;
    struct err e;

    net_config_default(&c);
    c.port = 0;
    c.http.head_max = 1024;
    c.http.line_max = 64;
    c.http.fields_max = 8;
    c.h2_streams = 8;
    c.body_budget_bytes = 65536;
    c.linger_ms = 0;
    CHECK(!net_server_open(&server, &c, &h, &e) && !net_server_start(server, &e));
}

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)net_server_port(server)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a));
    return fd;
}

/* Nothing of the connection is left. */
static void wait_for_end(void)
{
    int64_t until_us = clock_now_us() + GUARD_US;
    struct net_stats st;

    do {
        net_server_stats(server, &st);
        CHECK(clock_now_us() < until_us);
        if (st.n_conns)
            clock_sleep_us(50);
    } while (st.n_conns);
    CHECK(!st.n_exchanges && !st.body_bytes && !st.answer_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    char in[4096];
    int fd;

    if (!server)
        open_server();
    fd = dial();
    /* The server may end it before all is written. */
    if (send(fd, preface, sizeof preface - 1, MSG_NOSIGNAL | (n ? MSG_MORE : 0)) > 0 && n)
        (void)!send(fd, data, n, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (recv(fd, in, sizeof in, 0) > 0)
        ;
    close(fd);
    wait_for_end();
    return 0;
}
