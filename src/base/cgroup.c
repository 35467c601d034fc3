#include "base/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

/* The text of a small file, without the newline at its end; -1 where there is none. */
static int read_small(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n, len = 0;

    if (fd < 0)
        return -1;
    while ((n = read(fd, out + len, cap - 1 - (size_t)len)) > 0)
        len += n;
    close(fd);
    while (len && out[len - 1] == '\n')
        len--;
    out[len] = 0;
    return n < 0 && !len ? -1 : (int)len;
}

/* Is this one of the words of "cpu,cpuacct"? */
static int is_listed(char *words, const char *word)
{
    for (char *w; (w = strsep(&words, ","));) {
        if (!strcmp(w, word))
            return 1;
    }
    return 0;
}

/* The path of this process's group, "" for the root or where it is not told. */
static void own_group(const char *root, const char *controller, char *out, size_t cap)
{
    char path[PATH_BYTES], text[4096], *line, *rest = text;

    *out = 0;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (read_small(path, text, sizeof text) < 0)
        return;
    while ((line = strsep(&rest, "\n"))) { /* "4:cpu,cpuacct:/a/b", "0::/a/b" */
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        if (is_listed(list + 1, controller))
            snprintf(out, cap, "%s", strcmp(group, "/") ? group : "");
    }
}

void cgroup_each(const char *root, const char *mount, const char *controller, const char *file,
                 void (*see)(const char *folder, const char *text, void *arg), void *arg)
{
    char group[2048], folder[PATH_BYTES], path[PATH_BYTES + 128], text[128], *slash;

    own_group(root, controller, group, sizeof group);
    do {
        snprintf(folder, sizeof folder, "%s%s%s", root, mount, group);
        snprintf(path, sizeof path, "%s/%s", folder, file);
        if (read_small(path, text, sizeof text) > 0)
            see(folder, text, arg);
        slash = strrchr(group, '/');
        if (slash)
            *slash = 0;
    } while (slash);
}
