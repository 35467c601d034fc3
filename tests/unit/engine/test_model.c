/* Loading: tensors of several pieces, shared by a team, hold what one call would have repacked;
 * what is done meanwhile is done once, and may end the load. The thread sanitizer runs this too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/gguf.h"
#include "engine/model.h"
#include "tiny.h"

struct seen {
    int calls, rc;   /* of what is done meanwhile, and what it returns */
    const char *cut; /* the file to shorten meanwhile */
    double progress;
    int went_back;
};

static int meanwhile(void *arg)
{
    struct seen *s = arg;
    s->calls++; /* not atomic: the team must order it */
    if (s->cut)
        assert_int_equal(truncate(s->cut, 8192), 0);
    return s->rc;
}

static void on_progress(void *arg, double done)
{
    struct seen *s = arg;
    s->went_back |= done < s->progress || done > 1;
    s->progress = done;
}

static int load(struct model *m, struct gguf **ret_g, const char *path, int threads, struct seen *s)
{
    struct model_meanwhile also = {meanwhile, s};
    struct team *t;
    struct err e;
    int rc;

    assert_int_equal(gguf_open(ret_g, path, &e), 0);
    assert_int_equal(model_plan(m, *ret_g, &e), 0);
    assert_int_equal(team_open(&t, threads, &e), 0);
    team_lock(t);
    rc = model_load(m, t, &also, on_progress, s, &e);
    team_unlock(t);
    team_close(t);
    return rc;
}

/* The experts of a tensor against one call of kern_repack for each. */
static void check_experts(const struct gguf *g, const char *name, const struct model_experts *x,
                          int n)
{
    const struct gguf_tensor *t = gguf_find_tensor(g, name);
    const struct kern_mat *m = &x->first;
    size_t src_bytes = kern_row_bytes(m->fmt, m->cols) * (size_t)m->rows;
    uint8_t *want = aligned_alloc(64, kern_mat_bytes(m->fmt, m->rows, m->cols));

    assert_non_null(t);
    for (int i = 0; i < n; i++) {
        kern_repack(m->fmt, t->data + (size_t)i * src_bytes, m->rows, m->cols, 0,
                    kern_mat_groups(m), want);
        if (memcmp(want, m->data + (size_t)i * x->stride, x->stride))
            fail_msg("%s: expert %d differs", name, i);
    }
    free(want);
}

static void check(const struct tiny *t, int threads)
{
    const char *path = tiny_file(t, "pieces.gguf");
    struct seen s = {0};
    struct model m;
    struct gguf *g;

    assert_int_equal(load(&m, &g, path, threads, &s), 0);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.went_back, 0);
    if (threads == 1)
        assert_true(s.progress == 1);
    assert_true(m.pages_bytes > (size_t)8 << 20); /* some pieces of every tensor */
    for (int i = 0; i < m.n_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_down_exps.weight", i);
        check_experts(g, name, &m.layer[i].x_down, m.n_experts);
        snprintf(name, sizeof name, "blk.%d.ffn_up_exps.weight", i);
        check_experts(g, name, &m.layer[i].x_up, m.n_experts);
    }
    gguf_close(g);
    model_done(&m);
}

static void test_pieces(void **state)
{
    struct tiny t = {
        .arch = TINY_QWEN3MOE, .context = 64, .quantised = 1, .ff = 4096 + 32}; /* ragged pieces */

    check(&t, 1);
    check(&t, 3);
}

static void test_meanwhile_fails(void **state)
{
    struct tiny t = {.arch = TINY_QWEN3MOE, .context = 64};
    const char *path = tiny_file(&t, "fails.gguf");

    for (int threads = 1; threads <= 3; threads++) {
        struct seen s = {.rc = ERR_FORMAT};
        struct model m;
        struct gguf *g;
        assert_int_equal(load(&m, &g, path, threads, &s), ERR_FORMAT);
        assert_int_equal(s.calls, 1);
        if (threads == 1)
            assert_true(s.progress == 0); /* it came first: nothing was repacked */
        gguf_close(g);
        model_done(&m);
    }
}

/* A file that somebody replaces in place while it is loaded: an error, in every thread of the team,
 * and not the end of the process. */
static void test_file_cut_short(void **state)
{
    struct tiny t = {
        .arch = TINY_QWEN3MOE, .context = 64, .quantised = 1, .ff = 4096 + 32}; /* ragged pieces */

    for (int threads = 1; threads <= 3; threads++) {
        const char *path = tiny_file(&t, "cut.gguf");
        struct seen s = {.cut = path};
        struct model m;
        struct gguf *g;
        struct err e = {0};
        assert_int_equal(load(&m, &g, path, threads, &s), 0);
        assert_int_equal(gguf_check_lost(g, path, 0, &e), ERR_IO);
        assert_non_null(strstr(e.text, "cut.gguf: became shorter"));
        gguf_close(g);
        model_done(&m);
        assert_int_equal(gguf_check(path, &e), ERR_FORMAT);
    }
}

static void cut_on_progress(void *arg, double done)
{
    struct seen *s = arg;

    if (!s->calls++)
        assert_int_equal(truncate(s->cut, 8192), 0);
}

static void test_engine_says_so(void **state)
{
    struct tiny t = {.arch = TINY_QWEN3MOE, .context = 64, .quantised = 1, .ff = 4096 + 32};
    struct engine_config c = {.path = tiny_file(&t, "cut.gguf")};
    struct seen s = {.cut = c.path};
    struct engine *engine = NULL;
    struct team *team;
    struct err e = {0};

    assert_int_equal(team_open(&team, 1, &e), 0);
    assert_int_equal(engine_open(&engine, &c, team, cut_on_progress, &s, &e), ERR_IO);
    assert_null(engine);
    assert_non_null(strstr(e.text, "cut.gguf: became shorter"));
    team_close(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_meanwhile_fails),
        cmocka_unit_test(test_file_cut_short),
        cmocka_unit_test(test_engine_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
