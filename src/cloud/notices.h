/* What is to be told about accounts to whoever pays or operates: a budget near its end, a key that
 * ends. Notices are put where they arise, by any thread and at no cost worth naming, and wait in a
 * ring of NOTICES_MAX for one reader, whose mailbox is woken. When the ring is full, the newest are
 * lost and counted. Without a mailbox nobody reads, and nothing is kept. */
#ifndef CLOUD_NOTICES_H
#define CLOUD_NOTICES_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mbox.h"
#include "cloud/account.h"

#define NOTICES_MAX 1024

#define NOTICE_TYPES(X)                                                                            \
    X(SOFT_LIMIT, "budget.soft_limit") /* its owner asked to be warned here */                     \
    X(EXHAUSTED, "budget.exhausted")   /* it refused a request, or nothing is left */              \
    X(KEY_EXPIRING, "key.expiring")    /* a key that is used ends within NOTICE_EXPIRING_S */      \
    X(KEY_REVOKED, "key.revoked")
#define NOTICE_EXPIRING_S INT64_C(604800)

#define MEMBER(name, text) NOTICE_##name,
enum notice_type { NOTICE_TYPES(MEMBER) N_NOTICE_TYPES };
#undef MEMBER
const char *notice_type_name(enum notice_type t);
int notice_type_find(const char *name); /* -1: there is none */

struct notice {
    enum notice_type type;
    enum account_kind kind;
    char account[ACCOUNT_ID_MAX];
    char tenant[ACCOUNT_NAME_MAX]; /* whose account it is; filled by cloud_take_notice */
    int64_t at_s;                  /* unix seconds */
    /* Of a budget; span NULL: it is of none. */
    const char *span; /* "day", "week", "month", "all" */
    int of;           /* OF_x (holds.h): of what limit and used are, and its units */
    char currency[4];
    int64_t warn;            /* percent at which to warn; < 0: never */
    int64_t limit, used;     /* used: settled and held */
    int64_t from_s, until_s; /* its window; INT64_MAX: without an end. Of a key: until_s, its end */
};

struct notices {
    pthread_mutex_t lock; /* rank: a leaf */
    struct mbox *box;     /* NULL: nobody reads */
    struct mbox_item item;
    struct notice *ring;
    int first, n;
    int64_t n_lost;
};

/* box NULL: nobody reads. ERR_NOMEM. */
int notices_init(struct notices *q, struct mbox *box, int mail_kind, struct err *e);
void notices_done(struct notices *q);
void notices_put(struct notices *q, const struct notice *n); /* [any] */
int notices_take(struct notices *q, struct notice *ret);     /* 1, or 0: there is none */
int64_t notices_lost(struct notices *q);                     /* [any] */

#endif
