/* From the meter to the ledger under a clock of the test's own: engines share a meter that is told
 * by readings which wrap, stop, jump and lie, their steps are split over jobs, and the jobs are
 * booked. In every world the rows of the ledger and what is unattributed are what was metered, to
 * the microjoule; the same seed gives the same world. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "base/rand.h"
#include "cloud/cloud.h"
#include "engine/energy_meter.h"
#include "fakes.h"
#include "policy/energy_split.h"

#define S        INT64_C(1000000)
#define START    (INT64_C(1800000000) * S)
#define ENGINES  3
#define JOBS     5 /* of an engine at once */
#define STEPS    2000
#define INTERVAL (S / 2)
#define WORLDS   24

static const char keys[] = "salt 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
                           "tenant acme\ntenant other\n";
static const char *const key[] = {"a key of acme", "a key of another"};
enum kind { KIND_POWER, KIND_COUNTER, KIND_MODEL, KINDS };

struct sim_job {
    int is_open, is_late;
    struct cloud_ticket ticket;
    int64_t uj;
    int32_t context;
};

struct world {
    struct cloud *cloud;
    struct energy_meter *meter;
    enum kind kind;
    uint64_t seed, n_rolls, n_rows;
    struct sim_job job[ENGINES][JOBS];
    int works[ENGINES];
    int64_t asked_us, silent_until_us; /* when it was asked last; says nothing before */
    int64_t watts, true_uj, true_us;   /* what the machine really draws */
    int64_t told_uj, untold_uj;        /* of jobs that ended: known, and not known to clients */
};

static uint32_t roll(struct world *w, uint32_t below)
{
    uint32_t r[4];

    rand_philox(w->seed, w->n_rolls++, 0, r);
    return r[0] % below;
}

/* ---- the machine and its meter --------------------------------------------------------------- */

static void draw(struct world *w)
{
    int64_t now = clock_now_us();

    w->true_uj += w->watts * (now - w->true_us);
    w->true_us = now;
}

/* A reading, when one is due: mostly the truth. */
static void read_meter(struct world *w)
{
    int64_t now = clock_now_us();

    draw(w);
    if (now - w->asked_us < INTERVAL || now < w->silent_until_us)
        return;
    w->asked_us = now;
    switch (roll(w, 40)) {
    case 0: /* silence, also for long */
        w->silent_until_us = now + (int64_t)roll(w, 20) * INTERVAL;
        return;
    case 1:
        energy_meter_tell_failure(w->meter);
        return;
    case 2: /* a lie */
        energy_meter_tell_power(w->meter, roll(w, 2) ? -1 : INT64_MAX);
        return;
    case 3:
        if (w->kind == KIND_COUNTER)
            w->true_uj = (int64_t)roll(w, 1000); /* begins again */
        break;
    case 4:
        if (w->kind == KIND_COUNTER)
            energy_meter_tell_counter(w->meter, (uint64_t)INT64_MAX - roll(w, 1000));
        break;
    default:
        break;
    }
    if (w->kind == KIND_POWER)
        energy_meter_tell_power(w->meter, w->watts * S);
    else if (w->kind == KIND_COUNTER)
        energy_meter_tell_counter(w->meter, (uint64_t)w->true_uj);
    else
        energy_meter_tick(w->meter);
}

