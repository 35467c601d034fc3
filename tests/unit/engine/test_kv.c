/* The KV cache's pages against a naive mirror: thousands of random operations over few pages and
 * several tenants, with and without window layers, each followed by kv_check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "engine/kv.h"
#include "job/phase.h"

#define P KERN_PAGE

enum { SEQS = 6, CONTEXT = 20 * P, SALTS = 3, TEXTS = 8, OPS = 6000 };

static uint64_t n_random;

static uint32_t below(uint32_t n)
{
    uint32_t r[4];
    rand_philox(11, n_random++, 0, r);
    return r[0] % n;
}

static struct model model_of(int window)
{
    struct model m = {.n_layers = 2, .n_kv_heads = 1, .head_dim = 16, .window = window};
    m.n_kv_groups = window ? 2 : 1;
    m.kv_layers[0] = window ? 1 : 2;
    m.kv_layers[1] = window ? 1 : 0;
    m.kv_window[1] = window;
    return m;
}

static struct model model_of_windows(int window)
{
    struct model m = model_of(window);
    m.kv_layers[0] = 0;
    m.kv_layers[1] = m.n_layers;
    return m;
}

static struct kv *open_kv(const struct model *m, int32_t context, int32_t chunk, size_t pages)
{
    struct kv_config c = {.type = KERN_KV_F16, .context = context, .n_seqs = SEQS, .chunk = chunk};
    struct kv *kv = NULL;
    struct err e = {0};
    c.bytes_max = pages * (kv_page_bytes(m, c.type, 0) + kv_page_bytes(m, c.type, 1));
    if (kv_open(&kv, m, &c, &e))
        fail_msg("%s", e.text);
    return kv;
}

/* ---- the mirror: for each tenant, which prefixes (in pages) were ever shared ----------------- */

struct mirror {
    const int32_t *text; /* the sequence's tokens */
    int i_text;
    uint64_t salt;
    int open, share;
    int32_t n, cap; /* positions computed, positions with pages */
};

/* Texts with common beginnings: text i parts from text 0 at page 2 * i, in the page's middle; odd
 * ones by their phases alone. */
static int32_t texts[TEXTS][CONTEXT];
static uint32_t phases[TEXTS][CONTEXT / P];
static int32_t shared_to[SALTS][TEXTS]; /* pages of this text ever shared under the salt */

static void make_texts(void)
{
    memset(phases, 0, sizeof phases);
    for (int i = 0; i < TEXTS; i++) {
        for (int32_t k = 0; k < CONTEXT; k++) {
            int parted = k >= 2 * i * P + P / 2;
            texts[i][k] = parted && i % 2 == 0 ? k * 7 + i + 1 : k * 7;
            if (parted && i % 2)
                phase_set(phases[i], k);
        }
    }
}

static int32_t common_pages(int a, int b)
{
    int32_t k = 0;
    while (k < CONTEXT && texts[a][k] == texts[b][k] &&
           phase_at(phases[a], k) == phase_at(phases[b], k))
        k++;
    return k / P;
}

/* Most pages of the text that could be in the cache. */
static int32_t shared_at_most(uint64_t salt, int i_text)
{
    int32_t most = 0;
    for (int i = 0; i < TEXTS; i++) {
        int32_t c = common_pages(i, i_text);
        c = c < shared_to[salt][i] ? c : shared_to[salt][i];
        most = c > most ? c : most;
    }
    return most;
}

/* Two sequences hold the same page only where they spell the same tokens under one salt; every page
 * that a query may see is there. */
