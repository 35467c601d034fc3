/* A hostile model file. Input: the file up to its tensors' data, behind which there are zeros
 * enough for small tensors. Whatever is said of it, opening without weights (metadata, shapes,
 * vocabulary, template) says no with a sentence, or gives an engine whose facts can be read. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "engine/engine.h"
#include "engine/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DATA = 1 << 20 };

/* Every entry of an opened file can be walked. */
static void walk(const char *path)
{
    struct gguf *g = NULL;
    struct err err = {0};

    if (gguf_open(&g, path, &err)) {
        CHECK(err.code < 0 && *err.text && !g);
        return;
    }
    for (int i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        struct gguf_str s;
        size_t pos = 0;
        uint64_t count = 0;
        volatile double sum = 0;
        while (kv->type == GGUF_STR && gguf_next_str(kv, &pos, &s))
            count++, sum = sum + (s.n ? s.p[s.n - 1] : 0);
        for (uint64_t k = 0; kv->type != GGUF_STR && k < kv->n; k++, count++)
            sum = sum + gguf_real_at(kv, k) + (double)gguf_int_at(kv, k);
        CHECK(count == kv->n);
    }
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        volatile uint8_t ends = t->data[0];
        ends = (uint8_t)(ends + t->data[t->bytes - 1]);
        CHECK(gguf_find_tensor(g, t->name) == t);
    }
    gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    struct engine_config c = {.path = path, .describe_only = 1};
    struct engine *e = NULL;
    struct err err = {0};
    int fd = memfd_create("gguf", MFD_CLOEXEC);

    CHECK(fd >= 0);
    CHECK(write(fd, data, n) == (ssize_t)n);
    CHECK(!ftruncate(fd, (off_t)(n + DATA)));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    walk(path);
    if (engine_open(&e, &c, NULL, NULL, NULL, &err)) {
        CHECK(err.code < 0 && strstr(err.text, path));
    } else {
        const struct engine_info *in = engine_info(e);
        CHECK(in->n_layers > 0 && in->n_vocab > 0 && in->n_embd > 0 && in->context_trained > 0);
        engine_close(e);
    }
    close(fd);
    return 0;
}
