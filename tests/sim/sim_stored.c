/* sim_stored [SEED [N]]: stored answers in a simulated world, for N seeds from SEED on, and for
 * some that are always lived.
 *
 * Two processes beside one ledger make answers, event by event, as a model of the simulation says;
 * they are killed at any event, lose power, come back, and take over what the other left. Clients
 * read while an answer is made, leave, come back to either process, delete. The disk fills up and
 * fails. Clock, random numbers, disk and model are the simulation's, all else is the production
 * code.
 *
 * What must hold, whatever happens: no reader is told another event than the model says; what was
 * told is there after a kill; every whole answer is in the ledger once, with its tokens; no tenant
 * has more than its quarter, finds another's answer, or one that it deleted; nothing outlives its
 * window. */
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/rand.h"
#include "books/books.h"
#include "cloud/stored_int.h"
#include "fakes.h"

#define S         INT64_C(1000000)
#define START     (INT64_C(1800000000) * S)
#define STEPS     400
#define PROCESSES 2
#define TENANTS   3
#define ANSWERS   24
#define CHOICES   3
#define READERS   8
#define FOLDER    "answers"

/* Worlds that reach what most do not: ends that are made again, an answer that is old before it
 * ends; and those that found something. */
static const uint64_t found[] = {3, 77, 237, 389};

/* ---- random choices -------------------------------------------------------------------------- */

static uint64_t seed, n_drawn;

static int64_t below(int64_t n)
{
    uint32_t r[4];

    rand_philox(seed, n_drawn++, 78, r);
    return (int64_t)(((uint64_t)r[0] << 32 | r[1]) % (uint64_t)n);
}

static int chance(int percent)
{
    return below(100) < percent;
}

static void fail(const char *what)
{
    printf("not ok - seed %llu, draw %llu, %.3f s: %s\n# again: sim_stored %llu\n",
           (unsigned long long)seed, (unsigned long long)n_drawn,
           (double)(clock_wall_us() - START) / 1e6, what, (unsigned long long)seed);
    exit(1);
}

/* ---- the model ------------------------------------------------------------------------------- */

struct answer {
    char id[STORED_ID_MAX], request_id[40];
    int i_tenant, n_choices;
    int32_t n_tokens[CHOICES];
    int is_deleted, is_lost; /* its disk or its quota had no room: it is stored no more */
    int64_t written_us;      /* its file, last */
    int64_t n_power;         /* times that the power had failed when it began */
    int32_t n_lived;         /* processes that had been killed then */
};

static const char *const tenant[TENANTS] = {"acme", "zeta", "nobody"};
static struct answer answer[ANSWERS];
static int n_answers, n_killed;
static int64_t n_power, window_us;
static size_t memory;
static int64_t n_beside, n_gone_on, n_whole; /* in all worlds */
static int has_faults, had_faults;           /* the disk's, now; since the last start of both */

static int32_t token_of(const struct answer *a, int choice, int32_t i)
{
    return (int32_t)((uint32_t)(a - answer) * 10007u + (uint32_t)choice * 101u + (uint32_t)i);
}

static int64_t tokens_of(const struct answer *a)
{
    int64_t n = 0;

    for (int c = 0; c < a->n_choices; c++)
        n += a->n_tokens[c];
    return n;
}

/* ---- processes ------------------------------------------------------------------------------- */

/* Who makes an answer. */
struct maker {
    struct answer *a; /* NULL: a free place */
    struct stored *s; /* NULL: it is stored no more */
    int32_t n_told[CHOICES];
    int is_over[CHOICES], has_started;
    struct stored_follower mail;
};

static struct process {
    struct stored_all *all; /* NULL: it is not there */
    struct books *books;
    struct maker maker[ANSWERS];
} process[PROCESSES];

static struct reader {
    struct process *p; /* NULL: it is away */
    struct answer *a;  /* NULL: a free place */
    struct stored *s;
    size_t at;
    int32_t n_told[CHOICES];
    int is_over[CHOICES], has_started, is_done;
    int64_t n_events, n_seen; /* now, and ever */
    int64_t n_power;          /* when they were seen */
} reader[READERS];

