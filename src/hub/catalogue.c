#include "hub/hub_int.h"

#include <string.h>
#include <strings.h>

#define CATALOGUE_BYTES_MAX ((size_t)16 << 20)

void catalogue_init(struct catalogue *c)
{
    *c = (struct catalogue){0};
    arena_init(&c->mem, 16384, CATALOGUE_BYTES_MAX);
}

void catalogue_done(struct catalogue *c)
{
    arena_done(&c->mem);
    *c = (struct catalogue){0};
}

/* One row being read: where messages say it is. */
struct reader {
    struct arena *mem;
    const char *where;
    int i_row;
    struct err *e;
};

static int bad(struct reader *r, const char *what)
{
    return err_set(r->e, ERR_FORMAT, "%s, model %d: %s", r->where, r->i_row + 1, what);
}

/* A string, copied; *ret stays as it is when the key is absent. */
static int get_text(struct reader *r, const json_t *j, const char *key, const char **ret)
{
    const json_t *v = json_object_get(j, key);
    char *s;

    if (!v)
        return 0;
    if (!json_is_string(v) || !json_string_length(v))
        return bad(r, "a text that is empty or none");
    s = arena_strdup(r->mem, json_string_value(v));
    if (!s)
        return err_set(r->e, ERR_NOMEM, "out of memory for the catalogue");
    *ret = s;
    return 0;
}

static int get_bytes(struct reader *r, const json_t *j, uint64_t *ret)
{
    const json_t *v = json_object_get(j, "bytes");

    if (!v)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) <= 0)
        return bad(r, "bytes must be a positive whole number");
    *ret = (uint64_t)json_integer_value(v);
    return 0;
}

/* Unknown keys are errors: with a misspelt "sha256" the file would silently not be checked. */
static int only_keys(struct reader *r, const json_t *j, const char *const *keys)
{
    const char *key;
    json_t *v;

    if (!json_is_object(j))
        return bad(r, "an object was expected");
    json_object_foreach((json_t *)j, key, v)
    {
        const char *const *k = keys;
        while (*k && strcmp(*k, key))
            k++;
        if (!*k)
            return err_set(r->e, ERR_FORMAT, "%s, model %d: unknown key '%s'", r->where,
                           r->i_row + 1, key);
    }
    return 0;
}

/* A number of the row's sampling; *ret stays as it is when the key is absent. */
static int get_number(struct reader *r, const json_t *j, const char *key, double *ret)
{
    const json_t *v = json_object_get(j, key);

    if (v && !json_is_number(v))
        return bad(r, "sampling has numbers only");
    if (v)
        *ret = json_number_value(v);
    return 0;
}

static int read_sampling(struct reader *r, const json_t *j, struct entry *row)
{
    static const char *const keys[] = {"temperature", "top_p", "min_p", "top_k", NULL};
    struct preset s = preset_plain();
    double top_k = 0;
    int err;

    if (!j)
        return 0;
    if ((err = only_keys(r, j, keys)) || (err = get_number(r, j, "temperature", &s.temperature)) ||
        (err = get_number(r, j, "top_p", &s.top_p)) ||
        (err = get_number(r, j, "min_p", &s.min_p)) || (err = get_number(r, j, "top_k", &top_k)))
        return err;
    if (top_k >= 0 && top_k <= PRESET_TOP_K_MAX)
        s.top_k = (int32_t)top_k;
    if (s.top_k != top_k || !preset_is_valid(&s))
        return bad(r, "sampling: temperature is 0 to 2, top_p above 0 to 1, min_p 0 to 1, top_k a "
                      "whole number from 0");
    row->sampling = s;
    row->has_sampling = 1;
    return 0;
}

static int read_part(struct reader *r, const json_t *j, struct wheel_part *part)
{
    static const char *const keys[] = {"project", "version", "member", "bytes", NULL};
    int err;

    if ((err = only_keys(r, j, keys)) || (err = get_text(r, j, "project", &part->project)) ||
        (err = get_text(r, j, "version", &part->version)) ||
        (err = get_text(r, j, "member", &part->member)) || (err = get_bytes(r, j, &part->bytes)))
        return err;
    if (!part->project || !part->version || !part->member || !part->bytes)
        return bad(r, "a wheel needs project, version, member and bytes");
    return 0;
}

static int read_wheels(struct reader *r, const json_t *list, struct source *s)
{
    size_t n = json_array_size(list);
    int err;

    if (n == 0 || n > 1000)
        return bad(r, "wheels must be a list of 1 to 1000 parts");
    s->part = arena_zalloc(r->mem, n * sizeof *s->part);
    if (!s->part)
        return err_set(r->e, ERR_NOMEM, "out of memory for the catalogue");
    for (size_t i = 0; i < n; i++) {
        err = read_part(r, json_array_get(list, i), &s->part[i]);
        if (err)
            return err;
    }
    s->n_parts = (int)n;
    return 0;
}

