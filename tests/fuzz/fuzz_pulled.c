/* The note beside a model (models/NAME.json): what is read can be written, and is read the same. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz_file.h"
#include "hub/hub_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char home[] = "/tmp/gaufre-pulled-XXXXXX";
static const char *const parts[] = {"models/m.json", "models/w.json", "tmp/w.json",
                                    "models",        "tmp",           ""};

static void path_of(const char *part, char out[128])
{
    snprintf(out, 128, "%s/%s", home, part);
}

static void forget(void)
{
    char path[128];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        path_of(parts[i], path);
        remove(path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int made;
    struct hub h = {.home = home};
    struct origin o, again;
    struct err e = {0};
    char path[128];
    FILE *f;

    if (!made++) {
        CHECK(mkdtemp(home));
        path_of("models", path);
        CHECK(!mkdir(path, 0700));
        path_of("tmp", path);
        CHECK(!mkdir(path, 0700));
        atexit(forget);
    }
    path_of("models/m.json", path);
    f = fopen(path, "w");
    CHECK(f && fwrite(data, 1, n, f) == n && !fclose(f));
    if (origin_read(&h, "m", &o))
        return 0;
    CHECK(digest_is_hex(o.sha256) && strlen(o.source) < sizeof o.source);
    if (!origin_write(&h, "w", &o, &e)) {
        CHECK(!origin_read(&h, "w", &again));
        CHECK(!strcmp(o.source, again.source) && !strcmp(o.sha256, again.sha256) &&
              o.bytes == again.bytes && o.mtime_us == again.mtime_us);
    }
    return 0;
}
