/* What Slurm's commands print, as Debian 12's do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "serve/slurm_text.h"

#define NODE(name, used, state, rest)                                                              \
    "NodeName=" name " Arch=x86_64 CoresPerSocket=1  CPUAlloc=" used                               \
    " CPUEfctv=1 CPUTot=1 OS=Linux 6.1.0 #1 SMP @0  RealMemory=100 State=" state                   \
    " ThreadsPerCore=1 Partitions=idle,long  BootTime=2026-11-30T17:51:39" rest "\n"
#define OURS   " Reason=gaufre serves [root@2026-11-30T21:57:06]"
#define THEIRS " Reason=broken fan [root@2026-11-30T21:57:06]"

static const char *const names[] = {"a", "b"};

static int read_nodes(const char *text, const char *partition, struct slurm_node ret[2],
                      struct err *e)
{
    return slurm_nodes_read(text, strlen(text), names, 2, partition, ret, e);
}

/* The state of one that is told so. */
static enum lend_state state_of(const char *text)
{
    struct slurm_node v;
    struct err e = {0};

    assert_int_equal(slurm_nodes_read(text, strlen(text), names, 1, "idle", &v, &e), 0);
    return v.state;
}

static void states(void **state)
{
    struct slurm_node v[2];
    struct err e = {0};

    (void)state;
    assert_int_equal(state_of(NODE("a", "0", "IDLE", "")), LEND_LENT);
    assert_int_equal(state_of(NODE("a", "1", "ALLOCATED", "")), LEND_LENT);
    assert_int_equal(state_of(NODE("a", "0", "DOWN*", OURS)), LEND_LENT); /* it may come up */
    assert_int_equal(state_of(NODE("a", "0", "IDLE+DRAIN", OURS)), LEND_SERVING);
    assert_int_equal(state_of(NODE("a", "0", "IDLE+DRAIN", THEIRS)), LEND_WITHHELD);
    assert_int_equal(state_of(NODE("a", "0", "IDLE+DRAIN", "")), LEND_WITHHELD);
    assert_int_equal(state_of(NODE("a", "0", "IDLE*+DRAIN", OURS)), LEND_WITHHELD);
    assert_int_equal(state_of(NODE("a", "0", "IDLE+DRAIN+NOT_RESPONDING", OURS)), LEND_WITHHELD);
    assert_int_equal(state_of(NODE("a", "0", "DOWN+DRAIN", OURS)), LEND_WITHHELD);
    assert_int_equal(state_of(NODE("a", "1", "ALLOCATED+DRAIN", OURS)), LEND_RETURNING);
    assert_int_equal(state_of(NODE("a", "0", "IDLE+COMPLETING+DRAIN", OURS)), LEND_RETURNING);
    assert_int_equal(state_of(NODE("a", "2", "IDLE+DRAIN", OURS)), LEND_RETURNING);
    /* Two, in another order, and of another partition. */
    assert_int_equal(
        read_nodes(NODE("b", "1", "MIXED+DRAIN", THEIRS) "\n" NODE("a", "0", "IDLE+DRAIN", OURS),
                   "idle", v, &e),
        0);
    assert_int_equal(v[0].state, LEND_SERVING);
    assert_int_equal(v[0].is_ours, 1);
    assert_int_equal(v[1].state, LEND_RETURNING);
    assert_int_equal(v[1].is_ours, 0);
    assert_int_equal(
        read_nodes(NODE("b", "0", "IDLE", "") NODE("a", "0", "IDLE+DRAIN", OURS), "idl", v, &e), 0);
    assert_int_equal(v[0].state, LEND_WITHHELD);
}

static void refused(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "nothing of node a"},
        {NODE("a", "0", "IDLE", ""), "nothing of node b"},
        {NODE("a", "0", "IDLE", "") "Node b not found\n", "does not speak of nodes: Node b not"},
        {NODE("a", "0", "IDLE", "") NODE("a", "0", "IDLE", ""), "not asked for: a"},
        {NODE("c", "0", "IDLE", ""), "not asked for: c"},
        {NODE("a", "x", "IDLE", ""), "node a is not understood"},
        {NODE("a", "", "IDLE", ""), "node a is not understood"},
        {NODE("a", "0", "", ""), "node a is not understood"},
        {NODE("a", "0", "idle", ""), "node a is not understood"},
        {NODE("a", "0", "IDLE+", "") NODE("b", "0", "+IDLE", ""), "node b is not understood"},
        {"NodeName=a CPUAlloc=0\n", "node a is not understood"},
        {"NodeName=a State=IDLE\n", "node a is not understood"},
        {"<html>", "does not speak of nodes"},
    };
    struct slurm_node v[2];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_true(read_nodes(bad[i].text, "idle", v, &e) < 0);
        if (!strstr(e.text, bad[i].why))
            fail_msg("%s: %s", bad[i].text, e.text);
    }
    assert_int_equal(slurm_nodes_read("NodeName=a\0", 11, names, 1, "idle", v, NULL), ERR_FORMAT);
}

static int jobs(const char *text, int64_t ret[SLURM_JOBS_MAX])
{
    struct err e = {0};

    return slurm_jobs_read(text, strlen(text), ret, &e);
}

static void jobs_of_a_node(void **state)
{
    int64_t id[SLURM_JOBS_MAX];
    char many[12 * 300 + 1] = "";

    (void)state;
    assert_int_equal(jobs("", id), 0);
    assert_int_equal(jobs("12|RUNNING\n7|COMPLETING\n9|SUSPENDED\n3|COMPLETED\n4|PENDING", id), 2);
    assert_int_equal(id[0], 12);
    assert_int_equal(id[1], 9);
    assert_int_equal(jobs("x|RUNNING\n", id), ERR_FORMAT);
    assert_int_equal(jobs("0|RUNNING\n", id), ERR_FORMAT);
    assert_int_equal(jobs("-1|RUNNING\n", id), ERR_FORMAT);
    assert_int_equal(jobs("1234567890123456|RUNNING\n", id), ERR_FORMAT);
    assert_int_equal(jobs("12\n", id), ERR_FORMAT);
    assert_int_equal(jobs("12|\n", id), ERR_FORMAT);
    assert_int_equal(jobs("squeue: error\n", id), ERR_FORMAT);
    for (int i = 0; i < 300; i++)
        strcat(many, "1|RUNNING\n");
    assert_int_equal(jobs(many, id), SLURM_JOBS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states),
        cmocka_unit_test(refused),
        cmocka_unit_test(jobs_of_a_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