static void check_tables(struct kv_seq *const *s, const struct mirror *m, int32_t window)
{
    for (int a = 0; a < SEQS; a++) {
        int32_t pages = (m[a].cap + P - 1) / P, first = m[a].n - window + 1;
        if (!m[a].open)
            continue;
        assert_true(s[a]->n_pages >= pages);
        for (int32_t i = 0; i < s[a]->n_pages; i++)
            assert_true(s[a]->page[0][i] >= 0);
        if (window) {
            for (int32_t i = first > 0 ? first / P : 0; i < s[a]->n_pages; i++)
                assert_true(s[a]->page[1][i] >= 0);
            for (int32_t i = 0; i < (first > 0 ? first / P : 0) && i < s[a]->n_pages; i++)
                assert_int_equal(s[a]->page[1][i], -1); /* really let go */
        }
        for (int b = 0; b < a; b++) {
            if (!m[b].open)
                continue;
            for (int g = 0; g < (window ? 2 : 1); g++) {
                for (int32_t i = 0; i < s[a]->n_pages; i++) {
                    for (int32_t k = 0; k < s[b]->n_pages; k++) {
                        if (s[a]->page[g][i] < 0 || s[a]->page[g][i] != s[b]->page[g][k])
                            continue;
                        assert_int_equal(i, k);
                        assert_true(m[a].salt == m[b].salt && m[a].share && m[b].share);
                        assert_true(common_pages(m[a].i_text, m[b].i_text) > i);
                        assert_true((i + 1) * P <= m[a].n && (i + 1) * P <= m[b].n);
                    }
                }
            }
        }
    }
}

static void random_operations_on(struct model model, size_t pages, int32_t chunk)
{
    int window = model.window;
    struct kv *kv = open_kv(&model, CONTEXT, chunk, pages);
    struct kv_seq seq[SEQS], *list[SEQS];
    struct mirror m[SEQS] = {0};
    struct kv_stats st;
    int hits = 0, refused = 0;

    make_texts();
    memset(shared_to, 0, sizeof shared_to);
    for (int i = 0; i < SEQS; i++) {
        assert_int_equal(kv_seq_init(kv, &seq[i]), 0);
        list[i] = &seq[i];
    }
    for (int op = 0; op < OPS; op++) {
        int i = (int)below(SEQS);
        if (!m[i].open) {
            int32_t n = 1 + (int32_t)below(CONTEXT - 1), got;
            m[i] = (struct mirror){.open = 1,
                                   .salt = below(SALTS),
                                   .i_text = (int)below(TEXTS),
                                   .share = below(8) != 0};
            m[i].text = texts[m[i].i_text];
            got = kv_seq_open(kv, &seq[i], m[i].salt, m[i].share, m[i].share, m[i].text,
                              phases[m[i].i_text], n);
            assert_true(got % P == 0 && got < n);
            assert_true(got / P <= shared_at_most(m[i].salt, m[i].i_text));
            if (!m[i].share)
                assert_int_equal(got, 0);
            m[i].n = m[i].cap = got;
            hits += got > 0;
        } else if (below(10) == 0) {
            kv_seq_close(kv, &seq[i]);
            m[i].open = 0;
        } else {
            int32_t add = 1 + (int32_t)below((uint32_t)chunk), want = m[i].n + add;
            if (want > CONTEXT)
                want = CONTEXT;
            if (kv_seq_grow(kv, &seq[i], want)) { /* none left: as the scheduler does, preempt */
                refused++;
                kv_seq_close(kv, &seq[i]);
                m[i].open = 0;
            } else if (want > m[i].n) {
                m[i].n = m[i].cap = want;
                kv_seq_commit(kv, &seq[i], m[i].text, phases[m[i].i_text], m[i].n);
                if (m[i].share && m[i].n / P > shared_to[m[i].salt][m[i].i_text])
                    shared_to[m[i].salt][m[i].i_text] = m[i].n / P;
            }
        }
        {
            struct kv_seq *open[SEQS];
            int n_open = 0;
            for (int k = 0; k < SEQS; k++) {
                if (m[k].open)
                    open[n_open++] = list[k];
            }
            if (!kv_check(kv, open, n_open))
                fail_msg("kv_check after operation %d", op);
        }
        check_tables(list, m, window);
    }
    kv_stats(kv, &st);
    if (chunk >= P) /* or the setting proves little */
        assert_true(hits > 100 && st.evictions > 100);
    if (pages < 40)
        assert_true(refused > 10);
    for (int i = 0; i < SEQS; i++) {
        if (m[i].open)
            kv_seq_close(kv, &seq[i]);
        kv_seq_done(&seq[i]);
    }
    kv_stats(kv, &st);
    assert_int_equal(st.n_free + st.n_cached, st.n_pages);
    assert_true(kv_check(kv, NULL, 0));
    kv_close(kv);
}

static void random_operations(int window, size_t pages, int32_t chunk)
{
    random_operations_on(model_of(window), pages, chunk);
}

