/* A catalogue of models ($GAUFRE_HOME/catalogue.json), and what stands for a model where one is
 * asked for. A row that is taken can be pulled: it has a name that is a file's, and sources. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "hub/hub_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_source(const struct source *s)
{
    switch (s->kind) {
    case SOURCE_URL:
        CHECK(s->url && *s->url);
        break;
    case SOURCE_HF:
        CHECK(s->repo && *s->repo && s->revision && *s->revision && s->file && *s->file);
        break;
    case SOURCE_WHEELS:
        CHECK(s->n_parts > 0);
        for (int i = 0; i < s->n_parts; i++)
            CHECK(s->part[i].project && s->part[i].version && s->part[i].member);
    }
}

static void ask(const char *spec)
{
    char name[HUB_NAME_MAX + 1];
    struct source s = {0};
    struct arena mem;
    struct err e = {0};

    spec_is_remote(spec);
    if (!name_of_file(spec, name))
        CHECK(name_is_valid(name));
    arena_init(&mem, 1024, 1 << 20);
    if (!strncmp(spec, "hf:", 3)) {
        if (!spec_parse_hf(spec, &mem, &s, &e))
            check_source(&s);
        else
            CHECK(e.text[0]);
    }
    arena_done(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    struct catalogue c;
    struct err e = {0};

    CHECK(text);
    memcpy(text, data, n);
    text[n] = 0;
    if (n && *text == '=') {
        ask(text + 1);
        free(text);
        return 0;
    }
    free(text);
    catalogue_init(&c);
    if (catalogue_add(&c, (const char *)data, n, "f", &e))
        CHECK(!c.n && e.text[0]);
    for (int i = 0; i < c.n; i++) {
        const struct entry *m = &c.entry[i];
        CHECK(name_is_valid(m->name) && catalogue_find(&c, m->name));
        CHECK(m->title && m->description && m->licence && m->sha256 && m->n_sources > 0);
        CHECK(!*m->sha256 || digest_is_hex(m->sha256));
        for (int k = 0; k < m->n_sources; k++)
            check_source(&m->source[k]);
    }
    catalogue_done(&c);
    return 0;
}
