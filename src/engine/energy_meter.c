#include "engine/energy_meter.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/energy_flow.h"

#define QUICK_INTERVAL_US 1000000

struct energy_meter {
    pthread_mutex_t lock; /* of all below; rank: a leaf */
    struct energy label;
    struct energy_flow flow;
    int n_working; /* engines */

    /* The model. */
    struct energy_curve curve;
    int64_t cpu_us, at_us; /* of its last reading */
};

int energy_meter_open_model(struct energy_meter **ret, const struct energy_curve *c,
                            const struct energy *label, struct err *e)
{
    struct energy_meter *m = calloc(1, sizeof *m);

    if (!m)
        return err_set(e, ERR_NOMEM, "out of memory");
    CHECK(c->n > 0 && c->n <= ENERGY_CURVE_MAX);
    pthread_mutex_init(&m->lock, NULL);
    m->label = *label;
    m->curve = *c;
    m->at_us = clock_now_us();
    m->cpu_us = clock_process_us();
    energy_flow_open(&m->flow, QUICK_INTERVAL_US, 1, m->at_us);
    *ret = m;
    return 0;
}

const struct energy *energy_meter_label(const struct energy_meter *m)
{
    return &m->label;
}

/* [locked] The threads that computed since the last reading, on average, and what they drew. */
static int64_t read_model(struct energy_meter *m)
{
    int64_t now = clock_now_us(), cpu = clock_process_us(), us = now - m->at_us, busy;

    if (us > 0) {
        busy = (cpu - m->cpu_us) * 1000 / us;
        energy_flow_add(&m->flow, now, energy_curve_uw(&m->curve, busy) * us / 1000000);
        m->at_us = now;
        m->cpu_us = cpu;
    }
    return now;
}

void energy_meter_close(struct energy_meter *m)
{
    if (!m)
        return;
    energy_flow_idle(&m->flow, read_model(m));
    energy_flow_close(&m->flow);
    LOG_EVENT(LOG_INFO, "energy", LOG_STR("boundary", energy_boundary_name(m->label.boundary)),
              LOG_STR("method", energy_method_name(m->label.method)),
              LOG_INT("joules", m->flow.metered_uj / 1000000),
              LOG_INT("unattributed", m->flow.unattributed_uj / 1000000));
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void energy_meter_begin(struct energy_meter *m)
{
    pthread_mutex_lock(&m->lock);
    if (!m->n_working++)
        energy_flow_idle(&m->flow, read_model(m));
    pthread_mutex_unlock(&m->lock);
}

void energy_meter_end(struct energy_meter *m)
{
    pthread_mutex_lock(&m->lock);
    CHECK(m->n_working > 0);
    m->n_working--;
    pthread_mutex_unlock(&m->lock);
}

int64_t energy_meter_take(struct energy_meter *m, int *ret_is_late)
{
    int64_t now, uj;

    pthread_mutex_lock(&m->lock);
    now = read_model(m);
    uj = energy_flow_take(&m->flow, now);
    *ret_is_late = energy_flow_is_late(&m->flow, now);
    pthread_mutex_unlock(&m->lock);
    return uj;
}
