/* A server's side of TLS: certificate and key from files, and which clients are let in.
 *
 * TLS 1.2 and 1.3; forward secrecy and authenticated encryption only; tickets for resuming, without
 * a store, whose keys live as long as the context; no renegotiation, no early data. ALPN: HTTP/2
 * where it is wanted, and HTTP/1.1.
 * A context may be used by many threads. Limits: a file is at most TLS_FILE_MAX bytes. */
#ifndef NET_TLS_SERVER_H
#define NET_TLS_SERVER_H

#include <stdint.h>

#include "net/tls.h"

#define TLS_FILE_MAX (1 << 20)

struct tls_files {
    const char *cert;       /* PEM: the certificate, then those that lead to its authority */
    const char *key;        /* PEM: its key, without a passphrase */
    const char *client_ca;  /* PEM: who signs clients' certificates; NULL: clients need none */
    int client_is_optional; /* a client without a certificate is let in as well */
    int has_h2;             /* HTTP/2 is offered */
};

/* Reads the files. ERR_IO, ERR_ARG with a sentence that names the file: one that cannot be read, a
 * key that is not the certificate's, an encrypted key; ERR_UNSUPPORTED, ERR_NOMEM. */
int tls_context_serve(struct tls_context **ret, const struct tls_files *f, struct err *e);
/* When the first certificate of the chain expires, Unix time in seconds. */
int64_t tls_context_expiry_s(const struct tls_context *c);
/* Another number when a file was changed, replaced or removed. */
uint64_t tls_files_stamp(const struct tls_files *f);

#endif
