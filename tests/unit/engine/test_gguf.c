/* Broken model files, one thing at a time: the error names the file and the key or tensor, and
 * nothing crashes or stays behind. Mutations of every byte are in gguf_mutations.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/team.h"
#include "gguf_edit.h"
#include "jobs.h"
#include "kern/kern.h"
#include "tiny.h"

#define FILE_NAME "broken.gguf"

static struct team *team;

static int begin(void **state)
{
    struct err e;
    (void)state;
    return team_open(&team, 1, &e);
}

static int end(void **state)
{
    (void)state;
    team_close(team);
    return 0;
}

static void good(struct edit *e, enum tiny_arch arch, int quantised)
{
    const struct tiny t = {.arch = arch, .context = 128, .window = 48, .quantised = quantised};
    struct buf b;
    tiny_write(&b, &t);
    edit_open(e, &b);
    buf_done(&b);
}

/* Open it, without and with weights; a file that opens must answer. */
static int open_path(const char *path, struct err *err)
{
    static struct jobs_answer a;
    static const int32_t prompt[] = {1, 2, 3};
    struct engine_config c = {.path = path, .kv_bytes_max = 1 << 20, .batch_max = 2, .chunk = 8};
    struct jobs_spec s = {.prompt = prompt, .n_prompt = 2, .sampling = jobs_greedy(2)};
    struct engine *e = NULL;
    struct err describe = {0};
    int rc;

    memset(err, 0, sizeof *err);
    c.describe_only = 1;
    rc = engine_open(&e, &c, NULL, NULL, NULL, &describe);
    if (!rc)
        engine_close(e);
    c.describe_only = 0;
    e = NULL;
    if (engine_open(&e, &c, team, NULL, NULL, err)) {
        assert_null(e);
        if (rc) { /* both refuse for the same reason */
            assert_int_equal(rc, err->code);
            assert_string_equal(describe.text, err->text);
        }
        return err->code;
    }
    assert_int_equal(rc, 0);
    jobs_run(e, &s, 1, &a, 1);
    assert_true(a.err == 0 || a.err == ERR_NUMERIC);
    engine_close(e);
    return 0;
}

static int open_edit(const struct edit *e, struct err *err)
{
    struct buf b;
    int rc;
    edit_write(e, &b);
    rc = open_path(tiny_save(b.data, b.len, FILE_NAME), err);
    buf_done(&b);
    return rc;
}

static void refused(const struct edit *e, int code, const char *word)
{
    struct err err;
    int rc = open_edit(e, &err);

    if (rc != code || !strstr(err.text, FILE_NAME) || !strstr(err.text, word))
        fail_msg("wanted %s about '%s', got %s: %s", err_name(code), word, err_name(rc), err.text);
}

static void accepted(const struct edit *e)
{
    struct err err;
    if (open_edit(e, &err))
        fail_msg("%s", err.text);
}

static void good_files(void **state)
{
    (void)state;
    for (int arch = TINY_LLAMA; arch <= TINY_QWEN3MOE; arch++) {
        for (int q = 0; q < 2; q++) {
            struct edit e;
            good(&e, (enum tiny_arch)arch, q);
            accepted(&e);
            e.version = 2;
            accepted(&e);
            edit_close(&e);
        }
    }
}

