/* The server's certificate: read at the start, and again when its files change or a reload is asked
 * for; a new one is used for connections that come from then on, or, where it cannot be, the one
 * that there is stays. On the thread of serve_run. */
#ifndef SERVE_CERTIFICATES_H
#define SERVE_CERTIFICATES_H

#include "serve/serve.h"

struct tls_context;

struct certificates {
    uint64_t stamp;   /* of the files when they were read last */
    int64_t look_us;  /* when to look at them again */
    int64_t warn_us;  /* when to warn again of the end of its time */
    int64_t expiry_s; /* of the one in use, Unix time */
};

/* Do the settings belong together? ERR_ARG. */
int certificates_check(const struct serve_config *c, struct err *e);
/* What the settings name; *ret NULL: no TLS. ERR_* with a sentence. */
int certificates_open(struct certificates *k, const struct serve_config *c,
                      struct tls_context **ret, struct err *e);
/* The same for a server that runs. One that has expired is refused while the one in use is good. */
int certificates_read(struct certificates *k, const struct serve_config *c,
                      struct tls_context **ret, struct err *e);
/* It is in use now. */
void certificates_used(struct certificates *k, const struct tls_context *t);
/* Have the files changed? Looks once a second, and warns once a day of a certificate that expires
 * within two weeks. */
int certificates_have_changed(struct certificates *k, const struct serve_config *c);

#endif
