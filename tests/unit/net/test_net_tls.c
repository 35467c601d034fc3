/* The server's side of TLS, over real sockets with OpenSSL's client. */
#include "tls_harness.h"

#include <stdlib.h>

#include "net/tls.h"
#include "net/tls_server.h"

#define PIECES 500

/* ---- certificates ---- */

struct pair {
    char cert[64], key[64];
};

/* A certificate of its own that is valid for so many seconds from now. */
static void pair_make(struct pair *p, const char *name, long valid_s)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);
    FILE *f;

    snprintf(p->cert, sizeof p->cert, "/tmp/gaufre-%d-%s.pem", getpid(), name);
    snprintf(p->key, sizeof p->key, "/tmp/gaufre-%d-%s.key", getpid(), name);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), valid_s);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    f = fopen(p->cert, "w");
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    f = fopen(p->key, "w");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void pair_drop(const struct pair *p)
{
    unlink(p->cert);
    unlink(p->key);
}

static struct tls_context *context_of(const struct pair *p, const char *client_ca, int is_optional)
{
    const struct tls_files f = {p->cert, p->key, client_ca, is_optional, 1};
    struct tls_context *c = NULL;
    struct err e = {0};

    if (tls_context_serve(&c, &f, &e))
        fail_msg("%s", e.text);
    return c;
}

static void room_open_tls(struct room *r, const struct pair *p)
{
    struct net_config c;

    room_config(&c);
    c.tls = context_of(p, NULL, 0);
    room_open(r, &c);
}

/* ---- the client ---- */

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static void peer_dial(struct peer *p, const struct room *r, int rcvbuf)
{
    p->ctx = SSL_CTX_new(TLS_client_method());
    p->fd = dial_buffered(r, rcvbuf);
    assert_true(p->ctx && p->fd >= 0);
    p->ssl = SSL_new(p->ctx);
    SSL_set_fd(p->ssl, p->fd);
}

static void peer_open(struct peer *p, const struct room *r, int rcvbuf)
{
    peer_dial(p, r, rcvbuf);
    assert_int_equal(SSL_connect(p->ssl), 1);
}

static void peer_close(struct peer *p)
{
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    close(p->fd);
}

static void peer_say(struct peer *p, const void *text, size_t n)
{
    assert_int_equal(SSL_write(p->ssl, text, (int)n), (int)n);
}

/* Read to the end, or until the text is there: 1 when it ended by TLS's own end. */
static int peer_hear(struct peer *p, struct buf *b, const char *until)
{
    char part[65536];
    int n;

    buf_init(b, BIG + (1 << 20));
    while ((n = SSL_read(p->ssl, part, sizeof part)) > 0) {
        assert_int_equal(buf_add(b, part, (size_t)n), 0);
        if (until && memmem(b->data, b->len, until, strlen(until)))
            return 0;
    }
    return SSL_get_error(p->ssl, n) == SSL_ERROR_ZERO_RETURN;
}

static void expect_hello(const struct room *r)
{
    struct peer p;
    struct buf b;

    peer_open(&p, r, 0);
    peer_say(&p, "GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", 53 - 1);
    assert_int_equal(peer_hear(&p, &b, NULL), 1);
    assert_non_null(memmem(b.data, b.len, "\r\n\r\nhello", 9));
    buf_done(&b);
    peer_close(&p);
}

/* ---- tests ---- */

static void many_megabytes_are_the_same(void **state)
{
    static const char ask[] = "GET /big HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    static char body[1 << 20];
    struct pair pair;
    struct peer p;
    struct room r;
    struct buf b;
    char head[128];
    int n;

    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    srand(7);
    for (int i = 0; i < BIG; i++)
        r.big[i] = (char)rand();
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)rand();
    peer_open(&p, &r, 65536);
    peer_say(&p, ask, sizeof ask - 1);
    assert_int_equal(peer_hear(&p, &b, NULL), 1);
    assert_true(b.len > BIG);
    assert_memory_equal(b.data + b.len - BIG, r.big, BIG);
    buf_done(&b);
    peer_close(&p);

    peer_open(&p, &r, 0);
    n = snprintf(head, sizeof head,
                 "POST /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 sizeof body);
    peer_say(&p, head, (size_t)n);
    for (size_t at = 0, k = 1; at < sizeof body; at += k, k = k * 3 % 50000 + 1)
        peer_say(&p, body + at, k = k < sizeof body - at ? k : sizeof body - at);
    assert_int_equal(peer_hear(&p, &b, NULL), 1);
    assert_memory_equal(b.data + b.len - sizeof body, body, sizeof body);
    buf_done(&b);
    peer_close(&p);
    room_close(&r);
    pair_drop(&pair);
}