static void random_global(void **state)
{
    (void)state;
    random_operations(0, 24, 3 * P);
    random_operations(0, 70, P);
}

static void random_windows(void **state)
{
    (void)state;
    random_operations(3 * P - 5, 30, 2 * P);
    random_operations(P, 24, 40);
    random_operations(1, 60, 1);
    random_operations(7 * P, 80, 5 * P);
}

/* No layer sees all: the global pages only count. */
static void random_windows_alone(void **state)
{
    (void)state;
    random_operations_on(model_of_windows(3 * P - 5), 30, 2 * P);
    random_operations_on(model_of_windows(P), 24, 40);
}

/* ---- exact rules ----------------------------------------------------------------------------- */

static void compute(struct kv *kv, struct kv_seq *s, const int32_t *text, int32_t n)
{
    assert_int_equal(kv_seq_grow(kv, s, n), 0);
    kv_seq_commit(kv, s, text, NULL, n);
}

static int32_t held(struct kv *kv)
{
    struct kv_stats st;
    kv_stats(kv, &st);
    return st.n_pages - st.n_free - st.n_cached;
}

/* Two prompts that part at token k share every full page before k, and only those. */
static void parting_at_every_token(void **state)
{
    struct model model = model_of(0);
    struct kv *kv = open_kv(&model, 8 * P, P, 40);
    struct kv_seq a, b;
    int32_t x[8 * P], y[8 * P];
    (void)state;

    assert_int_equal(kv_seq_init(kv, &a), 0);
    assert_int_equal(kv_seq_init(kv, &b), 0);
    for (int32_t k = 0; k < 6 * P; k++) {
        for (int32_t i = 0; i < 6 * P; i++) {
            x[i] = 1000 * k + i;
            y[i] = i < k ? x[i] : -1 - x[i];
        }
        assert_int_equal(kv_seq_open(kv, &a, 1, 1, 1, x, NULL, 6 * P), 0);
        compute(kv, &a, x, 6 * P);
        assert_int_equal(held(kv), 6);
        assert_int_equal(kv_seq_open(kv, &b, 2, 1, 1, y, NULL, 6 * P),
                         0); /* another tenant: nothing */
        kv_seq_close(kv, &b);
        assert_int_equal(kv_seq_open(kv, &b, 1, 1, 1, y, NULL, 6 * P), k / P * P);
        compute(kv, &b, y, 6 * P);
        assert_int_equal(held(kv), 6 + 6 - k / P);
        kv_seq_close(kv, &a);
        assert_int_equal(held(kv), 6);
        kv_seq_close(kv, &b);
        assert_int_equal(held(kv), 0);
    }
    kv_seq_done(&a);
    kv_seq_done(&b);
    kv_close(kv);
}

/* The same tokens, of an answer from token k on: what is computed in another way is another page.
 */
static void parting_by_phase(void **state)
{
    struct model model = model_of(0);
    struct kv *kv = open_kv(&model, 8 * P, P, 40);
    struct kv_seq a, b;
    int32_t x[6 * P];
    (void)state;

    assert_int_equal(kv_seq_init(kv, &a), 0);
    assert_int_equal(kv_seq_init(kv, &b), 0);
    for (int32_t k = 0; k < 6 * P; k++) {
        uint32_t answer[6];
        phase_begin(answer, 6 * P, NULL, k);
        for (int32_t i = 0; i < 6 * P; i++)
            x[i] = 1000 * k + i;
        assert_int_equal(kv_seq_open(kv, &a, 1, 1, 1, x, NULL, 6 * P), 0);
        assert_int_equal(kv_seq_open(kv, &b, 1, 1, 1, x, answer, 6 * P), 0);
        compute(kv, &a, x, 6 * P);
        assert_int_equal(kv_seq_grow(kv, &b, 6 * P), 0);
        kv_seq_commit(kv, &b, x, answer, 6 * P); /* beside it: swapped only where it is the same */
        assert_int_equal(held(kv), 6 + 6 - k / P);
        kv_seq_close(kv, &a);
        kv_seq_close(kv, &b);
        assert_int_equal(kv_seq_open(kv, &b, 1, 1, 1, x, answer, 6 * P), 5 * P);
        kv_seq_close(kv, &b);
        assert_int_equal(held(kv), 0);
    }
    kv_seq_done(&a);
    kv_seq_done(&b);
    kv_close(kv);
}

