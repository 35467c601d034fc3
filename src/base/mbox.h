/* Mailbox: many producers hand intrusive items to one consumer, with a wake-up.
 *
 * Each item embeds a `struct mbox_item` and is in at most one mailbox at a time, at most once:
 * posting an item that is already posted does nothing. So a mailbox cannot overflow. The consumer
 * waits on `fd` (an eventfd, poll it) or with mbox_wait, then takes everything at once, oldest
 * first. Lock-free.
 *
 * The consumer walks a taken list with mbox_next, which releases the item for a new post. */
#ifndef BASE_MBOX_H
#define BASE_MBOX_H

#include <stdatomic.h>
#include <stdint.h>

struct mbox_item {
    struct mbox_item *next;
    _Atomic int posted;
    int kind;    /* for the consumer: what the item is part of; not used here */
    void *owner; /* for the consumer; not used here */
};

struct mbox {
    _Atomic(struct mbox_item *) head;
    int fd; /* eventfd, non-blocking */
};

int mbox_open(struct mbox *m); /* 0 or ERR_IO */
void mbox_close(struct mbox *m);

/* Any thread. Returns 1 when the consumer must be woken (the box was empty), else 0. */
int mbox_post(struct mbox *m, struct mbox_item *it);
/* Any thread: make `fd` readable. Call once per batch of posts when any post returned 1. */
void mbox_wake(struct mbox *m);

/* Consumer: the list of all items posted so far, oldest first, or NULL. */
struct mbox_item *mbox_take(struct mbox *m);
/* Consumer: detach the first item of a taken list; *list moves on. From here on the item may be
 * posted again, and what a producer did before a post that returned 0 because of this list is
 * visible. Handle the item after this call. NULL at the end. */
struct mbox_item *mbox_next(struct mbox_item **list);
/* Consumer: clear the wake-up (before mbox_take). */
void mbox_clear(struct mbox *m);
/* Consumer: block until woken or timeout_ms (-1: for ever). */
void mbox_wait(struct mbox *m, int timeout_ms);

#endif