static int is_booked(void *arg, const char *request_id, int *ret, struct err *e)
{
    struct books_reader *r = NULL;
    int code = books_reader_open(&r, "ledger.db", e);

    (void)arg;
    if (!code)
        code = books_has(r, request_id, ret, e);
    books_reader_close(r);
    return code;
}

static int can_go_on(void *arg, const struct stored_head *h)
{
    (void)arg;
    return !strcmp(h->text[STORED_FINGERPRINT], "fp");
}

static const struct stored_heir heir = {is_booked, can_go_on, NULL};

static void start(struct process *p)
{
    const struct stored_config config = {
        .memory = memory, .window_us = window_us, .folder = FOLDER};
    struct err e = {0};

    *p = (struct process){.all = NULL};
    if (books_open(&p->books, "ledger.db", 0, &e) ||
        stored_open(&p->all, &config, clock_wall_us(), &e) ||
        stored_check_booked(p->all, is_booked, NULL, &e)) {
        if (!has_faults)
            fail(e.text);
        stored_close(p->all);
        books_close(p->books);
        *p = (struct process){.all = NULL};
    }
}

static void leave(struct reader *r)
{
    if (r->s)
        stored_put(r->s);
    if (r->n_events > r->n_seen) {
        r->n_seen = r->n_events;
        r->n_power = n_power;
    }
    r->s = NULL;
    r->p = NULL;
}

