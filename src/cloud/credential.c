#include "cloud/credential.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "policy/weigh.h"

#define BEARER         "Bearer "
#define NAME_MAX_BYTES 512

struct cooldown {
    struct cooldown *next;
    char *name;           /* NULL: of one key at one model */
    pthread_mutex_t lock; /* rank: a leaf */
    struct breaker breaker;
    struct allowance allowance; /* of an account at one model */
};

struct cooldowns {
    struct cooldown *first;
};

struct credentials {
    struct cooldowns *of;
    const char *model;
    pthread_mutex_t lock; /* of the turns; rank: above cooldowns' */
    int n;
    int32_t weight[CREDENTIALS_MAX];
    int64_t credit[CREDENTIALS_MAX];
    struct cooldown *cooldown[CREDENTIALS_MAX]; /* whether it is left alone */
    struct cooldown *there[CREDENTIALS_MAX]; /* what is left of it at this model; may be the same */
    char header[CREDENTIALS_MAX][CREDENTIAL_KEY_MAX + sizeof BEARER];
};

/* ---- what keys share ------------------------------------------------------------------------- */

struct cooldowns *cooldowns_new(void)
{
    return calloc(1, sizeof(struct cooldowns));
}

void cooldowns_free(struct cooldowns *a)
{
    struct cooldown *next;

    for (struct cooldown *x = a ? a->first : NULL; x; x = next) {
        next = x->next;
        pthread_mutex_destroy(&x->lock);
        free(x->name);
        free(x);
    }
    free(a);
}

/* The cooldown of that account, made where it is missing; without a name a new one. */
static struct cooldown *get_cooldown(struct cooldowns *a, const char *name)
{
    struct cooldown *x = name ? a->first : NULL;

    while (x && (!x->name || strcmp(x->name, name)))
        x = x->next;
    if (x)
        return x;
    x = calloc(1, sizeof *x);
    if (x && name && !(x->name = strdup(name))) {
        free(x);
        return NULL;
    }
    if (!x)
        return NULL;
    pthread_mutex_init(&x->lock, NULL);
    x->next = a->first;
    a->first = x;
    return x;
}

/* ---- keys ------------------------------------------------------------------------------------ */

struct credentials *credentials_new(struct cooldowns *of, const char *model)
{
    struct credentials *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->of = of;
    c->model = model;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void credentials_free(struct credentials *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    explicit_bzero(c->header, sizeof c->header);
    free(c);
}

int credentials_add(struct credentials *c, const char *key, int32_t weight, const char *account,
                    struct err *e)
{
    char name[NAME_MAX_BYTES];

    CHECK(weight > 0 && strlen(key) <= CREDENTIAL_KEY_MAX);
    if (c->n >= CREDENTIALS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d keys", CREDENTIALS_MAX);
    snprintf(name, sizeof name, "%s\n%s", account ? account : "", c->model);
    c->cooldown[c->n] = get_cooldown(c->of, account);
    c->there[c->n] = account ? get_cooldown(c->of, name) : c->cooldown[c->n];
    if (!c->cooldown[c->n] || !c->there[c->n])
        return err_set(e, ERR_NOMEM, "out of memory");
    c->weight[c->n] = weight;
    if (*key)
        snprintf(c->header[c->n], sizeof c->header[c->n], BEARER "%s", key);
    c->n++;
    return 0;
}

const char *credentials_header(const struct credentials *c, int i)
{
    CHECK(i >= 0 && i < c->n);
    return c->header[i];
}

/* ---- whose turn ------------------------------------------------------------------------------ */

struct allowance_mark credentials_begin(struct credentials *c, int i, int64_t n_tokens,
                                        int64_t now_us)
{
    struct cooldown *x = c->there[i];
    struct allowance_mark m;

    pthread_mutex_lock(&x->lock);
    m = allowance_begin(&x->allowance, n_tokens, now_us);
    pthread_mutex_unlock(&x->lock);
    return m;
}

void credentials_learn(struct credentials *c, int i, const struct allowance_mark *of,
                       const struct limits_told *told, int64_t now_us)
{
    struct cooldown *x = c->there[i];

    if (!told->any)
        return;
    pthread_mutex_lock(&x->lock);
    allowance_learn(&x->allowance, of, told, now_us);
    pthread_mutex_unlock(&x->lock);
}

/* 0: there is something left of it. */
static int64_t look_there(struct cooldown *x, int64_t now_us)
{
    int64_t at;

    pthread_mutex_lock(&x->lock);
    at = allowance_look(&x->allowance, now_us);
    pthread_mutex_unlock(&x->lock);
    return at;
}

/* 0: it may be taken now. */
static int64_t look_breaker(struct cooldown *x, int64_t now_us, enum breaker_why *ret_why)
{
    struct breaker_view v;

    pthread_mutex_lock(&x->lock);
    breaker_look(&x->breaker, &breaker_usual, now_us, &v);
    *ret_why = x->breaker.why;
    pthread_mutex_unlock(&x->lock);
    return v.may_take ? 0 : v.not_before_us > now_us ? v.not_before_us : now_us + 1;
}

/* 0: the key may be used now. */
static int64_t look(const struct credentials *c, int i, int64_t now_us, enum breaker_why *ret_why)
{
    int64_t at = look_breaker(c->cooldown[i], now_us, ret_why),
            there = look_there(c->there[i], now_us);

    if (there <= at)
        return at;
    *ret_why = BREAKER_ASKED;
    return there;
}

int64_t credentials_look(struct credentials *c, int64_t now_us, enum breaker_why *ret_why)
{
    int64_t first = 0;

    for (int i = 0; i < c->n; i++) {
        enum breaker_why why;
        int64_t at = look(c, i, now_us, &why);
        if (!at)
            return 0;
        if (first && at >= first)
            continue;
        first = at;
        *ret_why = why;
    }
    return first;
}

static int take(struct cooldown *x, int64_t now_us, int32_t *ret_turn)
{
    pthread_mutex_lock(&x->lock);
    *ret_turn = breaker_take(&x->breaker, &breaker_usual, now_us);
    pthread_mutex_unlock(&x->lock);
    return *ret_turn < 0 ? -1 : 0;
}

int credentials_take(struct credentials *c, int64_t now_us, struct credential_use *ret)
{
    unsigned char may[CREDENTIALS_MAX];
    enum breaker_why why;
    int i;

    *ret = (struct credential_use){.i = -1};
    pthread_mutex_lock(&c->lock);
    for (i = 0; i < c->n; i++)
        may[i] = !look(c, i, now_us, &why);
    while ((i = weigh_turn(c->credit, c->weight, may, c->n)) >= 0 &&
           take(c->cooldown[i], now_us, &ret->turn))
        may[i] = 0; /* another supplier of its account was quicker */
    pthread_mutex_unlock(&c->lock);
    ret->i = i;
    return i < 0 ? -1 : 0;
}

int credentials_note(struct credentials *c, const struct credential_use *u, enum breaker_end end,
                     int64_t retry_us, int64_t now_us)
{
    struct breaker_note n = {.end = end == BREAKER_FAILED ? BREAKER_NOTHING : end,
                             .turn = u->turn,
                             .first_us = -1,
                             .retry_us = retry_us,
                             .jitter = (uint32_t)now_us * 2654435761u};
    struct cooldown *x;
    int changed;

    if (u->i < 0)
        return 0;
    x = c->cooldown[u->i];
    pthread_mutex_lock(&x->lock);
    changed = breaker_note(&x->breaker, &breaker_usual, &n, now_us);
    pthread_mutex_unlock(&x->lock);
    return changed;
}
