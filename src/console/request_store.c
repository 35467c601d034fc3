#include "console/request_store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mbox.h"
#include "base/put.h"
#include "base/utf8.h"
#include "console/request_sql.h"
#include "console/request_text.h"

#define GATHER_US 200000 /* rows are written together */
#define PRUNE_US  INT64_C(3600000000)
#define TELL_US   INT64_C(30000000)
#define DAY_US    INT64_C(86400000000)

/* A place of the pool. */
struct place {
    struct mbox_item item;
    struct place *next_free;
    struct request_row row;
    struct request_texts texts;
};

struct request_store {
    struct sql *db;
    struct redact *redact;
    int64_t days;
    pthread_t thread;
    struct mbox box;
    struct mbox_item stop;
    pthread_mutex_t lock; /* of the pool; rank: a leaf */
    struct place *place, *free;
    int n_taken; /* the first so many were taken before */
    _Atomic int64_t n_dropped;
    _Atomic int64_t n_text_bytes; /* of texts on their way */
    /* The thread's. */
    int stopping;
    int64_t told_us, pruned_us;
    struct request_put put[REQUEST_ROWS_MAX];
    struct place *batch[REQUEST_ROWS_MAX];
    int n_batch;
};

static struct place *take(struct request_store *s)
{
    struct place *p;

    pthread_mutex_lock(&s->lock);
    p = s->free;
    if (p)
        s->free = p->next_free;
    else if (s->n_taken < REQUEST_ROWS_MAX)
        p = &s->place[s->n_taken++];
    pthread_mutex_unlock(&s->lock);
    return p;
}

static void give_batch(struct request_store *s)
{
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_batch; i++) {
        s->batch[i]->next_free = s->free;
        s->free = s->batch[i];
    }
    pthread_mutex_unlock(&s->lock);
    s->n_batch = 0;
}

/* Texts of clients may be any bytes, and a long one may have been cut inside a character: no
 * database but SQLite takes that. */
static void clean(struct request_row *r)
{
    const struct request_field *f;

    for (int i = 0; (f = request_field_row(i)); i++) {
        if (f->is_text)
            utf8_clean((char *)r + f->at);
    }
}

static int64_t bytes_of(const struct request_texts *t)
{
    return (int64_t)(t->n_request + t->n_answer);
}

static void free_texts(struct request_texts *t)
{
    free(t->request);
    free(t->answer);
    *t = (struct request_texts){.days = 0};
}

static void take_texts(struct request_store *s, struct place *p, const struct request_texts *t)
{
    p->texts = *t;
    if (atomic_fetch_add(&s->n_text_bytes, bytes_of(t)) + bytes_of(t) <= (int64_t)REQUEST_TEXTS_MAX)
        return;
    atomic_fetch_sub(&s->n_text_bytes, bytes_of(t));
    atomic_fetch_add(&s->n_dropped, 1);
    free_texts(&p->texts);
}

void request_store_add(struct request_store *s, const struct request_row *r,
                       const struct request_texts *t)
{
    struct place *p = take(s);

    if (!p) {
        struct request_texts gone = t ? *t : (struct request_texts){.days = 0};
        free_texts(&gone);
        atomic_fetch_add(&s->n_dropped, 1);
        return;
    }
    p->row = *r;
    clean(&p->row);
    if (t)
        take_texts(s, p, t);
    if (mbox_post(&s->box, &p->item))
        mbox_wake(&s->box);
}

int64_t request_store_dropped(const struct request_store *s)
{
    return atomic_load(&s->n_dropped);
}

/* ---- its thread ------------------------------------------------------------------------------ */

static void tell(struct request_store *s, const char *what, const struct err *e)
{
    int64_t now_us = clock_now_us();

    if (s->told_us && now_us - s->told_us < TELL_US)
        return;
    s->told_us = now_us;
    log_line(LOG_ERROR, "request log: %s: %s", what, e->text);
}

static void take_posted(struct request_store *s)
{
    struct mbox_item *list, *it;

    mbox_clear(&s->box);
    list = mbox_take(&s->box);
    while ((it = mbox_next(&list))) {
        if (it == &s->stop)
            s->stopping = 1;
        else
            s->batch[s->n_batch++] =
                (struct place *)(void *)((char *)it - offsetof(struct place, item));
    }
}

/* A text as it is stored, or NULL: allocated. */
static char *stored_text(struct request_store *s, const struct request_texts *t, int is_answer)
{
    struct buf b;
    int r;

    if (!(is_answer ? t->answer : t->request))
        return NULL;
    buf_init(&b, 4 * REQUEST_TEXT_MAX);
    r = is_answer ? request_text_answer(s->redact, t->answer, t->n_answer, t->is_stream, &b)
                  : request_text_body(s->redact, t->request, t->n_request, &b);
    if (r) {
        buf_done(&b);
        return NULL;
    }
    return b.data;
}