/* Nothing of what is in its memory reaches the disk any more. */
static void kill_process(struct process *p)
{
    if (!p->all)
        return;
    fake_disk_fail(FAKE_DEAD, 0, -1);
    for (int i = 0; i < READERS; i++) {
        if (reader[i].p == p)
            leave(&reader[i]);
    }
    for (int i = 0; i < ANSWERS; i++) {
        if (p->maker[i].s)
            stored_leave(p->maker[i].s, clock_wall_us());
    }
    stored_close(p->all);
    books_close(p->books);
    *p = (struct process){.all = NULL};
    n_killed++;
    fake_disk_heal();
    has_faults = 0;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void book(struct process *p, const struct answer *a, int64_t n)
{
    struct books_row *r = books_take(p->books);

    CHECK(r);
    snprintf(r->request_id, sizeof r->request_id, "%s", a->request_id);
    snprintf(r->tenant, sizeof r->tenant, "%s", tenant[a->i_tenant]);
    r->prompt_tokens = 3;
    r->completion_tokens = n;
    r->at_us = clock_wall_us();
    books_post(p->books, r);
}

static struct maker *free_maker(struct process *p)
{
    struct maker *m = p->maker;

    while (m->a)
        m++;
    return m;
}

static void begin(struct process *p)
{
    static const int32_t prompt[3] = {1, 2, 3};
    struct maker *m = free_maker(p);
    struct answer *a = &answer[n_answers];
    struct stored_head h = {
        .body = "{}", .n_body = 2, .prompt = prompt, .v = {.n_prompt = 3, .n = 1, .n_run = 1}};
    struct err e = {0};

    if (n_answers == ANSWERS)
        return;
    *a = (struct answer){.i_tenant = (int)below(TENANTS),
                         .n_choices = 1 + (int)below(CHOICES),
                         .written_us = clock_wall_us(),
                         .n_power = n_power,
                         .n_lived = n_killed};
    n_answers++;
    snprintf(a->id, sizeof a->id, "chatcmpl-00000000-%04d", n_answers);
    snprintf(a->request_id, sizeof a->request_id, "req_%04d", n_answers);
    for (int c = 0; c < a->n_choices; c++)
        a->n_tokens[c] = (int32_t)below(12);
    h.text[STORED_ID] = a->id;
    h.text[STORED_REQUEST_ID] = a->request_id;
    h.text[STORED_TENANT] = tenant[a->i_tenant];
    h.text[STORED_MODEL] = "m";
    h.text[STORED_FINGERPRINT] = "fp";
    h.v.n = h.v.n_run = a->n_choices;
    *m = (struct maker){.a = a};
    if (stored_begin(p->all, &h, clock_wall_us(), &m->s, &e)) {
        if (e.code == ERR_IO ? !has_faults : e.code != ERR_AGAIN)
            fail(e.text);
        a->is_lost = 1;
        m->s = NULL;
    }
}

static struct answer *answer_of(const char *id)
{
    struct answer *a = answer;

    while (a < answer + n_answers && strcmp(a->id, id) != 0)
        a++;
    if (a == answer + n_answers)
        fail("an answer goes on that nobody began");
    return a;
}

/* One that was cut off goes on where it was told to. */
static void go_on(struct process *p)
{
    struct stored *s = stored_take_pending(p->all, clock_wall_us());
    struct stored_past past;
    struct maker *m;

    if (!s)
        return;
    n_gone_on++;
    if (stored_read_past(s, &past))
        fail("the past cannot be read");
    m = free_maker(p);
    *m = (struct maker){.a = answer_of(past.head.text[STORED_ID]), .s = s};
    if (m->a->is_deleted)
        fail("an answer goes on that was deleted");
    m->has_started = past.story.has_started;
    for (int c = 0; c < m->a->n_choices; c++) {
        m->n_told[c] = past.story.n_told[c];
        m->is_over[c] = past.story.is_over[c];
        for (int32_t i = 0; i < m->n_told[c]; i++) {
            if (past.token[c][i] != token_of(m->a, c, i))
                fail("the past is another");
        }
    }
    stored_past_done(&past);
}

/* What the model says next; *ret_usage is of DONE. */
static struct event next_event(struct maker *m, struct usage *ret_usage, struct times *ret_times)
{
    static char text[32];
    int least = -1;
    int32_t i;

    if (!m->has_started) {
        m->has_started = 1;
        return (struct event){.kind = EVENT_STARTED};
    }
    for (int c = 0; c < m->a->n_choices; c++) {
        if (!m->is_over[c] && (least < 0 || m->n_told[c] < m->n_told[least]))
            least = c;
    }
    *ret_usage = (struct usage){.prompt_tokens = 3, .completion_tokens = tokens_of(m->a)};
    *ret_times = (struct times){0};
    if (least < 0)
        return (struct event){.kind = EVENT_DONE, .usage = ret_usage, .times = ret_times};
    i = m->n_told[least];
    if (i == m->a->n_tokens[least]) {
        m->is_over[least] = 1;
        return (struct event){.kind = EVENT_FINISH, .choice = least, .n_generated = i};
    }
    m->n_told[least]++;
    return (struct event){
        .kind = EVENT_TEXT,
        .choice = least,
        .token = token_of(m->a, least, i),
        .n_generated = i + 1,
        .text = text,
        .n_text = (size_t)snprintf(text, sizeof text, "t%d ", token_of(m->a, least, i))};
}

/* It is made no more here. */
static void let_go(struct process *p, struct maker *m, int64_t n_tokens)
{
    int is_known = m->s && stored_is_booked(m->s);

    if (n_tokens >= 0 && !is_known)
        book(p, m->a, n_tokens);
    if (m->s)
        stored_leave(m->s, clock_wall_us());
    *m = (struct maker){.a = NULL};
}

static int64_t told(const struct maker *m)
{
    int64_t n = 0;

    for (int c = 0; c < m->a->n_choices; c++)
        n += m->n_told[c];
    return n;
}

/* A few events more; perhaps the process dies before they are written, or before they are booked.
 */
static void make(struct process *p, struct maker *m)
{
    int64_t n = 1 + below(4);
    struct usage usage;
    struct times times;
    struct err e = {0};
    int is_done = 0, r;

    for (int64_t i = 0; i < n && !is_done; i++) {
        struct event ev = next_event(m, &usage, &times);
        is_done = ev.kind == EVENT_DONE;
        if (m->s)
            stored_add(m->s, &ev);
    }
    if (chance(1)) {
        kill_process(p);
        return;
    }
    if (m->s && chance(2)) { /* it cannot go on just now; what was not written is made again */
        stored_postpone(m->s, clock_wall_us() + S);
        stored_leave(m->s, clock_wall_us());
        *m = (struct maker){.a = NULL};
        return;
    }
    r = m->s ? stored_publish(m->s, clock_wall_us(), &e) : 0;
    if (r == ERR_NOTFOUND && !m->a->is_deleted)
        fail("an answer was deleted by nobody");
    if (r && r != ERR_NOTFOUND && (r == ERR_IO ? !has_faults : r != ERR_AGAIN))
        fail(e.text);
    if (r) {
        m->a->is_lost = 1;
        stored_leave(m->s, clock_wall_us());
        m->s = NULL;
    }
    if (m->s)
        m->a->written_us = clock_wall_us();
    if (is_done && chance(3))
        kill_process(p);
    else if (is_done)
        let_go(p, m, tokens_of(m->a));
    else if (m->a->is_deleted && chance(50))
        let_go(p, m, told(m));
}

/* ---- reading --------------------------------------------------------------------------------- */

static void check_event(struct reader *r, const struct event *ev)
{
    const struct answer *a = r->a;
    int32_t c = ev->choice;
    char text[32];

    r->n_events++;
    if (ev->kind == EVENT_STARTED) {
        if (r->has_started)
            fail("an answer starts twice");
        r->has_started = 1;
    } else if (ev->kind == EVENT_TEXT) {
        snprintf(text, sizeof text, "t%d ", token_of(a, c, r->n_told[c]));
        if (r->is_over[c] || ev->token != token_of(a, c, r->n_told[c]) ||
            ev->n_text != strlen(text) || memcmp(ev->text, text, ev->n_text) != 0)
            fail("a reader is told another token");
        r->n_told[c]++;
    } else if (ev->kind == EVENT_FINISH) {
        if (r->is_over[c] || r->n_told[c] != a->n_tokens[c])
            fail("a choice ends too early, or twice");
        r->is_over[c] = 1;
    } else {
        for (int i = 0; i < a->n_choices; i++) {
            if (!r->is_over[i])
                fail("an answer ends before its choices");
        }
        if (ev->usage->completion_tokens != tokens_of(a))
            fail("an answer tells another number of tokens");
        r->is_done = 1;
    }
}

/* May it be missing, of all that happened to it? */
static int may_be_missing(const struct answer *a)
{
    return a->is_deleted || a->is_lost || clock_wall_us() >= a->written_us + window_us ||
           a->n_power != n_power || memory < ((size_t)1 << 20) ||
           (a->n_lived != n_killed && had_faults);
}

static void read_on(struct reader *r)
{
    enum stored_state state;
    struct stored_event ev;
    struct stored_head h;
    struct buf out;
    size_t n, at = 0;

    buf_init(&out, STORED_ANSWER_MAX);
    if (!r->at) {
        stored_read(r->s, &r->at, 1, &out, &state);
        at = stored_read_head(out.data, out.len, &h);
        if (!at || strcmp(h.text[STORED_TENANT], tenant[r->a->i_tenant]) != 0)
            fail("an answer's head is another");
    }
    stored_read(r->s, &r->at, (size_t)(1 + below(2000)), &out, &state);
    for (; at < out.len; at += n) {
        n = stored_read_event(out.data, out.len, at, &ev);
        if (!n)
            fail("a reader is told what is not whole");
        check_event(r, &ev.ev);
    }
    if (state == STORED_ENDED && !out.len && !r->is_done)
        fail("an answer that has ended has no end");
    buf_done(&out);
    n_beside += stored_is_elsewhere(r->s, clock_wall_us());
    if (r->is_done || state == STORED_GONE || chance(10)) {
        if (state == STORED_GONE && !r->is_done && !may_be_missing(r->a))
            fail("an answer goes while it is read");
        leave(r);
        if (chance(50))
            r->a = NULL;
    }
}

static struct stored *find(struct process *p, const struct answer *a)
{
    struct stored *s = NULL, *other = NULL;
    struct err e = {0};
    int r;

    if (!stored_find(p->all, tenant[(a->i_tenant + 1) % TENANTS], a->id, &other, &e))
        fail("a tenant finds another's answer");
    r = stored_find(p->all, tenant[a->i_tenant], a->id, &s, &e);
    if (!r && a->is_deleted)
        fail("an answer is found that was deleted");
    if (r && !may_be_missing(a))
        fail("an answer is missing");
    return s;
}

static void come(struct process *p)
{
    struct reader *r = &reader[below(READERS)];

    if (!n_answers || r->p)
        return;
    if (!r->a)
        *r = (struct reader){.a = &answer[below(n_answers)]};
    r->s = find(p, r->a);
    if (!r->s) {
        r->a = NULL;
        return;
    }
    *r = (struct reader){.p = p, .a = r->a, .s = r->s, .n_seen = r->n_seen, .n_power = r->n_power};
    if (r->n_power != n_power)
        r->n_seen = 0;
    while (r->n_events < r->n_seen && r->s) { /* what it has, it is told first */
        int64_t had = r->n_events;
        read_on(r);
        /* The ends of its choices may be made again, so that it is booked. */
        if (r->s && r->n_events == had && r->n_events < r->n_seen - r->a->n_choices - 1)
            fail("what was told before is not there");
        if (r->n_events == had)
            break;
    }
}

static void delete_one(struct process *p)
{
    struct answer *a = &answer[below(ANSWERS)];
    struct stored *s;

    if (a >= answer + n_answers || a->is_deleted)
        return;
    s = find(p, a);
    if (!s)
        return;
    stored_drop(s);
    stored_put(s);
    a->is_deleted = 1;
}

/* ---- what must hold -------------------------------------------------------------------------- */

static void check_table(struct process *p)
{
    int64_t bytes[TENANTS] = {0}, n[TENANTS] = {0};

    for (const struct stored *s = p->all->newest; s; s = s->next) {
        const struct answer *a = answer_of(s->id);
        if (s->state == IS_ELSEWHERE)
            continue;
        bytes[a->i_tenant] += (int64_t)s->image.cap;
        n[a->i_tenant]++;
        if (s->state == IS_ENDED && clock_wall_us() > a->written_us + window_us)
            fail("an answer outlives its window");
    }
    for (int i = 0; i < TENANTS; i++) {
        /* What was added since the last publishing counts from the next on. */
        if (n[i] > STORED_MAX / 4 || bytes[i] > (int64_t)memory / 4 + (int64_t)n[i] * 4096)
            fail("a tenant has more than its quarter");
    }
}

static void live_on(struct process *p)
{
    struct err e = {0};
    int64_t wall = clock_wall_us();

    if (!p->all)
        return;
    stored_expire(p->all, wall);
    if (stored_inherit(p->all, &heir, wall, &e) && !has_faults)
        fail(e.text);
    books_step(p->books, clock_now_us());
    check_table(p);
}

static int64_t completion_of(sqlite3 *db, const struct answer *a)
{
    sqlite3_stmt *st = NULL;
    int64_t n = -1;

    CHECK(!sqlite3_prepare_v2(db, "SELECT completion_tokens FROM usage WHERE request_id = ?1", -1,
                              &st, NULL));
    sqlite3_bind_text(st, 1, a->request_id, -1, SQLITE_STATIC);
    if (sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int64(st, 0);
    if (n >= 0 && sqlite3_step(st) == SQLITE_ROW)
        fail("an answer is booked twice");
    sqlite3_finalize(st);
    return n;
}

static int is_on_disk(const struct answer *a)
{
    struct stored_folder f;
    int is = 0;

    for (int i = 0; i < STORED_SLOTS; i++) {
        CHECK(!stored_folder_name(&f, FOLDER, i));
        is |= stored_file_exists(&f, a->id);
    }
    return is;
}

/* All is well again, and one process makes to its end what is left. */
static void judge(void)
{
    struct process *p = &process[0];
    struct err e = {0};
    sqlite3 *db = NULL;
    int64_t n;
    int has_whole[ANSWERS] = {0};

    for (int i = 0; i < PROCESSES; i++)
        kill_process(&process[i]);
    fake_disk_heal();
    start(p);
    for (int k = 0; k < 600; k++) {
        fake_clock_pass(100000);
        live_on(p);
        go_on(p);
        for (int i = 0; i < ANSWERS && p->all; i++) {
            if (p->maker[i].a)
                make(p, &p->maker[i]);
        }
        if (!p->all)
            start(p);
    }
    for (int i = 0; i < n_answers; i++) {
        struct reader r = {.p = p, .a = &answer[i], .s = find(p, &answer[i])};
        has_whole[i] = r.s != NULL;
        n_whole += has_whole[i];
        while (r.s && !r.is_done) {
            int64_t had = r.n_events;
            struct stored *s = r.s;
            read_on(&r);
            r.a = &answer[i];
            if (r.is_done)
                break;
            if (!r.s) { /* it left: again */
                r = (struct reader){.p = p, .a = &answer[i], .s = find(p, &answer[i])};
            } else if (r.n_events == had && r.s == s) {
                fail("an answer never ends");
            }
        }
        leave(&r);
    }
    stored_close(p->all);
    if (books_close(p->books) || books_audit("ledger.db", &n, &e))
        fail(e.text);
    if (sqlite3_open_v2("ledger.db", &db, SQLITE_OPEN_READWRITE, disk_vfs()))
        fail("the ledger cannot be opened");
    for (int i = 0; i < n_answers; i++) {
        n = completion_of(db, &answer[i]);
        if (has_whole[i] && n != tokens_of(&answer[i]))
            fail("a whole answer is not booked with its tokens");
        if (answer[i].is_deleted && is_on_disk(&answer[i]))
            fail("what was deleted is on the disk");
    }
    sqlite3_close(db);
}

/* ---- the world ------------------------------------------------------------------------------- */

static void go_wrong(void)
{
    static const enum fake_fault faults[] = {FAKE_FULL, FAKE_WRITE, FAKE_SHORT_WRITE};
    int64_t what = below(10);

    if (what < 4) {
        kill_process(&process[below(PROCESSES)]);
    } else if (what < 6) {
        fake_disk_fail(faults[below(ARRAY_LEN(faults))], below(6), 1 + below(10));
        has_faults = had_faults = 1;
    } else if (what < 7) {
        for (int i = 0; i < PROCESSES; i++)
            kill_process(&process[i]);
        fake_disk_crash(seed + n_drawn);
        n_power++;
    } else {
        fake_disk_heal();
        has_faults = 0;
    }
}

static void step(void)
{
    struct process *p = &process[below(PROCESSES)];
    int64_t what = below(100);

    fake_clock_pass(1 + below(chance(5) ? 60 * S : S / 2));
    if (!p->all) {
        if (chance(30))
            start(p);
        return;
    }
    live_on(p);
    if (what < 10)
        begin(p);
    else if (what < 25)
        come(p);
    else if (what < 27)
        delete_one(p);
    else if (what < 31)
        go_wrong();
    else if (what < 45)
        go_on(p);
    for (int i = 0; i < ANSWERS && p->all && what >= 31; i++) {
        if (p->maker[i].a && chance(40))
            make(p, &p->maker[i]);
    }
    for (int i = 0; i < READERS; i++) {
        if (reader[i].p && reader[i].s && chance(30))
            read_on(&reader[i]);
    }
}

static uint64_t live(uint64_t s)
{
    seed = s;
    n_drawn = 0;
    fake_disk_reset();
    fake_rand_seed(s);
    fake_clock_set(5 * S, START);
    memset(process, 0, sizeof process);
    memset(reader, 0, sizeof reader);
    n_answers = n_killed = has_faults = had_faults = 0;
    n_power = 0;
    window_us = (2 + below(40)) * 60 * S;
    memory = (size_t)(chance(70) ? 8 << 20 : 64 << 10);
    for (int i = 0; i < STEPS; i++)
        step();
    judge();
    return n_drawn;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    log_setup(LOG_OFF, 0);
    CHECK(sodium_init() >= 0);
    for (size_t i = 0; n > 1 && i < ARRAY_LEN(found); i++)
        live(found[i]);
    for (uint64_t s = first; s < first + n; s++) {
        uint64_t drawn = live(s);
        if (s == first && live(s) != drawn)
            fail("the same seed led to another world");
    }
    if (n >= 10 && (n_beside < 100 || n_gone_on < 100 || n_whole < 100))
        fail("hardly anything was read beside, gone on with, or whole at the end");
    printf("ok 1 - stored answers, seeds %llu to %llu\n1..1\n", (unsigned long long)first,
           (unsigned long long)(first + n - 1));
    return 0;
}
