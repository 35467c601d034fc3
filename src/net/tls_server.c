#include "net/tls_server.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/map.h"
#include "net/tls_lib.h"

#define lib tls_lib

/* What current browsers and clients speak (TLS 1.2; those of 1.3 are all as good). */
#define CIPHERS                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"

/* ---- files ----------------------------------------------------------------------------------- */

/* A pipe would block, and a file of any size fill the memory. */
static int check_file(const char *setting, const char *path, struct err *e)
{
    struct stat st;

    if (stat(path, &st))
        return err_set(e, ERR_IO, "%s: %.300s: %s", setting, path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > TLS_FILE_MAX)
        return err_set(e, ERR_ARG, "%s: %.300s is no file of at most 1 MiB", setting, path);
    return 0;
}

uint64_t tls_files_stamp(const struct tls_files *f)
{
    const char *path[] = {f->cert, f->key, f->client_ca};
    int64_t seen[3][5];

    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 3; i++) {
        struct stat st;
        if (!path[i] || stat(path[i], &st))
            continue;
        seen[i][0] = (int64_t)st.st_dev;
        seen[i][1] = (int64_t)st.st_ino;
        seen[i][2] = st.st_size;
        seen[i][3] = st.st_mtim.tv_sec;
        seen[i][4] = st.st_mtim.tv_nsec;
    }
    return map_hash(seen, sizeof seen, 0);
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Asked for a passphrase: there is none, and nobody is asked on a terminal. */
static int no_passphrase(char *out, int cap, int is_writing, void *was_asked)
{
    *(int *)was_asked = 1;
    return -1;
}

static const char *reason(void)
{
    const char *text = lib.ERR_reason_error_string(lib.ERR_peek_error());
    return text ? text : "not in PEM form";
}

static int is_mismatch(void)
{
    int r = ERR_GET_REASON(lib.ERR_peek_error());
    return r == X509_R_KEY_VALUES_MISMATCH || r == X509_R_KEY_TYPE_MISMATCH;
}

static int use_pair(SSL_CTX *ctx, const struct tls_files *f, struct err *e)
{
    int was_asked = 0;

    lib.SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    lib.SSL_CTX_set_default_passwd_cb_userdata(ctx, &was_asked);
    lib.ERR_clear_error();
    if (lib.SSL_CTX_use_certificate_chain_file(ctx, f->cert) != 1)
        return err_set(e, ERR_ARG, "tls_cert: no certificate can be read from %.300s: %s", f->cert,
                       reason());
    lib.ERR_clear_error();
    if (lib.SSL_CTX_use_PrivateKey_file(ctx, f->key, SSL_FILETYPE_PEM) == 1 &&
        lib.SSL_CTX_check_private_key(ctx) == 1) {
        lib.SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
        return 0;
    }
    if (was_asked)
        return err_set(e, ERR_ARG, "tls_key: %.300s has a passphrase: store the key without one",
                       f->key);
    if (is_mismatch())
        return err_set(e, ERR_ARG, "tls_key: %.200s is not the key of the certificate %.200s",
                       f->key, f->cert);
    return err_set(e, ERR_ARG, "tls_key: no key can be read from %.300s: %s", f->key, reason());
}

static int use_clients(SSL_CTX *ctx, const struct tls_files *f, struct err *e)
{
    STACK_OF(X509_NAME) * names;

    if (!f->client_ca)
        return 0;
    lib.ERR_clear_error();
    if (lib.SSL_CTX_load_verify_file(ctx, f->client_ca) != 1 ||
        !(names = lib.SSL_load_client_CA_file(f->client_ca)))
        return err_set(e, ERR_ARG, "tls_client_ca: no certificates can be read from %.300s: %s",
                       f->client_ca, reason());
    lib.SSL_CTX_set_client_CA_list(ctx, names); /* told to clients, so that they can choose */
    lib.SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (f->client_is_optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT), NULL);
    return 0;
}

/* ---- expiry ---------------------------------------------------------------------------------- */

static int64_t not_after_s(const X509 *x)
{
    struct tm tm;
    return lib.ASN1_TIME_to_tm(lib.X509_get0_notAfter(x), &tm) == 1 ? timegm(&tm) : 0;
}

static int64_t first_expiry_s(SSL_CTX *ctx)
{
    int64_t first = not_after_s(lib.SSL_CTX_get0_certificate(ctx)), t;
    OPENSSL_STACK *chain = NULL;

    lib.SSL_CTX_ctrl(ctx, SSL_CTRL_GET_CHAIN_CERTS, 0, &chain);
    for (int i = 0; chain && i < lib.OPENSSL_sk_num(chain); i++) {
        t = not_after_s(lib.OPENSSL_sk_value(chain, i));
        first = t < first ? t : first;
    }
    return first;
}

int64_t tls_context_expiry_s(const struct tls_context *c)
{
    return c->expiry_s;
}

/* ---- contexts -------------------------------------------------------------------------------- */

/* A client that offers protocols, and none of ours, is refused. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    const size_t skip = arg ? 0 : 3; /* arg: HTTP/2 is spoken */
    unsigned char *chosen = NULL;

    if (lib.SSL_select_next_proto(&chosen, out_n, ours + skip, sizeof ours - 1 - skip, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int set_up(SSL_CTX *ctx, int has_h2, struct err *e)
{
    static const unsigned char id[] = "gaufre"; /* tickets of clients with certificates want one */
    static char groups[] = GROUPS;

    lib.SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    lib.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
    /* One call reads one message: a client that sends nothing but TLS's own messages must not keep
     * the thread. */
    lib.SSL_CTX_ctrl(ctx, SSL_CTRL_CLEAR_MODE, SSL_MODE_AUTO_RETRY, NULL);
    lib.SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, has_h2 ? ctx : NULL);
    if (lib.SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 ||
        lib.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_GROUPS_LIST, 0, groups) != 1 ||
        lib.SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) != 1)
        return err_set(e, ERR_UNSUPPORTED, "OpenSSL lacks the ciphers that gaufre wants");
    return 0;
}

int tls_context_serve(struct tls_context **ret, const struct tls_files *f, struct err *e)
{
    struct tls_context *c = NULL;
    int r = check_file("tls_cert", f->cert, e);

    if (!r)
        r = check_file("tls_key", f->key, e);
    if (!r && f->client_ca)
        r = check_file("tls_client_ca", f->client_ca, e);
    if (!r)
        r = tls_lib_open(e);
    if (!r)
        r = tls_context_make(&c, lib.TLS_server_method, e);
    if (r)
        return r;
    r = set_up(c->ctx, f->has_h2, e);
    if (!r)
        r = use_pair(c->ctx, f, e);
    if (!r)
        r = use_clients(c->ctx, f, e);
    if (r) {
        tls_context_free(c);
        return r;
    }
    c->expiry_s = first_expiry_s(c->ctx);
    *ret = c;
    return 0;
}