/* Two sequences that compute the same prompt at the same time end with one copy. */
static void computed_twice_kept_once(void **state)
{
    struct model model = model_of(2 * P);
    struct kv *kv = open_kv(&model, 8 * P, P, 40);
    struct kv_seq s[2], *list[2] = {&s[0], &s[1]};
    int32_t x[8 * P];
    (void)state;

    for (int32_t i = 0; i < 8 * P; i++)
        x[i] = i;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kv_seq_init(kv, &s[i]), 0);
        kv_seq_open(kv, &s[i], 1, 1, 1, x, NULL, 8 * P);
    }
    for (int32_t n = P / 2; n <= 6 * P; n += P / 2) {
        for (int i = 0; i < 2; i++)
            compute(kv, &s[i], x, n);
        assert_true(kv_check(kv, list, 2));
        assert_int_equal(held(kv), n / P + 2 * (n % P != 0));
    }
    for (int i = 0; i < 2; i++) {
        kv_seq_close(kv, &s[i]);
        kv_seq_done(&s[i]);
    }
    kv_close(kv);
}

/* The whole prompt is cached, yet its last token is computed again. */
static void one_token_is_left(void **state)
{
    struct model model = model_of(0);
    struct kv *kv = open_kv(&model, 8 * P, P, 40);
    struct kv_seq s;
    int32_t x[8 * P];
    (void)state;

    for (int32_t i = 0; i < 8 * P; i++)
        x[i] = i;
    assert_int_equal(kv_seq_init(kv, &s), 0);
    kv_seq_open(kv, &s, 1, 1, 1, x, NULL, 8 * P);
    compute(kv, &s, x, 5 * P);
    kv_seq_close(kv, &s);
    for (int32_t n = 1; n <= 6 * P; n++) {
        int32_t want = (n - 1) / P * P;
        assert_int_equal(kv_seq_open(kv, &s, 1, 1, 1, x, NULL, n), want < 5 * P ? want : 5 * P);
        kv_seq_close(kv, &s);
    }
    kv_seq_done(&s);
    kv_close(kv);
}

/* Pages that a sequence holds outlive any pressure; idle ones go, the oldest leaf first. */
static void eviction_under_live_sharing(void **state)
{
    struct model model = model_of(0);
    struct kv *kv = open_kv(&model, 10 * P, P, 12);
    struct kv_seq a, b;
    int32_t x[10 * P], y[10 * P];
    int32_t page[4];
    struct kv_stats st;
    (void)state;

    for (int32_t i = 0; i < 10 * P; i++) {
        x[i] = i;
        y[i] = -1 - i;
    }
    assert_int_equal(kv_seq_init(kv, &a), 0);
    assert_int_equal(kv_seq_init(kv, &b), 0);
    kv_seq_open(kv, &a, 1, 1, 1, x, NULL, 10 * P);
    compute(kv, &a, x, 8 * P); /* 8 of 12 pages, then idle */
    kv_seq_close(kv, &a);
    assert_int_equal(kv_seq_open(kv, &a, 1, 1, 1, x, NULL, 4 * P + 1),
                     4 * P); /* hold the first four */
    memcpy(page, a.page[0], sizeof page);
    kv_seq_open(kv, &b, 1, 1, 1, y, NULL, 10 * P);
    compute(kv, &b, y, 7 * P); /* four free pages, so three are evicted: x's pages 7, 6, 5 */
    kv_stats(kv, &st);
    assert_int_equal(st.evictions, 3);
    assert_int_equal(st.n_cached, 1);
    compute(kv, &b, y, 8 * P);
    assert_int_equal(kv_seq_grow(kv, &b, 9 * P), ERR_AGAIN); /* the rest is held */
    assert_memory_equal(page, a.page[0], sizeof page);
    kv_seq_close(kv, &a);
    assert_int_equal(kv_seq_open(kv, &a, 1, 1, 1, x, NULL, 10 * P), 4 * P); /* still there */
    kv_seq_close(kv, &a);
    kv_seq_close(kv, &b);
    assert_int_equal(kv_seq_open(kv, &b, 1, 1, 1, y, NULL, 10 * P), 8 * P);
    kv_seq_close(kv, &b);
    kv_seq_done(&a);
    kv_seq_done(&b);
    kv_close(kv);
}

