/* What gaufre doctor looks at: a table of checks, each of which finds one thing out
 * about the machine, and says what to change where it is not well. Checks read files below `root`,
 * so that tests can hand them a machine of their own. Single-threaded. */
#ifndef CMD_DOCTOR_H
#define CMD_DOCTOR_H

#include <stddef.h>
#include <stdint.h>

#include "serve/serve.h"

enum doctor_state {
    DOCTOR_OK,
    DOCTOR_SKIP,   /* cannot be known here, or does not matter */
    DOCTOR_ADVICE, /* it works, and would work better */
    DOCTOR_MUST    /* it does not work, or soon will not */
};

struct finding {
    enum doctor_state state;
    char found[400]; /* what is there */
    char fix[400];   /* what to do, mostly a command; where it is not well */
};

struct doctor {
    const char *root;                  /* "" or the folder that holds proc, sys and run */
    const char *config_path;           /* NULL: none was named */
    const struct serve_config *config; /* read and checked; NULL: none */
    const char *config_error;          /* why it could not be read, or NULL */
    const char *home;                  /* gaufre's home */
};

struct doctor_check {
    const char *name;  /* in output, "huge_pages" */
    const char *worth; /* what the change gives */
    void (*look)(const struct doctor *d, struct finding *f);
};

/* The text of a small file below root, without the newline at its end; cut at cap - 1 bytes. -1 and
 * errno where it cannot be read. */
int doctor_read(const struct doctor *d, const char *path, char *out, size_t cap);

/* Fill a finding. */
void doctor_say(struct finding *f, enum doctor_state state, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void doctor_fix(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The machine: doctor_machine.c and doctor_group.c. */
void doctor_cpu(const struct doctor *d, struct finding *f);
void doctor_huge_pages(const struct doctor *d, struct finding *f);
void doctor_governor(const struct doctor *d, struct finding *f);
void doctor_numa(const struct doctor *d, struct finding *f);
void doctor_open_files(const struct doctor *d, struct finding *f);
void doctor_backlog(const struct doctor *d, struct finding *f);
void doctor_overcommit(const struct doctor *d, struct finding *f);
void doctor_clock(const struct doctor *d, struct finding *f);
void doctor_rapl(const struct doctor *d, struct finding *f);
void doctor_cpu_quota(const struct doctor *d, struct finding *f);
void doctor_memory_limit(const struct doctor *d, struct finding *f);
/* Files and what the configuration names: doctor_files.c. */
void doctor_configuration(const struct doctor *d, struct finding *f);
void doctor_models(const struct doctor *d, struct finding *f);
void doctor_disk(const struct doctor *d, struct finding *f);
void doctor_flush(const struct doctor *d, struct finding *f);
void doctor_certificates(const struct doctor *d, struct finding *f);
void doctor_secrets(const struct doctor *d, struct finding *f);

#endif
