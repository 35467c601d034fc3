/* The meter that engines share: what jobs are told they used, and what nobody used, is what was
 * metered, to the microjoule. And the processor's counters, in a folder made to look like theirs.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/team.h"
#include "engine/energy_meter.h"
#include "engine/engine.h"
#include "engine/rapl.h"
#include "jobs.h"
#include "tiny.h"

enum { CONTEXT = 256, JOBS = 7 };

static const struct energy label = {
    .boundary = ENERGY_ACCELERATOR, .method = ENERGY_MODEL, .uncertainty_permille = 500};

/* ---- engines --------------------------------------------------------------------------------- */

static int32_t prompt[CONTEXT];

static struct engine *open_engine(struct team *t, struct energy_meter *m, const char *name)
{
    static const struct tiny llama = {.arch = TINY_LLAMA, .context = CONTEXT, .quantised = 1};
    struct engine_config c = {.path = tiny_file(&llama, name), .chunk = 16, .batch_max = 4};
    struct engine *e;
    struct err err = {0};

    c.meter = m;
    if (engine_open(&e, &c, t, NULL, NULL, &err))
        fail_msg("%s", err.text);
    return e;
}

/* Several jobs side by side, one of them of three choices, one cancelled. The sum of what they are
 * told; each has used something. */
static int64_t run_jobs(struct engine *e, enum energy_method method)
{
    struct job job[JOBS] = {0};
    struct mbox box;
    struct err err = {0};
    int64_t sum = 0;

    assert_int_equal(mbox_open(&box), 0);
    for (int i = 0; i < JOBS; i++) {
        struct jobs_spec s = {.prompt = prompt + i,
                              .n_prompt = 20 + 10 * i,
                              .n_choices = i == 2 ? 3 : 1,
                              .sampling = jobs_greedy(8 + i)};
        s.sampling.ignore_eos = 1;
        if (jobs_start(e, &job[i], &box, &s, &err))
            fail_msg("%s", err.text);
    }
    for (int i = 0; i < JOBS; i++) {
        struct event ev;
        int kind;
        while ((kind = jobs_next(e, &job[i], &ev, NULL)) != EVENT_DONE) {
            assert_true(kind >= 0);
            if (i == 1 && kind == EVENT_STARTED)
                engine_cancel(e, &job[i]);
        }
        assert_int_equal(ev.usage->energy.method, method);
        assert_true(!method || i == 1 || ev.usage->energy.uj > 0);
        sum += ev.usage->energy.uj;
        jobs_end(&job[i]);
    }
    mbox_close(&box);
    return sum;
}

static void begin_prompt(void)
{
    for (int i = 0; i < CONTEXT; i++) {
        uint32_t r[4];
        rand_philox(5, (uint64_t)i, 0, r);
        prompt[i] = (int32_t)(r[0] % 256);
    }
}

static void engines_share_a_meter(void **state)
{
    struct energy_meter *m;
    struct energy_curve c;
    struct energy_look l;
    struct engine *a, *b;
    struct team *t;
    struct load la, lb;
    struct err err;
    int64_t sum;

    (void)state;
    begin_prompt();
    energy_curve_line(&c, 10000000, 5000000);
    assert_int_equal(energy_meter_open_model(&m, &c, &label, &err), 0);
    assert_int_equal(team_open(&t, 2, &err), 0);
    a = open_engine(t, m, "energy_a.gguf");
    b = open_engine(t, m, "energy_b.gguf");
    sum = run_jobs(a, ENERGY_MODEL) + run_jobs(b, ENERGY_MODEL);
    energy_meter_look(m, &l);
    engine_load(a, &la);
    engine_load(b, &lb);
    assert_true(la.energy_uj > 0 && lb.energy_uj > 0);
    assert_true(sum == (int64_t)(la.energy_uj + lb.energy_uj)); /* cancelled ones, too */
    engine_close(a);
    engine_close(b);
    energy_meter_look(m, &l); /* nobody works: all that flowed is told apart */
    assert_true(l.attributed_uj == sum);
    assert_true(l.attributed_uj + l.unattributed_uj == l.metered_uj && l.unattributed_uj > 0);
    assert_true(l.power_uw > 0 && !l.is_late && !l.n_failures);
    team_close(t);
    energy_meter_close(m, NULL);
}

/* A meter that never tells anything: jobs are told that nothing is known. No meter: the same. */
static void silent_meter(void **state)
{
    struct energy_meter *m;
    struct energy_look l;
    struct engine *e;
    struct team *t;
    struct err err;

    (void)state;
    begin_prompt();
    assert_int_equal(team_open(&t, 2, &err), 0);
    assert_int_equal(energy_meter_open_told(&m, 1, &label, &err), 0);
    clock_sleep_us(10);
    e = open_engine(t, m, "energy_c.gguf");
    assert_true(run_jobs(e, ENERGY_UNKNOWN) == 0);
    engine_close(e);
    energy_meter_tell_failure(m);
    energy_meter_look(m, &l);
    assert_true(l.is_late && l.n_failures == 1 && !l.metered_uj && !l.attributed_uj);
    energy_meter_close(m, NULL);
    e = open_engine(t, NULL, "energy_c.gguf");
    assert_true(run_jobs(e, ENERGY_UNKNOWN) == 0);
    engine_close(e);
    team_close(t);
}

