/* The overview: all that an operator looks at, in one JSON text (docs/api.md has its members). One
 * is made for all who look, at most each second, and only while somebody does.
 *
 * Who wants one asks overview_look. Where none is fresh, the first to ask makes it: it sends a
 * watch of all tenants round the io threads (watch.h, WATCH_ALL), and calls overview_make when the
 * watch is home. All others find it when they ask again. Nothing of it is read from a disk.
 *
 * Threads: any, but for overview_make: where the watch is at home. */
#ifndef CONSOLE_OVERVIEW_H
#define CONSOLE_OVERVIEW_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "job/energy.h"

#define OVERVIEW_US           INT64_C(1000000) /* one is fresh so long */
#define OVERVIEW_WATCHERS_MAX 64               /* streams of them */
#define OVERVIEW_TENANTS_MAX  100
#define OVERVIEW_TEXT_MAX     ((size_t)4 << 20)

struct console;
struct watch;

/* The meter of this process and the site of this machine, each NULL where there is none. */
struct overview_meter {
    const struct energy_look *look;
    const char *site;
};

struct overview_text {
    _Atomic int n_holders;
    uint64_t seq; /* one more each time */
    int64_t made_us;
    struct buf text;
};

enum overview_turn {
    OVERVIEW_READY, /* here it is, held: overview_put */
    OVERVIEW_MAKE,  /* the caller makes it */
    OVERVIEW_WAIT   /* somebody else does */
};
enum overview_turn overview_look(struct console *c, int64_t now_us, struct overview_text **ret);
void overview_put(struct overview_text *t); /* accepts NULL */
/* After OVERVIEW_MAKE, always; w: what was collected. NULL: out of memory, and the next may try. */
struct overview_text *overview_make(struct watch *w, const struct overview_meter *m);
/* One more stream. ERR_QUEUE_FULL. */
int overview_join(struct console *c, struct err *e);
void overview_leave(struct console *c);

#endif
