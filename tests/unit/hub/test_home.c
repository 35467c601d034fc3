#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/hub_int.h"

static void test_names(void **state)
{
    static const struct {
        const char *path, *name;
    } rows[] = {
        {"https://h.test/a/b/Model-Q8_0.gguf?download=true", "Model-Q8_0"},
        {"hf:owner/repo/sub/Model.GGUF", "Model"},
        {"plain", "plain"},
        {"a b+c.gguf", "a-b-c"},
        {"https://h.test/.gguf", NULL},
        {"https://h.test/", NULL},
        {"https://h.test/.hidden.gguf", NULL},
        {"..", NULL},
    };
    char name[HUB_NAME_MAX + 1], longest[300];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int err = name_of_file(rows[i].path, name);
        assert_int_equal(err, rows[i].name ? 0 : ERR_ARG);
        if (!err)
            assert_string_equal(name, rows[i].name);
    }
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(name_of_file(longest, name), ERR_ARG);
    assert_false(name_is_valid("a/b"));
    assert_false(name_is_valid(""));
    assert_false(name_is_valid("-x"));
    assert_true(name_is_valid("llama3.2-1b_x"));
}

static void test_hf_spec(void **state)
{
    static const char *const wrong[] = {"hf:",       "hf:a",       "hf:a/b",      "hf:a/b/",
                                        "hf:/b/f",   "hf:a//f",    "hf:a/b/../f", "hf:a/@r/f",
                                        "hf:a/b@/f", "hf:a/b/f?x", "hf:a/b/f g"};
    struct arena mem;
    struct source s = {0};
    struct err e;

    arena_init(&mem, 1024, 65536);
    assert_int_equal(spec_parse_hf("hf:o/r/q/f.gguf", &mem, &s, &e), 0);
    assert_string_equal(s.repo, "o/r");
    assert_string_equal(s.revision, "main");
    assert_string_equal(s.file, "q/f.gguf");
    assert_int_equal(spec_parse_hf("hf:o/r@abc/f.gguf", &mem, &s, &e), 0);
    assert_string_equal(s.repo, "o/r");
    assert_string_equal(s.revision, "abc");
    assert_string_equal(s.file, "f.gguf");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(spec_parse_hf(wrong[i], &mem, &s, &e), ERR_ARG);
    arena_done(&mem);
}

static const struct hub_model *find(const struct hub_models *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++) {
        if (!strcmp(m->v[i].name, name))
            return &m->v[i];
    }
    return NULL;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_resolve_list_remove(void **state)
{
    char folder[] = "/tmp/gaufre-home-XXXXXX", path[256], *found = NULL;
    struct hub_models m;
    struct hub *h;
    struct err e;
    uint64_t bytes = 0;

    assert_non_null(mkdtemp(folder));
    setenv("GAUFRE_HOME", folder, 1);
    assert_int_equal(hub_open(&h, &e), 0);
    assert_string_equal(hub_home(h), folder);

    assert_int_equal(hub_resolve(h, "smollm2-135m", &found, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "gaufre pull smollm2-135m"));
    assert_int_equal(hub_resolve(h, "nothing", &found, &e), ERR_NOTFOUND);
    assert_int_equal(hub_resolve(h, "/nonexistent/x.gguf", &found, &e), ERR_NOTFOUND);
    assert_int_equal(hub_resolve(h, folder, &found, &e), ERR_ARG);
    assert_int_equal(hub_resolve(h, "hf:o/r/mine.gguf", &found, &e), ERR_NOTFOUND);
    assert_null(found);

    snprintf(path, sizeof path, "%s/models", folder);
    assert_int_equal(home_make_folder(path, &e), 0);
    snprintf(path, sizeof path, "%s/tmp", folder);
    assert_int_equal(home_make_folder(path, &e), 0);
    snprintf(path, sizeof path, "%s/models/mine.gguf", folder);
    write_file(path, "GGUF, more or less");

    /* By path, by name, and by the URL that it came from, but by no other URL. */
    assert_int_equal(hub_resolve(h, path, &found, &e), 0);
    assert_string_equal(found, path);
    free(found);
    assert_int_equal(hub_resolve(h, "mine", &found, &e), 0);
    assert_string_equal(found, path);
    free(found);
    struct origin o = {.source = "hf:o/r/mine.gguf", .bytes = 18};
    memset(o.sha256, 'a', 64);
    assert_int_equal(origin_write(h, "mine", &o, &e), 0);
    assert_int_equal(hub_resolve(h, "hf:o/r/mine.gguf", &found, &e), 0);
    free(found);
    found = NULL;
    assert_int_equal(hub_resolve(h, "https://h.test/mine.gguf", &found, &e), ERR_NOTFOUND);

    assert_int_equal(hub_list(h, &m, &e), 0);
    assert_string_equal(m.v[0].name, "mine"); /* local ones first */
    assert_int_equal(m.v[0].bytes, 18);
    assert_string_equal(m.v[0].source, "hf:o/r/mine.gguf");
    assert_false(m.v[0].known);
    assert_non_null(find(&m, "gemma3-270m"));
    assert_null(find(&m, "gemma3-270m")->path);
    hub_models_done(&m);

    assert_int_equal(hub_remove(h, "../models/mine", &bytes, &e), ERR_ARG);
    assert_int_equal(hub_remove(h, "mine", &bytes, &e), 0);
    assert_int_equal(bytes, 18);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(hub_remove(h, "mine", &bytes, &e), ERR_NOTFOUND);
    hub_close(h);

    snprintf(path, sizeof path, "%s/catalogue.json", folder);
    write_file(path, "{\"models\": [{\"nome\": 1}]}");
    assert_int_equal(hub_open(&h, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "nome"));
    unlink(path);
    snprintf(path, sizeof path, "%s/models", folder);
    rmdir(path);
    snprintf(path, sizeof path, "%s/tmp", folder);
    rmdir(path);
    rmdir(folder);
}

