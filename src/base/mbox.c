#include "base/mbox.h"

#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"

int mbox_open(struct mbox *m)
{
    atomic_init(&m->head, NULL);
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return m->fd < 0 ? ERR_IO : 0;
}

void mbox_close(struct mbox *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

int mbox_post(struct mbox *m, struct mbox_item *it)
{
    struct mbox_item *old;

    if (atomic_exchange_explicit(&it->posted, 1, memory_order_acq_rel))
        return 0;
    old = atomic_load_explicit(&m->head, memory_order_relaxed);
    do {
        it->next = old;
    } while (!atomic_compare_exchange_weak_explicit(&m->head, &old, it, memory_order_release,
                                                    memory_order_relaxed));
    return old == NULL;
}

void mbox_wake(struct mbox *m)
{
    uint64_t one = 1;
    ssize_t r = write(m->fd, &one, sizeof one);
    (void)r; /* EAGAIN: already readable, which is all we want */
}

struct mbox_item *mbox_take(struct mbox *m)
{
    struct mbox_item *it = atomic_exchange_explicit(&m->head, NULL, memory_order_acquire);
    struct mbox_item *first = NULL, *next;

    while (it) { /* newest first: reverse */
        next = it->next;
        it->next = first;
        first = it;
        it = next;
    }
    return first;
}

struct mbox_item *mbox_next(struct mbox_item **list)
{
    struct mbox_item *it = *list;
    if (it) {
        *list = it->next;
        atomic_exchange_explicit(&it->posted, 0, memory_order_acq_rel);
    }
    return it;
}

void mbox_clear(struct mbox *m)
{
    uint64_t n;
    ssize_t r = read(m->fd, &n, sizeof n);
    (void)r;
}

void mbox_wait(struct mbox *m, int timeout_ms)
{
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) > 0)
        mbox_clear(m);
}
