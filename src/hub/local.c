/* What is on this machine: resolve, list, remove. */
#include "hub/hub_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n > m && !strcasecmp(s + n - m, suffix);
}

/* The pulled file of a name, or NULL. */
static char *find_local(const struct hub *h, const char *name)
{
    char *path = home_path(h, "models", name, ".gguf");

    if (path && is_file(path))
        return path;
    free(path);
    return NULL;
}

static int resolve_remote(const struct hub *h, const char *spec, char **ret_path, struct err *e)
{
    char name[HUB_NAME_MAX + 1];
    struct origin origin;
    char *path;

    if (name_of_file(spec, name))
        return err_set(e, ERR_ARG, "'%s' names no file", spec);
    path = find_local(h, name);
    if (path && origin_read(h, name, &origin) == 0 && !strcmp(origin.source, spec)) {
        *ret_path = path;
        return 0;
    }
    free(path);
    return err_set(e, ERR_NOTFOUND, "%s is not on this machine; get it with: gaufre pull %s", spec,
                   spec);
}

static int resolve_path(const char *path, char **ret_path, struct err *e)
{
    struct stat st;

    if (stat(path, &st))
        return err_set(e, errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_IO,
                       "cannot open %s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_ARG, "%s is a folder; name the model file in it", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_ARG, "%s is no file", path);
    *ret_path = strdup(path);
    return *ret_path ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

int hub_resolve(const struct hub *h, const char *spec, char **ret_path, struct err *e)
{
    const struct entry *row;
    char *path;

    if (spec_is_remote(spec))
        return resolve_remote(h, spec, ret_path, e);
    if (strchr(spec, '/') || has_suffix(spec, ".gguf"))
        return resolve_path(spec, ret_path, e);
    row = catalogue_find(&h->catalogue, spec);
    path = name_is_valid(spec) ? find_local(h, row ? row->name : spec) : NULL;
    if (path) {
        *ret_path = path;
        return 0;
    }
    if (is_file(spec))
        return resolve_path(spec, ret_path, e);
    if (row)
        return err_set(e, ERR_NOTFOUND, "%s is not on this machine; get it with: gaufre pull %s",
                       row->name, row->name);
    return err_set(e, ERR_NOTFOUND,
                   "no model '%s' on this machine nor in the catalogue ('gaufre list' shows both; "
                   "a path, URL or hf:OWNER/REPO/FILE works too)",
                   spec);
}

int hub_sampling(const struct hub *h, const char *path, struct preset *ret)
{
    char name[HUB_NAME_MAX + 1];
    const struct entry *row;
    struct origin origin;
    struct stat a, b;
    char *pulled;
    int same;

    if (name_of_file(path, name))
        return 0;
    row = catalogue_find(&h->catalogue, name);
    if (!row || !row->has_sampling || origin_read(h, row->name, &origin) ||
        strcasecmp(origin.sha256, row->sha256))
        return 0;
    pulled = find_local(h, row->name);
    same = pulled && !stat(path, &a) && !stat(pulled, &b) && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino && (uint64_t)b.st_size == origin.bytes;
    free(pulled);
    if (same)
        *ret = row->sampling;
    return same;
}

int hub_digest(const struct hub *h, const char *path, char ret[65])
{
    char name[HUB_NAME_MAX + 1];
    struct origin origin;
    struct stat a, b;
    char *pulled;
    int same;

    if (name_of_file(path, name) || origin_read(h, name, &origin) || strlen(origin.sha256) != 64)
        return 0;
    pulled = find_local(h, name);
    same = pulled && !stat(path, &a) && !stat(pulled, &b) && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino && (uint64_t)b.st_size == origin.bytes &&
           file_mtime_us(&b) == origin.mtime_us;
    free(pulled);
    if (same)
        memcpy(ret, origin.sha256, sizeof origin.sha256);
    return same;
}

/* ---- list ---- */

void hub_models_done(struct hub_models *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->v[i].name);
        free(m->v[i].title);
        free(m->v[i].description);
        free(m->v[i].licence);
        free(m->v[i].source);
        free(m->v[i].path);
    }
    free(m->v);
    *m = (struct hub_models){0};
}