/* Pieces of all sizes, which wait while the client does not read. */
static void streams_are_the_same(void **state)
{
    static const char ask[] = "GET /stream HTTP/1.0\r\nHost: t\r\n\r\n";
    struct pair pair;
    struct peer p;
    struct room r;
    struct buf b;
    size_t n = 0, head;

    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    peer_open(&p, &r, 65536);
    peer_say(&p, ask, sizeof ask - 1);
    room_wait(&r, &r.n_held, 1);
    for (int i = 0; i < PIECES; i++) {
        size_t k = (size_t)i * 7919 % 3000;
        assert_int_equal(room_order(&r, ORDER_WRITE, 0, k), 0);
        n += k;
    }
    room_order(&r, ORDER_END, 0, 0);
    assert_int_equal(peer_hear(&p, &b, NULL), 1); /* told, so that it is no cut */
    head = (size_t)((char *)memmem(b.data, b.len, "\r\n\r\n", 4) - b.data) + 4;
    assert_int_equal(b.len - head, n);
    for (size_t i = head; i < b.len; i++)
        assert_int_equal(b.data[i], 'w');
    buf_done(&b);
    peer_close(&p);
    room_close(&r);
    pair_drop(&pair);
}

/* A cut answer does not end as a whole one does. */
static void cut_is_seen(void **state)
{
    static const char ask[] = "GET /stream HTTP/1.0\r\nHost: t\r\n\r\n";
    struct pair pair;
    struct peer p;
    struct room r;
    struct buf b;

    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    peer_open(&p, &r, 0);
    peer_say(&p, ask, sizeof ask - 1);
    room_wait(&r, &r.n_held, 1);
    room_order(&r, ORDER_WRITE, 0, 100);
    room_order(&r, ORDER_ABORT, 0, 0);
    assert_int_equal(peer_hear(&p, &b, NULL), 0);
    buf_done(&b);
    peer_close(&p);
    room_close(&r);
    pair_drop(&pair);
}

static void client_that_leaves_is_noticed(void **state)
{
    static const char ask[] = "GET /stream HTTP/1.1\r\nHost: t\r\n\r\n";
    struct pair pair;
    struct peer p;
    struct room r;

    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    peer_open(&p, &r, 0);
    peer_say(&p, ask, sizeof ask - 1);
    room_wait(&r, &r.n_held, 1);
    SSL_shutdown(p.ssl); /* TLS's end; the socket stays open */
    room_wait(&r, &r.n_gone, 1);
    assert_int_equal(r.gone_code, ERR_CANCELLED);
    peer_close(&p);
    room_close(&r);
    pair_drop(&pair);
}

