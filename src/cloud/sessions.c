#include "cloud/sessions.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/put.h"
#include "base/rand.h"

#define BUCKETS  1024
#define PERIOD_S 60

struct sessions {
    pthread_mutex_t lock; /* of the list; rank: a leaf */
    struct session list[SESSIONS_MAX];
    struct quota_bucket tries[BUCKETS];
    unsigned char secret[crypto_shorthash_KEYBYTES]; /* of the hash of addresses */
};

struct sessions *sessions_new(void)
{
    struct sessions *s = calloc(1, sizeof *s);

    if (!s || rand_system(s->secret, sizeof s->secret)) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i < BUCKETS; i++) {
        s->tries[i].period_s = PERIOD_S;
        quota_limit(&s->tries[i], SESSIONS_TRIES, 0);
    }
    return s;
}

void session_wipe(struct session *s)
{
    sodium_memzero(s, sizeof *s);
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    for (int i = 0; i < SESSIONS_MAX; i++)
        session_wipe(&s->list[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- who tries keys -------------------------------------------------------------------------- */

/* "1.2.3.4:80", "[::1]:80" or the same without a port. */
static struct quota_bucket *bucket_of(struct sessions *s, const char *address)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned char at[16] = {0}, hash[crypto_shorthash_BYTES];
    int is_6 = *address == '[';
    const char *from = address + is_6;
    uint32_t i;

    snprintf(text, sizeof text, "%.*s", (int)strcspn(from, is_6 ? "]%" : ":"), from);
    if (is_6 && inet_pton(AF_INET6, text, at) == 1 &&
        !IN6_IS_ADDR_V4MAPPED((struct in6_addr *)(void *)at))
        memset(at + 8, 0, 8);
    else if (!is_6 && inet_pton(AF_INET, text, at + 12) == 1)
        at[10] = at[11] = 0xff;
    crypto_shorthash(hash, at, sizeof at, s->secret);
    memcpy(&i, hash, sizeof i);
    return &s->tries[i % BUCKETS];
}

int sessions_try(struct sessions *s, int64_t now_us, const char *address, struct quota_held *ret,
                 int64_t *ret_retry_us)
{
    return quota_hold(bucket_of(s, address), 1, now_us, ret, ret_retry_us) ? -1 : 0;
}

void sessions_try_ok(struct sessions *s, int64_t now_us, const char *address,
                     struct quota_held held)
{
    quota_settle(bucket_of(s, address), held, 0, now_us);
}

/* ---- sessions -------------------------------------------------------------------------------- */

int session_has_csrf(const struct session *s, const char *text)
{
    return text && strlen(text) == SESSION_CSRF && !sodium_memcmp(text, s->csrf, SESSION_CSRF);
}

/* The place of that token; NULL. Under the lock. */
static struct session *find(struct sessions *s, const char *token)
{
    for (int i = 0; i < SESSIONS_MAX; i++) {
        if (*s->list[i].token && !sodium_memcmp(s->list[i].token, token, SESSION_TOKEN))
            return &s->list[i];
    }
    return NULL;
}

int sessions_begin(struct sessions *s, int64_t now_us, int64_t until_us, const char *key,
                   size_t n_key, struct session *ret, struct err *e)
{
    unsigned char random[(SESSION_TOKEN + SESSION_CSRF) / 2];
    struct session *to = &s->list[0];

    if (n_key >= sizeof ret->key || memchr(key, 0, n_key))
        return err_set(e, ERR_ARG, "No key is so long.");
    if (rand_system(random, sizeof random))
        return err_set(e, ERR_IO, "no random bytes from the system");
    memset(ret, 0, sizeof *ret);
    put_bytes(random, SESSION_TOKEN / 2, ret->token);
    put_bytes(random + SESSION_TOKEN / 2, SESSION_CSRF / 2, ret->csrf);
    sodium_memzero(random, sizeof random);
    memcpy(ret->key, key, n_key);
    ret->until_us = until_us;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct session *one = &s->list[i];
        if (*one->token && one->until_us <= now_us)
            session_wipe(one);
        if (one->until_us < to->until_us)
            to = one;
    }
    *to = *ret;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int sessions_find(struct sessions *s, int64_t now_us, const char *token, size_t n,
                  struct session *ret)
{
    char text[SESSION_TOKEN + 1];
    struct session *one;

    if (n != SESSION_TOKEN)
        return 0;
    memcpy(text, token, n);
    text[n] = 0;
    pthread_mutex_lock(&s->lock);
    one = find(s, text);
    if (one && one->until_us <= now_us) {
        session_wipe(one);
        one = NULL;
    }
    if (one)
        *ret = *one;
    pthread_mutex_unlock(&s->lock);
    return one != NULL;
}

int sessions_end(struct sessions *s, const char *token)
{
    struct session *one;

    pthread_mutex_lock(&s->lock);
    one = find(s, token);
    if (one)
        session_wipe(one);
    pthread_mutex_unlock(&s->lock);
    return one != NULL;
}
