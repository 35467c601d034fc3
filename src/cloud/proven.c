#include "cloud/proven.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define SECOND_US INT64_C(1000000)
#define MINUTE_US INT64_C(60000000)

struct request {
    int64_t at_us, seq, prompt, completion, charge, energy;
    int tenant, tranche, currency; /* names */
    signed char lent, is_request, is_unmetered;
};

struct piece {
    int place;         /* a name */
    int32_t basis_pue; /* -1: the row does not tell the basis of its watts */
    enum power_basis basis;
    int64_t seq;
    struct power_piece piece;
};

/* What is known of a log. */
struct shown {
    int is_there, has_first;
    int64_t base, from, until, first_s;
};

struct list {
    void *all;
    size_t n, cap;
};

struct proven {
    const struct settled *s;
    struct map places; /* hashes of the names of the statement's places */
    struct shown log[TREE_LOGS];
    char (*name)[2 * BOOKS_NAME_MAX];
    int n_names;
    struct list requests, pieces, notes, ids;
    int64_t n_later;
};

/* ---- memory ---------------------------------------------------------------------------------- */

static int room(struct list *l, size_t size, struct err *e)
{
    size_t cap = l->cap ? 2 * l->cap : 256;
    void *more;

    if (l->n < l->cap)
        return 0;
    more = realloc(l->all, cap * size);
    if (!more)
        return err_set(e, ERR_NOMEM, "out of memory");
    l->all = more;
    l->cap = cap;
    return 0;
}

static int name_of(struct proven *p, const char *s, size_t n)
{
    for (int i = 0; i < p->n_names; i++) {
        if (!strncmp(p->name[i], s, n) && !p->name[i][n])
            return i;
    }
    if (p->n_names == PROVEN_NAMES_MAX || n >= sizeof *p->name)
        return -1;
    memcpy(p->name[p->n_names], s, n);
    p->name[p->n_names][n] = 0;
    return p->n_names++;
}

static int add_place(struct proven *p, const struct tranche *t)
{
    char name[POWER_PLACE_MAX];
    unsigned char hash[TREE_HASH];

    snprintf(name, sizeof name, "%s%s", t->site ? "" : POWER_REGION, t->site ? t->site : t->region);
    power_leaf_place(name, hash);
    return map_put(&p->places, hash, sizeof hash, 1);
}

int proven_open(struct proven **ret, const struct settled *s, struct err *e)
{
    struct proven *p = calloc(1, sizeof *p);
    int r = p && (p->name = calloc(PROVEN_NAMES_MAX, sizeof *p->name)) ? map_init(&p->places, 16)
                                                                       : ERR_NOMEM;

    for (int i = 0; !r && i < s->n_versions; i++) {
        const struct contract *c = contract_file_contract(s->version[i].file);
        for (int k = 0; !r && k < c->n_tranches; k++)
            r = add_place(p, &c->tranche[k]);
    }
    if (r) {
        proven_close(p);
        return err_set(e, r, "out of memory");
    }
    p->s = s;
    *ret = p;
    return 0;
}

void proven_close(struct proven *p)
{
    if (!p)
        return;
    map_done(&p->places);
    free(p->name);
    free(p->requests.all);
    free(p->pieces.all);
    free(p->notes.all);
    free(p->ids.all);
    free(p);
}

/* ---- requests -------------------------------------------------------------------------------- */

static int is_text(const struct leaf_value *v, const char *s)
{
    return v->n == strlen(s) && !memcmp(v->at, s, v->n);
}

static int read_lent(const struct leaf_value *v)
{
    static const char *const words[] = {[BOOKS_LENT_OWN] = "own",
                                        [BOOKS_LENT_BORROWED] = "borrowed",
                                        [BOOKS_LENT_PAID] = "paid",
                                        [BOOKS_LENT_BACKSTOP] = "backstop"};
    int i = BOOKS_LENT_N;

    while (i-- && !is_text(v, words[i]))
        ;
    return i;
}

