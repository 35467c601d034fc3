#include "engine/rapl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX    64
#define PREFIX      "intel-rapl:"
#define ENTRIES_MAX 1024

/* A file's number, of digits only; at most 2^63. */
static int read_number(int fd, uint64_t *ret)
{
    char text[TEXT_MAX];
    ssize_t n = pread(fd, text, sizeof text, 0);
    uint64_t v = 0;
    ssize_t i = 0;

    if (n < 0)
        return ERR_IO;
    for (; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
        if (v > (UINT64_C(1) << 63) / 10 - 1)
            return ERR_FORMAT;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    if (!i || (i < n && text[i] != '\n') || n == (ssize_t)sizeof text)
        return ERR_FORMAT;
    *ret = v;
    return 0;
}

/* Only files proper: a pipe of that name would never answer. */
static int open_file(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

enum part { PART_OTHER, PART_PACKAGE, PART_MEMORY, PART_PLATFORM };

static enum part part_of(int dir)
{
    char text[TEXT_MAX] = "";
    int fd = open_file(dir, "name");
    ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, 0);

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    if (!strncmp(text, "package", 7))
        return PART_PACKAGE;
    if (!strcmp(text, "dram"))
        return PART_MEMORY;
    return strcmp(text, "psys") ? PART_OTHER : PART_PLATFORM;
}

static int add_domain(struct rapl *r, int dir, const char *path, struct err *e)
{
    struct rapl_domain *d = &r->domain[r->n];
    int fd, code;

    if (r->n == RAPL_DOMAINS_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d counters", path, RAPL_DOMAINS_MAX);
    fd = open_file(dir, "max_energy_range_uj");
    code = fd < 0 ? ERR_IO : read_number(fd, &d->top);
    if (fd >= 0)
        close(fd);
    if (code || !d->top)
        return err_set(e, ERR_FORMAT, "%s/max_energy_range_uj holds no number", path);
    d->fd = open_file(dir, "energy_uj");
    if (d->fd < 0 && (errno == EACCES || errno == EPERM))
        return err_set(e, ERR_FORBIDDEN,
                       "%s/energy_uj may be read by root only: let gaufre's user read it with "
                       "'chmod o+r %s/" PREFIX "*/energy_uj' (until the next start; a rule of udev "
                       "or tmpfiles.d keeps it)",
                       path, RAPL_ROOT);
    if (d->fd < 0)
        return err_set(e, ERR_IO, "%s/energy_uj: %s", path, strerror(errno));
    d->counter = (struct energy_counter){0};
    r->n++;
    return 0;
}

/* The counters of one kind of parts below root. */
static int add_parts(struct rapl *r, DIR *root, const char *path, enum part part, struct err *e)
{
    int code = 0, n = 0;
    struct dirent *at;
    char full[512];

    rewinddir(root);
    while (!code && (at = readdir(root)) && n++ < ENTRIES_MAX) {
        int dir;
        if (strncmp(at->d_name, PREFIX, strlen(PREFIX)))
            continue;
        dir = openat(dirfd(root), at->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            continue;
        snprintf(full, sizeof full, "%.200s/%.200s", path, at->d_name);
        if (part_of(dir) == part)
            code = add_domain(r, dir, full, e);
        close(dir);
    }
    return code;
}

int rapl_open(struct rapl *r, const char *root, struct err *e)
{
    DIR *d = opendir(root);
    int code;

    r->n = 0;
    if (!d)
        return err_set(e, errno == EACCES ? ERR_FORBIDDEN : ERR_NOTFOUND,
                       "no RAPL counters: %.300s: %s; virtual machines have none, on others "
                       "'modprobe intel_rapl_common intel_rapl_msr' brings them",
                       root, strerror(errno));
    code = add_parts(r, d, root, PART_PACKAGE, e);
    if (!code)
        code = add_parts(r, d, root, r->n ? PART_MEMORY : PART_PLATFORM, e);
    closedir(d);
    if (!code && !r->n)
        code = err_set(e, ERR_NOTFOUND,
                       "no RAPL counters: %.300s has no folder " PREFIX "N of a package; virtual "
                       "machines have none, on others 'modprobe intel_rapl_common intel_rapl_msr' "
                       "brings them",
                       root);
    if (code)
        rapl_close(r);
    return code;
}

void rapl_close(struct rapl *r)
{
    for (int i = 0; i < r->n; i++)
        close(r->domain[i].fd);
    r->n = 0;
}

int rapl_read(struct rapl *r, int64_t *ret_uj)
{
    int64_t sum = 0, more;
    int code = 0;

    for (int i = 0; i < r->n; i++) { /* all of them, also when one fails: the next begins here */
        struct rapl_domain *d = &r->domain[i];
        uint64_t value;
        int failed = read_number(d->fd, &value);
        if (failed) {
            d->counter.has_last = 0;
            code = failed;
            continue;
        }
        more = energy_counter_see(&d->counter, value, d->top);
        if (more < 0 || more > INT64_MAX / RAPL_DOMAINS_MAX)
            code = code ? code : ERR_AGAIN;
        else
            sum += more;
    }
    if (!code)
        *ret_uj = sum;
    return code;
}
