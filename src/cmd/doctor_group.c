/* Checks of what the control group leaves of the machine, version 1 and 2. A limit of any group
 * above holds too, so all of them are read, from that of this process to the root. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sysmem.h"
#include "cmd/cmd.h"
#include "cmd/doctor.h"

/* The path of this process's group: of version 2 (controller ""), or of a controller of version 1;
 * "" where there is none. */
static void own_group(const struct doctor *d, const char *controller, char *out, size_t cap)
{
    char text[4096], *line, *save = text;

    *out = 0;
    if (doctor_read(d, "/proc/self/cgroup", text, sizeof text) < 0)
        return;
    while ((line = strsep(&save, "\n"))) { /* "4:cpu,cpuacct:/a/b" */
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        for (char *word, *words = list + 1; (word = strsep(&words, ","));) {
            if (!strcmp(word, controller))
                snprintf(out, cap, "%s", strcmp(path, "/") ? path : "");
        }
    }
}

/* Calls `see` with the text of that file in each group from ours upwards; in a container that does
 * not show them, of the root that it sees. */
static void walk(const struct doctor *d, const char *base, const char *controller, const char *file,
                 void (*see)(const char *text, void *arg), void *arg)
{
    char group[2048], path[4096], text[128], *slash;

    own_group(d, controller, group, sizeof group);
    for (;;) {
        snprintf(path, sizeof path, "%s%s/%s", base, group, file);
        if (doctor_read(d, path, text, sizeof text) > 0)
            see(text, arg);
        slash = strrchr(group, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

/* ---- CPU time -------------------------------------------------------------------------------- */

/* "200000 100000" or "max 100000": CPUs. */
static void see_max(const char *text, void *arg)
{
    double quota, period, *least = arg;

    if (sscanf(text, "%lf %lf", &quota, &period) == 2 && period > 0 && quota / period < *least)
        *least = quota / period;
}

static void see_quota_us(const char *text, void *arg)
{
    double quota = strtod(text, NULL), *least = arg;

    if (quota > 0 && quota / 100000 < *least) /* the usual period of version 1 */
        *least = quota / 100000;
}

void doctor_cpu_quota(const struct doctor *d, struct finding *f)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    double quota = 1e9;
    int threads = d->config ? (int)d->config->threads : 0, whole;

    walk(d, "/sys/fs/cgroup", "", "cpu.max", see_max, &quota);
    walk(d, "/sys/fs/cgroup/cpu", "cpu", "cpu.cfs_quota_us", see_quota_us, &quota);
    if (quota >= (double)cpus) {
        doctor_say(f, DOCTOR_OK, "no limit below the machine's %ld CPU%s", cpus, plural(cpus));
        return;
    }
    whole = quota >= 1 ? (int)quota : 1;
    if (threads && threads <= whole) {
        doctor_say(f, DOCTOR_OK, "%.2f CPUs, and %d thread%s", quota, threads, plural(threads));
        return;
    }
    doctor_say(f, DOCTOR_ADVICE, "%.2f CPUs of the %ld there are, and as many threads as CPUs",
               quota, cpus);
    doctor_fix(f, "threads: %d in the configuration, or a limit in whole CPUs by cpuset", whole);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void see_bytes(const char *text, void *arg)
{
    double bytes = strtod(text, NULL), *least = arg;

    if (bytes > 0 && bytes < *least)
        *least = bytes;
}

void doctor_memory_limit(const struct doctor *d, struct finding *f)
{
    double least = 1e18;
    uint64_t known = sysmem_total();
    char is[32], all[32];

    walk(d, "/sys/fs/cgroup", "", "memory.max", see_bytes, &least);
    walk(d, "/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", see_bytes, &least);
    if (!known) {
        doctor_say(f, DOCTOR_SKIP, "memory is not told here");
        return;
    }
    cmd_bytes(known, all, sizeof all);
    if (least >= (double)known) {
        doctor_say(f, DOCTOR_OK, "%s, no lower limit", all);
        return;
    }
    cmd_bytes((unsigned long long)least, is, sizeof is);
    doctor_say(f, DOCTOR_ADVICE, "a control group allows %s, and gaufre counts with %s", is, all);
    doctor_fix(f, "kv_memory in the configuration, so that weights and KV caches fit into %s", is);
}
