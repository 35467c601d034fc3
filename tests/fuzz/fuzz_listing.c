/* A package index's listing: bytes from a server that anybody may run. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hub/hub_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct index_file f;
    struct err e;

    if (simple_find((const char *)data, n, "https://index.test/simple/p/", "p", "1.0", &f, &e) ==
        0) {
        /* What is found can be stored under its name, in one folder. */
        if (strchr(f.name, '/') || f.name[0] == '.' || !f.url[0])
            abort();
    }
    return 0;
}
