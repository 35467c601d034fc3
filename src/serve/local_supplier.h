/* The local engine behind the supplier door: one loaded model, or one that is being loaded.
 *
 * Threads: local_load on the loader; the rest as cloud/supplier.h says. */
#ifndef SERVE_LOCAL_SUPPLIER_H
#define SERVE_LOCAL_SUPPLIER_H

#include <stdatomic.h>

#include "cloud/cloud.h"
#include "engine/engine.h"
#include "serve/serve.h"

struct local {
    struct supplier s; /* first */
    char id[CLOUD_SUPPLIER_ID_MAX];
    const struct serve_model *config;
    _Atomic int state;          /* enum supplier_state; READY is stored last */
    _Atomic int progress;       /* per cent */
    _Atomic int32_t factor_ppm; /* its site leaves it so much of its places */
    _Atomic int32_t unlent_ppm; /* of these: that contracts do not lend */
    struct engine *engine;
    struct energy_meter *meter; /* the server's: set before local_load; may be NULL */
    struct supplier_facts facts;
    struct supplier_engine view;
    char fingerprint[24], weights[80], engine_text[64];
    struct err err;         /* FAILED: why */
    const char *rates_path; /* the bench store, or NULL */
    int64_t stall_us;
    int cpu;
};

void local_init(struct local *l, const struct serve_model *m, const struct serve_config *c);
/* Load the model; on failure the state is FAILED and l->err says why. `reserved`: memory promised
 * to the models before it, which need not have touched it yet. */
int local_load(struct local *l, struct team *t, uint64_t reserved);
/* Memory promised to a loaded model that it takes only in use. */
uint64_t local_reserved(const struct local *l);
/* What loading it would take and give, for people, from the file's head alone. Adds the bytes to
 * *io_bytes. ERR_* where it would fail. */
int local_describe(const struct serve_model *m, const struct serve_config *c, uint64_t *io_bytes,
                   struct buf *out, struct err *e);
void local_done(struct local *l); /* no job may be open */

#endif
