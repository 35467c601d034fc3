/* The folder of models: its paths, names, and the note beside each model. */
#include "hub/hub_int.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define CATALOGUE_FILE_MAX ((size_t)4 << 20)

extern const unsigned char hub_catalogue_json[]; /* embedded at build time */
extern const size_t hub_catalogue_json_len;

static int is_set(const char *s)
{
    return s && *s;
}

static char *find_home(void)
{
    const char *home = getenv("GAUFRE_HOME"), *xdg = getenv("XDG_DATA_HOME"), *user;
    char *path = NULL;

    if (is_set(home))
        return strdup(home);
    /* The specification wants relative paths ignored. */
    if (is_set(xdg) && *xdg == '/')
        return asprintf(&path, "%s/gaufre", xdg) < 0 ? NULL : path;
    user = getenv("HOME");
    if (!is_set(user)) { /* cron, a service, env -i */
        const struct passwd *p = getpwuid(geteuid());
        user = p ? p->pw_dir : NULL;
    }
    return asprintf(&path, "%s/.local/share/gaufre", is_set(user) ? user : "") < 0 ? NULL : path;
}

int home_read_file(const char *path, size_t max, struct buf *b)
{
    /* what is no file must not make us wait for a writer */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char chunk[4096];
    struct stat st;
    ssize_t n = 0;

    buf_init(b, max);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_IO;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        n = -1;
    while (n >= 0 && !b->failed && (n = read(fd, chunk, sizeof chunk)) > 0)
        buf_add(b, chunk, (size_t)n);
    close(fd);
    return n < 0 ? ERR_IO : b->failed;
}

int home_open_own(const char *path, int *ret_fd, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0 && errno != ELOOP && errno != EISDIR && errno != ENXIO)
        return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_LIMIT : ERR_IO,
                       "cannot make %s: %s", path, strerror(errno));
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink > 1) {
        if (fd >= 0)
            close(fd);
        return err_set(e, ERR_IO,
                       "%s is a link or no file; remove it, a pull writes to a file of its own",
                       path);
    }
    *ret_fd = fd;
    return 0;
}

static int add_user_catalogue(struct hub *h, struct err *e)
{
    struct buf text;
    char *path = NULL;
    int err;

    if (asprintf(&path, "%s/catalogue.json", h->home) < 0)
        return err_set(e, ERR_NOMEM, "out of memory");
    err = home_read_file(path, CATALOGUE_FILE_MAX, &text);
    if (err == ERR_NOTFOUND)
        err = 0;
    else if (err)
        err_set(e, err, "cannot read %s", path);
    else
        err = catalogue_add(&h->catalogue, text.data ? text.data : "", text.len, path, e);
    buf_done(&text);
    free(path);
    return err;
}

int hub_open(struct hub **ret, struct err *e)
{
    struct hub *h = calloc(1, sizeof *h);
    int err;

    if (!h)
        return err_set(e, ERR_NOMEM, "out of memory");
    catalogue_init(&h->catalogue);
    h->home = find_home();
    if (!h->home) {
        err = err_set(e, ERR_NOMEM, "out of memory");
        goto fail;
    }
    err = add_user_catalogue(h, e);
    if (err)
        goto fail;
    err = catalogue_add(&h->catalogue, (const char *)hub_catalogue_json, hub_catalogue_json_len,
                        "the built-in catalogue", e);
    if (err)
        goto fail;
    *ret = h;
    return 0;
fail:
    hub_close(h);
    return err;
}

void hub_close(struct hub *h)
{
    if (!h)
        return;
    catalogue_done(&h->catalogue);
    free(h->home);
    free(h);
}

const char *hub_home(const struct hub *h)
{
    return h->home;
}

/* ---- names ---- */

int name_is_valid(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > HUB_NAME_MAX || !isalnum((unsigned char)name[0]))
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return 0;
    }
    return 1;
}

int name_of_file(const char *path, char ret[HUB_NAME_MAX + 1])
{
    size_t n = strcspn(path, "?#"), start = n, i;

    while (start > 0 && path[start - 1] != '/')
        start--;
    if (n - start > 5 && !strncasecmp(path + n - 5, ".gguf", 5))
        n -= 5;
    n -= start;
    if (n == 0 || n > HUB_NAME_MAX)
        return ERR_ARG;
    for (i = 0; i < n; i++) {
        unsigned char c = (unsigned char)path[start + i];
        ret[i] = (char)(isalnum(c) || strchr("._-", c) ? c : '-');
    }
    ret[n] = 0;
    return name_is_valid(ret) ? 0 : ERR_ARG;
}