/* A hit ends where the whole window before it is still there: take idle window pages away one by
 * one (they go from the deepest, which was let go first after the early ones) and look again. */
static void hit_needs_the_whole_window(void **state)
{
    enum { WINDOW = 2 * P + 1 };
    struct model model = model_of(WINDOW);
    struct kv *kv = open_kv(&model, 10 * P, P, 14);
    struct kv_seq a, b;
    int32_t x[10 * P], y[10 * P], last = 10 * P;
    int shorter = 0;
    (void)state;

    for (int32_t i = 0; i < 10 * P; i++) {
        x[i] = i;
        y[i] = -1 - i;
    }
    assert_int_equal(kv_seq_init(kv, &a), 0);
    assert_int_equal(kv_seq_init(kv, &b), 0);
    kv_seq_open(kv, &a, 1, 1, 1, x, NULL, 10 * P);
    for (int32_t n = P; n <= 8 * P; n += P)
        compute(kv, &a, x, n);
    kv_seq_close(kv, &a);
    kv_seq_open(kv, &b, 2, 0, 0, y, NULL, 10 * P);
    for (int32_t n = P; n <= 10 * P; n += P) {
        int32_t hit;
        if (kv_seq_grow(kv, &b, n))
            break;
        hit = kv_seq_open(kv, &a, 1, 1, 1, x, NULL, 10 * P);
        assert_true(hit <= last);
        shorter += hit < last && hit > 0;
        for (int32_t i = hit > WINDOW - 1 ? (hit - WINDOW + 1) / P : 0; i < hit / P; i++)
            assert_true(a.page[1][i] >= 0);
        for (int32_t i = 0; i < (hit > WINDOW - 1 ? (hit - WINDOW + 1) / P : 0); i++)
            assert_int_equal(a.page[1][i], -1);
        last = hit;
        kv_seq_close(kv, &a);
        assert_true(kv_check(kv, (struct kv_seq *[]){&b}, 1));
    }
    assert_true(shorter > 0);
    kv_seq_close(kv, &b);
    kv_seq_done(&a);
    kv_seq_done(&b);
    kv_close(kv);
}

/* One long sequence goes through a window group that holds a window and a chunk. */
static void windows_free_pages(void **state)
{
    struct model model = model_of(P);
    struct kv_config c = {.type = KERN_KV_F16, .context = 400 * P, .n_seqs = 1, .chunk = P};
    struct kv *kv = NULL;
    struct kv_seq s;
    struct err e = {0};
    (void)state;

    c.bytes_max = kv_seq_bytes(&model, c.type, c.context, c.chunk);
    assert_int_equal(kv_open(&kv, &model, &c, &e), 0);
    assert_int_equal(kv_seq_init(kv, &s), 0);
    for (int share = 0; share < 2; share++) {
        int32_t *x = calloc((size_t)c.context, sizeof *x);
        kv_seq_open(kv, &s, 1, share, share, x, NULL, c.context);
        for (int32_t n = P / 2; n <= c.context; n += P / 2) {
            int32_t have = 0;
            x[n - 1] = n;
            compute(kv, &s, x, n);
            for (int32_t i = 0; i < s.n_pages; i++)
                have += s.page[1][i] >= 0;
            assert_true(have <= 2);
        }
        assert_true(kv_check(kv, (struct kv_seq *[]){&s}, 1));
        kv_seq_close(kv, &s);
        free(x);
    }
    kv_seq_done(&s);
    kv_close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_global),
        cmocka_unit_test(random_windows),
        cmocka_unit_test(random_windows_alone),
        cmocka_unit_test(parting_at_every_token),
        cmocka_unit_test(parting_by_phase),
        cmocka_unit_test(computed_twice_kept_once),
        cmocka_unit_test(one_token_is_left),
        cmocka_unit_test(eviction_under_live_sharing),
        cmocka_unit_test(hit_needs_the_whole_window),
        cmocka_unit_test(windows_free_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
