#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/hub_int.h"

static char folder[] = "/tmp/gaufre-pip-XXXXXX";
static char user_file[256], named_file[256];

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    char path[256];

    snprintf(path, sizeof path, "%s/pip", folder);
    mkdir(path, 0700);
    snprintf(user_file, sizeof user_file, "%s/pip/pip.conf", folder);
    snprintf(named_file, sizeof named_file, "%s/named.conf", folder);
    unlink(user_file);
    unlink(named_file);
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("XDG_CONFIG_DIRS", "/nonexistent", 1);
    setenv("HOME", "/nonexistent", 1);
    unsetenv("VIRTUAL_ENV");
    unsetenv("PIP_CONFIG_FILE");
    unsetenv("PIP_INDEX_URL");
    unsetenv("PIP_EXTRA_INDEX_URL");
    unsetenv("PIP_FIND_LINKS");
    unsetenv("PIP_NO_INDEX");
    unsetenv("PIP_CERT");
    return 0;
}

static struct pip_config load(void)
{
    struct pip_config c;
    struct err e;

    assert_int_equal(pip_config_load(&c, &e), 0);
    return c;
}

static void test_file(void **state)
{
    struct pip_config c;

    write_file(user_file, "# a comment\n[global]\n; another\ntimeout = 60\n"
                          "Index_URL = https://user:p%40ss@mirror.test/simple/\n"
                          "extra-index-url =\n    https://one.test/simple\n"
                          "    https://two.test/simple/\n\n"
                          "[list]\nindex-url = https://wrong.test/\n");
    c = load();
    assert_int_equal(c.n_index, 3);
    assert_string_equal(c.index[0], "https://user:p%40ss@mirror.test/simple");
    assert_string_equal(c.index[1], "https://one.test/simple");
    assert_string_equal(c.index[2], "https://two.test/simple");
    pip_config_done(&c);
}

static void test_sections_and_order(void **state)
{
    struct pip_config c;

    write_file(user_file, "[install]\nindex-url: https://install.test/s\n"
                          "[global]\nindex-url: https://global.test/s\n");
    c = load();
    assert_string_equal(c.index[0], "https://install.test/s");
    pip_config_done(&c);

    write_file(named_file, "[global]\nindex-url=https://named.test/s\n");
    setenv("PIP_CONFIG_FILE", named_file, 1);
    c = load();
    assert_string_equal(c.index[0], "https://named.test/s");
    pip_config_done(&c);

    setenv("PIP_INDEX_URL", "https://env.test/s", 1);
    setenv("PIP_EXTRA_INDEX_URL", "https://a.test https://b.test", 1);
    c = load();
    assert_int_equal(c.n_index, 3);
    assert_string_equal(c.index[0], "https://env.test/s");
    assert_string_equal(c.index[2], "https://b.test");
    pip_config_done(&c);
}

static void test_dev_null_means_no_file(void **state)
{
    struct pip_config c;

    write_file(user_file, "[global]\nindex-url = https://user.test/s\n");
    setenv("PIP_CONFIG_FILE", "/dev/null", 1);
    c = load();
    assert_int_equal(c.n_index, 1);
    assert_null(strstr(c.index[0], "user.test"));
    pip_config_done(&c);
}

static void test_cert(void **state)
{
    struct pip_config c;

    write_file(user_file, "[global]\ncert = /etc/hostname\n");
    c = load();
    assert_string_equal(c.cert, "/etc/hostname");
    pip_config_done(&c);
    setenv("PIP_CERT", "/nonexistent", 1); /* a file that is not there helps nobody */
    c = load();
    assert_null(c.cert);
    pip_config_done(&c);
}

static void test_no_index(void **state)
{
    struct pip_config c;
    struct err e;

    setenv("PIP_CONFIG_FILE", "/dev/null", 1);
    setenv("PIP_NO_INDEX", "1", 1);
    assert_int_equal(pip_config_load(&c, &e), ERR_NOTFOUND);
    setenv("PIP_FIND_LINKS", folder, 1);
    c = load();
    assert_int_equal(c.n_index, 0);
    assert_int_equal(c.n_folders, 1);
    assert_string_equal(c.folder[0], folder);
    pip_config_done(&c);
}

static void test_rubbish_is_survived(void **state)
{
    struct pip_config c;
    struct err e;

    write_file(user_file, "no section = 1\n[global\nindex-url\n= 3\n   stray\n[]\n[global]\n"
                          "index-url = ftp://old.test/\n");
    /* Not a kind of index we can ask, and there is no other. */
    assert_int_equal(pip_config_load(&c, &e), ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_file, setup),
        cmocka_unit_test_setup(test_sections_and_order, setup),
        cmocka_unit_test_setup(test_dev_null_means_no_file, setup),
        cmocka_unit_test_setup(test_cert, setup),
        cmocka_unit_test_setup(test_no_index, setup),
        cmocka_unit_test_setup(test_rubbish_is_survived, setup),
    };
    int failed;

    if (!mkdtemp(folder))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(user_file);
    unlink(named_file);
    *strrchr(user_file, '/') = 0;
    rmdir(user_file);
    rmdir(folder);
    return failed;
}
