#include "base/sysmem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"

/* The number in a one-line file ("max" and errors: UINT64_MAX). */
static uint64_t read_number(const char *path)
{
    unsigned long long v;
    FILE *f = fopen(path, "re");
    int n;

    if (!f)
        return UINT64_MAX;
    n = fscanf(f, "%llu", &v);
    fclose(f);
    return n == 1 ? (uint64_t)v : UINT64_MAX;
}

/* "max" and what is no number: UINT64_MAX. */
static uint64_t limit_of(const char *text)
{
    unsigned long long v;

    return sscanf(text, "%llu", &v) == 1 ? (uint64_t)v : UINT64_MAX;
}

static void see_limit(const char *folder, const char *text, void *arg)
{
    uint64_t limit = limit_of(text), *least = arg;

    if (limit < *least)
        *least = limit;
}

/* Bytes of a group's file cache that are given back when memory is wanted; 0: not told. */
static uint64_t cache_of(const char *folder, const char *name)
{
    unsigned long long v = 0, now;
    char path[4300], line[256], word[64];
    FILE *f;

    snprintf(path, sizeof path, "%s/memory.stat", folder);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%63s %llu", word, &now) == 2 && !strcmp(word, name))
            v = now;
    }
    if (f)
        fclose(f);
    return (uint64_t)v;
}

/* What a group has left: its limit without what it uses, idle file cache apart. */
static void lower(const char *folder, const char *text, const char *usage, const char *cache,
                  uint64_t *least)
{
    uint64_t limit = limit_of(text), used, left, idle;
    char path[4300];

    snprintf(path, sizeof path, "%s/%s", folder, usage);
    used = read_number(path);
    if (limit == UINT64_MAX || used == UINT64_MAX)
        return;
    idle = cache_of(folder, cache);
    used -= idle < used ? idle : used;
    left = limit > used ? limit - used : 0;
    if (left < *least)
        *least = left;
}

static void see_left(const char *folder, const char *text, void *arg)
{
    lower(folder, text, "memory.current", "inactive_file", arg);
}

static void see_left_of_old(const char *folder, const char *text, void *arg)
{
    lower(folder, text, "memory.usage_in_bytes", "total_inactive_file", arg);
}

uint64_t sysmem_available(void)
{
    uint64_t avail = UINT64_MAX;
    char line[256];
    FILE *f = fopen("/proc/meminfo", "re");

    if (f) {
        unsigned long long kb;
        while (fgets(line, sizeof line, f)) {
            if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
                avail = (uint64_t)kb * 1024;
        }
        fclose(f);
    }
    cgroup_each("", "/sys/fs/cgroup", "", "memory.max", see_left, &avail);
    cgroup_each("", "/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", see_left_of_old,
                &avail);
    return avail;
}

uint64_t sysmem_resident(void)
{
    unsigned long long size, resident;
    FILE *f = fopen("/proc/self/statm", "re");
    int n;

    if (!f)
        return 0;
    n = fscanf(f, "%llu %llu", &size, &resident);
    fclose(f);
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t sysmem_total(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;

    cgroup_each("", "/sys/fs/cgroup", "", "memory.max", see_limit, &all);
    cgroup_each("", "/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", see_limit, &all);
    return all;
}

void sysmem_cpu_name(char *out, size_t cap)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256], *at;

    *out = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) || !(at = strchr(line, ':')))
            continue;
        at += 1 + strspn(at + 1, " \t");
        at[strcspn(at, "\n")] = 0;
        snprintf(out, cap, "%s", at);
        break;
    }
    if (f)
        fclose(f);
}
