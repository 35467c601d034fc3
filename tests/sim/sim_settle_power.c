/* What a world's sites had, look by look, as the simulation knows it. */
#include <string.h>

#include "sim_settle.h"

const char *const place_name[PLACES] = {"s0", "s1", "s2", "r0", "r1"};
const int region_of[SITES] = {SITES, SITES, SITES + 1};

struct basis_of basis[SITES];
struct piece_of piece[PIECES_MAX];
int n_pieces;

static int64_t looked_us, written_minute, ready[PLACES];
static int is_looking; /* there was a look before, of this process */
static int open_piece[PLACES],
    alive; /* numbers of pieces; -1: none. alive: first of this process */

void watch_forget(void)
{
    n_pieces = 0;
    memset(piece, 0, sizeof piece);
}

void watch_begin(void)
{
    is_looking = 0;
    written_minute = -1;
    alive = n_pieces;
    for (int i = 0; i < PLACES; i++) {
        open_piece[i] = -1;
        ready[i] = 0;
    }
}

/* ---- what is ready ----------------------------------------------------------------------- */

static int is_ready(const struct contract_of *c, const struct tranche_of *t, int64_t at_s)
{
    int until = t->until ? t->until : c->until;
    int due = t->is_option && t->exercised > t->target ? t->exercised : t->target;

    if (t->is_option && (!t->exercised || day_s(c, t->exercised) > at_s))
        return 0;
    if (!t->delivered || day_s(c, t->delivered) > at_s || day_s(c, due) > at_s)
        return 0;
    if (t->cancelled && day_s(c, t->cancelled) <= at_s)
        return 0;
    return at_s < day_s(c, until);
}

int64_t ready_at(int place, int64_t at_s)
{
    int64_t sum = 0;

    for (int k = 0; k < CONTRACTS; k++) {
        const struct contract_of *c = &contract[k];
        const struct version_of *v = NULL;
        int64_t one = 0;
        for (int i = 0; i < c->n; i++) {
            if (c->version[i].effective_s <= at_s)
                v = &c->version[i];
        }
        for (int i = 0; v && i < v->n; i++) {
            if (v->tranche[i].place == place && is_ready(c, &v->tranche[i], at_s))
                one += v->tranche[i].watts;
        }
        if (place < SITES && basis[place].pue && c->is_facility != basis[place].is_facility)
            one = c->is_facility ? (one * 1000 + basis[place].pue / 2) / basis[place].pue
                                 : (one * basis[place].pue + 500) / 1000;
        sum += one;
    }
    return sum;
}

/* ---- pieces ------------------------------------------------------------------------------ */

static void end_pieces(void)
{
    for (int i = 0; i < PLACES; i++) {
        if (open_piece[i] >= 0)
            piece[open_piece[i]].is_over = 1;
        open_piece[i] = -1;
    }
}

static struct piece_of *piece_at(int place, int64_t from_us)
{
    struct piece_of *p;

    if (open_piece[place] < 0) {
        if (n_pieces == PIECES_MAX)
            fail("the world is too long");
        open_piece[place] = n_pieces++;
        p = &piece[open_piece[place]];
        *p = (struct piece_of){.place = place, .from_us = from_us, .until_us = from_us};
    }
    return &piece[open_piece[place]];
}

/* It was so for a time within one minute. */
static void add(struct piece_of *p, const struct state_of *s, int64_t ready_w, int64_t until_us)
{
    wide us = until_us - p->until_us;

    p->contracted += us * s->contracted;
    p->energised += us * s->energised;
    p->encumbered += us * s->encumbered;
    p->ready += us * ready_w;
    /* What is taken away is rounded down to the microjoule at each look. */
    p->lost[s->cause] += us * (s->energised - s->encumbered) * (MILLION - s->factor) / MILLION;
}

static void pass(int64_t from_us, int64_t until_us, const struct state_of *state)
{
    for (int i = 0; i < PLACES; i++) {
        struct piece_of *p = piece_at(i, from_us);
        for (int k = 0; k < SITES; k++) {
            if (k == i || region_of[k] == i)
                add(p, &state[k], ready[k], until_us);
        }
        if (i >= SITES) /* and what its own tranches have ready */
            p->ready += (wide)(until_us - p->until_us) * ready[i];
        p->until_us = until_us;
    }
}

static int is_taken(const struct piece_of *p)
{
    for (int i = 0; i < n_pieces; i++) {
        const struct piece_of *o = &piece[i];
        if (o->is_written && o->place == p->place && o->from_us < p->until_us &&
            o->until_us > p->from_us)
            return 1;
    }
    return 0;
}

/* Who writes a time first has written it. */
static void write_all(void)
{
    for (int i = alive; i < n_pieces; i++) {
        struct piece_of *p = &piece[i];
        if (!p->is_over || p->is_written || p->is_lost)
            continue;
        if (is_taken(p))
            p->is_lost = 1;
        else
            p->is_written = 1;
    }
    while (alive < n_pieces && piece[alive].is_over)
        alive++;
}

/* Once a minute what contracts have ready is asked for, and what is over is written. */
static void turn(int64_t at_us)
{
    for (int i = 0; i < PLACES; i++)
        ready[i] = ready_at(i, at_us / S);
    written_minute = at_us / MINUTE;
    write_all();
}

void watch_look(int64_t wall_us, const struct state_of state[SITES])
{
    int64_t ago = wall_us - looked_us, minute = looked_us / MINUTE * MINUTE + MINUTE;

    if (!is_looking || ago < 0 || ago > LOOK_MOST)
        end_pieces();
    else if (ago > 0) {
        pass(looked_us, minute < wall_us ? minute : wall_us, state);
        if (minute <= wall_us) {
            end_pieces();
            turn(minute);
        }
        if (minute < wall_us)
            pass(minute, wall_us, state);
    }
    is_looking = 1;
    looked_us = wall_us;
    if (wall_us / MINUTE != written_minute)
        turn(wall_us);
}

void watch_end(void)
{
    end_pieces();
    write_all();
}

void watch_kill(void)
{
    for (int i = alive; i < n_pieces; i++)
        piece[i].is_lost = !piece[i].is_written;
}
