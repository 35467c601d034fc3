/* Checks of the processor and the kernel's settings. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "cmd/doctor.h"
#include "serve/energy_settings.h"

#define BUILT_BEFORE 1764547200 /* 2025-12-01: a clock that says so is not set */

/* ---- processor ------------------------------------------------------------------------------- */

/* Is this word one of a line "flags : a b c"? */
static int has_flag(const char *flags, const char *word)
{
    size_t n = strlen(word);

    for (const char *s = flags; (s = strstr(s, word)); s += n) {
        if (s > flags && s[-1] == ' ' && (s[n] == ' ' || s[n] == '\n' || !s[n]))
            return 1;
    }
    return 0;
}

void doctor_cpu(const struct doctor *d, struct finding *f)
{
    static const struct {
        const char *flag, *kernels;
    } best[] = {
        {"amx_int8", "AMX"},     {"avx512_vnni", "AVX-512 VNNI"},
        {"avx512vl", "AVX-512"}, {"avx_vnni", "AVX-VNNI"},
        {"avx2", "AVX2"},
    };
    static char text[16384];
    const char *flags;

    if (doctor_read(d, "/proc/cpuinfo", text, sizeof text) < 0 ||
        !(flags = strstr(text, "flags"))) {
        doctor_say(f, DOCTOR_SKIP, "the processor's flags are not told here");
        return;
    }
    for (size_t i = 0; i < sizeof best / sizeof best[0]; i++) {
        if (has_flag(flags, best[i].flag)) {
            doctor_say(f, DOCTOR_OK, "%s kernels", best[i].kernels);
            return;
        }
    }
    doctor_say(f, DOCTOR_ADVICE, "no AVX2: plain C kernels");
    doctor_fix(f, "another processor; in a virtual machine, one that passes the host's flags on "
                  "(qemu: -cpu host)");
}

void doctor_governor(const struct doctor *d, struct finding *f)
{
    char path[128], now[64], slow[64] = "";
    int n = 0, n_slow = 0;

    for (int i = 0; i < 4096; i++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", i);
        if (doctor_read(d, path, now, sizeof now) < 0) {
            if (i > n + 64) /* gaps: CPUs that are off */
                break;
            continue;
        }
        n++;
        if (!strcmp(now, "powersave") || !strcmp(now, "conservative")) {
            n_slow++;
            memcpy(slow, now, sizeof slow);
        }
    }
    if (!n) {
        doctor_say(f, DOCTOR_SKIP, "frequencies are not set here (a virtual machine, mostly)");
    } else if (!n_slow) {
        doctor_say(f, DOCTOR_OK, "%s on %d CPU%s", now[0] ? now : "set", n, plural(n));
    } else {
        doctor_say(f, DOCTOR_ADVICE, "%s on %d of %d CPU%s", slow, n_slow, n, plural(n));
        doctor_fix(f, "cpupower frequency-set -g performance");
    }
}

