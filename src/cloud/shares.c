#include "cloud/shares.h"

#include <stdio.h>
#include <string.h>

void shares_init(struct shares *s)
{
    pthread_mutex_init(&s->lock, NULL);
}

void shares_done(struct shares *s)
{
    pthread_mutex_destroy(&s->lock);
}

int shares_find(struct shares *s, char kind, const char *name, size_t n)
{
    char key[SHARES_NAME_MAX];
    int i = 0;

    if (!n || snprintf(key, sizeof key, "%c %.*s", kind, (int)n, name) >= (int)sizeof key)
        return -1;
    pthread_mutex_lock(&s->lock);
    while (i < s->n && strcmp(s->of[i].name, key))
        i++;
    if (i == s->n && i < SHARES_MAX)
        memcpy(s->of[s->n++].name, key, sizeof key);
    pthread_mutex_unlock(&s->lock);
    return i < SHARES_MAX ? i : -1;
}

void shares_add(struct shares *s, int i, int k, int64_t amount, int64_t now_us)
{
    pthread_mutex_lock(&s->lock);
    share_add(&s->all, amount, now_us);
    if (i >= 0)
        share_add(&s->of[i].share, amount, now_us);
    if (k >= 0)
        share_add(&s->of[k].share, amount, now_us);
    pthread_mutex_unlock(&s->lock);
}

int shares_is_over(struct shares *s, int i, int32_t percent, int64_t now_us)
{
    int over;

    if (i < 0 || percent <= 0)
        return 0;
    pthread_mutex_lock(&s->lock);
    over = share_is_over(&s->of[i].share, &s->all, percent, now_us);
    pthread_mutex_unlock(&s->lock);
    return over;
}
