#include "net/tls.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_lib.h"

#define lib tls_lib

struct tls {
    SSL *ssl;
};

/* ---- contexts ---- */

static int set_up(SSL_CTX *ctx, const char *ca_file, struct err *e)
{
    static const unsigned char http[] = "\x08http/1.1";

    lib.SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (lib.SSL_CTX_set_alpn_protos(ctx, http, sizeof http - 1))
        return err_set(e, ERR_NOMEM, "Out of memory for TLS");
    lib.ERR_clear_error();
    if (ca_file && lib.SSL_CTX_load_verify_file(ctx, ca_file) != 1)
        return err_set(e, ERR_ARG, "There are no certificates in %.200s", ca_file);
    if (!ca_file)
        lib.SSL_CTX_set_default_verify_paths(ctx);
    return 0;
}

int tls_context_new(struct tls_context **ret, const char *ca_file, struct err *e)
{
    struct tls_context *c = NULL;
    int r = tls_lib_open(e);

    if (!r)
        r = tls_context_make(&c, lib.TLS_client_method, e);
    if (!r)
        r = set_up(c->ctx, ca_file, e);
    if (r)
        tls_context_free(c);
    else
        *ret = c;
    return r;
}

/* ---- connections ---- */

/* Whom the certificate must name, and who is asked for where several live at one address. */
static int expect(SSL *ssl, const char *host, int is_address)
{
    X509_VERIFY_PARAM *param = lib.SSL_get0_param(ssl);

    lib.X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_address)
        return lib.X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    return lib.X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           lib.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                        (void *)(uintptr_t)host) == 1;
}

static struct tls *make(struct tls_context *c, int fd)
{
    struct tls *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->ssl = lib.SSL_new(c->ctx);
    if (t->ssl && lib.SSL_set_fd(t->ssl, fd))
        return t;
    tls_free(t);
    return NULL;
}

struct tls *tls_new(struct tls_context *c, int fd, const char *host, int is_address)
{
    struct tls *t = make(c, fd);

    if (t && !expect(t->ssl, host, is_address)) {
        tls_free(t);
        return NULL;
    }
    if (t)
        lib.SSL_set_connect_state(t->ssl);
    return t;
}

struct tls *tls_accept(struct tls_context *c, int fd)
{
    struct tls *t = make(c, fd);

    if (t)
        lib.SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    lib.SSL_free(t->ssl);
    free(t);
}

/* What a call that returned r <= 0 says. */
static int outcome(const struct tls *t, int r)
{
    switch (lib.SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return TLS_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        return TLS_AGAIN_OUT;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    default:
        return TLS_BROKEN;
    }
}

int tls_handshake(struct tls *t)
{
    int r;

    lib.ERR_clear_error();
    r = lib.SSL_do_handshake(t->ssl);
    if (r == 1)
        return 0;
    r = outcome(t, r);
    if (r == TLS_END)
        r = TLS_BROKEN;
    if (r == TLS_BROKEN && lib.SSL_get_verify_result(t->ssl) != X509_V_OK)
        r = TLS_UNTRUSTED;
    return r;
}

int tls_is_h2(const struct tls *t)
{
    const unsigned char *name = NULL;
    unsigned n = 0;

    lib.SSL_get0_alpn_selected(t->ssl, &name, &n);
    return n == 2 && !memcmp(name, "h2", 2);
}

ssize_t tls_read(struct tls *t, void *p, size_t n)
{
    int r;

    lib.ERR_clear_error();
    r = lib.SSL_read(t->ssl, p, n < INT_MAX ? (int)n : INT_MAX);
    return r > 0 ? r : outcome(t, r);
}

ssize_t tls_write(struct tls *t, const void *p, size_t n)
{
    int r;

    if (!n)
        return 0;
    lib.ERR_clear_error();
    r = lib.SSL_write(t->ssl, p, n < INT_MAX ? (int)n : INT_MAX);
    if (r > 0)
        return r;
    r = outcome(t, r);
    return r == TLS_END ? TLS_BROKEN : r;
}

int tls_has_more(const struct tls *t)
{
    return lib.SSL_pending(t->ssl) > 0;
}

int tls_end(struct tls *t)
{
    int r;

    lib.ERR_clear_error();
    r = lib.SSL_shutdown(t->ssl);
    return r >= 0 ? 0 : outcome(t, r);
}