void doctor_numa(const struct doctor *d, struct finding *f)
{
    char path[64], text[256];
    int n = 0;

    for (int i = 0; i < 256; i++) {
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", i);
        n += doctor_read(d, path, text, sizeof text) > 0;
    }
    if (n <= 1) {
        doctor_say(f, n ? DOCTOR_OK : DOCTOR_SKIP, n ? "one node" : "nodes are not told here");
        return;
    }
    doctor_say(f, DOCTOR_ADVICE, "%d nodes, and gaufre knows of none", n);
    doctor_fix(f, "one server a node, each started by: numactl --cpunodebind=N --membind=N");
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The word in brackets of "always [madvise] never". */
static void chosen(const char *text, char *out, size_t cap)
{
    const char *a = strchr(text, '['), *b = a ? strchr(a, ']') : NULL;

    snprintf(out, cap, "%.*s", b ? (int)(b - a - 1) : 0, a ? a + 1 : "");
}

void doctor_huge_pages(const struct doctor *d, struct finding *f)
{
    static const char at[] = "/sys/kernel/mm/transparent_hugepage/";
    char path[128], text[128], on[32], defrag[32] = "";

    snprintf(path, sizeof path, "%senabled", at);
    if (doctor_read(d, path, text, sizeof text) < 0) {
        doctor_say(f, DOCTOR_SKIP, "transparent huge pages are not told here");
        return;
    }
    chosen(text, on, sizeof on);
    snprintf(path, sizeof path, "%sdefrag", at);
    if (doctor_read(d, path, text, sizeof text) > 0)
        chosen(text, defrag, sizeof defrag);
    if (!strcmp(on, "never")) {
        doctor_say(f, DOCTOR_ADVICE, "transparent huge pages: never");
        doctor_fix(f, "echo madvise > %senabled", at);
    } else if (!strcmp(defrag, "never")) {
        doctor_say(f, DOCTOR_ADVICE,
                   "transparent huge pages: %s, but only where memory is not in "
                   "pieces (defrag: never)",
                   on);
        doctor_fix(f, "echo madvise > %sdefrag", at);
    } else {
        doctor_say(f, DOCTOR_OK, "transparent huge pages: %s", on);
    }
}

void doctor_overcommit(const struct doctor *d, struct finding *f)
{
    char text[32];

    if (doctor_read(d, "/proc/sys/vm/overcommit_memory", text, sizeof text) < 0) {
        doctor_say(f, DOCTOR_SKIP, "not told here");
    } else if (!strcmp(text, "2")) {
        doctor_say(f, DOCTOR_ADVICE, "the kernel promises no more memory than there is");
        doctor_fix(f, "sysctl -w vm.overcommit_memory=0");
    } else {
        doctor_say(f, DOCTOR_OK, "vm.overcommit_memory is %s", text);
    }
}

/* ---- sockets --------------------------------------------------------------------------------- */

void doctor_open_files(const struct doctor *d, struct finding *f)
{
    static const char name[] = "Max open files";
    long long want = 4096, hard;
    char text[4096], *line;

    if (d->config) {
        want = d->config->connections;
        for (int i = 0; i < d->config->n_suppliers; i++)
            want += d->config->suppliers[i].connections;
    }
    want += 128; /* models, ledger, and what a start needs for a moment */
    if (doctor_read(d, "/proc/self/limits", text, sizeof text) < 0 ||
        !(line = strstr(text, name))) {
        doctor_say(f, DOCTOR_SKIP, "limits are not told here");
        return;
    }
    if (sscanf(line + strlen(name), " %*s %lld", &hard) != 1 || hard >= want) {
        doctor_say(f, DOCTOR_OK, "as many as are wanted: %lld", want);
        return;
    }
    doctor_say(f, DOCTOR_ADVICE, "at most %lld, and %lld may be wanted", hard, want);
    doctor_fix(f, "LimitNOFILE=%lld in the unit, or ulimit -n %lld; or fewer 'connections'", want,
               want);
}

void doctor_backlog(const struct doctor *d, struct finding *f)
{
    char text[32];
    long n;

    if (doctor_read(d, "/proc/sys/net/core/somaxconn", text, sizeof text) < 0) {
        doctor_say(f, DOCTOR_SKIP, "not told here");
        return;
    }
    n = strtol(text, NULL, 10);
    doctor_say(f, n >= 1024 ? DOCTOR_OK : DOCTOR_ADVICE, "%ld connections may wait to be accepted",
               n);
    if (n < 1024)
        doctor_fix(f, "sysctl -w net.core.somaxconn=4096");
}

/* ---- clock and meters ------------------------------------------------------------------------ */

void doctor_clock(const struct doctor *d, struct finding *f)
{
    struct timex t = {.modes = 0};
    char text[8];
    int state;

    if (time(NULL) < BUILT_BEFORE) {
        doctor_say(f, DOCTOR_MUST, "the clock is not set");
        doctor_fix(f, "timedatectl set-ntp true");
        return;
    }
    if (doctor_read(d, "/run/systemd/timesync/synchronized", text, sizeof text) >= 0) {
        doctor_say(f, DOCTOR_OK, "set by systemd-timesyncd");
        return;
    }
    if (*d->root) {
        doctor_say(f, DOCTOR_SKIP, "not told here");
        return;
    }
    state = adjtimex(&t); /* asks only */
    if (state >= 0 && !(t.status & STA_UNSYNC)) {
        doctor_say(f, DOCTOR_OK, "kept by a time service, within %.1f ms",
                   (double)t.maxerror / 1000);
        return;
    }
    doctor_say(f, DOCTOR_ADVICE, "the kernel knows of no time service that keeps the clock");
    doctor_fix(f, "apt-get install chrony, or timedatectl set-ntp true (in a container or virtual "
                  "machine: on the host)");
}

/* What energy is read from: the processor's counters, unless another meter is configured. */
void doctor_rapl(const struct doctor *d, struct finding *f)
{
    const struct serve_energy *s = d->config ? &d->config->energy : NULL;
    int is_wanted = s && s->kind == SERVE_ENERGY_RAPL;
    char at[512], text[32];

    if (s && s->kind != SERVE_ENERGY_AUTO && !is_wanted) {
        doctor_say(f, DOCTOR_SKIP,
                   "the configuration reads energy from elsewhere: gaufre energy -c %.200s",
                   d->config_path);
        return;
    }
    snprintf(at, sizeof at, "%.400s/intel-rapl:0/energy_uj", s ? s->root : "/sys/class/powercap");
    if (doctor_read(d, at, text, sizeof text) >= 0) {
        doctor_say(f, DOCTOR_OK, "the processor's meter can be read");
    } else if (errno == EACCES || errno == EPERM) {
        doctor_say(f, is_wanted ? DOCTOR_MUST : DOCTOR_ADVICE,
                   "the processor's meter (RAPL) is there, for root alone");
        doctor_fix(f,
                   "chgrp gaufre %.150s && chmod g+r %.150s; at every start by a rule in "
                   "/etc/tmpfiles.d",
                   at, at);
    } else if (is_wanted) {
        doctor_say(f, DOCTOR_MUST, "%.300s: %s; the configuration wants it, and does not start", at,
                   strerror(errno));
        doctor_fix(f, "energy: {kind: feed} or redfish where there is a meter, else model or auto");
    } else {
        doctor_say(f, DOCTOR_SKIP,
                   "the processor shows no meter (virtual machines have none, containers hide "
                   "it): energy is computed from CPU time");
    }
}
