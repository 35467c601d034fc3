/* Stored answers at the start: those that are not booked go on, so that they are. */
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

void cloud_stored_stats(const struct cloud *c, struct cloud_stats *ret)
{
    struct stored_stats s = {0};

    if (c->stored)
        stored_stats(c->stored, &s);
    ret->stored = s.stored;
    ret->stored_resumed = s.resumed;
    ret->stored_followed = s.followed;
    ret->stored_lost = s.lost;
    ret->stored_now = s.n;
    ret->stored_pending = s.n_pending;
    ret->stored_bytes = s.bytes;
}