static void plain_http_is_told(void **state)
{
    struct pair pair;
    struct room r;
    int fd;

    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    fd = dial(&r);
    say(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc");
    hear_end(fd, "https://");
    expect_hello(&r);
    room_close(&r);
    pair_drop(&pair);
}

/* A handshake cut after any number of its bytes, or spoilt there. */
static void cut_handshakes(void **state)
{
    unsigned char first[4096];
    struct pair pair;
    struct room r;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    int n;

    SSL_set_bio(ssl, in, out);
    assert_int_equal(SSL_connect(ssl), -1);
    n = BIO_read(out, first, sizeof first);
    assert_true(n > 100);
    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    for (int i = 0; i <= n; i += 3) {
        int fd = dial(&r);
        assert_int_equal(write(fd, first, (size_t)i), i);
        if (i % 2) { /* and a byte that does not belong there */
            char junk = (char)(first[i % n] ^ 0x55);
            assert_int_equal(write(fd, &junk, 1), 1);
        }
        close(fd);
    }
    WAIT_STAT(&r, n_conns, ==, 0);
    expect_hello(&r);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    room_close(&r);
    pair_drop(&pair);
}

static void slow_handshake_is_cut(void **state)
{
    struct net_config c;
    struct pair pair;
    struct room r;
    struct buf b;
    int silent, half;

    pair_make(&pair, "a", 86400);
    room_config(&c);
    c.header_timeout_ms = 200;
    c.tls = context_of(&pair, NULL, 0);
    room_open(&r, &c);
    silent = dial(&r);
    half = dial(&r);
    assert_int_equal(write(half, "\x16\x03\x01", 3), 3);
    assert_int_equal(hear(silent, &b, NULL), 1);
    buf_done(&b);
    assert_int_equal(hear(half, &b, NULL), 1);
    buf_done(&b);
    close(silent);
    close(half);
    room_close(&r);
    pair_drop(&pair);
}

/* Connections keep what they have; new ones get the new certificate. */
static void certificate_is_swapped(void **state)
{
    struct pair a, b;
    struct peer old, young;
    struct net_stats st;
    struct room r;
    struct buf got;
    X509 *seen;
    char name[64];

    pair_make(&a, "a", 86400);
    pair_make(&b, "b", 86400 * 9);
    room_open_tls(&r, &a);
    peer_open(&old, &r, 0);
    net_server_set_tls(r.server, context_of(&b, NULL, 0));
    peer_open(&young, &r, 0);
    seen = SSL_get1_peer_certificate(young.ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(seen), NID_commonName, name, sizeof name);
    assert_string_equal(name, "b");
    X509_free(seen);
    net_server_stats(r.server, &st);
    assert_true(st.tls_expiry_s > clock_wall_us() / 1000000 + 86400 * 8);
    WAIT_STAT(&r, shakes_total, ==, 2);
    peer_say(&old, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n", 33 - 1);
    peer_hear(&old, &got, "hello");
    buf_done(&got);
    peer_close(&old);
    peer_close(&young);
    room_close(&r);
    pair_drop(&a);
    pair_drop(&b);
}

static void protocol_is_agreed_on(void **state)
{
    static const struct {
        const char *offer, *agreed;
    } rows[] = {{"\x02h2\x08http/1.1", "h2"},
                {"\x08http/1.1\x02h2", "h2"}, /* the server's order */
                {"\x08http/1.1", "http/1.1"},
                {"", ""}};
    struct net_stats st;
    struct pair pair;
    struct room r;

    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const unsigned char *agreed = NULL;
        unsigned n = 0;
        struct peer p;
        peer_dial(&p, &r, 0);
        SSL_set_alpn_protos(p.ssl, (const unsigned char *)rows[i].offer,
                            (unsigned)strlen(rows[i].offer));
        assert_int_equal(SSL_connect(p.ssl), 1);
        SSL_get0_alpn_selected(p.ssl, &agreed, &n);
        assert_int_equal(n, strlen(rows[i].agreed));
        assert_memory_equal(agreed ? (const char *)agreed : "", rows[i].agreed, n);
        peer_close(&p);
    }
    net_server_stats(r.server, &st);
    assert_int_equal(st.h2_conns_total, 2);
    room_close(&r);
    pair_drop(&pair);
}

/* ---- resuming ---- */

static SSL_SESSION *given;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION_free(given);
    given = session;
    return 1;
}

/* A connection that brings the ticket, if there is one, and takes one home. 1 when it was resumed;
 * then the server showed no certificate again. */