static void header(void **state)
{
    static const struct {
        uint32_t version;
        const char *word;
    } versions[] = {{0, "version 0"},           {1, "version 1"},
                    {4, "version 4"},           {0x03000000, "big-endian"},
                    {0x02000000, "big-endian"}, {UINT32_MAX, "version 4294967295"}};
    static const uint64_t counts[] = {65536, UINT32_MAX, INT64_MAX, UINT64_MAX};
    struct edit e;
    struct err err;
    struct buf b;
    (void)state;

    good(&e, TINY_LLAMA, 1);
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        e.version = versions[i].version;
        refused(&e, ERR_UNSUPPORTED, versions[i].word);
    }
    e.version = 3;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        uint64_t n = e.n_kv;
        e.n_kv = counts[i];
        refused(&e, ERR_LIMIT, "metadata keys");
        e.n_kv = n;
        n = e.n_tensors;
        e.n_tensors = counts[i];
        refused(&e, ERR_LIMIT, "tensors");
        e.n_tensors = n;
    }
    e.n_kv = 65535; /* tensors read as keys, then data, then nothing */
    assert_int_equal(open_edit(&e, &err), ERR_FORMAT);
    e.n_kv = 0;
    assert_true(open_edit(&e, &err) < 0);
    edit_close(&e);
    good(&e, TINY_LLAMA, 1);
    e.n_tensors = 0;
    refused(&e, ERR_FORMAT, "'token_embd.weight' is missing");
    edit_close(&e);

    good(&e, TINY_LLAMA, 1);
    edit_write(&e, &b);
    memcpy(b.data, "GGML", 4);
    assert_int_equal(open_path(tiny_save(b.data, b.len, FILE_NAME), &err), ERR_FORMAT);
    assert_non_null(strstr(err.text, "not a GGUF file"));
    assert_int_equal(open_path(tiny_save(b.data, 0, FILE_NAME), &err), ERR_FORMAT);
    assert_non_null(strstr(err.text, "too short"));
    buf_done(&b);
    edit_close(&e);
    assert_int_equal(open_path("/nowhere/at/all.gguf", &err), ERR_NOTFOUND);
    assert_non_null(strstr(err.text, "/nowhere/at/all.gguf"));
    assert_true(open_path("/tmp", &err) < 0);
    assert_non_null(strstr(err.text, "/tmp"));
}

/* Every key that is read, with every wrong type. */
static void wrong_types(struct edit *e, const char *key, const char *kind)
{
    static const char array[12 + 8] = {GGUF_U32};    /* of nothing */
    static const char nested[12 + 8] = {GGUF_ARRAY}; /* of arrays: not read at all */
    static const char text[] = "\x03\0\0\0\0\0\0\0abc";
    static const char minus[] = {-1};
    const float real = 1.5f;

    if (strcmp(kind, "str")) {
        edit_key(e, key, GGUF_STR, text, sizeof text - 1);
        refused(e, ERR_FORMAT, key);
    }
    edit_key(e, key, GGUF_ARRAY, array, 12);
    refused(e, ERR_FORMAT, key);
    edit_key(e, key, GGUF_ARRAY, nested, 12);
    refused(e, ERR_FORMAT, key);
    edit_key(e, key, 77, nested, 12);
    refused(e, ERR_FORMAT, key);
    if (strcmp(kind, "real")) {
        edit_key(e, key, GGUF_F32, &real, 4);
        refused(e, ERR_FORMAT, key);
    } else {
        edit_key_f32(e, key, 0.0f / 0.0f);
        refused(e, ERR_FORMAT, key);
        edit_key_f32(e, key, 1.0f / 0.0f);
        refused(e, ERR_FORMAT, key);
    }
    if (!strcmp(kind, "int")) {
        static const uint64_t big[] = {UINT64_MAX, (uint64_t)INT64_MAX, 1ull << 32};
        edit_key(e, key, GGUF_I8, minus, 1);
        refused(e, ERR_FORMAT, key);
        for (int i = 0; i < 3; i++) {
            edit_key(e, key, GGUF_U64, &big[i], 8);
            refused(e, ERR_FORMAT, key);
        }
        edit_key_u32(e, key, UINT32_MAX);
        refused(e, ERR_FORMAT, strstr(key, "tokenizer") ? "token" : strrchr(key, '.') + 1);
    }
}

