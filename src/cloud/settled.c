#include "cloud/settled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/day.h"
#include "books/contract_use.h"
#include "books/power_log.h"
#include "books/taken_log.h"

#define SECOND_US INT64_C(1000000)
#define DAY_US    INT64_C(86400000000)
#define NOTES_MAX 4096
#define TEXT_MAX  ((size_t)1 << 20)

/* ---- what it is of --------------------------------------------------------------------------- */

struct settled *settled_new(void)
{
    return calloc(1, sizeof(struct settled));
}

static void drop_parts(struct settled *s)
{
    while (s->n_parts)
        free(s->part[--s->n_parts].tranche);
    s->n_lines = 0;
}

void settled_free(struct settled *s)
{
    if (!s)
        return;
    drop_parts(s);
    for (int i = 0; i < s->n_versions; i++) {
        contract_file_close(s->version[i].file);
        free(s->version[i].text);
    }
    free(s->line);
    free(s);
}

int settled_add(struct settled *s, const char *name, int64_t version, int64_t effective_s,
                const char *text, struct err *e)
{
    struct settled_version *v = &s->version[s->n_versions];

    if (s->n_versions == SETTLED_VERSIONS_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d versions", name, SETTLED_VERSIONS_MAX);
    if (strlen(text) > TEXT_MAX)
        return err_set(e, ERR_TOO_LARGE, "%s: is too large for a contract", name);
    *v = (struct settled_version){.version = version, .effective_s = effective_s};
    v->text = strdup(text);
    if (!v->text)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->n_versions++;
    return contract_file_parse(&v->file, name, text, strlen(text), e);
}

int settled_end(struct settled *s, const char *ledger, struct err *e)
{
    int64_t known_s = s->known_s ? s->known_s : INT64_MAX;
    struct contract_books *b = NULL;
    int64_t until_us, first_us;
    int r = contract_books_open(&b, ledger, e);

    if (!r)
        r = contract_books_end(b, known_s, &s->upto_usage, &s->upto_power, e);
    contract_books_close(b);
    if (!r)
        r = taken_log_end(ledger, known_s, &s->upto_taken, &until_us, &first_us, e);
    return r;
}

const struct contract *settled_contract(const struct settled *s)
{
    return contract_file_contract(s->version[s->n_versions - 1].file);
}

const struct zone *settled_zone(const struct settled *s)
{
    return contract_file_zone(s->version[s->n_versions - 1].file);
}

const struct contract *settled_contract_of(const struct settled *s, int i_part)
{
    return contract_file_contract(s->version[s->part[i_part].i_version].file);
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* Which version holds at a time; before all of them the first. */
static int version_at(const struct settled *s, int64_t at_s)
{
    int i = 0;

    while (i + 1 < s->n_versions && s->version[i + 1].effective_s <= at_s)
        i++;
    return i;
}

/* When the part that begins then ends: at another version, or when prices grow. */
static int64_t part_end(const struct settled *s, int i_version, int64_t from_s, int64_t until_s)
{
    const struct contract *c = contract_file_contract(s->version[i_version].file);

    if (i_version + 1 < s->n_versions && s->version[i_version + 1].effective_s < until_s)
        until_s = s->version[i_version + 1].effective_s;
    for (int i = c->n_index; i-- > 0;) {
        if (c->index_s[i] > from_s && c->index_s[i] < until_s)
            until_s = c->index_s[i];
    }
    return until_s;
}

struct making {
    struct settled *s;
    const struct settled_rows *rows;
    struct settlement part;
    struct settled_part *to;
    const char *site, *region; /* whose pieces are read */
    int64_t use_us;            /* when the requests that are read begin */
    struct power_entry *note;  /* of that place */
    int n_notes;
    struct settlement_sum sum;
    int is_kept; /* of the period itself; else what came before it */
    struct err *e;
};

/* ---- power ----------------------------------------------------------------------------------- */

static int take_note(void *arg, const struct power_entry *n)
{
    struct making *m = arg;

    if (m->n_notes == NOTES_MAX)
        return err_set(m->e, ERR_LIMIT, "more than %d notes on %s", NOTES_MAX, n->place);
    m->note[m->n_notes++] = *n;
    return 0;
}

/* What the last note of that minute says. */
static enum power_cause note_at(const struct making *m, int64_t at_us)
{
    const struct power_entry *last = NULL;
    int cause;

    for (int i = 0; i < m->n_notes; i++) {
        const struct power_entry *n = &m->note[i];
        if (at_us >= n->piece.from_us && at_us < n->piece.until_us && (!last || n->seq > last->seq))
            last = n;
    }
    cause = last ? power_cause_find(last->cause) : -1;
    return cause < 0 ? POWER_CAUSES : (enum power_cause)cause;
}

/* Bring the contract's watts to the basis of the piece's, where that is another one. */
static void take_basis(struct settlement *s, const char *text)
{
    enum power_basis basis, own = s->c->basis == CONTRACT_FACILITY ? POWER_FACILITY : POWER_IT;
    int32_t pue = 0;

    s->site_watts = s->own_watts = 0;
    if (power_log_basis_read(text, &basis, &pue) || basis == own || !pue)
        return;
    s->site_watts = own == POWER_FACILITY ? 1000 : pue;
    s->own_watts = own == POWER_FACILITY ? pue : 1000;
}

static int take_piece(void *arg, const struct power_entry *p)
{
    struct making *m = arg;

    take_basis(&m->part, p->reason);

    settlement_piece(&m->part, m->site, m->region, &p->piece, note_at(m, p->piece.from_us), p->seq);
    return 0;
}

static int read_place(struct making *m, const char *site, const char *region)
{
    char place[POWER_PLACE_MAX];
    struct power_query q = {.what = POWER_NOTES,
                            .place = place,
                            .from_us = m->part.from_s * SECOND_US,
                            .until_us = m->part.until_s * SECOND_US,
                            .upto_seq = m->s->upto_power ? m->s->upto_power : -1};
    int r;

    snprintf(place, sizeof place, "%s%s", site ? "" : POWER_REGION, site ? site : region);
    m->site = site;
    m->region = region;
    m->n_notes = 0;
    r = m->rows->power(m->rows->arg, &q, take_note, m, m->e);
    q.what = POWER_PIECES;
    return r ? r : m->rows->power(m->rows->arg, &q, take_piece, m, m->e);
}

static int same(const char *a, const char *b)
{
    return a ? b && !strcmp(a, b) : !b;
}

/* The pieces of each place that a tranche names, once. */
static int read_power(struct making *m)
{
    const struct contract *c = m->part.c;
    int r = 0;

    for (int i = 0; !r && i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        int k = 0;
        while (k < i &&
               !(same(t->site, c->tranche[k].site) && same(t->region, c->tranche[k].region)))
            k++;
        if (k == i)
            r = read_place(m, t->site, t->region);
    }
    return r;
}

/* ---- what was used --------------------------------------------------------------------------- */

static int is_tenant(const struct contract *c, const char *name)
{
    for (int i = 0; i < c->customer.tenants.n; i++) {
        if (!strcmp(c->customer.tenants.v[i], name))
            return 1;
    }
    return 0;
}

static void add_use(struct settlement_use *to, const struct contract_used *u)
{
    to->first_seq = to->last_seq && to->first_seq < u->first_seq ? to->first_seq : u->first_seq;
    to->last_seq = to->last_seq > u->last_seq ? to->last_seq : u->last_seq;
    to->n_requests += u->n_requests;
    to->n_unmetered += u->n_unmetered;
    to->prompt_tokens += u->prompt_tokens;
    to->completion_tokens += u->completion_tokens;
    to->charge += u->charge_nano;
}

/* Of the tranches of one name, which follow each other, the one whose turn it is: the last whose
 * target date has come, or before all of them the first. -1: none has that name. */
static int tranche_at(const struct contract *c, const char *name, int64_t at_us)
{
    int found = -1;

    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i], *f = found < 0 ? NULL : &c->tranche[found];
        int is_due = t->target_s * SECOND_US <= at_us;
        if (!strcmp(t->name, name) &&
            (!f || (is_due ? t->target_s > f->target_s || f->target_s * SECOND_US > at_us
                           : f->target_s * SECOND_US > at_us && t->target_s < f->target_s)))
            found = i;
    }
    return found;
}

