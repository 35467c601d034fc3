#include "cloud/power_watch.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/put.h"
#include "books/power_log.h"
#include "cloud/accounts.h"
#include "cloud/backstop_watch.h"
#include "cloud/contract_file.h"

#define GAP_US    INT64_C(10000000) /* what was not looked at for so long is not known */
#define DAY_US    INT64_C(86400000000)
#define QUARTER_S 900 /* days begin at such moments in every zone */

/* A site, and the piece of time in which it is being watched. */
struct watched {
    const char *name, *region; /* NULL: it has none; both live as long as the cloud */
    struct power_piece piece;
    struct power_state state; /* as it is now */
    enum power_basis basis;
    int is_open, is_seen;
    int32_t pue_permille, ready_pue; /* ready_pue: as it was when state.ready_w was computed */
};

/* A region, of which tranches are that name no site. */
struct region {
    const char *name;
    int64_t ready_w;
};

struct power_watch {
    struct cloud *cloud;
    const char *ledger;
    struct tree_key key; /* signs the log of power */
    int has_key;
    int64_t piece_us, gap_us; /* how long a piece is at most, and what was not looked at */
    int64_t border_us;        /* what is ready may change at its multiples */
    int64_t wall_us;          /* of this look */
    struct site_view view[SITES_MAX];
    struct watched site[SITES_MAX];
    struct region region[SITES_MAX];
    int n_sites, n_regions;
    int64_t written_us, generation, ready_s; /* when last; of the store, and when, ready_w is */
    int64_t amended_s;                       /* when the next amendment holds */
    struct power_entry queue[POWER_TOGETHER];
    const char *queue_region[POWER_TOGETHER];
    int n_queued;
    struct backstop_watch *backstop; /* what was left, after that was written */
    int has_more;                    /* that one: it has not caught up */
    char backstop_why[200];          /* as `why` */
    char why[200];                   /* what failed last; "": all went well */
};