static int keep_id(struct proven *p, const struct leaf_value *id, struct err *e)
{
    unsigned char(*hash)[16];
    int r = room(&p->ids, sizeof *hash, e);

    if (r)
        return r;
    hash = p->ids.all;
    crypto_generichash(hash[p->ids.n++], sizeof *hash, (const unsigned char *)id->at, id->n, NULL,
                       0);
    return 0;
}

static int keep_request(struct proven *p, const struct leaf_value v[LEAF_N], const char *tenant,
                        int64_t seq, struct err *e)
{
    struct request q = {.at_us = v[LEAF_at_us].number,
                        .seq = seq,
                        .prompt = v[LEAF_prompt_tokens].number,
                        .completion = v[LEAF_completion_tokens].number,
                        .charge = v[LEAF_charge_nano].number,
                        .energy = v[LEAF_energy_uj].number,
                        .tenant = name_of(p, tenant, strlen(tenant)),
                        .tranche = name_of(p, v[LEAF_tranche].at, v[LEAF_tranche].n),
                        .currency = name_of(p, v[LEAF_currency].at, v[LEAF_currency].n),
                        .lent = (signed char)read_lent(&v[LEAF_power]),
                        .is_request = !v[LEAF_corrects].n};
    int r = room(&p->requests, sizeof q, e);

    if (q.lent < 0 || q.prompt < 0 || q.completion < 0 || q.energy < 0)
        return err_set(e, ERR_FORMAT, "row %lld: an entry has counts that are none",
                       (long long)seq);
    if (q.tenant < 0 || q.tranche < 0 || q.currency < 0)
        return err_set(e, ERR_LIMIT, "more than %d names", PROVEN_NAMES_MAX);
    q.is_unmetered = q.is_request && v[LEAF_energy_uj].is_null && (q.prompt || q.completion);
    if (!r) {
        struct request *all = p->requests.all;
        all[p->requests.n++] = q;
    }
    return r ? r : keep_id(p, &v[LEAF_request_id], e);
}

static int take_request(struct proven *p, const struct log_import *x, const struct log_entry *one,
                        struct err *e)
{
    const char *contract = settled_contract(p->s)->name;
    int64_t seq = x->base + 1 + one->i;
    struct leaf_value v[LEAF_N];
    int r = leaf_read(one->entry, one->n_entry, v, e);

    if (r || !is_text(&v[LEAF_contract], contract))
        return r;
    if (seq > p->s->upto_usage) {
        p->n_later += v[LEAF_at_us].number >= p->s->from_s * SECOND_US &&
                      v[LEAF_at_us].number < p->s->until_s * SECOND_US;
        return 0;
    }
    return keep_request(p, v, one->tenant, seq, e);
}

/* ---- power ----------------------------------------------------------------------------------- */

static int keep_note(struct proven *p, const struct power_entry *row, struct err *e)
{
    struct power_entry *all;
    int r = p->notes.n == PROVEN_NOTES_MAX
                ? err_set(e, ERR_LIMIT, "more than %d notes on power", PROVEN_NOTES_MAX)
                : room(&p->notes, sizeof *all, e);

    if (r)
        return r;
    all = p->notes.all;
    all[p->notes.n++] = *row;
    return 0;
}

static int take_power(struct proven *p, const struct log_import *x, const struct log_entry *one,
                      struct err *e)
{
    struct piece *all;
    uint32_t is_mine = 0;
    int r, place;

    if (!map_get(&p->places, one->place, sizeof one->place, &is_mine))
        return 0;
    if (!one->n_entry)
        return err_set(e, ERR_FORMAT,
                       "row %lld of power is of a place of the contract, and is not shown",
                       (long long)(x->base + 1 + one->i));
    if (*one->row.cause)
        return keep_note(p, &one->row, e);
    place = name_of(p, one->row.place, strlen(one->row.place));
    r = place < 0 ? err_set(e, ERR_LIMIT, "more than %d names", PROVEN_NAMES_MAX)
                  : room(&p->pieces, sizeof *all, e);
    if (r)
        return r;
    all = p->pieces.all;
    all += p->pieces.n++;
    *all = (struct piece){.place = place, .seq = one->row.seq, .piece = one->row.piece};
    if (power_log_basis_read(one->row.reason, &all->basis, &all->basis_pue))
        all->basis_pue = -1;
    return 0;
}