static int read_source(struct reader *r, const json_t *j, struct source *s)
{
    static const char *const keys[] = {"url", "hf", "revision", "file", "wheels", NULL};
    const json_t *wheels = json_object_get(j, "wheels");
    int err;

    if ((err = only_keys(r, j, keys)) || (err = get_text(r, j, "url", &s->url)) ||
        (err = get_text(r, j, "hf", &s->repo)) ||
        (err = get_text(r, j, "revision", &s->revision)) ||
        (err = get_text(r, j, "file", &s->file)))
        return err;
    if (!!s->url + !!s->repo + !!wheels != 1)
        return bad(r, "a source is one of url, hf and wheels");
    if (wheels) {
        s->kind = SOURCE_WHEELS;
        return read_wheels(r, wheels, s);
    }
    if (s->url) {
        s->kind = SOURCE_URL;
        return 0;
    }
    s->kind = SOURCE_HF;
    if (!s->file || !strchr(s->repo, '/'))
        return bad(r, "hf is OWNER/REPO and needs a file");
    if (!s->revision)
        s->revision = "main";
    return 0;
}

/* The sizes of a wheel source's parts must add up to the file's. */
static int check_sum(struct reader *r, const struct entry *row, const struct source *s)
{
    uint64_t sum = 0;

    if (s->kind != SOURCE_WHEELS)
        return 0;
    for (int i = 0; i < s->n_parts; i++)
        sum += s->part[i].bytes;
    return sum == row->bytes ? 0 : bad(r, "the parts' bytes do not add up to the file's");
}

static int read_entry(struct reader *r, const json_t *j, struct entry *row)
{
    static const char *const keys[] = {"name",   "title",   "description", "licence", "bytes",
                                       "sha256", "sources", "sampling",    NULL};
    const json_t *sources = json_object_get(j, "sources");
    size_t n = json_array_size(sources);
    int err;

    row->title = row->description = row->licence = "";
    if ((err = only_keys(r, j, keys)) || (err = get_text(r, j, "name", &row->name)) ||
        (err = get_text(r, j, "title", &row->title)) ||
        (err = get_text(r, j, "description", &row->description)) ||
        (err = get_text(r, j, "licence", &row->licence)) ||
        (err = get_text(r, j, "sha256", &row->sha256)) || (err = get_bytes(r, j, &row->bytes)) ||
        (err = read_sampling(r, json_object_get(j, "sampling"), row)))
        return err;
    if (!row->name || !name_is_valid(row->name))
        return bad(r, "a name of letters, digits, '.', '_' and '-' is needed");
    if (!row->sha256 || !digest_is_hex(row->sha256))
        return bad(r, "sha256 must be 64 hex digits");
    if (!row->bytes)
        return bad(r, "bytes is needed");
    if (n == 0 || n > 16)
        return bad(r, "1 to 16 sources are needed");
    row->source = arena_zalloc(r->mem, n * sizeof *row->source);
    if (!row->source)
        return err_set(r->e, ERR_NOMEM, "out of memory for the catalogue");
    for (size_t i = 0; i < n; i++) {
        if ((err = read_source(r, json_array_get(sources, i), &row->source[i])) ||
            (err = check_sum(r, row, &row->source[i])))
            return err;
    }
    row->n_sources = (int)n;
    return 0;
}

int catalogue_add(struct catalogue *c, const char *text, size_t n, const char *where, struct err *e)
{
    struct reader r = {.mem = &c->mem, .where = where, .e = e};
    json_t *root = NULL;
    const json_t *list;
    struct entry *rows;
    size_t n_new;
    int err;

    err = json_parse(&root, text, n, 0, e);
    if (err) {
        err_prefix(e, "%s", where);
        return err;
    }
    list = json_object_get(root, "models");
    n_new = json_array_size(list);
    if (!json_is_array(list) || (size_t)c->n + n_new > CATALOGUE_MAX) {
        err = err_set(e, ERR_FORMAT, "%s: 'models' must be a list of at most %d models", where,
                      CATALOGUE_MAX);
        goto out;
    }
    rows = arena_zalloc(&c->mem, ((size_t)c->n + n_new + 1) * sizeof *rows);
    if (!rows) {
        err = err_set(e, ERR_NOMEM, "out of memory for the catalogue");
        goto out;
    }
    if (c->n)
        memcpy(rows, c->entry, (size_t)c->n * sizeof *rows);
    for (size_t i = 0; i < n_new; i++) {
        r.i_row = (int)i;
        err = read_entry(&r, json_array_get(list, i), &rows[(size_t)c->n + i]);
        if (err)
            goto out;
    }
    c->entry = rows;
    c->n += (int)n_new;
out:
    json_decref(root);
    return err;
}

const struct entry *catalogue_find(const struct catalogue *c, const char *name)
{
    for (int i = 0; i < c->n; i++) {
        if (!strcasecmp(c->entry[i].name, name))
            return &c->entry[i];
    }
    return NULL;
}