/* When it is the turn of another tranche, after that time. */
static int64_t next_turn(const struct contract *c, int64_t at_us, int64_t until_us)
{
    for (int i = 0; i < c->n_tranches; i++) {
        int64_t t = c->tranche[i].target_s * SECOND_US;
        until_us = t > at_us && t < until_us ? t : until_us;
    }
    return until_us;
}

static int take_used(void *arg, const struct contract_used *u)
{
    struct making *m = arg;
    const struct contract *c = m->part.c;
    struct contract_used mine = *u;
    int i;

    if (strcmp(u->currency, c->currency) != 0) {
        m->to->n_foreign += u->lent == BOOKS_LENT_OWN ? 0 : u->n_charged;
        mine.charge_nano = 0;
    }
    if (u->lent == BOOKS_LENT_PAID)
        add_use(&m->part.paid, &mine);
    else if (u->lent == BOOKS_LENT_OWN || u->lent == BOOKS_LENT_BACKSTOP)
        add_use(&m->part.own, &mine);
    else if (!is_tenant(c, u->tenant))
        add_use(&m->part.lent, &mine);
    i = u->lent == BOOKS_LENT_OWN ? tranche_at(c, u->tranche, m->use_us) : -1;
    if (i >= 0)
        m->part.tranche[i].used += u->energy_uj;
    return 0;
}