static void types_of_every_key(void **state)
{
    static const struct {
        const char *key, *kind;
    } keys[] = {
        {"general.architecture", "str"},
        {"general.alignment", "int"},
        {"gemma3.block_count", "int"},
        {"gemma3.embedding_length", "int"},
        {"gemma3.attention.head_count", "int"},
        {"gemma3.attention.head_count_kv", "int"},
        {"gemma3.attention.key_length", "int"},
        {"gemma3.attention.value_length", "int"},
        {"gemma3.attention.sliding_window", "int"},
        {"gemma3.feed_forward_length", "int"},
        {"gemma3.context_length", "int"},
        {"gemma3.expert_count", "int"},
        {"gemma3.expert_used_count", "int"},
        {"gemma3.expert_feed_forward_length", "int"},
        {"gemma3.attention.layer_norm_rms_epsilon", "real"},
        {"gemma3.final_logit_softcapping", "real"},
        {"gemma3.rope.dimension_count", "int"},
        {"gemma3.rope.freq_base", "real"},
        {"gemma3.rope.freq_base_swa", "real"},
        {"gemma3.rope.scaling.type", "str"},
        {"gemma3.rope.scaling.factor", "real"},
        {"gemma3.rope.scaling.attn_factor", "real"},
        {"gemma3.rope.scaling.yarn_ext_factor", "real"},
        {"gemma3.rope.scaling.yarn_beta_fast", "real"},
        {"gemma3.rope.scaling.yarn_beta_slow", "real"},
        {"gemma3.rope.scaling.yarn_log_multiplier", "real"},
        {"gemma3.rope.scaling.original_context_length", "int"},
        {"gemma3.rope.scale_linear", "real"},
        {"tokenizer.ggml.model", "str"},
        {"tokenizer.ggml.pre", "str"},
        {"tokenizer.ggml.bos_token_id", "int"},
        {"tokenizer.ggml.eos_token_id", "int"},
        {"tokenizer.ggml.eot_token_id", "int"},
        {"tokenizer.ggml.eom_token_id", "int"},
        {"tokenizer.ggml.unknown_token_id", "int"},
        {"tokenizer.ggml.add_bos_token", "flag"},
        {"tokenizer.ggml.add_eos_token", "flag"},
        {"tokenizer.ggml.add_space_prefix", "flag"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct edit e;
        good(&e, TINY_GEMMA3, 1);
        wrong_types(&e, keys[i].key, keys[i].kind);
        edit_close(&e);
    }
}

static void arrays(void **state)
{
    static const char *const keys[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
                                       "tokenizer.ggml.merges",
                                       "gemma3.attention.sliding_window_pattern"};
    static const char nan_of_one[] = "\x06\0\0\0\x01\0\0\0\0\0\0\0\xff\xff\xff\xff";
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct edit e;
        good(&e, TINY_GEMMA3, 1);
        edit_key_str(&e, keys[i], "text");
        refused(&e, ERR_FORMAT, keys[i]);
        edit_key(&e, keys[i], GGUF_ARRAY, nan_of_one, 16);
        refused(&e, ERR_FORMAT, keys[i]);
        edit_close(&e);
    }
}

