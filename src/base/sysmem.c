#include "base/sysmem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

uint64_t sysmem_available(void)
{
    uint64_t avail = UINT64_MAX, limit, used;
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
    limit = read_number("/sys/fs/cgroup/memory.max");
    used = read_number("/sys/fs/cgroup/memory.current");
    if (limit != UINT64_MAX && used != UINT64_MAX) {
        uint64_t left = limit > used ? limit - used : 0;
        if (left < avail)
            avail = left;
    }
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
    uint64_t limit = read_number("/sys/fs/cgroup/memory.max");
    uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;

    return limit < all ? limit : all;
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