/* Day by day, so that it can be told how far it is, and from turn to turn of tranches. */
static int read_use(struct making *m)
{
    int64_t at = m->part.from_s * SECOND_US, until = m->part.until_s * SECOND_US, next;
    int r = 0;

    for (; !r && at < until; at = next) {
        next = at - at % DAY_US + DAY_US < until ? at - at % DAY_US + DAY_US : until;
        next = next_turn(m->part.c, at, next);
        m->use_us = at;
        r = m->rows->used(m->rows->arg, m->part.c->name, at, next, m->s->upto_usage, take_used, m,
                          m->e);
        if (m->s->progress && m->is_kept)
            m->s->progress(m->s->arg, next / DAY_US - m->s->from_s * SECOND_US / DAY_US);
    }
    return r;
}

/* ---- what was taken -------------------------------------------------------------------------- */

static struct taken_query taken_query(const struct settled *s, const char *contract, int64_t from_s,
                                      int64_t until_s)
{
    return (struct taken_query){.contract = contract,
                                .from_us = from_s * SECOND_US,
                                .until_us = until_s * SECOND_US,
                                .upto_seq = s->upto_taken ? s->upto_taken : -1};
}

/* The tranche of that name which is there then; else the first of that name. */
static int tranche_of(const struct making *m, const struct taken_entry *t)
{
    const struct contract *c = m->part.c;
    int found = -1;

    for (int i = 0; i < c->n_tranches; i++) {
        if (strcmp(c->tranche[i].name, t->tranche) != 0)
            continue;
        if (backstop_is_open(c, &c->tranche[i], m->part.now_s, t->from_us / SECOND_US))
            return i;
        found = found < 0 ? i : found;
    }
    return found;
}

static int take_taken(void *arg, const struct taken_entry *t)
{
    struct making *m = arg;

    if (settlement_take_energy(&m->part, tranche_of(m, t), t->price, t->joules, t->seq))
        return err_set(m->e, ERR_LIMIT, "more than %d prices in one part", SETTLEMENT_TAKEN_MAX);
    return 0;
}

static int read_taken(struct making *m)
{
    const struct taken_query q =
        taken_query(m->s, m->part.c->name, m->part.from_s, m->part.until_s);

    return m->part.c->backstop.is_there ? m->rows->taken(m->rows->arg, &q, take_taken, m, m->e) : 0;
}

static int add_to_year(void *arg, const struct taken_entry *t)
{
    struct settled *s = arg;

    backstop_add(&s->taken, t->joules, t->price);
    return 0;
}

/* What its year has come to at the end of the period. */
static int read_year(struct making *m)
{
    struct settled *s = m->s;
    const struct contract *c = settled_contract(s);
    struct taken_query q;

    s->taken = (struct backstop_sum){0};
    if (!c->backstop.is_there)
        return 0;
    backstop_year(c, s->until_s - 1, &s->year);
    q = taken_query(s, c->name, s->year.from_s, s->until_s);
    return m->rows->taken(m->rows->arg, &q, add_to_year, s, m->e);
}

/* ---- a span ---------------------------------------------------------------------------------- */

