/* Checks of what the control group leaves of the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/sysmem.h"
#include "cmd/cmd.h"
#include "cmd/doctor.h"

/* ---- CPU time -------------------------------------------------------------------------------- */

/* "200000 100000" or "max 100000": CPUs. */
static void see_max(const char *folder, const char *text, void *arg)
{
    double quota, period, *least = arg;

    if (sscanf(text, "%lf %lf", &quota, &period) == 2 && period > 0 && quota / period < *least)
        *least = quota / period;
}

static void see_quota_us(const char *folder, const char *text, void *arg)
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

    cgroup_each(d->root, "/sys/fs/cgroup", "", "cpu.max", see_max, &quota);
    cgroup_each(d->root, "/sys/fs/cgroup/cpu", "cpu", "cpu.cfs_quota_us", see_quota_us, &quota);
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

static void see_bytes(const char *folder, const char *text, void *arg)
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

    cgroup_each(d->root, "/sys/fs/cgroup", "", "memory.max", see_bytes, &least);
    cgroup_each(d->root, "/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", see_bytes,
                &least);
    if (!known) {
        doctor_say(f, DOCTOR_SKIP, "memory is not told here");
        return;
    }
    cmd_bytes(known, all, sizeof all);
    if (least >= (double)known) {
        doctor_say(f, DOCTOR_OK, "gaufre counts with %s, and no control group allows less", all);
        return;
    }
    cmd_bytes((unsigned long long)least, is, sizeof is);
    doctor_say(f, DOCTOR_ADVICE, "a control group allows %s, and gaufre counts with %s", is, all);
    doctor_fix(f, "kv_memory in the configuration, so that weights and KV caches fit into %s", is);
}
