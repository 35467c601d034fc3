/* A package: a zip with the member that was asked for. What is unpacked has the size it was said to
 * have. */
#include "fuzz_file.h"
#include "hub/hub_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint64_t sizes[] = {0, 5, 4096, 1 << 20};
    static int out = -1;
    const char *path = fuzz_file(data, n);

    if (out < 0)
        out = memfd_create("out", MFD_CLOEXEC);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct err e = {0};
        CHECK(out >= 0 && !ftruncate(out, 0));
        if (wheel_unpack(path, "a/m.gguf", sizes[i], out, 7, NULL, NULL, &e))
            CHECK(e.text[0]);
        CHECK(lseek(out, 0, SEEK_END) <= (off_t)sizes[i] + 7);
    }
    return 0;
}