/* A row's sampling holds for the file that was pulled for it, by whatever path, and no other. */
static void test_sampling(void **state)
{
    char folder[] = "/tmp/gaufre-home-XXXXXX", path[256], other[256];
    struct origin o = {.source = "hf:o/r/m.gguf", .bytes = 18};
    struct preset s = {0};
    struct hub *h;
    struct err e;

    assert_non_null(mkdtemp(folder));
    setenv("GAUFRE_HOME", folder, 1);
    memset(o.sha256, 'a', 64);
    snprintf(path, sizeof path, "%s/catalogue.json", folder);
    write_file(path,
               "{\"models\":[{\"name\":\"mine\",\"bytes\":18,\"sha256\":"
               "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
               "\"sampling\":{\"temperature\":0.5},\"sources\":[{\"url\":\"https://h/m\"}]}]}");
    assert_int_equal(hub_open(&h, &e), 0);
    unlink(path);
    snprintf(path, sizeof path, "%s/tmp", folder);
    assert_int_equal(home_make_folder(path, &e), 0);
    snprintf(path, sizeof path, "%s/models", folder);
    assert_int_equal(home_make_folder(path, &e), 0);
    snprintf(other, sizeof other, "%s/mine.gguf", folder);
    write_file(other, "GGUF, more or less");
    snprintf(path, sizeof path, "%s/models/mine.gguf", folder);
    write_file(path, "GGUF, more or less");

    assert_int_equal(hub_sampling(h, path, &s), 0); /* nobody knows where it is from */
    assert_int_equal(origin_write(h, "mine", &o, &e), 0);
    assert_int_equal(hub_sampling(h, path, &s), 1);
    assert_true(s.temperature == 0.5 && s.top_p == 1);
    assert_int_equal(hub_sampling(h, other, &s), 0);
    unlink(other);
    assert_int_equal(symlink(path, other), 0);
    assert_int_equal(hub_sampling(h, other, &s), 1);
    unlink(other);
    o.sha256[0] = 'b';
    assert_int_equal(origin_write(h, "mine", &o, &e), 0);
    assert_int_equal(hub_sampling(h, path, &s), 0); /* another file of that name */
    o.sha256[0] = 'a';
    o.bytes = 17;
    assert_int_equal(origin_write(h, "mine", &o, &e), 0);
    assert_int_equal(hub_sampling(h, path, &s), 0); /* changed since */

    uint64_t bytes;
    assert_int_equal(hub_remove(h, "mine", &bytes, &e), 0);
    hub_close(h);
    snprintf(path, sizeof path, "%s/models", folder);
    rmdir(path);
    snprintf(path, sizeof path, "%s/tmp", folder);
    rmdir(path);
    rmdir(folder);
}

static void test_default_home(void **state)
{
    struct hub *h;
    struct err e;

    unsetenv("GAUFRE_HOME");
    setenv("XDG_DATA_HOME", "/data", 1);
    assert_int_equal(hub_open(&h, &e), 0);
    assert_string_equal(hub_home(h), "/data/gaufre");
    hub_close(h);
    setenv("XDG_DATA_HOME", "relative", 1);
    setenv("HOME", "/home/someone", 1);
    assert_int_equal(hub_open(&h, &e), 0);
    assert_string_equal(hub_home(h), "/home/someone/.local/share/gaufre");
    hub_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hf_spec),
        cmocka_unit_test(test_resolve_list_remove),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_default_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