/* What a place has, as it is written; and what was taken for that is given back. */
static void make_put(struct request_store *s, struct place *p, struct request_put *ret)
{
    *ret = (struct request_put){.row = &p->row};
    if (!p->texts.days)
        return;
    ret->until_us = p->row.at_us + p->texts.days * DAY_US;
    ret->request = stored_text(s, &p->texts, 0);
    ret->answer = stored_text(s, &p->texts, 1);
    atomic_fetch_sub(&s->n_text_bytes, bytes_of(&p->texts));
    free_texts(&p->texts);
}

static void write_batch(struct request_store *s)
{
    struct err e = {0};

    for (int i = 0; i < s->n_batch; i++)
        make_put(s, s->batch[i], &s->put[i]);
    if (s->n_batch && request_sql_write(s->db, s->put, s->n_batch, &e)) {
        atomic_fetch_add(&s->n_dropped, s->n_batch);
        tell(s, "rows are dropped", &e);
    }
    for (int i = 0; i < s->n_batch; i++) {
        free((char *)(uintptr_t)s->put[i].request);
        free((char *)(uintptr_t)s->put[i].answer);
    }
    give_batch(s);
}

static void prune(struct request_store *s)
{
    int64_t now_us = clock_now_us(), wall_us = clock_wall_us(), n = 0, n_texts = 0;
    struct err e = {0};
    int r;

    if (s->pruned_us && now_us - s->pruned_us < PRUNE_US)
        return;
    r = request_sql_prune_texts(s->db, wall_us, &n_texts, &e);
    if (!r && s->days)
        r = request_sql_prune(s->db, wall_us - s->days * DAY_US, &n, &e);
    if (r)
        tell(s, "old rows stay", &e);
    if (r || !(n + n_texts)) /* else the next of them soon */
        s->pruned_us = now_us;
}

static void *store_main(void *arg)
{
    struct request_store *s = arg;

    pthread_setname_np(pthread_self(), "requests");
    while (!s->stopping) {
        mbox_wait(&s->box, (int)(PRUNE_US / 1000));
        if (!s->stopping)
            clock_sleep_us(GATHER_US);
        take_posted(s);
        write_batch(s);
        prune(s);
    }
    return NULL;
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

static void store_free(struct request_store *s)
{
    sql_close(s->db);
    redact_free(s->redact);
    mbox_close(&s->box);
    pthread_mutex_destroy(&s->lock);
    free(s->place);
    free(s);
}

int request_store_open(struct request_store **ret, const struct request_store_config *c,
                       struct err *e)
{
    struct request_store *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return err_set(e, ERR_NOMEM, "request log: out of memory");
    s->days = c->days;
    s->box.fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    s->place = calloc(REQUEST_ROWS_MAX, sizeof *s->place);
    if (!s->place)
        r = err_set(e, ERR_NOMEM, "request log: out of memory");
    else if (mbox_open(&s->box))
        r = err_set(e, ERR_IO, "request log: no descriptor for its mailbox");
    else
        r = redact_new(&s->redact, c->rules, c->n_rules, e);
    if (!r)
        r = request_sql_open(&s->db, c->where, 0, e);
    if (!r && pthread_create(&s->thread, NULL, store_main, s))
        r = err_set(e, ERR_IO, "request log: cannot start its thread");
    if (r) {
        store_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void request_store_close(struct request_store *s)
{
    if (!s)
        return;
    mbox_post(&s->box, &s->stop);
    mbox_wake(&s->box);
    pthread_join(s->thread, NULL);
    take_posted(s);
    write_batch(s);
    store_free(s);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct request_reader {
    struct sql *db;
};

int request_reader_open(struct request_reader **ret, const char *where, struct err *e)
{
    struct request_reader *r = calloc(1, sizeof *r);
    int code = r ? request_sql_open(&r->db, where, 1, e)
                 : err_set(e, ERR_NOMEM, "request log: out of memory");

    if (code)
        free(r);
    else
        *ret = r;
    return code;
}

void request_reader_close(struct request_reader *r)
{
    if (r)
        sql_close(r->db);
    free(r);
}

int request_reader_each(struct request_reader *r, const struct request_where *w, int64_t n_max,
                        int (*row)(void *arg, const struct request_row *r), void *arg,
                        struct err *e)
{
    return request_sql_each(r->db, w, n_max, row, arg, e);
}

int request_reader_forget(struct request_reader *r, const char *tenant, const char *id,
                          int64_t *ret_n, struct err *e)
{
    return request_sql_forget(r->db, tenant, id, ret_n, e);
}