int spec_is_remote(const char *spec)
{
    return !strncmp(spec, "hf:", 3) || !strncasecmp(spec, "http://", 7) ||
           !strncasecmp(spec, "https://", 8);
}

int spec_parse_hf(const char *spec, struct arena *mem, struct source *ret, struct err *e)
{
    const char *owner = spec + 3, *repo, *file, *at;
    size_t n_repo;

    repo = strchr(owner, '/');
    file = repo ? strchr(repo + 1, '/') : NULL;
    if (!file || repo == owner || file == repo + 1 || !file[1] || strstr(spec, "..") ||
        strpbrk(spec, " ?#\\\""))
        return err_set(e, ERR_ARG, "'%s' is not hf:OWNER/REPO/FILE (or REPO@REVISION)", spec);
    at = memchr(repo, '@', (size_t)(file - repo));
    n_repo = (size_t)((at ? at : file) - owner);
    ret->kind = SOURCE_HF;
    ret->repo = arena_strndup(mem, owner, n_repo);
    ret->revision = at ? arena_strndup(mem, at + 1, (size_t)(file - at - 1)) : "main";
    ret->file = arena_strdup(mem, file + 1);
    if (!ret->repo || !ret->revision || !ret->file)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (at && (at == repo + 1 || !*ret->revision))
        return err_set(e, ERR_ARG, "'%s' is not hf:OWNER/REPO@REVISION/FILE", spec);
    return 0;
}

/* ---- paths ---- */

char *home_path(const struct hub *h, const char *folder, const char *name, const char *suffix)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s/%s%s", h->home, folder, name, suffix) < 0 ? NULL : path;
}

int home_make_folder(const char *path, struct err *e)
{
    char *copy = strdup(path);
    int err = 0;

    if (!copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (char *p = copy + 1;; p++) {
        char c = *p;
        if (c && c != '/')
            continue;
        *p = 0;
        if (mkdir(copy, 0755) && errno != EEXIST) {
            err = err_set(e, ERR_IO, "cannot make the folder %s: %s", copy, strerror(errno));
            break;
        }
        *p = c;
        if (!c)
            break;
    }
    free(copy);
    return err;
}

mode_t home_file_mode(void)
{
    mode_t hidden = umask(077);

    umask(hidden);
    return 0644 & ~hidden;
}

int hub_make_home(const struct hub *h, struct err *e)
{
    return home_make_folder(h->home, e);
}

/* ---- the note beside a model ---- */

int64_t file_mtime_us(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

int origin_read(const struct hub *h, const char *name, struct origin *ret)
{
    char *path = home_path(h, "models", name, ".json");
    struct buf text = {0};
    json_t *j = NULL;
    const char *source, *sha;
    int err = ERR_NOTFOUND;

    if (!path || home_read_file(path, 65536, &text) || !text.data ||
        json_parse(&j, text.data, text.len, 0, NULL))
        goto out;
    source = json_string_value(json_object_get(j, "source"));
    sha = json_string_value(json_object_get(j, "sha256"));
    if (!source || !sha || !digest_is_hex(sha))
        goto out;
    *ret = (struct origin){0};
    snprintf(ret->source, sizeof ret->source, "%s", source);
    snprintf(ret->sha256, sizeof ret->sha256, "%s", sha);
    ret->bytes = (uint64_t)json_integer_value(json_object_get(j, "bytes"));
    ret->mtime_us = json_integer_value(json_object_get(j, "mtime_us"));
    err = 0;
out:
    json_decref(j);
    buf_done(&text);
    free(path);
    return err;
}

int origin_write(const struct hub *h, const char *name, const struct origin *o, struct err *e)
{
    char *path = home_path(h, "models", name, ".json");
    char *tmp = home_path(h, "tmp", name, ".json");
    json_t *j = json_pack("{s:s, s:s, s:I, s:I}", "source", o->source, "sha256", o->sha256, "bytes",
                          (json_int_t)o->bytes, "mtime_us", (json_int_t)o->mtime_us);
    int err = 0, fd = -1;

    if (!path || !tmp || !j)
        err = err_set(e, ERR_NOMEM, "out of memory");
    if (!err)
        err = home_open_own(tmp, &fd, e);
    if (!err && (ftruncate(fd, 0) || json_dumpfd(j, fd, JSON_INDENT(2)) ||
                 fchmod(fd, home_file_mode()) || rename(tmp, path)))
        err = err_set(e, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    json_decref(j);
    free(tmp);
    free(path);
    return err;
}
