/* What the files of stored.h share: the table of answers (stored.c), those in other processes'
 * folders (stored_beside.c), and those that go to other servers or come from them (stored_move.c).
 * All is under the table's lock, but where it says so. */
#ifndef CLOUD_STORED_INT_H
#define CLOUD_STORED_INT_H

#include <pthread.h>

#include "cloud/stored.h"
#include "cloud/stored_file.h"

/* ELSEWHERE: another process has it, and here it is only read. It is in the table while somebody
 * reads it. */
enum stored_is { IS_RUNNING, IS_PENDING, IS_ENDED, IS_ELSEWHERE, IS_GONE };

struct stored {
    struct stored_all *all;
    struct stored *next, *prev; /* by age, the newest first */
    char id[STORED_ID_MAX];
    char *tenant, *request_id;
    enum stored_is state;
    int is_booked, is_moved;
    char *moves_to; /* not known yet whether it is there; NULL: it is here */
    int stays;      /* the last round in which it was told to */
    int n_holders;
    int64_t until_us;       /* ENDED: kept so long; PENDING: tried from then on */
    int64_t alone_since_us; /* without followers */
    struct buf image;       /* its file's bytes */
    size_t n_public;        /* of these, written: followers read so far */
    size_t n_counted;       /* of its memory, in the table's sum */
    int fd;                 /* while it has an owner, or is read elsewhere; -1: none */
    int n_followers;        /* but its owner */
    struct stored_follower *followers;
    struct stored_story story; /* ELSEWHERE: as far as it was read */
    int64_t touched_us;        /* ELSEWHERE: its owner was told that it is read */
};

struct stored_all {
    pthread_mutex_t lock; /* of all below but the files; rank: a leaf */
    struct stored_config config;
    struct stored_folder folder;
    struct stored *newest, *oldest;
    int64_t n, bytes;        /* of this process's own */
    int64_t bytes_elsewhere; /* of those that others have */
    int64_t heir_us;         /* nothing is looked for in others' folders before; main thread */
    struct stored_stats stats;
};

/* Without the lock: one that is in no table yet; NULL: no memory. */
struct stored *stored_make(struct stored_all *a, const struct stored_head *h);
void stored_free(struct stored *s);
void stored_link(struct stored *s);
void stored_count(struct stored *s); /* what its memory is now */
/* The oldest that have ended go until there is room for one more of the tenant: 0; -1: there is
 * none. */
int stored_make_room(struct stored_all *a, const char *tenant, size_t bytes, int n);
struct stored *stored_by_id(struct stored_all *a, const char *id);
void stored_take_out(struct stored *s); /* it goes, its file too */
void stored_tell(struct stored *s);     /* its followers look again */
int stored_cut(struct stored *s, size_t n);
int64_t stored_until(const struct stored_all *a, int64_t written_us, int64_t wall_us);

/* It is the caller's, and its file is open; 0: it was removed meanwhile. */
int stored_take_over(struct stored *s);
int stored_begin_file(struct stored *s, struct err *e); /* with what its image has */

/* stored_beside.c: that answer of the tenant (NULL: of any) in another's folder, held; NULL.
 * Without the lock. */
struct stored *stored_find_beside(struct stored_all *a, const char *tenant, const char *id);
/* What is new in the file of one ELSEWHERE; where it was removed, it goes. */
void stored_read_beside(struct stored *s);
void stored_remove_beside(const struct stored *s);

#endif