static int come_again(const struct room *r, int version, char name[64])
{
    struct peer p;
    struct buf b;
    X509 *seen;
    int was_resumed;

    peer_dial(&p, r, 0);
    SSL_CTX_set_session_cache_mode(p.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(p.ctx, on_session);
    SSL_set_min_proto_version(p.ssl, version);
    SSL_set_max_proto_version(p.ssl, version);
    if (given)
        assert_int_equal(SSL_set_session(p.ssl, given), 1);
    assert_int_equal(SSL_connect(p.ssl), 1);
    was_resumed = SSL_session_reused(p.ssl);
    peer_say(&p, "GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", 53 - 1);
    assert_int_equal(peer_hear(&p, &b, NULL), 1); /* where TLS 1.3's tickets are, too */
    assert_non_null(memmem(b.data, b.len, "hello", 5));
    seen = SSL_get1_peer_certificate(p.ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(seen), NID_commonName, name, 64);
    X509_free(seen);
    buf_done(&b);
    SSL_shutdown(p.ssl); /* else OpenSSL forgets the session */
    peer_close(&p);
    return was_resumed;
}

/* A ticket is good as long as the certificate under which it was given: after a change the client
 * shakes hands anew, and sees whom it speaks to. */
static void sessions_are_resumed(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct pair a, b;
    struct room r;
    char name[64];

    pair_make(&a, "a", 86400);
    pair_make(&b, "b", 86400);
    for (int i = 0; i < 2; i++) {
        room_open_tls(&r, &a);
        assert_int_equal(come_again(&r, versions[i], name), 0);
        assert_int_equal(come_again(&r, versions[i], name), 1);
        assert_string_equal(name, "a");
        net_server_set_tls(r.server, context_of(&b, NULL, 0));
        assert_int_equal(come_again(&r, versions[i], name), 0);
        assert_string_equal(name, "b");
        assert_int_equal(come_again(&r, versions[i], name), 1);
        assert_string_equal(name, "b");
        SSL_SESSION_free(given);
        given = NULL;
        room_close(&r);
    }
    pair_drop(&a);
    pair_drop(&b);
}

/* Whom the server no longer trusts is not let in by a ticket of before. */
static void tickets_do_not_outlive_trust(void **state)
{
    struct pair server, known, other;
    struct net_config c;
    struct room r;
    struct peer p;
    struct buf b;

    pair_make(&server, "server", 86400);
    pair_make(&known, "known", 86400);
    pair_make(&other, "other", 86400);
    room_config(&c);
    c.tls = context_of(&server, known.cert, 0);
    room_open(&r, &c);
    for (int i = 0; i < 3; i++) { /* the first brings no ticket, the second resumes */
        if (i == 2)
            net_server_set_tls(r.server, context_of(&server, other.cert, 0));
        peer_dial(&p, &r, 0);
        SSL_CTX_set_session_cache_mode(p.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(p.ctx, on_session);
        SSL_use_certificate_file(p.ssl, known.cert, SSL_FILETYPE_PEM);
        SSL_use_PrivateKey_file(p.ssl, known.key, SSL_FILETYPE_PEM);
        if (given)
            SSL_set_session(p.ssl, given);
        b = (struct buf){0};
        if (SSL_connect(p.ssl) == 1 &&
            SSL_write(p.ssl, "GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", 52) > 0)
            peer_hear(&p, &b, NULL);
        assert_int_equal(b.len && memmem(b.data, b.len, "hello", 5), i < 2);
        assert_int_equal(SSL_session_reused(p.ssl), i == 1);
        buf_done(&b);
        SSL_shutdown(p.ssl);
        peer_close(&p);
    }
    SSL_SESSION_free(given);
    given = NULL;
    room_close(&r);
    pair_drop(&server);
    pair_drop(&known);
    pair_drop(&other);
}

static void clients_need_certificates(void **state)
{
    static const char ask[] = "GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    struct pair server, known, stranger;

    pair_make(&server, "server", 86400);
    pair_make(&known, "known", 86400);
    pair_make(&stranger, "stranger", 86400);
    for (int is_optional = 0; is_optional < 2; is_optional++) {
        const struct pair *who[] = {&known, &stranger, NULL};
        const int is_let_in[] = {1, 0, is_optional};
        struct net_config c;
        struct room r;
        room_config(&c);
        c.tls = context_of(&server, known.cert, is_optional);
        room_open(&r, &c);
        for (int i = 0; i < 3; i++) {
            struct peer p;
            struct buf b = {0};
            peer_dial(&p, &r, 0);
            if (who[i]) {
                assert_int_equal(SSL_use_certificate_file(p.ssl, who[i]->cert, SSL_FILETYPE_PEM),
                                 1);
                assert_int_equal(SSL_use_PrivateKey_file(p.ssl, who[i]->key, SSL_FILETYPE_PEM), 1);
            }
            if (SSL_connect(p.ssl) == 1 && SSL_write(p.ssl, ask, sizeof ask - 1) > 0)
                peer_hear(&p, &b, NULL);
            assert_int_equal(b.len && memmem(b.data, b.len, "hello", 5), is_let_in[i]);
            buf_done(&b);
            peer_close(&p);
        }
        room_close(&r);
    }
    pair_drop(&server);
    pair_drop(&known);
    pair_drop(&stranger);
}

static void old_versions_are_refused(void **state)
{
    static const int versions[] = {TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    struct pair pair;
    struct room r;

    pair_make(&pair, "a", 86400);
    room_open_tls(&r, &pair);
    for (int i = 0; i < 3; i++) {
        struct peer p;
        peer_dial(&p, &r, 0);
        SSL_set_security_level(p.ssl, 0); /* which bans 1.1 on this side, too */
        SSL_set_min_proto_version(p.ssl, versions[i]);
        SSL_set_max_proto_version(p.ssl, versions[i]);
        assert_int_equal(SSL_connect(p.ssl) == 1, i > 0);
        peer_close(&p);
    }
    room_close(&r);
    pair_drop(&pair);
}

static void expect_refusal(const struct pair *p, const char *client_ca, const char *why)
{
    const struct tls_files f = {p->cert, p->key, client_ca, 0, 0};
    struct tls_context *c = NULL;
    struct err e = {0};

    assert_int_not_equal(tls_context_serve(&c, &f, &e), 0);
    assert_null(c);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void bad_files_are_named(void **state)
{
    struct pair a, b, x;
    struct tls_files f;
    uint64_t stamp;
    FILE *file;
    char word[] = "x";
    EVP_PKEY *key = EVP_EC_gen("P-256");

    pair_make(&a, "a", 86400);
    pair_make(&b, "b", 86400);
    x = a;
    snprintf(x.cert, sizeof x.cert, "/tmp/gaufre-none");
    expect_refusal(&x, NULL, "tls_cert: /tmp/gaufre-none: No such file");
    snprintf(x.cert, sizeof x.cert, "/dev/zero");
    expect_refusal(&x, NULL, "is no file");
    x = a;
    strcpy(x.key, b.key);
    expect_refusal(&x, NULL, "is not the key of the certificate");
    expect_refusal(&a, a.key, "tls_client_ca: no certificates can be read");
    f = (struct tls_files){a.cert, a.key, NULL, 0, 0};
    stamp = tls_files_stamp(&f);
    assert_int_equal(truncate(a.cert, 300), 0); /* half-written */
    assert_true(tls_files_stamp(&f) != stamp);
    expect_refusal(&a, NULL, "tls_cert: no certificate can be read");
    file = fopen(b.key, "w");
    assert_int_equal(PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), NULL, 0, NULL, word), 1);
    fclose(file);
    expect_refusal(&b, NULL, "has a passphrase");
    EVP_PKEY_free(key);
    pair_drop(&a);
    pair_drop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_megabytes_are_the_same),
        cmocka_unit_test(streams_are_the_same),
        cmocka_unit_test(cut_is_seen),
        cmocka_unit_test(client_that_leaves_is_noticed),
        cmocka_unit_test(plain_http_is_told),
        cmocka_unit_test(cut_handshakes),
        cmocka_unit_test(slow_handshake_is_cut),
        cmocka_unit_test(certificate_is_swapped),
        cmocka_unit_test(protocol_is_agreed_on),
        cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(tickets_do_not_outlive_trust),
        cmocka_unit_test(clients_need_certificates),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(bad_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