/* A counter that others bring: the first reading is where it begins, one that goes back is a
 * failure. */
static void told_counter(void **state)
{
    struct energy_meter *m;
    struct energy_look l;
    struct err err;

    (void)state;
    assert_int_equal(energy_meter_open_told(&m, 3600000000, &label, &err), 0);
    energy_meter_tell_counter(m, 5000000);
    clock_sleep_us(1000);
    energy_meter_tell_counter(m, 5000700);
    clock_sleep_us(1000);
    energy_meter_tell_counter(m, 100);
    clock_sleep_us(1000);
    energy_meter_tell_counter(m, 150);
    energy_meter_look(m, &l);
    assert_true(l.metered_uj == 750 && l.n_failures == 1);
    energy_meter_why(m, &err);
    assert_non_null(strstr(err.text, "went back"));
    energy_meter_tell_power(m, ENERGY_POWER_MAX_UW + 1);
    energy_meter_why(m, &err);
    assert_non_null(strstr(err.text, "more than any machine draws"));
    energy_meter_close(m, NULL);
}

/* ---- RAPL ------------------------------------------------------------------------------------ */

static char root[256];

static void put(const char *domain, const char *file, const char *text)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", root, domain);
    if (mkdir(path, 0755) && errno != EEXIST)
        fail_msg("%s", path);
    snprintf(path, sizeof path, "%s/%s/%s", root, domain, file);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_domain(const char *domain, const char *name, const char *uj)
{
    put(domain, "name", name);
    put(domain, "max_energy_range_uj", "1000000\n");
    put(domain, "energy_uj", uj);
}