static void values(void **state)
{
    static const struct {
        const char *key;
        uint32_t value;
    } ints[] = {
        {"llama.block_count", 0},
        {"llama.block_count", 1025},
        {"llama.embedding_length", 0},
        {"llama.attention.head_count", 0},
        {"llama.attention.head_count_kv", 0},
        {"llama.attention.head_count_kv", 3},
        {"llama.attention.key_length", 0},
        {"llama.attention.key_length", 513},
        {"llama.attention.key_length", 15},
        {"llama.attention.value_length", 32},
        {"llama.context_length", 0},
        {"llama.feed_forward_length", 0},
        {"llama.rope.dimension_count", 0},
        {"llama.rope.dimension_count", 17},
        {"llama.rope.dimension_count", 7},
        {"general.alignment", 0},
        {"general.alignment", 3},
        {"general.alignment", 48},
        {"general.alignment", 1u << 31},
        {"tokenizer.ggml.bos_token_id", TINY_VOCAB},
        {"tokenizer.ggml.eos_token_id", TINY_VOCAB},
        {"split.count", 129},
    };
    static const struct {
        const char *key;
        float value;
    } reals[] = {
        {"llama.rope.freq_base", 0},
        {"llama.rope.freq_base", -5},
        {"llama.rope.freq_base", 1},
        {"llama.rope.scaling.factor", -1},
        {"llama.rope.scaling.factor", 1e30f},
        {"llama.rope.scaling.factor", 1e-30f},
        {"llama.rope.scaling.yarn_beta_fast", 0},
        {"llama.rope.scaling.yarn_beta_slow", -1},
        {"llama.attention.layer_norm_rms_epsilon", -1},
        {"llama.attention.layer_norm_rms_epsilon", 2},
    };
    struct edit e;
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ints); i++) {
        good(&e, TINY_LLAMA, 1);
        edit_key_u32(&e, ints[i].key, ints[i].value);
        if (open_edit(&e, &err) >= 0 || !strstr(err.text, FILE_NAME))
            fail_msg("%s = %u: %s", ints[i].key, ints[i].value, err.text);
        edit_close(&e);
    }
    for (size_t i = 0; i < ARRAY_LEN(reals); i++) {
        good(&e, TINY_LLAMA, 1);
        if (strstr(reals[i].key, "yarn"))
            edit_key_str(&e, "llama.rope.scaling.type", "yarn");
        edit_key_f32(&e, reals[i].key, reals[i].value);
        if (open_edit(&e, &err) != ERR_FORMAT || !strstr(err.text, FILE_NAME))
            fail_msg("%s = %g: %s", reals[i].key, (double)reals[i].value, err.text);
        edit_close(&e);
    }
    good(&e, TINY_LLAMA, 1);
    edit_key_str(&e, "llama.rope.scaling.type", "longrope");
    refused(&e, ERR_UNSUPPORTED, "longrope");
    edit_close(&e);
    good(&e, TINY_LLAMA, 1);
    edit_key_u32(&e, "llama.context_length", 1u << 26); /* lowered by memory, not refused */
    accepted(&e);
    edit_close(&e);
}

static void missing(void **state)
{
    static const char *const optional[] = {"general.name",
                                           "llama.attention.head_count_kv",
                                           "llama.attention.key_length",
                                           "llama.attention.value_length",
                                           "llama.attention.layer_norm_rms_epsilon",
                                           "tokenizer.chat_template",
                                           "tokenizer.ggml.pre",
                                           "tokenizer.ggml.token_type",
                                           "tokenizer.ggml.merges",
                                           "tokenizer.ggml.bos_token_id",
                                           "tokenizer.ggml.eos_token_id",
                                           "output.weight"};
    struct edit e;
    int n_kv, n_tensors;
    (void)state;

    good(&e, TINY_LLAMA, 1);
    n_kv = e.kvs;
    n_tensors = e.tensors;
    edit_close(&e);
    for (int i = 0; i < n_kv + n_tensors; i++) {
        char name[80];
        int may = 0;
        struct err err;
        good(&e, TINY_LLAMA, 1);
        strcpy(name, i < n_kv ? e.kv[i].name : e.tensor[i - n_kv].name);
        if (i < n_kv)
            edit_drop(e.kv, &e.kvs, &e.n_kv, name);
        else
            edit_drop(e.tensor, &e.tensors, &e.n_tensors, name);
        for (size_t k = 0; k < ARRAY_LEN(optional); k++)
            may |= !strcmp(name, optional[k]);
        if (may)
            open_edit(&e, &err); /* with other shapes perhaps: only safe */
        else
            refused(&e, ERR_FORMAT, strcmp(name, "tokenizer.ggml.model") ? name : "tokenizer");
        edit_close(&e);
    }
}

static void duplicates(void **state)
{
    struct edit e;
    (void)state;
    good(&e, TINY_LLAMA, 1);
    for (int i = 0; i < e.kvs - 1; i++) {
        edit_piece_set(&e.kv[e.kvs], e.kv[i].p, e.kv[i].n);
        e.kvs++;
        e.n_kv++;
        refused(&e, ERR_FORMAT, e.kv[i].name);
        e.kvs--;
        e.n_kv--;
    }
    for (int i = 0; i < e.tensors; i++) {
        edit_piece_set(&e.tensor[e.tensors], e.tensor[i].p, e.tensor[i].n);
        e.tensors++;
        e.n_tensors++;
        refused(&e, ERR_FORMAT, e.tensor[i].name);
        e.tensors--;
        e.n_tensors--;
    }
    edit_close(&e);
}