static uint64_t partial_bytes(const struct hub *h, const char *name)
{
    static const char *const suffix[] = {".part", ".whl"};
    uint64_t n = 0;

    for (int i = 0; i < 2; i++) {
        char *path = home_path(h, "tmp", name, suffix[i]);
        struct stat st;
        if (path && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            n += (uint64_t)st.st_size;
        free(path);
    }
    return n;
}

static int add_model(const struct hub *h, struct hub_models *m, const char *name, char *path)
{
    const struct entry *row = catalogue_find(&h->catalogue, name);
    struct hub_model *v = realloc(m->v, (m->n + 1) * sizeof *v);
    struct origin origin;
    struct stat st;

    if (!v) {
        free(path);
        return ERR_NOMEM;
    }
    m->v = v;
    v += m->n++;
    *v = (struct hub_model){.path = path, .known = row != NULL};
    if (row) {
        v->bytes = row->bytes;
        snprintf(v->sha256, sizeof v->sha256, "%s", row->sha256);
    }
    origin.source[0] = 0;
    if (path) {
        if (stat(path, &st) == 0)
            v->bytes = (uint64_t)st.st_size;
        v->sha256[0] = 0;
        if (origin_read(h, name, &origin) == 0)
            snprintf(v->sha256, sizeof v->sha256, "%s", origin.sha256);
    } else {
        v->partial = partial_bytes(h, name);
    }
    v->name = strdup(name);
    v->title = strdup(row ? row->title : "");
    v->description = strdup(row ? row->description : "");
    v->licence = strdup(row ? row->licence : "");
    v->source = strdup(origin.source);
    return v->name && v->title && v->description && v->licence && v->source ? 0 : ERR_NOMEM;
}

static int add_local(const struct hub *h, struct hub_models *m)
{
    char *folder = home_path(h, "models", "", "");
    DIR *d = folder ? opendir(folder) : NULL;
    struct dirent *f;
    int err = folder ? 0 : ERR_NOMEM;

    while (d && !err && (f = readdir(d))) {
        char name[HUB_NAME_MAX + 1];
        char *path;
        if (!has_suffix(f->d_name, ".gguf") || name_of_file(f->d_name, name))
            continue;
        path = find_local(h, name);
        if (path)
            err = add_model(h, m, name, path);
    }
    if (d)
        closedir(d);
    free(folder);
    return err;
}

static int by_name(const void *a, const void *b)
{
    const struct hub_model *x = a, *y = b;

    if (!x->path != !y->path)
        return x->path ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int is_listed(const struct hub_models *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++) {
        if (!strcmp(m->v[i].name, name))
            return 1;
    }
    return 0;
}

int hub_list(const struct hub *h, struct hub_models *ret, struct err *e)
{
    struct hub_models m = {0};
    int err = add_local(h, &m);

    for (int i = 0; !err && i < h->catalogue.n; i++) {
        const char *name = h->catalogue.entry[i].name;
        if (!is_listed(&m, name))
            err = add_model(h, &m, name, NULL);
    }
    if (err) {
        hub_models_done(&m);
        return err_set(e, err, "out of memory");
    }
    if (m.n)
        qsort(m.v, m.n, sizeof *m.v, by_name);
    *ret = m;
    return 0;
}

/* ---- remove ---- */

static int drop(const struct hub *h, const char *folder, const char *name, const char *suffix,
                int *dropped, uint64_t *bytes)
{
    char *path = home_path(h, folder, name, suffix);
    struct stat st;
    int err = 0;

    if (!path)
        return ERR_NOMEM;
    if (lstat(path, &st) == 0) { /* a link goes, not what it leads to */
        if (unlink(path) == 0) {
            *dropped = 1;
            *bytes += (uint64_t)st.st_size;
        } else {
            err = ERR_IO;
        }
    }
    free(path);
    return err;
}

int hub_remove(struct hub *h, const char *name, uint64_t *ret_bytes, struct err *e)
{
    const struct entry *row;
    uint64_t bytes = 0, ignored = 0;
    int dropped = 0, err, fd, unused = 0;
    char *lock;

    if (!name_is_valid(name))
        return err_set(e, ERR_ARG,
                       "'%s' is not the name of a pulled model (files elsewhere are yours)", name);
    row = catalogue_find(&h->catalogue, name);
    if (row)
        name = row->name;
    lock = home_path(h, "tmp", name, ".lock");
    if (!lock)
        return err_set(e, ERR_NOMEM, "out of memory");
    fd = open(lock, O_RDWR | O_CLOEXEC);
    free(lock);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return err_set(e, ERR_EXISTS, "%s is being pulled right now", name);
    }
    err = drop(h, "models", name, ".gguf", &dropped, &bytes);
    if (!err)
        err = drop(h, "models", name, ".json", &unused, &ignored);
    if (!err)
        err = drop(h, "tmp", name, ".part", &dropped, &bytes);
    if (!err)
        err = drop(h, "tmp", name, ".from", &unused, &ignored);
    if (!err)
        err = drop(h, "tmp", name, ".whl", &dropped, &bytes);
    if (!err)
        err = drop(h, "tmp", name, ".lock", &unused, &ignored);
    if (fd >= 0)
        close(fd);
    if (err)
        return err_set(e, err, "cannot remove %s: %s", name, strerror(errno));
    if (!dropped)
        return err_set(e, ERR_NOTFOUND, "no model '%s' on this machine", name);
    *ret_bytes = bytes;
    return 0;
}
