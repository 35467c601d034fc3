/* Fuzz target: a configuration file through YAML and the server's tables of settings. Whatever the
 * bytes, values stay within their bounds, and what is refused is refused with a sentence. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "serve/serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int other(void *arg, const char *key, struct config_node *value, struct err *e)
{
    for (struct config_node *n = config_first(value); n; n = config_next(n))
        config_is_map(n);
    return strcmp(key, "models") == 0;
}

static void check_bounds(const struct serve_config *c)
{
    struct buf text;

    buf_init(&text, 1 << 22);
    for (const struct config_setting *s = serve_settings; s->name; s++) {
        const void *at = (const char *)c + s->offset;
        if (s->kind == CONFIG_INT || s->kind == CONFIG_TIME)
            CHECK((double)*(const int64_t *)at >= s->min && (double)*(const int64_t *)at <= s->max);
        CHECK(!config_show(s, c, &text));
    }
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_doc *d = NULL;
    struct serve_config c;
    struct err e = {0};
    int r;

    serve_config_init(&c);
    r = config_doc_parse(&d, "f", (const char *)data, size, &e);
    if (!r)
        r = config_read(d, config_doc_root(d), serve_settings, &c, &c.arena, other, NULL, &e);
    CHECK(!r || e.text[0]);
    check_bounds(&c);
    config_doc_close(d);
    serve_config_done(&c);
    return 0;
}