/* ---- taking ---------------------------------------------------------------------------------- */

int proven_take(struct proven *p, const struct log_import *x, const struct log_entry *one,
                struct err *e)
{
    if (x->log == TREE_POWER)
        return take_power(p, x, one, e);
    return one->n_entry ? take_request(p, x, one, e) : 0;
}

int proven_end_log(struct proven *p, const struct log_import *x, struct err *e)
{
    const char *contract = settled_contract(p->s)->name;
    struct shown *l = &p->log[x->log];

    if (x->log == TREE_ANSWERS && strcmp(x->contract, contract) != 0)
        return err_set(e, ERR_FORMAT, "it is a range of the contract '%s', not of '%s'",
                       x->contract, contract);
    if (l->is_there)
        return err_set(e, ERR_FORMAT, "two ranges of the log of %s: a statement is of one",
                       tree_log_name(x->log));
    *l = (struct shown){.is_there = 1,
                        .has_first = x->first.size > 0,
                        .base = x->base,
                        .from = x->from,
                        .until = x->head.size,
                        .first_s = x->first.at_s};
    return 0;
}

/* Does the range have every row of the time, up to the last that counts? What comes before it was
 * signed for before that time began. */
static int check_span(const struct proven *p, enum tree_log log, int64_t upto, struct err *e)
{
    const struct shown *l = &p->log[log];
    int64_t since_s = settled_since(p->s);

    if (!l->is_there)
        return upto ? err_set(e, ERR_FORMAT,
                              "there is no range of the log of %s, of which the statement has rows",
                              tree_log_name(log))
                    : 0;
    if (l->base + l->until < upto)
        return err_set(e, ERR_FORMAT,
                       "the log of %s is shown up to row %lld, and the statement counts up to %lld",
                       tree_log_name(log), (long long)(l->base + l->until), (long long)upto);
    if (l->from && (!l->has_first || l->first_s > since_s))
        return err_set(e, ERR_FORMAT,
                       "the range of the log of %s begins after the time that is settled: what is "
                       "before it may be of that time",
                       tree_log_name(log));
    return 0;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static int check_ids(struct proven *p, struct err *e)
{
    const unsigned char(*hash)[16] = p->ids.all;

    if (p->ids.n)
        qsort(p->ids.all, p->ids.n, sizeof *hash, by_id);
    for (size_t i = 1; i < p->ids.n; i++) {
        if (!memcmp(hash[i - 1], hash[i], sizeof *hash))
            return err_set(e, ERR_FORMAT, "a request is in the log twice");
    }
    return 0;
}

/* ---- as rows --------------------------------------------------------------------------------- */

static int compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_time(const void *a_, const void *b_)
{
    const struct request *a = a_, *b = b_;
    int order = compare(a->at_us, b->at_us);

    return order ? order : compare(a->seq, b->seq);
}

static int by_place(const void *a_, const void *b_)
{
    const struct piece *a = a_, *b = b_;
    int order = compare(a->place, b->place);

    order = order ? order : compare(a->piece.from_us, b->piece.from_us);
    return order ? order : compare(a->seq, b->seq);
}

/* How many come before one of an ordered list. */
static size_t before(const struct list *l, size_t size, const void *one,
                     int (*order)(const void *a, const void *b))
{
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (order((const char *)l->all + mid * size, one) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int is_asked(const struct power_query *q, const struct power_piece *p, int64_t seq)
{
    return p->from_us < q->until_us && p->until_us > q->from_us &&
           (!q->upto_seq || seq <= q->upto_seq);
}

static int give_notes(const struct proven *p, const struct power_query *q,
                      int (*row)(void *arg, const struct power_entry *r), void *arg)
{
    const struct power_entry *all = p->notes.all;
    int r = 0;

    for (size_t i = 0; !r && i < p->notes.n; i++) {
        if (!strcmp(all[i].place, q->place) && is_asked(q, &all[i].piece, all[i].seq))
            r = row(arg, &all[i]);
    }
    return r;
}

static int give_power(void *arg, const struct power_query *q,
                      int (*row)(void *arg, const struct power_entry *r), void *row_arg,
                      struct err *e)
{
    struct proven *p = arg;
    struct piece one = {.place = name_of(p, q->place, strlen(q->place)), .seq = INT64_MIN};
    const struct piece *all = p->pieces.all;
    int r = 0;

    if (q->what == POWER_NOTES)
        return give_notes(p, q, row, row_arg);
    one.piece.from_us = q->from_us - MINUTE_US;
    for (size_t i = before(&p->pieces, sizeof one, &one, by_place);
         !r && i < p->pieces.n && all[i].place == one.place && all[i].piece.from_us < q->until_us;
         i++) {
        struct power_entry entry = {.seq = all[i].seq, .piece = all[i].piece};
        if (all[i].basis_pue >= 0)
            power_log_basis_show(all[i].basis, all[i].basis_pue, entry.reason);
        if (is_asked(q, &all[i].piece, all[i].seq))
            r = row(row_arg, &entry);
    }
    return r;
}

static int give_used(void *arg, const char *contract, int64_t from_us, int64_t until_us,
                     int64_t upto_seq, int (*take)(void *arg, const struct contract_used *u),
                     void *take_arg, struct err *e)
{
    const struct proven *p = arg;
    const struct request one = {.at_us = from_us, .seq = INT64_MIN}, *all = p->requests.all;
    int r = 0;

    for (size_t i = before(&p->requests, sizeof one, &one, by_time);
         !r && i < p->requests.n && all[i].at_us < until_us; i++) {
        const struct request *q = &all[i];
        struct contract_used u = {.lent = q->lent,
                                  .n_requests = q->is_request,
                                  .n_unmetered = q->is_unmetered,
                                  .n_charged = q->is_request && q->charge > 0,
                                  .prompt_tokens = q->prompt,
                                  .completion_tokens = q->completion,
                                  .charge_nano = q->charge,
                                  .energy_uj = q->energy,
                                  .first_seq = q->seq,
                                  .last_seq = q->seq};
        if (q->seq > upto_seq)
            continue;
        snprintf(u.tranche, sizeof u.tranche, "%.63s", p->name[q->tranche]);
        snprintf(u.tenant, sizeof u.tenant, "%.63s", p->name[q->tenant]);
        snprintf(u.currency, sizeof u.currency, "%.3s", p->name[q->currency]);
        r = take(take_arg, &u);
    }
    return r;
}

/* What buyers of last resort took is in none of the logs. */
static int give_taken(void *arg, const struct taken_query *q,
                      int (*row)(void *arg, const struct taken_entry *t), void *row_arg,
                      struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "what a buyer of last resort took is in no log that can be shown: its statement "
                   "is checked by 'gaufre audit --statement'");
}

int proven_rows(struct proven *p, struct settled_rows *ret, struct err *e)
{
    int r = check_span(p, TREE_ANSWERS, p->s->upto_usage, e);

    if (!r)
        r = check_span(p, TREE_POWER, p->s->upto_power, e);
    if (!r)
        r = check_ids(p, e);
    if (r)
        return r;
    if (p->requests.n)
        qsort(p->requests.all, p->requests.n, sizeof(struct request), by_time);
    if (p->pieces.n)
        qsort(p->pieces.all, p->pieces.n, sizeof(struct piece), by_place);
    *ret = (struct settled_rows){p, give_power, give_used, give_taken};
    return 0;
}

int64_t proven_later(const struct proven *p)
{
    return p->n_later;
}
