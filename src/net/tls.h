/* TLS by OpenSSL, 1.2 and later. To services elsewhere, whose name or address is always verified;
 * for clients: tls_server.h makes the context. Nothing blocks.
 *
 * Needs OpenSSL's TLS library (tls_lib.h). A context may be used by many threads, a connection by
 * one. Limits: none of its own; a connection holds a record (16 KiB) while it is being read. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct tls_context;
struct tls;

#define TLS_RECORD_MAX 16384 /* bytes of a record: at most so many are read or written at once */

/* Trusts what is signed by one of that file, NULL: of the system's. ERR_UNSUPPORTED (no library),
 * ERR_ARG (no certificates in it), ERR_NOMEM. */
int tls_context_new(struct tls_context **ret, const char *ca_file, struct err *e);
void tls_context_free(struct tls_context *c); /* its connections stay; accepts NULL */

/* What the functions below return instead of bytes. */
enum {
    TLS_END = 0,        /* the peer has ended its side */
    TLS_AGAIN = -1,     /* when the descriptor can be read */
    TLS_AGAIN_OUT = -2, /* when it can be written */
    TLS_BROKEN = -3,
    TLS_UNTRUSTED = -4, /* the peer's certificate */
};

/* On a connected, non-blocking descriptor, which stays the caller's. `host` is a name or, where
 * is_address, an IP address. NULL without memory. */
struct tls *tls_new(struct tls_context *c, int fd, const char *host, int is_address);
/* The same of a client that has come. */
struct tls *tls_accept(struct tls_context *c, int fd);
void tls_free(struct tls *t);       /* accepts NULL */
int tls_handshake(struct tls *t);   /* 0: it is done, or one of the above */
int tls_is_h2(const struct tls *t); /* after it: HTTP/2 was agreed on */
/* Bytes (> 0), or one of the above. What was read ahead is read without the descriptor: read until
 * TLS_AGAIN. A write that returned TLS_AGAIN is repeated with the same bytes or more. */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
int tls_has_more(const struct tls *t); /* bytes that are read without the descriptor */
/* Tell the peer that nothing more is written: 0 or one of the above. */
int tls_end(struct tls *t);

#endif
