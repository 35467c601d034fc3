/* Stored answers at the start, and those of processes that are gone: what is not booked goes on, so
 * that it is. */
#include <string.h>

#include "cloud/cloud_int.h"
#include "cloud/stored.h"

struct stored_all *cloud_stored(const struct cloud *c)
{
    return c->stored;
}

static int is_booked(void *arg, const char *request_id, int *ret, struct err *e)
{
    return books_has(arg, request_id, ret, e);
}

int cloud_stored_open(struct cloud *c, struct err *e)
{
    const struct stored_config config = {.memory = c->config.stored_memory,
                                         .window_us = c->config.stored_window_us,
                                         .folder = c->config.stored_folder};
    struct books_reader *books = NULL;
    int r = stored_open(&c->stored, &config, c->config.wall_us, e);

    if (!r && c->books && config.folder)
        r = books_reader_open(&books, c->config.ledger_path, e);
    if (!r && books)
        r = stored_check_booked(c->stored, is_booked, books, e);
    books_reader_close(books);
    return r;
}

/* The ledger is opened when there is something to ask it. */
struct heir {
    struct cloud *c;
    struct books_reader *books;
};

static int is_booked_now(void *arg, const char *request_id, int *ret, struct err *e)
{
    struct heir *h = arg;
    int r = 0;

    if (h->c->books && !h->books)
        r = books_reader_open(&h->books, h->c->config.ledger_path, e);
    return r || !h->books ? r : books_has(h->books, request_id, ret, e);
}

static int can_go_on(void *arg, const struct stored_head *head)
{
    return offers_have(&((struct heir *)arg)->c->offers, head->text[STORED_FINGERPRINT]);
}

int cloud_stored_inherit(struct cloud *c, int64_t wall_us, struct err *e)
{
    struct heir h = {.c = c};
    const struct stored_heir heir = {is_booked_now, can_go_on, &h};
    int r = stored_inherit(c->stored, &heir, wall_us, e);

    books_reader_close(h.books);
    return r;
}

void cloud_stored_stats(const struct cloud *c, struct cloud_stats *ret)
{
    struct stored_stats s = {0};

    if (c->stored)
        stored_stats(c->stored, &s);
    ret->stored = s.stored;
    ret->stored_resumed = s.resumed;
    ret->stored_followed = s.followed;
    ret->stored_lost = s.lost;
    ret->stored_moved = s.moved;
    ret->stored_taken = s.taken;
    ret->stored_now = s.n;
    ret->stored_pending = s.n_pending;
    ret->stored_bytes = s.bytes;
}
