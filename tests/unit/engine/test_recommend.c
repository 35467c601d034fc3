/* What is recommended for a model, by whom; and what of a hostile file. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "gguf_edit.h"
#include "job/preset.h"
#include "tiny.h"

static struct edit file;
static struct preset got;
static char from[32];

static void setup_file(void)
{
    const struct tiny t = {.arch = TINY_LLAMA, .context = 64};
    struct buf b;

    tiny_write(&b, &t);
    edit_open(&file, &b);
    buf_done(&b);
}

/* As a command opens it. */
static void describe(const struct preset *given)
{
    struct engine_config c = {.describe_only = 1, .sampling = given};
    struct engine *e = NULL;
    struct err err = {0};
    struct buf b;

    edit_write(&file, &b);
    c.path = tiny_save(b.data, b.len, "recommend.gguf");
    buf_done(&b);
    if (engine_open(&e, &c, NULL, NULL, NULL, &err))
        fail_msg("%s", err.text);
    got = engine_info(e)->sampling;
    snprintf(from, sizeof from, "%s", engine_info(e)->sampling_from);
    engine_close(e);
}

static void expect(const char *who, double temperature, double top_p, int top_k, double min_p)
{
    if (strcmp(from, who) || (float)got.temperature != (float)temperature ||
        (float)got.top_p != (float)top_p || got.top_k != top_k || (float)got.min_p != (float)min_p)
        fail_msg("%s: %g, %g, %d, %g", from, got.temperature, got.top_p, got.top_k, got.min_p);
}

static void test_sources(void **state)
{
    const struct preset known = {.temperature = 0.3, .top_p = 0.8, .top_k = 5, .min_p = 0.1};

    setup_file();
    describe(NULL);
    expect("family", 0.6, 0.9, 0, 0);
    edit_key_f32(&file, "general.sampling.temp", 0.7f);
    describe(NULL);
    expect("file", 0.7, 1, 0, 0); /* what it does not say is off, not the family's */
    edit_key_f32(&file, "general.sampling.top_p", 0.95f);
    edit_key_f32(&file, "general.sampling.min_p", 0.05f);
    edit_key_u32(&file, "general.sampling.top_k", 20);
    describe(NULL);
    expect("file", 0.7, 0.95, 20, 0.05);
    describe(&known);
    expect("catalogue", 0.3, 0.8, 5, 0.1);
    edit_close(&file);
}

static void check_ignored(const char *key, uint32_t type, const void *value, size_t n)
{
    setup_file();
    edit_key_f32(&file, "general.sampling.min_p", 0.05f);
    edit_key(&file, key, type, value, n);
    describe(NULL);
    expect("family", 0.6, 0.9, 0, 0);
    edit_close(&file);
}

static void check_number_ignored(const char *key, float v)
{
    check_ignored(key, GGUF_F32, &v, 4);
}

/* The model is served all the same, and its file's advice is not taken, not even in part. */
static void test_hostile_values(void **state)
{
    static const char text[] = "\3\0\0\0\0\0\0\0hot";
    static const char list[] = "\6\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0";
    static const float wrong[] = {-0.1f, 3, INFINITY, -INFINITY, NAN, 1e30f};
    uint32_t many = UINT32_MAX;

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        check_number_ignored("general.sampling.temp", wrong[i]);
        check_number_ignored("general.sampling.top_p", wrong[i]);
    }
    check_number_ignored("general.sampling.top_p", 0);
    check_number_ignored("general.sampling.top_k", 1.5f);
    check_number_ignored("general.sampling.top_k", NAN);
    check_ignored("general.sampling.top_k", GGUF_U32, &many, 4);
    check_ignored("general.sampling.temp", GGUF_STR, text, sizeof text - 1);
    check_ignored("general.sampling.temp", GGUF_ARRAY, list, sizeof list - 1);
}

/* Nothing but the k best, none: llama.cpp's way to say off. */
static void test_off(void **state)
{
    int32_t minus = -1;

    setup_file();
    edit_key(&file, "general.sampling.top_k", GGUF_I32, &minus, 4);
    edit_key_f32(&file, "general.sampling.temp", 0);
    describe(NULL);
    expect("file", 0, 1, 0, 0);
    edit_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
