/* Which package index this machine uses, by the settings that pip itself reads: environment over
 * the file named by PIP_CONFIG_FILE over the virtual environment's over the user's over the
 * system's. In a file, [global] gives way to [install] and [download]. */
#include "hub/hub_int.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIP_FILE_MAX   65536
#define PIP_DEFAULT    "https://pypi.org/simple"
#define PIP_MEMORY_MAX ((size_t)1 << 20)

/* Values as text, the strongest last; NULL when not set. */
struct settings {
    struct arena *mem;
    const char *index, *extra, *links, *no_index, *cert;
};

static void set(struct settings *s, const char *key, const char *value)
{
    if (!strcmp(key, "index-url"))
        s->index = value;
    else if (!strcmp(key, "extra-index-url"))
        s->extra = value;
    else if (!strcmp(key, "find-links"))
        s->links = value;
    else if (!strcmp(key, "no-index"))
        s->no_index = value;
    else if (!strcmp(key, "cert"))
        s->cert = value;
}

/* ---- the ini files ---- */

static char *trim(char *s)
{
    char *end;

    while (isspace((unsigned char)*s))
        s++;
    end = s + strlen(s);
    while (end > s && isspace((unsigned char)end[-1]))
        *--end = 0;
    return s;
}

/* pip reads '_' in keys as '-', in any case. */
static void normalise_key(char *key)
{
    for (; *key; key++)
        *key = *key == '_' ? '-' : (char)tolower((unsigned char)*key);
}

/* Append an indented line to the value of the key before it. */
static void continue_value(struct settings *s, const char *section, const char *wanted, char *key,
                           char **value, const char *more)
{
    size_t n = strlen(*value) + strlen(more) + 2;
    char *joined;

    if (!*key || strcmp(section, wanted))
        return;
    joined = arena_alloc(s->mem, n);
    if (!joined)
        return;
    snprintf(joined, n, "%s %s", *value, more);
    *value = joined;
    set(s, key, joined);
}

/* The settings of one section; the text is cut up. */
static void read_section(struct settings *s, char *text, const char *wanted)
{
    char section[64] = "", key[64] = "", *line, *rest = text, *value = NULL;

    while ((line = strsep(&rest, "\n"))) {
        int indented = isspace((unsigned char)*line);
        char *sep;
        line = trim(line);
        if (!*line || *line == '#' || *line == ';')
            continue;
        if (indented && value) {
            continue_value(s, section, wanted, key, &value, line);
            continue;
        }
        value = NULL;
        if (*line == '[') {
            snprintf(section, sizeof section, "%.*s", (int)strcspn(line + 1, "]"), line + 1);
            continue;
        }
        sep = strpbrk(line, "=:");
        if (!sep)
            continue;
        *sep = 0;
        snprintf(key, sizeof key, "%s", trim(line));
        normalise_key(key);
        value = arena_strdup(s->mem, trim(sep + 1));
        if (value && !strcmp(section, wanted))
            set(s, key, value);
    }
}

static void read_file(struct settings *s, const char *path)
{
    static const char *const sections[] = {"global", "install", "download"};
    char *text = NULL, *copy;
    FILE *f = fopen(path, "re");
    size_t n;

    if (!f)
        return;
    text = calloc(1, PIP_FILE_MAX + 1);
    n = text ? fread(text, 1, PIP_FILE_MAX, f) : 0;
    fclose(f);
    for (size_t i = 0; n && i < sizeof sections / sizeof sections[0]; i++) {
        copy = strdup(text);
        if (copy)
            read_section(s, copy, sections[i]);
        free(copy);
    }
    free(text);
}

static void read_file_in(struct settings *s, const char *folder, const char *rest)
{
    char path[1024];

    if (folder && *folder && snprintf(path, sizeof path, "%s/%s", folder, rest) < (int)sizeof path)
        read_file(s, path);
}

static void read_files(struct settings *s)
{
    const char *named = getenv("PIP_CONFIG_FILE"), *dirs = getenv("XDG_CONFIG_DIRS");
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char copy[1024], *rest = copy, *dir;

    if (named && !strcmp(named, "/dev/null")) /* how one tells pip to read no file */
        return;
    snprintf(copy, sizeof copy, "%s", dirs && *dirs ? dirs : "/etc/xdg");
    while ((dir = strsep(&rest, ":")))
        read_file_in(s, dir, "pip/pip.conf");
    read_file(s, "/etc/pip.conf");
    read_file_in(s, home, ".pip/pip.conf");
    if (config && *config)
        read_file_in(s, config, "pip/pip.conf");
    else
        read_file_in(s, home, ".config/pip/pip.conf");
    read_file_in(s, getenv("VIRTUAL_ENV"), "pip.conf");
    if (named && *named)
        read_file(s, named);
}

/* ---- the result ---- */

static int is_true(const char *s)
{
    return s && (!strcasecmp(s, "1") || !strcasecmp(s, "true") || !strcasecmp(s, "yes") ||
                 !strcasecmp(s, "on") || !strcasecmp(s, "y") || !strcasecmp(s, "t"));
}

static void add_index(struct pip_config *c, const char *url, size_t n)
{
    while (n && url[n - 1] == '/')
        n--;
    if (n && c->n_index < PIP_LIST_MAX && spec_is_remote(url)) {
        c->index[c->n_index] = arena_strndup(&c->mem, url, n);
        if (c->index[c->n_index])
            c->n_index++;
    }
}

static void add_folder(struct pip_config *c, const char *link, size_t n)
{
    struct stat st;
    char *path;

    if (n > 7 && !strncmp(link, "file://", 7)) {
        link += 7;
        n -= 7;
    }
    path = arena_strndup(&c->mem, link, n);
    if (path && c->n_folders < PIP_LIST_MAX && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        c->folder[c->n_folders++] = path;
}

static void each_word(struct pip_config *c, const char *text,
                      void (*add)(struct pip_config *c, const char *word, size_t n))
{
    static const char blank[] = " \t\r\n";

    for (text += strspn(text, blank); *text; text += strspn(text, blank)) {
        size_t n = strcspn(text, blank);
        add(c, text, n);
        text += n;
    }
}

int pip_config_load(struct pip_config *ret, struct err *e)
{
    struct settings s = {.mem = &ret->mem};
    const char *v;

    *ret = (struct pip_config){0};
    arena_init(&ret->mem, 4096, PIP_MEMORY_MAX);
    read_files(&s);
    if ((v = getenv("PIP_INDEX_URL")) && *v)
        s.index = v;
    if ((v = getenv("PIP_EXTRA_INDEX_URL")) && *v)
        s.extra = v;
    if ((v = getenv("PIP_FIND_LINKS")) && *v)
        s.links = v;
    if ((v = getenv("PIP_NO_INDEX")) && *v)
        s.no_index = v;
    if ((v = getenv("PIP_CERT")) && *v)
        s.cert = v;
    ret->cert = s.cert && access(s.cert, R_OK) == 0 ? s.cert : NULL;
    if (s.links)
        each_word(ret, s.links, add_folder);
    if (!is_true(s.no_index)) {
        if (!s.index || !*s.index)
            s.index = PIP_DEFAULT;
        each_word(ret, s.index, add_index);
        if (s.extra)
            each_word(ret, s.extra, add_index);
    }
    if (!ret->n_index && !ret->n_folders) {
        pip_config_done(ret);
        return err_set(e, ERR_NOTFOUND, "pip is configured to use no package index");
    }
    return 0;
}

void pip_config_done(struct pip_config *c)
{
    arena_done(&c->mem);
    *c = (struct pip_config){0};
}