static void begin_root(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(root, sizeof root, "%s/rapl.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(root));
}

static void end_root(void)
{
    char cmd[300];

    snprintf(cmd, sizeof cmd, "rm -r %s", root);
    assert_int_equal(system(cmd), 0);
}

static void rapl_is_summed(void **state)
{
    struct rapl r;
    struct err err;
    int64_t uj = 0;

    (void)state;
    begin_root();
    put_domain("intel-rapl:0", "package-0\n", "1000\n");
    put_domain("intel-rapl:0:0", "core\n", "777\n");
    put_domain("intel-rapl:0:1", "dram\n", "10\n");
    put_domain("intel-rapl:1", "package-1\n", "999900\n");
    put_domain("intel-rapl:2", "psys\n", "5\n");
    put_domain("intel-rapl-mmio:0", "package-0\n", "1000\n");
    put("dtpm", "name", "package\n");
    assert_int_equal(rapl_open(&r, root, &err), 0);
    assert_int_equal(r.n, 3);
    assert_int_equal(rapl_read(&r, &uj), ERR_AGAIN);
    assert_int_equal(rapl_read(&r, &uj), 0);
    assert_true(uj == 0);
    put_domain("intel-rapl:0", "package-0\n", "1500\n");
    put_domain("intel-rapl:0:0", "core\n", "900000\n");
    put_domain("intel-rapl:0:1", "dram\n", "17\n");
    put_domain("intel-rapl:1", "package-1\n", "20\n"); /* wrapped */
    put_domain("intel-rapl:2", "psys\n", "900000\n");
    assert_int_equal(rapl_read(&r, &uj), 0);
    assert_true(uj == 500 + 7 + 120);
    put_domain("intel-rapl:0", "package-0\n", "1400\n"); /* backwards */
    assert_int_equal(rapl_read(&r, &uj), ERR_AGAIN);
    put_domain("intel-rapl:0", "package-0\n", "1410\n");
    assert_int_equal(rapl_read(&r, &uj), 0);
    assert_true(uj == 10);
    put_domain("intel-rapl:0", "package-0\n", "-5\n");
    assert_int_equal(rapl_read(&r, &uj), ERR_FORMAT);
    put_domain("intel-rapl:0", "package-0\n", "99999999999999999999999\n");
    assert_int_equal(rapl_read(&r, &uj), ERR_FORMAT);
    put_domain("intel-rapl:0", "package-0\n", "");
    assert_int_equal(rapl_read(&r, &uj), ERR_FORMAT);
    put_domain("intel-rapl:0", "package-0\n", "2000000\n"); /* beyond its greatest */
    assert_int_equal(rapl_read(&r, &uj), ERR_AGAIN);
    assert_true(uj == 10);
    rapl_close(&r);
    end_root();
}

static void rapl_says_what_is_missing(void **state)
{
    struct rapl r;
    struct err err;

    (void)state;
    begin_root();
    assert_int_equal(rapl_open(&r, "/nowhere/at/all", &err), ERR_NOTFOUND);
    assert_non_null(strstr(err.text, "virtual machines have none"));
    assert_int_equal(rapl_open(&r, root, &err), ERR_NOTFOUND);
    put_domain("intel-rapl:0", "psys\n", "1\n"); /* better than nothing */
    assert_int_equal(rapl_open(&r, root, &err), 0);
    rapl_close(&r);
    put_domain("intel-rapl:1", "package-0\n", "1\n");
    put("intel-rapl:1", "max_energy_range_uj", "many\n");
    assert_int_equal(rapl_open(&r, root, &err), ERR_FORMAT);
    put_domain("intel-rapl:1", "package-0\n", "1\n");
    if (!geteuid()) {
        char path[512];
        snprintf(path, sizeof path, "%s/intel-rapl:1/energy_uj", root);
        assert_int_equal(chmod(root, 0755) | chmod(path, 0400), 0);
        assert_int_equal(seteuid(65534), 0);
        assert_int_equal(rapl_open(&r, root, &err), ERR_FORBIDDEN);
        assert_int_equal(seteuid(0), 0);
        assert_non_null(strstr(err.text, "chmod o+r"));
    }
    end_root();
}

/* A number of microjoules is counted, or taken by who works. */
static void count(int64_t *at, int64_t uj)
{
    char text[32];

    clock_sleep_us(2000); /* what the test counts is no more than a megawatt */
    *at = (*at + uj) % 1000000;
    snprintf(text, sizeof text, "%lld\n", (long long)*at);
    put("intel-rapl:0", "energy_uj", text);
}

static void is_said(struct energy_meter *m, const char *what)
{
    struct err why;

    energy_meter_why(m, &why);
    assert_true((what && strstr(why.text, what)) || (!what && !why.code));
    energy_meter_why(m, &why);
    assert_int_equal(why.code, 0); /* once */
}

/* A meter of the processor that lies, stands still, wraps again and again, goes away and comes back
 * while an engine works: what was believed is told apart to the microjoule, the rest is nobody's,
 * and each kind of failure is said. */
static void rapl_meter_at_its_worst(void **state)
{
    int64_t at = 900000, used = 0, known = 0;
    struct energy_meter *m;
    struct energy_look l;
    char path[512];
    struct err err;
    int late;

    (void)state;
    begin_root();
    put_domain("intel-rapl:0", "package-0\n", "900000\n");
    assert_int_equal(energy_meter_open_rapl(&m, root, &label, &err), 0);
    energy_meter_begin(m);
    for (int i = 0; i < 9; i++) { /* four times over its end */
        count(&at, 499000);
        used += energy_meter_take(m, &late);
        known += 499000;
        assert_true(used == known);
    }
    for (int i = 0; i < 3; i++) /* it stands still */
        used += energy_meter_take(m, &late);
    assert_true(used == known && !late);
    is_said(m, NULL);

    put("intel-rapl:0", "energy_uj", "1000001\n"); /* it lies */
    assert_true(energy_meter_take(m, &late) == 0);
    is_said(m, "went back, or beyond its end");
    put("intel-rapl:0", "energy_uj", "-3\n");
    assert_true(energy_meter_take(m, &late) == 0);
    is_said(m, "cannot be read");

    put("intel-rapl:0", "energy_uj", ""); /* it goes away */
    snprintf(path, sizeof path, "%s/intel-rapl:0/energy_uj", root);
    assert_int_equal(unlink(path), 0);
    energy_meter_tick(m);
    is_said(m, "No such file");
    put("intel-rapl:0", "energy_uj", "5\n"); /* another file, as after a module was loaded again */
    at = 5;
    energy_meter_tick(m);
    energy_meter_why(m, &err);
    count(&at, 700);
    used += energy_meter_take(m, &late);
    known += 700;
    assert_true(used == known);
    is_said(m, NULL);

    if (!geteuid()) { /* it goes away, and comes back for root alone */
        put("intel-rapl:0", "energy_uj", "");
        assert_int_equal(unlink(path), 0);
        put("intel-rapl:0", "energy_uj", "9\n");
        assert_int_equal(chmod(root, 0755) | chmod(path, 0400), 0);
        assert_int_equal(seteuid(65534), 0);
        energy_meter_tick(m);
        assert_int_equal(seteuid(0), 0);
        is_said(m, "chmod o+r");
        assert_int_equal(chmod(path, 0444), 0);
        at = 9;
        energy_meter_tick(m);
        energy_meter_why(m, &err);
    }
    energy_meter_end(m);
    count(&at, 30);
    energy_meter_look(m, &l); /* nobody works */
    assert_true(l.attributed_uj == known && l.unattributed_uj == 30 && l.metered_uj == known + 30);
    assert_true(l.n_failures >= 3);
    energy_meter_close(m, NULL);
    end_root();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_share_a_meter),
        cmocka_unit_test(silent_meter),
        cmocka_unit_test(told_counter),
        cmocka_unit_test(rapl_is_summed),
        cmocka_unit_test(rapl_meter_at_its_worst),
        cmocka_unit_test(rapl_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
