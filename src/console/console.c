#include "console/console.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/sysmem.h"
#include "console/console_int.h"

struct console *console_new(const struct console_setup *s)
{
    struct console *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->setup = *s;
    c->created = clock_wall_us() / 1000000;
    c->opened_us = clock_now_us();
    sysmem_cpu_name(c->cpu, sizeof c->cpu);
    c->machine_bytes = sysmem_total();
    c->meter = meter_new();
    pthread_mutex_init(&c->overview.lock, NULL);
    c->n_io = net_n_io(s->net);
    CHECK(c->n_io <= CONSOLE_IO_MAX);
    for (int i = 0; i < c->n_io; i++) {
        c->rows[i] = calloc(1, sizeof *c->rows[i]);
        if (!c->rows[i] || !c->meter) {
            console_free(c);
            return NULL;
        }
        c->rows[i]->console = c;
    }
    return c;
}

void console_free(struct console *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n_io && c->rows[i]; i++) {
        for (int m = 0; m < CLOUD_MODELS_MAX; m++)
            free(c->rows[i]->model[m]);
        routes_done(&c->rows[i]->routes);
        free(c->rows[i]);
    }
    meter_free(c->meter);
    overview_put(c->overview.text);
    pthread_mutex_destroy(&c->overview.lock);
    free(c);
}

void console_set_generation(struct console *c, int generation)
{
    atomic_store(&c->generation, generation);
}

void console_set_threads(struct console *c, int n_compute)
{
    c->n_threads = n_compute;
}

int console_add_model(struct console *c, const char *id, struct err *e)
{
    struct console_model *m = &c->model[c->n_models];

    if (c->n_models >= CLOUD_MODELS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d models", CLOUD_MODELS_MAX);
    for (int i = 0; i < c->n_io; i++) {
        c->rows[i]->model[c->n_models] = calloc(1, sizeof *c->rows[i]->model[0]);
        if (!c->rows[i]->model[c->n_models])
            return err_set(e, ERR_NOMEM, "out of memory");
    }
    m->id = id;
    meter_model(c->meter, id, &m->meters);
    c->n_models++;
    return 0;
}

struct rows *console_rows(struct console *c, int i_io)
{
    CHECK(i_io >= 0 && i_io < c->n_io);
    return c->rows[i_io];
}
