/* A door of the cloud room: sessions of the console. Who shows a key of the admin API once gets a
 * token, which a browser keeps as a cookie in the key's place. The key's text stays here, in memory
 * only: at each request it is judged anew, so what ends the key ends its sessions. A session ends
 * by itself at its time, and with the process.
 *
 * A change needs more than the cookie, which a browser sends by itself: the session's second text,
 * which only a page of this server can read (csrf).
 *
 * Who guesses keys is slowed down: SESSIONS_TRIES failures a minute of one address (IPv6: its first
 * 64 bits). Addresses share a fixed table of counts, by a secret hash.
 *
 * Threads: any. Limits: SESSIONS_MAX; beyond, the one that would end first goes. */
#ifndef CLOUD_SESSIONS_H
#define CLOUD_SESSIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cloud/accounts.h"
#include "cloud/quota.h"

#define SESSIONS_MAX   256
#define SESSIONS_TRIES 10
#define SESSION_TOKEN  64 /* characters */
#define SESSION_CSRF   32

struct sessions;

/* A copy; whoever has one wipes it (session_wipe). */
struct session {
    char token[SESSION_TOKEN + 1], csrf[SESSION_CSRF + 1], key[ACCOUNTS_KEY_MAX];
    int64_t until_us; /* of the monotonic clock */
};
void session_wipe(struct session *s);
/* Is that its second text? In constant time; NULL is none. */
int session_has_csrf(const struct session *s, const char *text);

struct sessions *sessions_new(void);    /* NULL: no memory, or no random bytes */
void sessions_free(struct sessions *s); /* accepts NULL */

/* A try to show a key, from that address. 0, or -1 and when to come back. */
int sessions_try(struct sessions *s, int64_t now_us, const char *address, struct quota_held *ret,
                 int64_t *ret_retry_us);
/* It was the right one: the try does not count. */
void sessions_try_ok(struct sessions *s, int64_t now_us, const char *address,
                     struct quota_held held);
/* Begin a session of that key. ERR_ARG: no key is so long; ERR_IO: no random bytes. */
int sessions_begin(struct sessions *s, int64_t now_us, int64_t until_us, const char *key,
                   size_t n_key, struct session *ret, struct err *e);
/* 1: there is one of that token, in *ret. */
int sessions_find(struct sessions *s, int64_t now_us, const char *token, size_t n,
                  struct session *ret);
int sessions_end(struct sessions *s, const char *token); /* 1: there was one */

#endif