/* Every tensor with every other shape, count of dimensions, format and place. */
static void tensors(void **state)
{
    static const uint64_t dims[] = {0, 1, 32, 16384, INT32_MAX, 1ull << 31, INT64_MAX, UINT64_MAX};
    static const uint64_t offsets[] = {1, 31, 1ull << 40, INT64_MAX, UINT64_MAX - 31, UINT64_MAX};
    static const uint32_t formats[] = {4, 5, 9, 10, 15, 24, 31, 36, 100, UINT32_MAX};
    static const uint32_t n_dims[] = {0, 5, UINT32_MAX, 1u << 31};
    struct edit e;
    struct err err;
    (void)state;

    for (int arch = TINY_LLAMA; arch <= TINY_QWEN3MOE; arch++) {
        good(&e, (enum tiny_arch)arch, 1);
        for (int i = 0; i < e.tensors; i++) {
            struct edit_piece *t = &e.tensor[i];
            char save[256];
            size_t n = t->n;
            if (!strncmp(t->name, "blk.", 4) && strncmp(t->name, "blk.1.", 6))
                continue; /* one layer stands for all */
            memcpy(save, t->p, n);
            for (uint32_t d = 0; d < edit_u32(edit_dims(t)); d++) {
                for (size_t k = 0; k < ARRAY_LEN(dims); k++) {
                    if (!memcmp(edit_dim(t, (int)d), &dims[k], 8))
                        continue;
                    memcpy(edit_dim(t, (int)d), &dims[k], 8);
                    refused(&e, ERR_FORMAT, t->name);
                    memcpy(t->p, save, n);
                }
            }
            for (size_t k = 0; k < ARRAY_LEN(n_dims); k++) {
                memcpy(edit_dims(t), &n_dims[k], 4);
                refused(&e, ERR_FORMAT, t->name);
                memcpy(t->p, save, n);
            }
            for (size_t k = 0; k < ARRAY_LEN(offsets); k++) {
                memcpy(edit_offset(t), &offsets[k], 8);
                refused(&e, ERR_FORMAT, t->name);
                memcpy(t->p, save, n);
            }
            for (size_t k = 0; k < ARRAY_LEN(formats); k++) {
                memcpy(edit_format(t), &formats[k], 4);
                refused(&e, ERR_UNSUPPORTED, t->name);
                refused(&e, ERR_UNSUPPORTED, "Q4_K"); /* what is supported is listed */
                memcpy(t->p, save, n);
            }
            for (int f = 0; f < KERN_N_FMT; f++) { /* readable, but perhaps not here */
                memcpy(edit_format(t), &kern_fmt_info((enum kern_fmt)f)->ggml_type, 4);
                if (open_edit(&e, &err))
                    assert_non_null(strstr(err.text, t->name));
                memcpy(t->p, save, n);
            }
        }
        edit_close(&e);
    }
}

static void unknown_family(void **state)
{
    struct edit e;
    (void)state;
    good(&e, TINY_LLAMA, 1);
    edit_key_str(&e, "general.architecture", "mamba9");
    refused(&e, ERR_UNSUPPORTED, "mamba9");
    refused(&e, ERR_UNSUPPORTED, "(supported: llama, qwen2, qwen3, qwen3moe, gemma3, gpt-oss)");
    edit_key_str(&e, "general.architecture", "");
    refused(&e, ERR_UNSUPPORTED, "llama, ");
    edit_close(&e);
}

