/* Fuzz target: what Slurm's commands print. The first byte chooses which. Whatever the bytes:
 * states of all nodes, numbers of jobs, or a refusal with a sentence. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "serve/slurm_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"node1", "node2"};
    struct slurm_node v[2] = {{LEND_STATES, 0}, {LEND_STATES, 0}};
    int64_t id[SLURM_JOBS_MAX];
    struct err e = {0};
    int r;

    if (!n)
        return 0;
    if (data[0] % 2) {
        r = slurm_jobs_read((const char *)data + 1, n - 1, id, &e);
        CHECK(r <= SLURM_JOBS_MAX && (r >= 0 || *e.text));
        for (int i = 0; i < r; i++)
            CHECK(id[i] > 0);
        return 0;
    }
    r = slurm_nodes_read((const char *)data + 1, n - 1, names, 2, "idle", v, &e);
    CHECK(r == 0 || *e.text);
    for (int i = 0; !r && i < 2; i++)
        CHECK(v[i].state < LEND_STATES && (v[i].state != LEND_SERVING || v[i].is_ours));
    return 0;
}
