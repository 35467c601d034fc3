/* Which package index pip uses: a file of its settings, or with '=' before it, its variables, one a
 * line. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_file.h"
#include "hub/hub_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void set(const char *name, const char *value)
{
    if (value && *value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
                                        "PIP_NO_INDEX", "PIP_CERT"};
    int variables = n && *data == '=';
    char *text = malloc(n + 1), *rest = text;
    struct pip_config c;
    struct err e = {0};

    CHECK(text);
    memcpy(text, data, n);
    text[n] = 0;
    if (variables)
        rest++;
    setenv("HOME", "/nowhere", 1);
    setenv("XDG_CONFIG_HOME", "/nowhere", 1);
    setenv("XDG_CONFIG_DIRS", "/nowhere", 1);
    unsetenv("VIRTUAL_ENV");
    set("PIP_CONFIG_FILE", variables ? "/dev/null" : fuzz_file(data, n));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        set(names[i], variables ? strsep(&rest, "\n") : NULL);
    if (!pip_config_load(&c, &e)) {
        CHECK(c.n_index >= 0 && c.n_index <= PIP_LIST_MAX && c.n_folders <= PIP_LIST_MAX);
        for (int i = 0; i < c.n_index; i++)
            CHECK(c.index[i] && *c.index[i]);
        for (int i = 0; i < c.n_folders; i++)
            CHECK(c.folder[i] && *c.folder[i]);
        pip_config_done(&c);
    } else {
        CHECK(e.text[0]);
    }
    free(text);
    return 0;
}
