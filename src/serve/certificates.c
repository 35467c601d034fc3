#include "serve/certificates.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/tls_server.h"

#define LOOK_US INT64_C(1000000)
#define WARN_US INT64_C(86400000000)
#define SOON_S  (14 * 86400)

static const char *or_null(const char *s)
{
    return *s ? s : NULL;
}

static struct tls_files files_of(const struct serve_config *c)
{
    return (struct tls_files){.cert = c->tls_cert,
                              .key = c->tls_key,
                              .client_ca = or_null(c->tls_client_ca),
                              .client_is_optional = c->tls_client_auth,
                              .has_h2 = c->http2};
}

int certificates_check(const struct serve_config *c, struct err *e)
{
    if (!*c->tls_cert != !*c->tls_key)
        return err_set(e, ERR_ARG, "tls_cert and tls_key: one is set, and both are needed");
    if (*c->tls_client_ca && !*c->tls_cert)
        return err_set(e, ERR_ARG, "tls_client_ca: needs tls_cert and tls_key");
    return 0;
}

static int64_t now_s(void)
{
    return clock_wall_us() / 1000000;
}

int certificates_read(struct certificates *k, const struct serve_config *c,
                      struct tls_context **ret, struct err *e)
{
    struct tls_files f = files_of(c);
    struct tls_context *t = NULL;
    int r;

    *ret = NULL;
    if (!*c->tls_cert)
        return 0;
    k->stamp = tls_files_stamp(&f); /* before they are read: what changes meanwhile is seen later */
    r = tls_context_serve(&t, &f, e);
    if (r)
        return r;
    if (k->expiry_s > now_s() && tls_context_expiry_s(t) <= now_s()) {
        tls_context_free(t);
        return err_set(e, ERR_ARG,
                       "tls_cert: %.300s has expired, and the certificate in use has not",
                       c->tls_cert);
    }
    *ret = t;
    return 0;
}

void certificates_used(struct certificates *k, const struct tls_context *t)
{
    k->expiry_s = tls_context_expiry_s(t);
    k->warn_us = 0;
}

int certificates_open(struct certificates *k, const struct serve_config *c,
                      struct tls_context **ret, struct err *e)
{
    int r = certificates_read(k, c, ret, e);

    if (!r && *ret)
        certificates_used(k, *ret);
    return r;
}

static void warn(struct certificates *k, const struct serve_config *c, int64_t now_us)
{
    int64_t left_s = k->expiry_s - now_s();

    if (left_s > SOON_S || now_us < k->warn_us)
        return;
    k->warn_us = now_us + WARN_US;
    if (left_s <= 0)
        LOG_EVENT(LOG_ERROR, "certificate has expired", LOG_STR("file", c->tls_cert));
    else
        LOG_EVENT(LOG_WARN, "certificate expires soon", LOG_STR("file", c->tls_cert),
                  LOG_INT("days", left_s / 86400));
}

int certificates_have_changed(struct certificates *k, const struct serve_config *c)
{
    struct tls_files f = files_of(c);
    int64_t now_us = clock_now_us();

    if (!*c->tls_cert || now_us < k->look_us)
        return 0;
    k->look_us = now_us + LOOK_US;
    warn(k, c, now_us);
    return tls_files_stamp(&f) != k->stamp;
}
