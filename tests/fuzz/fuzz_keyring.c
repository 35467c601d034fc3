/* Fuzz target: the file of API keys. What is taken has well-formed names, tenants in range, and
 * keys that can be looked up. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "cloud/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_table *t = NULL;
    struct err e = {0};

    if (key_table_parse(&t, "f", (const char *)data, size, &e)) {
        CHECK(!t && !strncmp(e.text, "f:", 2));
        return 0;
    }
    CHECK(t->n_tenants >= 1 && t->n_tenants <= CLOUD_TENANTS_MAX && t->n_lines <= CLOUD_KEYS_MAX);
    for (int i = 0; i < t->n_tenants; i++)
        CHECK(key_name_ok(t->tenants[i].name) && t->tenants[i].limits.concurrency >= -1);
    for (int i = 0; i < t->n_lines; i++)
        CHECK(key_name_ok(t->lines[i].id) && t->lines[i].i_tenant < t->n_tenants);
    CHECK(!key_find(t, "not a key", 9));
    key_table_free(t);
    return 0;
}
