/* A tiny model file cut short at every byte of its header and damaged at every byte of it: opening
 * says no or gives a model that can be used, never more. Argument: look at every n-th place only.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/team.h"
#include "engine/gguf.h"
#include "jobs.h"
#include "tiny.h"

static size_t stride = 1;
static struct team *team;
static struct buf whole;
static char path[200];
static size_t header; /* bytes before the tensors' data */
static int n_loaded;

static int begin(void **state)
{
    const struct tiny t = {.arch = TINY_GEMMA3, .context = 96, .window = 48, .quantised = 1};
    struct gguf *g = NULL;
    struct err e;
    uint64_t most = 0;
    (void)state;

    tiny_write(&whole, &t);
    strcpy(path, tiny_save(whole.data, whole.len, "mutated.gguf"));
    assert_int_equal(gguf_open(&g, path, &e), 0);
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *at = gguf_tensor_at(g, i);
        uint64_t reach =
            (uint64_t)(at->data - gguf_tensor_at(g, 0)->data) + (at->bytes + 31) / 32 * 32;
        most = reach > most ? reach : most;
    }
    header = whole.len - most;
    gguf_close(g);
    return team_open(&team, 1, &e);
}

static int end(void **state)
{
    (void)state;
    team_close(team);
    buf_done(&whole);
    return 0;
}

/* Open what lies at `path`. `deep`: also the whole engine, and two tokens from it. */
static int try_open(int deep)
{
    static struct jobs_answer a;
    static const int32_t prompt[] = {1, 2, 3};
    struct engine_config c = {
        .path = path, .kv_bytes_max = 1 << 20, .batch_max = 2, .chunk = 8, .describe_only = 1};
    struct jobs_spec s = {.prompt = prompt, .n_prompt = 3, .sampling = jobs_greedy(2)};
    struct engine *e = NULL;
    struct err err = {0};

    if (engine_open(&e, &c, NULL, NULL, NULL, &err)) {
        assert_true(err.code < 0);
        if (!strstr(err.text, "mutated.gguf"))
            fail_msg("a message without the file's name: %s", err.text);
        return err.code;
    }
    engine_close(e);
    if (!deep)
        return 0;
    e = NULL;
    c.describe_only = 0;
    if (engine_open(&e, &c, team, NULL, NULL, &err)) {
        assert_non_null(strstr(err.text, "mutated.gguf"));
        return err.code;
    }
    n_loaded++;
    jobs_run(e, &s, 1, &a, 1);
    if (a.err != 0 && a.err != ERR_NUMERIC && a.err != ERR_CONTEXT && a.err != ERR_ARG)
        fail_msg("a job ended with %s", err_name(a.err));
    engine_close(e);
    return 0;
}

static void truncated(void **state)
{
    size_t step = 1;
    (void)state;
    tiny_save(whole.data, whole.len, "mutated.gguf");
    for (size_t n = whole.len - 1; n > 0; n -= n > step ? step : n) {
        CHECK(!truncate(path, (off_t)n));
        if (whole.len - n > 64 && n > header) /* the padding of the last tensor may go */
            assert_int_equal(try_open(0), ERR_FORMAT);
        else if (n <= header)
            assert_int_equal(try_open(0), ERR_FORMAT);
        else
            try_open(0);
        step = n > header + 64 ? 997 : n <= header ? stride : 1;
    }
}

static void every_byte(void **state)
{
    int fd;
    (void)state;
    tiny_save(whole.data, whole.len, "mutated.gguf");
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < header; i += i < 64 ? 1 : stride) {
        uint8_t old = (uint8_t)whole.data[i];
        const uint8_t values[] = {
            0, 0xff, (uint8_t)(old + 1), (uint8_t)(old ^ 0x80), (uint8_t)(old - 1), 0x7f};
        for (size_t k = 0; k < sizeof values; k++) {
            if (values[k] == old)
                continue;
            CHECK(pwrite(fd, &values[k], 1, (off_t)i) == 1);
            try_open((i / stride + k) % 3 == 0);
        }
        CHECK(pwrite(fd, &old, 1, (off_t)i) == 1);
    }
    close(fd);
    assert_true(n_loaded > 0);
}

/* Eight bytes at a time, as counts, lengths and offsets are. */
static void every_word(void **state)
{
    static const uint64_t values[] = {0,          1,          255,           65536,
                                      INT32_MAX,  UINT32_MAX, 1ull << 32,    INT64_MAX,
                                      UINT64_MAX, 1ull << 61, UINT64_MAX - 7};
    int fd;
    (void)state;
    tiny_save(whole.data, whole.len, "mutated.gguf");
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i + 8 <= header; i += i < 64 ? 4 : 4 * stride) {
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            CHECK(pwrite(fd, &values[k], 8, (off_t)i) == 8);
            try_open((i / 4 / stride + k) % 7 == 0);
        }
        CHECK(pwrite(fd, whole.data + i, 8, (off_t)i) == 8);
    }
    close(fd);
}

/* Weights are any bytes: damaged ones give other numbers or ERR_NUMERIC. */
static void data(void **state)
{
    static char bytes[4096];
    (void)state;
    tiny_save(whole.data, whole.len, "mutated.gguf");
    for (int k = 0; k < 4; k++) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        memset(bytes, k == 0 ? 0 : k == 1 ? 0xff : k == 2 ? 0x7c : 0x80, sizeof bytes);
        for (size_t i = header; i + sizeof bytes <= whole.len; i += 3 * sizeof bytes)
            CHECK(pwrite(fd, bytes, sizeof bytes, (off_t)i) == sizeof bytes);
        close(fd);
        assert_int_equal(try_open(1), 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated),
        cmocka_unit_test(every_byte),
        cmocka_unit_test(every_word),
        cmocka_unit_test(data),
    };
    if (argc > 1)
        stride = strtoul(argv[1], NULL, 10);
    if (!stride)
        return 2;
    return cmocka_run_group_tests(tests, begin, end);
}
