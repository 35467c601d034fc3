/* Answers that are stored while they are made, for clients that ask for it: each event is kept as
 * it is told, so that an answer can be told again from any place, also to a client that has left
 * and comes back; and it can go on after the process was killed: its request and what was told so
 * far are in a file of its own, written before it is told.
 *
 * An answer is its tenant's: others never learn of it. It has one owner at a time, who adds to it,
 * and any number of followers, who read it and get mail when there is more. Where its owner lets go
 * of it unfinished, another may take it over (stored_take_pending): in this process, or in the next
 * one.
 *
 * Files are in a folder of this process, their owner's alone, one for each answer, under its id.
 * Processes beside one ledger, as in an upgrade, find each other's answers there: they follow and
 * delete them in the owner's folder, and when that process is gone they take them over
 * (stored_inherit). What of an answer is read so counts in no quota but in `memory`, once more. A
 * file grows by whole records and is written, not flushed: it survives the process, and the machine
 * as far as its kernel came. What is not whole at its end is cut when it is read.
 *
 * An answer may go over to another server (a move): its owner says so before it sends it there, and
 * until it is known whether it is there nobody goes on with it here, in no process.
 *
 * Threads: [any], but for stored_open and stored_close; the owner's calls write to a file, as long
 * as that takes. Limits: STORED_MAX answers, STORED_ANSWER_MAX bytes of one, the memory of all, of
 * which a tenant has at most a quarter, both of bytes and of answers. Where there is no room the
 * oldest go that have ended, of the tenant or of all. The time is the caller's: wall_us. */
#ifndef CLOUD_STORED_H
#define CLOUD_STORED_H

#include "base/mbox.h"
#include "cloud/stored_record.h"

#define STORED_MAX   4096
#define STORED_SLOTS 8 /* processes beside one ledger */

struct stored_all;
struct stored;

struct stored_config {
    size_t memory;
    int64_t window_us;  /* an answer is kept so long after its end, or unfinished */
    const char *folder; /* in another process's use: FOLDER2, and so on; NULL: memory only */
};

/* Makes the folder where missing and reads what is in it. ERR_NOMEM, ERR_IO, ERR_AGAIN: all in use.
 */
int stored_open(struct stored_all **ret, const struct stored_config *c, int64_t wall_us,
                struct err *e);
/* Nobody has an answer any more; unfinished ones stay in their files. Accepts NULL. */
void stored_close(struct stored_all *a);
/* Those whose time is over go; to be called now and then. */
void stored_expire(struct stored_all *a, int64_t wall_us);

/* ---- the owner --------------------------------------------------------------------------------
 */

/* A new answer, in its file: *ret, until stored_leave. ERR_LIMIT (too large), ERR_AGAIN (no room),
 * ERR_IO (its file), ERR_NOMEM; e says why. */
int stored_begin(struct stored_all *a, const struct stored_head *h, int64_t wall_us,
                 struct stored **ret, struct err *e);
/* One event more. It is seen by followers after stored_publish. */
void stored_add(struct stored *s, const struct event *ev);
/* What was added is written, then followers may read it: 0. Else it is stored no more, as by
 * stored_drop, and e says why. */
int stored_publish(struct stored *s, int64_t wall_us, struct err *e);
void stored_drop(struct stored *s);   /* it goes at once, its file too; also of who has found it */
int stored_is_gone(struct stored *s); /* another has dropped it */
/* The owner lets go of it. Where it is not finished it is pending. */
void stored_leave(struct stored *s, int64_t wall_us);
int stored_outlives(const struct stored_all *a); /* does an answer survive the process? */
/* For how long nobody has followed it. */
int64_t stored_alone_us(struct stored *s, int64_t wall_us);

/* An answer of before that is not finished, or not booked: it is the caller's then. NULL: there is
 * none, or it is to be tried later. */
struct stored *stored_take_pending(struct stored_all *a, int64_t wall_us);
/* The head, the story so far, and the tokens that were told of each choice: 0, or ERR_NOMEM. */
struct stored_past {
    struct stored_head head; /* points into `bytes` */
    struct buf bytes;
    struct stored_story story;
    int32_t *token[JOB_CHOICES_MAX]; /* [story.n_told], malloc'd */
};
int stored_read_past(struct stored *s, struct stored_past *ret);
void stored_past_done(struct stored_past *p);
int stored_is_booked(const struct stored *s); /* as stored_set_booked said */
/* It could not go on yet: it is pending again, from that time on. */
void stored_postpone(struct stored *s, int64_t wall_us);