static void open_meter(struct world *w)
{
    static const struct energy label = {.method = ENERGY_FEED, .uncertainty_permille = 20};
    struct energy_curve c;
    struct err e = {0};

    energy_curve_line(&c, 30 * S, 7 * S);
    assert_int_equal(w->kind == KIND_MODEL
                         ? energy_meter_open_model(&w->meter, &c, &label, &e)
                         : energy_meter_open_told(&w->meter, INTERVAL, &label, &e),
                     0);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void begin_job(struct world *w, struct sim_job *j)
{
    static const struct cloud_ask no_price;
    const char *k = key[roll(w, 2)];
    struct err e = {0};

    *j = (struct sim_job){.is_open = 1, .context = (int32_t)roll(w, 4000)};
    assert_int_equal(cloud_enter(w->cloud, clock_now_us(),
                                 &(struct cloud_caller){.key = k, .n_key = strlen(k)}, &j->ticket,
                                 &e),
                     0);
    assert_int_equal(cloud_reserve(w->cloud, clock_now_us(), &j->ticket, &no_price, 100, &e), 0);
}

/* Booked: known, or unknown where the meter was silent for long. */
static void end_job(struct world *w, struct sim_job *j)
{
    char id[40];

    snprintf(id, sizeof id, "req_%024llx", (unsigned long long)w->n_rows++);
    *(j->is_late ? &w->untold_uj : &w->told_uj) += j->uj;
    cloud_settle(w->cloud, clock_now_us(), &j->ticket,
                 &(struct cloud_use){
                     .request_id = id,
                     .model = "m",
                     .supplier = "local/m",
                     .prompt_tokens = 60,
                     .completion_tokens = 40,
                     .status = 200,
                     .at_us = clock_wall_us(),
                     .energy = {.uj = j->uj,
                                .boundary = ENERGY_IT,
                                .method = j->is_late ? ENERGY_UNKNOWN : ENERGY_FEED,
                                .uncertainty_permille = 20},
                 });
    j->is_open = 0;
}

/* A step of an engine, as engine/iteration.c pays for it. */
static void step(struct world *w, int i_engine)
{
    static const struct energy_reads reads = {.weight_bytes = 100000, .kv_token_bytes = 100};
    static const struct draft_cost no_cost;
    struct energy_share share[JOBS];
    struct sim_job *in[JOBS];
    int n = 0, is_late;

    for (int i = 0; i < JOBS; i++) {
        struct sim_job *j = &w->job[i_engine][i];
        if (!j->is_open && roll(w, 3) == 0)
            begin_job(w, j);
        if (j->is_open && roll(w, 5))
            in[n++] = j;
    }
    if (!n) {
        if (w->works[i_engine])
            energy_meter_end(w->meter);
        w->works[i_engine] = 0;
        return;
    }
    if (!w->works[i_engine])
        energy_meter_begin(w->meter);
    w->works[i_engine] = 1;
    fake_clock_pass(1 + (int64_t)roll(w, 60000));
    read_meter(w);
    for (int i = 0; i < n; i++) {
        int32_t take = in[i]->context % 7 ? 1 : 1 + (int32_t)roll(w, 512);
        share[i].work = energy_work(&no_cost, &reads, in[i]->context, take);
        in[i]->context += take;
    }
    fake_clock_pass(1 + (int64_t)roll(w, 60000));
    energy_split(energy_meter_take(w->meter, &is_late), share, n);
    for (int i = 0; i < n; i++) {
        in[i]->uj += share[i].uj;
        in[i]->is_late |= is_late;
        if (roll(w, 12) == 0)
            end_job(w, in[i]);
    }
}

/* ---- a world --------------------------------------------------------------------------------- */

static int64_t number(const char *sql)
{
    sqlite3_stmt *st = NULL;
    sqlite3 *db = NULL;
    int64_t n;

    assert_int_equal(sqlite3_open_v2("ledger.db", &db, SQLITE_OPEN_READWRITE, disk_vfs()), 0);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) || sqlite3_step(st) != SQLITE_ROW)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void open_world(struct world *w)
{
    struct cloud_config config = {.keys_path = "keys", .ledger_path = "ledger.db"};
    struct err e = {0};
    struct buf text;

    fake_disk_reset();
    fake_rand_seed(w->seed);
    fake_clock_set(5 * S, START);
    w->true_us = clock_now_us();
    fake_disk_put("keys", keys);
    buf_init(&text, 1 << 16);
    buf_add_str(&text, keys);
    assert_int_equal(cloud_key_line("keys", "a", "acme", key[0], &text, &e), 0);
    assert_int_equal(cloud_key_line("keys", "b", "other", key[1], &text, &e), 0);
    fake_disk_put("keys", text.data);
    buf_done(&text);
    assert_int_equal(cloud_open(&w->cloud, &config, &e), 0);
    open_meter(w);
}

static void live(struct world *w)
{
    for (int i = 0; i < STEPS; i++) {
        if (roll(w, 100) == 0)
            w->watts = (int64_t)roll(w, 900);
        step(w, (int)roll(w, ENGINES));
        if (roll(w, 30) == 0)
            fake_clock_pass((int64_t)roll(w, 3000000));
        read_meter(w);
        cloud_step(w->cloud, clock_now_us());
    }
    for (int i = 0; i < ENGINES; i++) {
        for (int k = 0; k < JOBS; k++) {
            if (w->job[i][k].is_open)
                end_job(w, &w->job[i][k]);
        }
        if (w->works[i])
            energy_meter_end(w->meter);
    }
}

/* Returns a number of all that happened. */
static int64_t judge(struct world *w)
{
    struct energy_look l;
    int64_t rows, known, tenants;

    assert_int_equal(cloud_close(w->cloud), 0);
    energy_meter_close(w->meter, &l);
    rows = number("SELECT count(*) FROM usage");
    known = number("SELECT ifnull(sum(energy_uj), 0) FROM usage WHERE energy_method = 3");
    tenants = number("SELECT ifnull(sum(energy_uj), 0) FROM balance");
    assert_true(rows == (int64_t)w->n_rows && rows > 100);
    assert_true(known == w->told_uj && tenants == w->told_uj);
    assert_true(w->told_uj + w->untold_uj == l.attributed_uj);
    assert_true(known + w->untold_uj + l.unattributed_uj == l.metered_uj);
    assert_true(l.attributed_uj > 0);
    return l.metered_uj ^ known << 7 ^ rows;
}

static int64_t run_world(uint64_t seed)
{
    struct world w = {.seed = seed, .kind = (enum kind)(seed % KINDS), .watts = 200};

    open_world(&w);
    live(&w);
    return judge(&w);
}

static void energy_closes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= WORLDS; seed++)
        run_world(seed);
    assert_true(run_world(1) == run_world(1));
    assert_true(run_world(1) != run_world(4));
    fake_disk_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(energy_closes)};

    log_setup(LOG_OFF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
