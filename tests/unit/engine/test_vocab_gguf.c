/* The tokenizer keys of a model file: read as they are, refused with the key's name when they are
 * not of the right kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "engine/vocab_gguf.h"

#define KEY(name) "tokenizer.ggml." name

/* A GGUF file of key-values only, written piece by piece. */
static struct buf file;
static uint64_t n_keys;

static void u32(uint32_t v)
{
    buf_add(&file, &v, 4);
}

static void u64(uint64_t v)
{
    buf_add(&file, &v, 8);
}

static void str(const char *s)
{
    u64(strlen(s));
    buf_add_str(&file, s);
}

static void begin(void)
{
    buf_done(&file);
    buf_init(&file, 1 << 20);
    n_keys = 0;
    buf_add(&file, "GGUF\3\0\0\0", 8);
    u64(0);
    u64(0); /* patched by load */
}

static void key(const char *name, enum gguf_type type)
{
    n_keys++;
    str(name);
    u32(type);
}

static void key_str(const char *name, const char *value)
{
    key(name, GGUF_STR);
    str(value);
}

static void key_u32(const char *name, uint32_t value)
{
    key(name, GGUF_U32);
    u32(value);
}

static void key_strs(const char *name, int n, const char *const *value)
{
    key(name, GGUF_ARRAY);
    u32(GGUF_STR);
    u64((uint64_t)n);
    for (int i = 0; i < n; i++)
        str(value[i]);
}

static void key_u32s(const char *name, enum gguf_type type, int n, const uint32_t *value)
{
    key(name, GGUF_ARRAY);
    u32(type);
    u64((uint64_t)n);
    for (int i = 0; i < n; i++)
        u32(value[i]);
}

static int load(struct vocab_source *s, struct gguf **ret_g, struct err *e)
{
    char path[] = "/tmp/test_vocab_gguf_XXXXXX";
    int fd = mkstemp(path), rc;

    assert_true(fd >= 0);
    memcpy(file.data + 16, &n_keys, 8);
    assert_int_equal(write(fd, file.data, file.len), (ssize_t)file.len);
    close(fd);
    rc = gguf_open(ret_g, path, e);
    unlink(path);
    assert_int_equal(rc, 0);
    rc = vocab_source_from_gguf(s, *ret_g, e);
    if (rc)
        gguf_close(*ret_g);
    return rc;
}

static const char *const words[] = {"<unk>", "<s>", "</s>", "\xe2\x96\x81", "a"};

static void test_read(void **state)
{
    static const uint32_t types[] = {2, 3, 3, 1, 1};
    static const float scores[] = {0, 0, 0, -1, -2.5f};
    uint32_t bits[5];
    struct vocab_source s;
    struct vocab *v;
    struct gguf *g;
    struct err e;

    begin();
    key_str(KEY("model"), "llama");
    key_str(KEY("pre"), "default");
    key_strs(KEY("tokens"), 5, words);
    memcpy(bits, scores, sizeof bits);
    key_u32s(KEY("scores"), GGUF_F32, 5, bits);
    key_u32s(KEY("token_type"), GGUF_I32, 5, types);
    key_u32(KEY("bos_token_id"), 1);
    key_u32(KEY("eos_token_id"), 2);
    key_u32(KEY("eot_token_id"), 4);
    key(KEY("add_bos_token"), GGUF_BOOL);
    buf_add_char(&file, 0);
    assert_int_equal(load(&s, &g, &e), 0);
    assert_string_equal(s.model, "llama");
    assert_int_equal(s.n_tokens, 5);
    assert_int_equal(s.tokens[2].n, 4);
    assert_memory_equal(s.tokens[2].p, "</s>", 4);
    assert_int_equal(s.n_types, 5);
    assert_int_equal(s.types[0], VOCAB_UNKNOWN);
    assert_true(s.scores[4] == -2.5f);
    assert_int_equal(s.bos, 1);
    assert_int_equal(s.eot, 4);
    assert_int_equal(s.unk, -1);
    assert_int_equal(s.add_bos, 0);
    assert_int_equal(s.add_eos, -1);
    assert_int_equal(vocab_open(&v, &s, &e), 0);
    vocab_source_done(&s);
    gguf_close(g); /* nothing of the file is needed any more */
    assert_false(vocab_adds_bos(v));
    assert_true(vocab_is_eog(v, 4));
    assert_int_equal(vocab_find(v, "a", 1), 4);
    vocab_close(v);
}

static void fails(const char *name, int code)
{
    struct vocab_source s;
    struct gguf *g;
    struct err e = {0};

    assert_int_equal(load(&s, &g, &e), code);
    if (!strstr(e.text, name))
        fail_msg("\"%s\" does not name %s", e.text, name);
}

static void test_wrong_kinds(void **state)
{
    static const char *const arrays[] = {KEY("tokens"), KEY("merges")};
    static const char *const numbers[] = {KEY("scores"), KEY("token_type")};
    static const uint32_t three[] = {1, 2, 3};
    char long_name[100];

    for (int i = 0; i < 2; i++) {
        begin(); /* numbers where strings belong, strings where numbers belong, a lone value */
        key_u32s(arrays[i], GGUF_U32, 3, three);
        fails(arrays[i], ERR_FORMAT);
        begin();
        key_str(arrays[i], "a");
        fails(arrays[i], ERR_FORMAT);
        begin();
        key_strs(numbers[i], 5, words);
        fails(numbers[i], ERR_FORMAT);
        begin();
        key_u32(numbers[i], 1);
        fails(numbers[i], ERR_FORMAT);
    }
    begin();
    key_u32s(KEY("token_type"), GGUF_F32, 3, three);
    fails("token types", ERR_FORMAT);
    begin();
    key_u32(KEY("model"), 1);
    fails(KEY("model"), ERR_FORMAT);
    begin();
    key_str(KEY("bos_token_id"), "1");
    fails(KEY("bos_token_id"), ERR_FORMAT);
    begin();
    key_str(KEY("add_space_prefix"), "yes");
    fails(KEY("add_space_prefix"), ERR_FORMAT);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[99] = 0;
    begin();
    key_str(KEY("pre"), long_name);
    fails(KEY("pre"), ERR_FORMAT);
}

static void test_absent(void **state)
{
    struct vocab_source s;
    struct vocab *v;
    struct gguf *g;
    struct err e;

    begin();
    assert_int_equal(load(&s, &g, &e), 0);
    assert_int_equal(vocab_open(&v, &s, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "names no tokenizer"));
    vocab_source_done(&s);
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_absent),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&file);
    return failed;
}
