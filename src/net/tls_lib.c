#include "net/tls_lib.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"

#define SONAME "libssl.so.3"

struct tls_lib tls_lib;
static char why[256]; /* it could not be opened; "" where it could */

static void open_once(void)
{
    void *so = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    void *p = so;

    /* A function's address is kept by copying it: C converts no void * to one. */
#define X(name)                                                                                    \
    if (p && (p = dlsym(so, #name)))                                                               \
        memcpy(&tls_lib.name, &p, sizeof p);
    TLS_FUNCTIONS(X)
#undef X
    if (!p)
        snprintf(why, sizeof why, "%s", dlerror());
}

int tls_lib_open(struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, open_once);
    if (*why)
        return err_set(e, ERR_UNSUPPORTED, "TLS needs OpenSSL's libssl, which cannot be opened: %s",
                       why);
    return 0;
}

int tls_context_make(struct tls_context **ret, const SSL_METHOD *(*method)(void), struct err *e)
{
    struct tls_context *c = calloc(1, sizeof *c);

    if (c)
        c->ctx = tls_lib.SSL_CTX_new(method());
    if (!c || !c->ctx) {
        tls_context_free(c);
        return err_set(e, ERR_NOMEM, "Out of memory for TLS");
    }
    tls_lib.SSL_CTX_ctrl(c->ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
    tls_lib.SSL_CTX_ctrl(c->ctx, SSL_CTRL_MODE,
                         SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                             SSL_MODE_RELEASE_BUFFERS,
                         NULL);
    /* Many peers close without TLS's own end. Where that matters, a message has its length or its
     * last chunk. */
    tls_lib.SSL_CTX_set_options(c->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    *ret = c;
    return 0;
}

void tls_context_free(struct tls_context *c)
{
    if (!c)
        return;
    tls_lib.SSL_CTX_free(c->ctx);
    free(c);
}
