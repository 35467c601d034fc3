#include "net/tls.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define SONAME "libssl.so.3"

#define TLS_FUNCTIONS(X)                                                                           \
    X(ERR_clear_error)                                                                             \
    X(SSL_CTX_ctrl)                                                                                \
    X(SSL_CTX_free)                                                                                \
    X(SSL_CTX_load_verify_file)                                                                    \
    X(SSL_CTX_new)                                                                                 \
    X(SSL_CTX_set_alpn_protos)                                                                     \
    X(SSL_CTX_set_default_verify_paths)                                                            \
    X(SSL_CTX_set_options)                                                                         \
    X(SSL_CTX_set_verify)                                                                          \
    X(SSL_connect)                                                                                 \
    X(SSL_ctrl)                                                                                    \
    X(SSL_free)                                                                                    \
    X(SSL_get0_param)                                                                              \
    X(SSL_get_error)                                                                               \
    X(SSL_get_verify_result)                                                                       \
    X(SSL_new)                                                                                     \
    X(SSL_read)                                                                                    \
    X(SSL_set_fd)                                                                                  \
    X(SSL_write)                                                                                   \
    X(TLS_client_method)                                                                           \
    X(X509_VERIFY_PARAM_set1_host)                                                                 \
    X(X509_VERIFY_PARAM_set1_ip_asc)                                                               \
    X(X509_VERIFY_PARAM_set_hostflags)

static struct {
#define X(name) __typeof__(name) *name;
    TLS_FUNCTIONS(X)
#undef X
} lib;
static char why[256]; /* it could not be opened; "" where it could */

/* A context and a connection are OpenSSL's own objects. */
struct tls_context {
    SSL_CTX *ctx;
};

struct tls {
    SSL *ssl;
};

static void open_once(void)
{
    void *so = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    void *p = so;

    /* A function's address is kept by copying it: C converts no void * to one. */
#define X(name)                                                                                    \
    if (p && (p = dlsym(so, #name)))                                                               \
        memcpy(&lib.name, &p, sizeof p);
    TLS_FUNCTIONS(X)
#undef X
    if (!p)
        snprintf(why, sizeof why, "%s", dlerror());
}

/* ---- contexts ---- */

static int set_up(SSL_CTX *ctx, const char *ca_file, struct err *e)
{
    static const unsigned char http[] = "\x08http/1.1";

    lib.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
    lib.SSL_CTX_ctrl(ctx, SSL_CTRL_MODE,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                         SSL_MODE_RELEASE_BUFFERS,
                     NULL);
    /* Many services close without TLS's own end. Where that matters, an answer has its length or
     * its last chunk, and what has neither is judged by its content. */
    lib.SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
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
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tls_context *c;
    int r;

    pthread_once(&once, open_once);
    if (*why)
        return err_set(e, ERR_UNSUPPORTED,
                       "https needs OpenSSL's libssl, which cannot be opened: %s", why);
    c = calloc(1, sizeof *c);
    if (c)
        c->ctx = lib.SSL_CTX_new(lib.TLS_client_method());
    r = c && c->ctx ? set_up(c->ctx, ca_file, e) : err_set(e, ERR_NOMEM, "Out of memory for TLS");
    if (r)
        tls_context_free(c);
    else
        *ret = c;
    return r;
}

void tls_context_free(struct tls_context *c)
{
    if (!c)
        return;
    lib.SSL_CTX_free(c->ctx);
    free(c);
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

struct tls *tls_new(struct tls_context *c, int fd, const char *host, int is_address)
{
    struct tls *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->ssl = lib.SSL_new(c->ctx);
    if (!t->ssl || !lib.SSL_set_fd(t->ssl, fd) || !expect(t->ssl, host, is_address)) {
        tls_free(t);
        return NULL;
    }
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
    r = lib.SSL_connect(t->ssl);
    if (r == 1)
        return 0;
    r = outcome(t, r);
    if (r == TLS_END)
        r = TLS_BROKEN;
    if (r == TLS_BROKEN && lib.SSL_get_verify_result(t->ssl) != X509_V_OK)
        r = TLS_UNTRUSTED;
    return r;
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
