#include "serve/manager.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sd_notify.h"
#include "serve/local_supplier.h"

/* The manager's socket may be full or gone: that is no reason to stop serving. */
static void tell(const char *lines)
{
    if (sd_notify_send(lines) < 0)
        LOG_EVENT(LOG_WARN, "the service manager was not told", LOG_STR("what", lines));
}

void manager_ready(const struct server *s)
{
    char lines[200];

    snprintf(lines, sizeof lines, "READY=1\nSTATUS=Serving %d model%s on port %d.", s->n_served,
             plural(s->n_served), serve_port(s));
    tell(lines);
}

void manager_reloading(void)
{
    char lines[80];

    snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_now_us());
    tell(lines);
}

void manager_stopping(void)
{
    tell("STOPPING=1\nSTATUS=Finishing what runs.");
}

void manager_upgraded(int pid)
{
    char lines[80];

    snprintf(lines, sizeof lines, "MAINPID=%d\nSTATUS=Upgraded.", pid);
    tell(lines);
}

static const struct local *first_frozen(const struct server *s)
{
    struct load load;

    for (int i = 0; i < s->n_locals; i++) {
        const struct local *l = &s->locals[i];
        if (atomic_load(&l->state) != SUPPLIER_READY)
            continue;
        engine_load(l->engine, &load);
        if (load.frozen)
            return l;
    }
    return NULL;
}

void manager_beat(struct server *s)
{
    int64_t now = clock_now_us(), every = sd_notify_watchdog_us() / 2;
    const struct local *frozen;

    if (!every || now < s->beat_us_next || atomic_load(&s->leaving))
        return; /* of who leaves it hears nothing: its successor is the main process */
    s->beat_us_next = now + every;
    frozen = first_frozen(s);
    if (frozen)
        LOG_EVENT(LOG_ERROR, "the watchdog is not told that all is well",
                  LOG_STR("frozen", frozen->config->id));
    else
        tell("WATCHDOG=1");
}
