/* Runs a fuzz target over the files of a folder, and over some mutations of each, as a plain test:
 * what a fuzzer once found stays found, without a fuzzer. The mutations are the same in every run.
 * A crash or a sanitizer's report is the failure. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 4 << 20, N_CUTS = 24, N_FLIPS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint64_t state = 1;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* In memory of its exact size, so that a read past the end is seen. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);

    if (!copy)
        abort();
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void run_mutations(uint8_t *data, size_t n)
{
    run(data, n);
    for (int i = 0; n && i < N_CUTS; i++)
        run(data, n * (size_t)i / N_CUTS);
    for (int i = 0; n && i < N_FLIPS; i++) {
        static const uint8_t nasty[] = {0, 1, 0x7f, 0x80, 0xff, '"', '\\', '{', '\n', ' '};
        size_t at = next_random() % n;
        uint8_t old = data[at];
        data[at] = i & 1 ? nasty[next_random() % sizeof nasty]
                         : (uint8_t)(old ^ (1u << (next_random() & 7)));
        run(data, n);
        data[at] = old;
    }
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = f ? malloc(FILE_MAX) : NULL;
    size_t n;

    if (!data) {
        if (f)
            fclose(f);
        return -1;
    }
    n = fread(data, 1, FILE_MAX, f);
    fclose(f);
    run_mutations(data, n);
    free(data);
    return 0;
}

static int wanted(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **list;
    int n = argc == 2 ? scandir(argv[1], &list, wanted, alphasort) : -1;

    if (n <= 0) {
        printf("1..1\nnot ok 1 - no seeds in %s\n", argc == 2 ? argv[1] : "(no folder given)");
        return 1;
    }
    printf("1..%d\n", n + 1);
    run((const uint8_t *)"", 0);
    puts("ok 1 - nothing at all");
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], list[i]->d_name);
        fflush(stdout);
        printf("%s %d - %s\n", run_file(path) ? "not ok" : "ok", i + 2, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return 0;
}