static int take_line(void *arg, const struct settlement_line *l)
{
    struct making *m = arg;
    struct settled *s = m->s;

    if (!m->is_kept)
        return 0;
    if (s->n_lines == s->cap_lines) {
        int cap = s->cap_lines ? 2 * s->cap_lines : 64;
        void *more = realloc(s->line, (size_t)cap * sizeof *s->line);
        if (!more)
            return err_set(m->e, ERR_NOMEM, "out of memory");
        s->line = more;
        s->cap_lines = cap;
    }
    s->line[s->n_lines++] = *l;
    return 0;
}

static int take_part_line(void *arg, const struct settlement_line *l)
{
    struct making *m = arg;

    settlement_add(&m->sum, l);
    return take_line(arg, l);
}

static int make_part(struct making *m, int i_version, int64_t from_s, int64_t until_s)
{
    struct settled *s = m->s;
    const struct contract *c = contract_file_contract(s->version[i_version].file);
    size_t size = (size_t)c->n_tranches * sizeof(struct settlement_tranche);
    int r;

    if (s->n_parts == SETTLED_PARTS_MAX)
        return err_set(m->e, ERR_LIMIT, "more than %d parts", SETTLED_PARTS_MAX);
    m->to = &s->part[s->n_parts];
    *m->to = (struct settled_part){.from_s = from_s, .until_s = until_s, .i_version = i_version};
    m->to->tranche = malloc(size);
    if (!m->to->tranche)
        return err_set(m->e, ERR_NOMEM, "out of memory");
    s->n_parts++;
    settlement_begin(&m->part, c, s->made_s, from_s, until_s);
    r = read_power(m);
    if (!r)
        r = read_use(m);
    if (!r)
        r = read_taken(m);
    memcpy(m->to->tranche, m->part.tranche, size);
    m->to->own = m->part.own;
    m->to->paid = m->part.paid;
    m->to->lent = m->part.lent;
    return r ? r
             : settlement_lines(&m->part, s->n_parts - 1, s->version[i_version].measured,
                                take_part_line, m);
}

/* All parts of [from_s, until_s), and its close. */
static int make_span(struct making *m, int64_t from_s, int64_t until_s, contract_nano prepaid)
{
    struct settled *s = m->s;
    int64_t next;
    int r = 0, i = 0;

    drop_parts(s);
    m->sum = (struct settlement_sum){0};
    for (int64_t at = from_s; !r && at < until_s; at = next) {
        i = version_at(s, at);
        next = part_end(s, i, at, until_s);
        r = make_part(m, i, at, next);
    }
    return r ? r
             : settlement_close(contract_file_contract(s->version[i].file), s->n_parts - 1, prepaid,
                                &m->sum, take_line, m);
}

/* What the months before it have left of the prepayment. */
static int find_prepaid(struct making *m)
{
    struct settled *s = m->s;
    const struct contract *c = contract_file_contract(s->version[version_at(s, s->from_s)].file);
    int64_t from, until;
    int r = 0;

    s->prepaid = c->prepayment;
    for (int64_t at = c->from_s; !r && s->prepaid > 0 && at < s->from_s; at = until) {
        zone_window(settled_zone(s), ZONE_MONTH, at, &from, &until);
        until = until < s->from_s ? until : s->from_s;
        r = make_span(m, at, until, 0);
        if (m->sum.total > 0)
            s->prepaid -= m->sum.total < s->prepaid ? m->sum.total : s->prepaid;
    }
    return r;
}

static int make_all(struct making *m)
{
    struct settled *s = m->s;
    int r = find_prepaid(m);

    m->is_kept = 1;
    if (!r)
        r = make_span(m, s->from_s, s->until_s, s->prepaid);
    s->sum = m->sum;
    return r ? r : read_year(m);
}

int64_t settled_since(const struct settled *s)
{
    const struct contract *c = contract_file_contract(s->version[version_at(s, s->from_s)].file);

    return c->prepayment > 0 && c->from_s < s->from_s ? c->from_s : s->from_s;
}

