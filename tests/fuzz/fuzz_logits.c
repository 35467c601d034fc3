/* A logits file: every row of one that is taken can be read and unpacked. */
#include <stdlib.h>
#include <string.h>

#include "cmd/logits_file.h"
#include "fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct logits_file f;
    struct err e = {0};
    uint64_t sum = 0;
    float *out;

    if (logits_open(&f, fuzz_file(data, n), &e)) {
        CHECK(e.text[0]);
        return 0;
    }
    out = f.n_vocab <= 1 << 20 ? malloc((size_t)f.n_vocab * sizeof *out) : NULL;
    for (uint32_t i = 0; i < f.n_rows; i++) {
        struct logits_row r = logits_row(&f, i);
        CHECK(r.i_token < f.n_tokens);
        if (r.kind != LOGITS_TOP && out)
            logits_unpack(&f, &r, out);
        else
            sum += r.count ? r.data[0] : 0;
    }
    for (size_t i = 0; i < f.n_note; i++)
        sum += (unsigned char)f.note[i];
    CHECK(sum < UINT64_MAX);
    free(out);
    logits_close(&f);
    return 0;
}