/* ---- to another server, and from one ----------------------------------------------------------
 */

/* Its owner is about to send it to that server, which is noted in its file: 0, or ERR_IO, ERR_NOMEM
 * (it stays). What it has from stored_read is what is there now. */
int stored_move(struct stored *s, const char *to, struct err *e);
int stored_moves(struct stored *s);  /* so it is, and not decided yet */
void stored_moved(struct stored *s); /* it is there: it goes here at once */
int stored_is_moved(struct stored *s);
/* It is not there, and goes on here once its owner lets go of it. round: as stored_left asks. */
void stored_stays(struct stored *s, int round);
/* Is it not finished, and was not told to stay in this round? */
int stored_is_left(struct stored *s, int round);
/* How many are so, but for those on their way to another server than `to`; and how many are on
 * their way anywhere. */
void stored_left(struct stored_all *a, int round, const char *to, int64_t *ret_left,
                 int64_t *ret_moving);
/* One of these that nobody goes on with, as stored_take_pending. */
struct stored *stored_take_left(struct stored_all *a, int round, const char *to);
/* Those that are on their way, and that nobody sends, go on here: how many. */
int stored_keep(struct stored_all *a);
/* Is the answer with these records here, or was it? */
int stored_has(struct stored_all *a, const char *records, size_t n);
/* An answer's records as another server sent them, all of which are checked: it is pending then. 0;
 * 1: it was here already. ERR_FORMAT, ERR_EXISTS (another with its id), ERR_AGAIN (no room),
 * ERR_IO, ERR_NOMEM. */
int stored_take_in(struct stored_all *a, const char *records, size_t n, int64_t wall_us,
                   struct err *e);

/* ---- followers --------------------------------------------------------------------------------
 */

/* The tenant's answer of that id, anybody's where that is NULL: *ret, until stored_put;
 * ERR_NOTFOUND. */
int stored_find(struct stored_all *a, const char *tenant, const char *id, struct stored **ret,
                struct err *e);
void stored_put(struct stored *s);
void stored_hold(struct stored *s); /* once more */

enum stored_state { STORED_RUNS, STORED_ENDED, STORED_GONE };
/* Post mail to that box when there is more, or it is gone; until stored_unfollow. */
struct stored_follower {
    struct mbox *box;
    struct mbox_item item; /* kind and owner are the follower's */
    int is_owner;
    struct stored_follower *next, *prev;
};
void stored_follow(struct stored *s, struct stored_follower *f);
void stored_unfollow(struct stored *s, struct stored_follower *f, int64_t wall_us);
/* Has another process the answer? Then nobody posts mail when there is more: ask again now and
 * then, by which its owner also learns that it is followed. */
int stored_is_elsewhere(struct stored *s, int64_t wall_us);
/* Append records from *at on, which moves on, whole ones, about max bytes; *at 0: with the head.
 * The state is of all behind them: there is no more where the answer has ended. 0, or the buffer's
 * failure. */
int stored_read(struct stored *s, size_t *at, size_t max, struct buf *out,
                enum stored_state *ret_state);

/* ---- at the start -----------------------------------------------------------------------------
 */

/* Each answer that was read and had ended, by the id of its request: is it booked? Those that are
 * not are pending, so that they are. Unfinished ones that are booked go on, and are not booked
 * again. */
int stored_check_booked(struct stored_all *a,
                        int (*is_booked)(void *arg, const char *request_id, int *ret,
                                         struct err *e),
                        void *arg, struct err *e);

/* What processes left that are gone becomes this one's own, where there is room for it; to be
 * called now and then, by one thread. What had not ended, or is not booked, is pending then, but
 * only what can be gone on with here: else it is left where it is. 0, or what `is_booked` returned,
 * ERR_IO, ERR_NOMEM: it is tried again. */
struct stored_heir {
    int (*is_booked)(void *arg, const char *request_id, int *ret, struct err *e);
    int (*can_go_on)(void *arg, const struct stored_head *h);
    void *arg;
};
int stored_inherit(struct stored_all *a, const struct stored_heir *heir, int64_t wall_us,
                   struct err *e);

struct stored_stats {
    int64_t n, n_pending, bytes;             /* now */
    int64_t stored, resumed, followed, lost; /* since the start: begun; gone on; told again; not
                                                stored to the end */
    int64_t moved, taken;                    /* to another server; from one */
};
void stored_stats(struct stored_all *a, struct stored_stats *ret);

#endif