int settled_make_from(struct settled *s, const struct settled_rows *rows, struct err *e)
{
    struct making *m = calloc(1, sizeof *m);
    int r;

    if (!m || !(m->note = calloc(NOTES_MAX, sizeof *m->note))) {
        free(m);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    m->s = s;
    m->rows = rows;
    m->e = e;
    r = make_all(m);
    free(m->note);
    free(m);
    return r;
}

/* ---- from a ledger --------------------------------------------------------------------------- */

struct ledger_rows {
    const char *where;
    struct contract_books *books;
};

static int ledger_power(void *arg, const struct power_query *q,
                        int (*row)(void *arg, const struct power_entry *r), void *row_arg,
                        struct err *e)
{
    const struct ledger_rows *l = arg;

    return power_log_each(l->where, q, row, row_arg, e);
}

static int ledger_used(void *arg, const char *contract, int64_t from_us, int64_t until_us,
                       int64_t upto_seq, int (*take)(void *arg, const struct contract_used *u),
                       void *take_arg, struct err *e)
{
    const struct ledger_rows *l = arg;

    return contract_books_used(l->books, contract, from_us, until_us, upto_seq, take, take_arg, e);
}

static int ledger_taken(void *arg, const struct taken_query *q,
                        int (*row)(void *arg, const struct taken_entry *t), void *row_arg,
                        struct err *e)
{
    const struct ledger_rows *l = arg;

    return taken_log_each(l->where, q, row, row_arg, e);
}

int settled_make(struct settled *s, const char *ledger, struct err *e)
{
    struct ledger_rows l = {.where = ledger};
    const struct settled_rows rows = {&l, ledger_power, ledger_used, ledger_taken};
    int r = contract_books_open(&l.books, ledger, e);

    if (r)
        return r;
    r = settled_make_from(s, &rows, e);
    contract_books_close(l.books);
    return r;
}

/* ---- what a line says ------------------------------------------------------------------------ */

char *settled_what(const struct settled *s, const struct settlement_line *l,
                   char out[SETTLED_TEXT_MAX])
{
    const struct contract *c = settled_contract_of(s, l->i_part);
    const struct tranche *t = l->i_tranche < 0 ? NULL : &c->tranche[l->i_tranche];
    static const char *const words[SETTLE_KINDS] = {
        [SETTLE_CAPACITY] = "capacity kept ready",
        [SETTLE_LATE] = "credit, late",
        [SETTLE_SHORT] = "credit, missing",
        [SETTLE_CAP] = "credits above their cap",
        [SETTLE_NOT_TAKEN] = "not taken, above what is paid anyway",
        [SETTLE_TRUE_UP] = "true-up by the measured basket",
        [SETTLE_SPILLOVER] = "work above the contract",
        [SETTLE_LENT] = "share of what was lent",
        [SETTLE_PREPAID] = "paid in advance",
        [SETTLE_BACKSTOP] = "taken of what nobody bought"};
    const char *cause = l->cause < 0 ? NULL : power_cause_name((enum power_cause)l->cause);

    snprintf(out, SETTLED_TEXT_MAX, "%s%s%s%s%s%s%s", words[l->kind], cause ? " by " : "",
             cause ? cause : "", t ? ": " : "", t ? t->name : "", t ? " at " : "",
             !t        ? ""
             : t->site ? t->site
                       : t->region);
    return out;
}

char *settled_command(const struct settled *s, const struct settlement_line *l,
                      char out[SETTLED_TEXT_MAX])
{
    const struct contract *c = settled_contract_of(s, l->i_part);
    const struct settled_part *p = &s->part[l->i_part];
    const struct tranche *t = l->i_tranche < 0 ? NULL : &c->tranche[l->i_tranche];
    char from[DAY_TEXT_MAX], until[DAY_TEXT_MAX];

    day_show_moment(p->from_s, NULL, from);
    day_show_moment(p->until_s, NULL, until);
    if (!l->n_rows)
        *out = 0;
    else if (l->kind == SETTLE_BACKSTOP)
        snprintf(out, SETTLED_TEXT_MAX, "gaufre power taken %s --from %s --until %s", c->name, from,
                 until);
    else if (t)
        snprintf(out, SETTLED_TEXT_MAX, "gaufre power rows %s%s --from %s --until %s",
                 t->site ? "" : POWER_REGION, t->site ? t->site : t->region, from, until);
    else
        snprintf(out, SETTLED_TEXT_MAX, "gaufre contract rows %s --from %s --until %s", c->name,
                 from, until);
    return out;
}
