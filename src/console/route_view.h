/* How suppliers were chosen, kept for people to ask: the last ROUTES_RECENT requests of each io
 * thread, and what is told of one. On the thread that owns the rows; writing: any. */
#ifndef CONSOLE_ROUTE_VIEW_H
#define CONSOLE_ROUTE_VIEW_H

#include <stdint.h>

#include "base/buf.h"

#define ROUTES_RECENT 256

struct rows;

struct route_kept {
    char id[40], client_id[80];
    int i_tenant;
    char record[]; /* cloud/route_record.h, NUL-terminated */
};

/* A ring of them; zeroed: empty. */
struct routes_kept {
    struct route_kept *at[ROUTES_RECENT];
    uint64_t n; /* ever */
};
void routes_done(struct routes_kept *k);
/* The newest of that tenant and id, its own or its client's; i_tenant WATCH_ALL: of any, by its own
 * id. NULL. */
const struct route_kept *routes_find(const struct routes_kept *k, int i_tenant, const char *id);

/* The decisions of a record, made again, as JSON: each candidate with its reason. What suppliers
 * are owed is not told. 0, ERR_FORMAT, or the buffer's failure. */
int route_view(const char *id, const char *record, struct buf *out);

#endif
