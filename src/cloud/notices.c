#include "cloud/notices.h"

#include <stdlib.h>
#include <string.h>

#define NAME(name, text) text,
static const char *const names[] = {NOTICE_TYPES(NAME)};
#undef NAME

const char *notice_type_name(enum notice_type t)
{
    return names[t];
}

int notice_type_find(const char *name)
{
    for (int i = 0; i < N_NOTICE_TYPES; i++) {
        if (!strcmp(names[i], name))
            return i;
    }
    return -1;
}

int notices_init(struct notices *q, struct mbox *box, int mail_kind, struct err *e)
{
    *q = (struct notices){.box = box, .item = {.kind = mail_kind}};
    pthread_mutex_init(&q->lock, NULL);
    q->ring = box ? calloc(NOTICES_MAX, sizeof *q->ring) : NULL;
    return !box || q->ring ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

void notices_done(struct notices *q)
{
    free(q->ring);
    pthread_mutex_destroy(&q->lock);
}

void notices_put(struct notices *q, const struct notice *n)
{
    int is_kept;

    if (!q || !q->box)
        return;
    pthread_mutex_lock(&q->lock);
    is_kept = q->n < NOTICES_MAX;
    if (is_kept)
        q->ring[(q->first + q->n++) % NOTICES_MAX] = *n;
    q->n_lost += !is_kept;
    pthread_mutex_unlock(&q->lock);
    if (is_kept && mbox_post(q->box, &q->item))
        mbox_wake(q->box);
}

int notices_take(struct notices *q, struct notice *ret)
{
    int any;

    pthread_mutex_lock(&q->lock);
    any = q->n > 0;
    if (any) {
        *ret = q->ring[q->first];
        q->first = (q->first + 1) % NOTICES_MAX;
        q->n--;
    }
    pthread_mutex_unlock(&q->lock);
    return any;
}

int64_t notices_lost(struct notices *q)
{
    int64_t n;

    pthread_mutex_lock(&q->lock);
    n = q->n_lost;
    pthread_mutex_unlock(&q->lock);
    return n;
}