/* Log what is wrong where it is not what was wrong before. */
static void note(char was[200], int r, const struct err *e)
{
    const char *why = r ? e->text : "";

    if (!strncmp(was, why, 199))
        return;
    put_text(was, 200, why);
    if (*why)
        LOG_EVENT(LOG_WARN, "power of sites not written", LOG_STR("why", why));
    else
        log_line(LOG_INFO, "power of sites: written again");
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static struct power_entry *queue(struct power_watch *w, const char *prefix, const char *name,
                                 const struct power_piece *p, const char *region)
{
    struct power_entry *row;

    if (w->n_queued == POWER_TOGETHER) { /* the ledger has not taken any for long */
        w->n_queued--;
        memmove(w->queue, w->queue + 1, (size_t)w->n_queued * sizeof *w->queue);
        memmove(w->queue_region, w->queue_region + 1,
                (size_t)w->n_queued * sizeof *w->queue_region);
    }
    row = &w->queue[w->n_queued];
    *row = (struct power_entry){.piece = *p};
    snprintf(row->place, sizeof row->place, "%s%s", prefix, name);
    w->queue_region[w->n_queued++] = region;
    return row;
}

static void end_piece(struct power_watch *w, struct watched *v)
{
    if (v->is_open && v->piece.until_us > v->piece.from_us)
        power_log_basis_show(v->basis, v->ready_pue,
                             queue(w, "", v->name, &v->piece, v->region)->reason);
    v->is_open = 0;
}

static void begin_piece(struct watched *v, int64_t at_us)
{
    power_piece_begin(&v->piece, at_us);
    v->is_open = 1;
}

/* It has been as v->state says since it was looked at last. */
static void look_at(struct power_watch *w, struct watched *v, int64_t now_us)
{
    int64_t ago = now_us - v->piece.until_us;

    if (v->is_open && (ago < 0 || ago > w->gap_us)) /* the clock was set, or nobody looked */
        end_piece(w, v);
    while (v->is_open && now_us > v->piece.until_us) {
        int64_t end = power_piece_end(&v->piece, w->piece_us), to = end < now_us ? end : now_us;
        if (power_piece_add(&v->piece, &v->state, to))
            v->is_open = 0; /* watts that cannot be */
        if (v->is_open && to == end) {
            end_piece(w, v);
            begin_piece(v, end);
        }
    }
    if (!v->is_open)
        begin_piece(v, now_us);
}

/* ---- regions --------------------------------------------------------------------------------- */

static void add_piece(struct power_piece *to, const struct power_piece *p)
{
    to->contracted_uj += p->contracted_uj;
    to->energised_uj += p->energised_uj;
    to->encumbered_uj += p->encumbered_uj;
    to->ready_uj += p->ready_uj;
    for (int i = 0; i < POWER_MEASURED; i++)
        to->lost_uj[i] += p->lost_uj[i];
}

static int64_t region_ready(const struct power_watch *w, const char *name)
{
    for (int i = 0; i < w->n_regions; i++) {
        if (!strcmp(w->region[i].name, name))
            return w->region[i].ready_w;
    }
    return 0;
}

/* Pieces of one region and one time, from that one on, become one of the region. */
static void sum_region(struct power_watch *w, int first, int n)
{
    const char *name = w->queue_region[first];
    struct power_piece sum;

    if (!name)
        return;
    power_piece_begin(&sum, w->queue[first].piece.from_us);
    sum.until_us = w->queue[first].piece.until_us;
    sum.ready_uj = region_ready(w, name) * (sum.until_us - sum.from_us);
    for (int i = first; i < n; i++) {
        const struct power_piece *p = &w->queue[i].piece;
        if (!w->queue_region[i] || strcmp(w->queue_region[i], name) != 0 ||
            p->from_us != sum.from_us || p->until_us != sum.until_us)
            continue;
        add_piece(&sum, p);
        w->queue_region[i] = i == first ? name : NULL; /* it is in this sum */
    }
    w->queue_region[first] = NULL;
    if (power_piece_ok(&sum))
        queue(w, POWER_REGION, name, &sum, NULL);
}

/* ---- what sites are -------------------------------------------------------------------------- */

/* Whose word it is that holds. */
static enum power_cause cause_of(const struct site_view *v)
{
    int is_dated = v->order.state < 0 && v->terms->n_steps;

    if (is_dated && (v->state == LIFECYCLE_OFFLINE ||
                     (v->state == LIFECYCLE_DERATED && v->life.factor_ppm == v->factor_ppm)))
        return POWER_MAINTENANCE;
    if (v->environment_ppm >= 0 && v->environment_ppm == v->factor_ppm)
        return POWER_ENVIRONMENT;
    return v->curtailed.now.phase != CURTAIL_NONE && v->curtailed.now.factor_ppm == v->factor_ppm
               ? POWER_CURTAILMENT
               : POWER_OPERATOR;
}

static struct watched *watched_of(struct power_watch *w, const char *name)
{
    for (int i = 0; i < w->n_sites; i++) {
        if (!strcmp(w->site[i].name, name))
            return &w->site[i];
    }
    if (w->n_sites == SITES_MAX)
        return NULL;
    w->site[w->n_sites] = (struct watched){.name = name};
    w->ready_s = 0; /* what is ready there is asked for */
    return &w->site[w->n_sites++];
}

static void see(struct power_watch *w, const struct site_view *v, int64_t now_us)
{
    const struct site_terms *t = v->terms;
    const struct power_row *p = v->power;
    int is_known = p && p->energised_w != POWER_UNKNOWN;
    struct watched *site = is_known ? watched_of(w, t->name) : NULL;

    if (!site)
        return;
    site->is_seen = 1;
    site->region = t->region;
    site->basis = t->basis;
    site->pue_permille = t->pue_permille;
    site->state.contracted_w = p->contracted_w == POWER_UNKNOWN ? p->energised_w : p->contracted_w;
    site->state.energised_w = p->energised_w;
    site->state.encumbered_w = p->encumbered_w;
    site->state.factor_ppm = v->factor_ppm;
    site->state.cause = cause_of(v);
    look_at(w, site, now_us);
}

static void look_at_sites(struct power_watch *w, int64_t now_us)
{
    int n = cloud_view_sites(w->cloud, now_us / 1000000, w->view), kept = 0;
    int n_before = w->n_queued;

    for (int i = 0; i < w->n_sites; i++)
        w->site[i].is_seen = 0;
    for (int i = 0; i < n; i++)
        see(w, &w->view[i], now_us);
    for (int i = 0; i < w->n_sites; i++) {
        if (w->site[i].is_seen)
            w->site[kept++] = w->site[i];
        else
            end_piece(w, &w->site[i]); /* the configuration has it no more */
    }
    w->n_sites = kept;
    for (int i = n_before, end = w->n_queued; i < end; i++)
        sum_region(w, i, end);
}

/* ---- what contracts have ready there --------------------------------------------------------- */

/* Watts of a contract on the basis of a site; as they are where its PUE is not known. */
static int64_t on_basis(const struct watched *v, enum contract_basis basis, int64_t watts)
{
    int64_t w = power_convert(watts, basis == CONTRACT_FACILITY ? POWER_FACILITY : POWER_IT,
                              v->basis, v->pue_permille);

    return w == POWER_UNKNOWN ? watts : w;
}

static int add_ready(void *arg, const struct contract_version *version)
{
    struct power_watch *w = arg;
    struct contract_file *f = NULL;
    struct err none = {0};
    const struct contract *c;

    if (contract_file_parse(&f, version->name, version->text, strlen(version->text), &none))
        return 0; /* of a later version of this program: others count */
    c = contract_file_contract(f);
    for (int i = 0; i < w->n_sites; i++) {
        struct watched *v = &w->site[i];
        v->state.ready_w += on_basis(
            v, c->basis, contract_watts(c, POWER_READY, v->name, NULL, w->ready_s, w->ready_s));
    }
    for (int i = 0; i < w->n_regions; i++)
        w->region[i].ready_w +=
            contract_watts(c, POWER_READY, NULL, w->region[i].name, w->ready_s, w->ready_s);
    contract_file_close(f);
    return 0;
}

static void find_regions(struct power_watch *w)
{
    w->n_regions = 0;
    for (int i = 0; i < w->n_sites; i++) {
        const char *name = w->site[i].region;
        int k = 0;
        while (name && k < w->n_regions && strcmp(w->region[k].name, name) != 0)
            k++;
        if (name && k == w->n_regions)
            w->region[w->n_regions++] = (struct region){name, 0};
    }
}

static int read_ready(void *arg, struct accounts *a, struct err *e)
{
    struct power_watch *w = arg;
    int64_t generation = 0, now_s = w->wall_us / 1000000;
    int r = a ? accounts_generation(a, &generation, e) : ERR_UNSUPPORTED; /* there is no store */

    if (r || (w->ready_s && generation == w->generation && now_s >= w->ready_s &&
              now_s < w->amended_s && now_s / QUARTER_S == w->ready_s / QUARTER_S))
        return r;
    r = accounts_contracts_next(a, now_s, &w->amended_s, e);
    if (r)
        return r;
    w->generation = generation;
    w->ready_s = now_s;
    find_regions(w);
    for (int i = 0; i < w->n_sites; i++) {
        w->site[i].state.ready_w = 0;
        w->site[i].ready_pue = w->site[i].pue_permille;
    }
    return accounts_contracts(a, now_s, INT64_MAX, add_ready, w, e);
}

/* ---- looking ------------------------------------------------------------------------------ */

static void write_queue(struct power_watch *w)
{
    struct err e = {0};
    int64_t n = 0;
    int r;

    for (int i = 0; i < w->n_queued; i++)
        w->queue[i].at_us = w->wall_us;
    r = w->n_queued
            ? power_log_put(w->ledger, w->queue, w->n_queued, w->has_key ? &w->key : NULL, &n, &e)
            : 0;

    if (!r)
        w->n_queued = 0;
    note(w->why, r, &e);
}

static void look_at_backstops(struct power_watch *w, int64_t now_us)
{
    struct backstop_place place[SITES_MAX];
    struct err e = {0};
    int r;

    for (int i = 0; i < w->n_sites; i++)
        place[i] = (struct backstop_place){w->site[i].name, w->site[i].region};
    r = backstop_watch_look(w->backstop, place, w->n_sites, now_us, w->wall_us, &w->has_more, &e);
    note(w->backstop_why, r, &e);
}

static void look(struct power_watch *w, int64_t now_us, int64_t wall_us)
{
    struct err e = {0};

    w->wall_us = wall_us;
    look_at_sites(w, wall_us);
    if (wall_us / w->piece_us == w->written_us / w->piece_us && w->ready_s) {
        if (w->has_more)
            look_at_backstops(w, now_us);
        return;
    }
    w->written_us = wall_us;
    if (cloud_with_accounts(w->cloud, now_us, read_ready, w, &e))
        w->ready_s = wall_us / 1000000; /* there is no store, or it is away: asked in a minute */
    write_queue(w);
    look_at_backstops(w, now_us);
}

/* A look at the border of the minute first (of a pretended day): what contracts have ready changes
 * there, and no moment after it is counted by what was ready before it. */
void power_watch_look(struct power_watch *w, int64_t now_us, int64_t wall_us)
{
    int64_t border = wall_us - wall_us % w->border_us, ago = wall_us - w->wall_us;

    if (w->wall_us && w->wall_us < border && border < wall_us && ago <= w->gap_us)
        look(w, now_us, border);
    look(w, now_us, wall_us);
}

int power_watch_open(struct power_watch **ret, struct cloud *c, const char *ledger,
                     const struct tree_key *key, int64_t pace, struct err *e)
{
    struct power_watch *w = calloc(1, sizeof *w);

    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->cloud = c;
    w->ledger = ledger;
    if (backstop_watch_open(&w->backstop, c, ledger, e)) {
        free(w);
        return e->code;
    }
    w->has_key = key != NULL;
    if (key)
        w->key = *key;
    w->piece_us = pace > 1 ? POWER_HOUR_US : POWER_PIECE_US;
    w->border_us = pace > 1 ? DAY_US : POWER_PIECE_US;
    w->gap_us = GAP_US * pace;
    *ret = w;
    return 0;
}

void power_watch_close(struct power_watch *w, int64_t wall_us)
{
    int first;

    if (!w)
        return;
    w->wall_us = wall_us;
    look_at_sites(w, wall_us);
    first = w->n_queued;
    for (int i = 0; i < w->n_sites; i++)
        end_piece(w, &w->site[i]);
    for (int i = first, end = w->n_queued; i < end; i++)
        sum_region(w, i, end);
    write_queue(w);
    backstop_watch_close(w->backstop);
    sodium_memzero(&w->key, sizeof w->key);
    free(w);
}