/* A model in three files. */
static void write_split(const struct edit *whole, int part, uint32_t count, const char *name)
{
    static struct edit e;
    struct buf b;
    uint64_t first = (uint64_t)whole->tensors * (uint64_t)part / 3,
             last = (uint64_t)whole->tensors * (uint64_t)(part + 1) / 3;

    edit_write(whole, &b);
    edit_open(&e, &b);
    buf_done(&b);
    while (part && e.kvs)
        edit_drop(e.kv, &e.kvs, &e.n_kv, e.kv[0].name);
    for (int i = whole->tensors - 1; i >= 0; i--) {
        if ((uint64_t)i < first || (uint64_t)i >= last)
            edit_drop(e.tensor, &e.tensors, &e.n_tensors, whole->tensor[i].name);
    }
    edit_key_u32(&e, "split.count", count);
    edit_key_u32(&e, "split.no", (uint32_t)part);
    edit_key_u32(&e, "split.tensors.count", (uint32_t)whole->tensors);
    edit_write(&e, &b); /* the data is whole in each: offsets stay */
    tiny_save(b.data, b.len, name);
    buf_done(&b);
    edit_close(&e);
}

static void split_files(void **state)
{
    char path[200], other[200];
    struct edit e;
    struct err err;
    (void)state;

    good(&e, TINY_LLAMA, 1);
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i + 1);
        write_split(&e, i, 3, name);
    }
    strcpy(path, tiny_save("", 0, "unused"));
    strcpy(strrchr(path, '/'), "/m-00001-of-00003.gguf");
    if (open_path(path, &err))
        fail_msg("%s", err.text);
    strcpy(other, path);
    memcpy(strstr(other, "-00001"), "-00002", 6);
    assert_true(open_path(other, &err) < 0); /* a part that is not the first */
    assert_non_null(strstr(err.text, "-00001-of-00003.gguf"));
    write_split(&e, 0, 2, "m-00001-of-00003.gguf"); /* the count differs from the name's */
    assert_true(open_path(path, &err) < 0);
    assert_non_null(strstr(err.text, "-00001-of-00002.gguf"));
    write_split(&e, 0, 3, "m-00001-of-00003.gguf");
    write_split(&e, 1, 3, "m-00003-of-00003.gguf"); /* the second part twice */
    assert_true(open_path(path, &err) < 0);
    assert_non_null(strstr(err.text, "appears twice"));
    write_split(&e, 2, 3, "m-00002-of-00003.gguf");
    assert_int_equal(remove(strcat(strcpy(other, path), "")), 0);
    write_split(&e, 0, 1, "m-00001-of-00003.gguf"); /* says it is alone, yet holds a third */
    assert_int_equal(open_path(path, &err), ERR_FORMAT);
    assert_non_null(strstr(err.text, "split.tensors.count"));
    write_split(&e, 0, 3, "m-00001-of-00003.gguf");
    memcpy(strstr(other, "-00001"), "-00002", 6);
    assert_int_equal(remove(other), 0);
    assert_int_equal(open_path(path, &err), ERR_NOTFOUND); /* a part is missing */
    assert_non_null(strstr(err.text, "m-00002-of-00003.gguf"));
    edit_close(&e);
}

/* What a download is asked: one file by itself, all of it here? */
static void one_file(void **state)
{
    char path[200];
    struct edit e;
    struct err err;
    struct stat st;
    (void)state;

    good(&e, TINY_LLAMA, 1);
    write_split(&e, 2, 3, "alone-00003-of-00003.gguf");
    strcpy(path, tiny_save("", 0, "unused"));
    strcpy(strrchr(path, '/'), "/alone-00003-of-00003.gguf");
    if (gguf_check(path, &err))
        fail_msg("%s", err.text);
    assert_int_equal(stat(path, &st), 0);
    for (off_t n = st.st_size - 64; n > 24; n = n * 3 / 4) {
        assert_int_equal(truncate(path, n), 0);
        assert_int_equal(gguf_check(path, &err), ERR_FORMAT);
    }
    edit_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files),
        cmocka_unit_test(header),
        cmocka_unit_test(types_of_every_key),
        cmocka_unit_test(arrays),
        cmocka_unit_test(values),
        cmocka_unit_test(missing),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(tensors),
        cmocka_unit_test(unknown_family),
        cmocka_unit_test(split_files),
        cmocka_unit_test(one_file),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
