#include "engine/kv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/map.h"

#define P KERN_PAGE

/* The key of a shared page. Pages whose keys and whose parents' keys are equal hold the same bits.
 */
struct key {
    int32_t token[P];
    uint32_t answer; /* phase of each token: bit i is token i's, and a page has 32 tokens */
};
_Static_assert(P == 32 && sizeof(struct key) == 33 * sizeof(int32_t), "keys are compared as bytes");

struct node {
    struct key key;
    uint64_t salt;
    int32_t parent; /* node, or -1 under the salt's root */
    int32_t page[2];
    int32_t ref[2]; /* sequences that hold the page of the group */
    int32_t n_children;
    int32_t chain;              /* next in the hash bucket */
    int32_t newer[2], older[2]; /* in the list of unheld pages of a group */
    uint32_t hash;
};

struct group {
    uint8_t *base;
    size_t page_bytes, map_bytes;
    int32_t n_pages, n_free;
    int32_t *free; /* stack */
    int32_t window;
    int32_t oldest, newest; /* list of the nodes whose page of this group no sequence holds */
    int32_t n_idle;
};

struct kv {
    struct group group[2];
    int n_groups;
    int32_t n_kv_heads;
    size_t head_bytes;
    int32_t pages_max; /* of one sequence */
    struct node *node;
    int32_t n_nodes, free_node;
    int32_t *bucket;
    uint32_t n_buckets;
    uint64_t seed, evictions;
};

size_t kv_page_bytes(const struct model *m, enum kern_kv type, int group)
{
    return kern_kv_head_bytes(type, m->head_dim) * (size_t)m->n_kv_heads *
           (size_t)m->kv_layers[group];
}

/* Window pages that one sequence can hold during a step of n tokens. */
static int32_t window_pages(int32_t window, int32_t n)
{
    return (window + n) / P + 2;
}

size_t kv_seq_bytes(const struct model *m, enum kern_kv type, int32_t n, int32_t chunk)
{
    size_t pages = (size_t)(n + P - 1) / P, bytes = pages * kv_page_bytes(m, type, 0);
    if (m->n_kv_groups > 1) {
        size_t most = (size_t)window_pages(m->window, chunk);
        bytes += (pages < most ? pages : most) * kv_page_bytes(m, type, 1);
    }
    return bytes;
}

/* ---- lists of unheld pages ------------------------------------------------------------------- */

static void idle_add(struct kv *kv, int g, int32_t i)
{
    struct group *gr = &kv->group[g];
    struct node *n = &kv->node[i];
    n->newer[g] = -1;
    n->older[g] = gr->newest;
    if (gr->newest >= 0)
        kv->node[gr->newest].newer[g] = i;
    else
        gr->oldest = i;
    gr->newest = i;
    gr->n_idle++;
}

static void idle_del(struct kv *kv, int g, int32_t i)
{
    struct group *gr = &kv->group[g];
    struct node *n = &kv->node[i];
    if (n->older[g] >= 0)
        kv->node[n->older[g]].newer[g] = n->newer[g];
    else
        gr->oldest = n->newer[g];
    if (n->newer[g] >= 0)
        kv->node[n->newer[g]].older[g] = n->older[g];
    else
        gr->newest = n->older[g];
    gr->n_idle--;
}

static void hold(struct kv *kv, int g, int32_t i)
{
    if (kv->node[i].ref[g]++ == 0)
        idle_del(kv, g, i);
}

static void let_go(struct kv *kv, int g, int32_t i)
{
    CHECK(kv->node[i].ref[g] > 0);
    if (--kv->node[i].ref[g] == 0)
        idle_add(kv, g, i);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static struct key key_of(const int32_t *tokens, const uint32_t *answer, int32_t page)
{
    struct key k = {.answer = answer ? answer[page] : 0};
    memcpy(k.token, tokens + (size_t)page * P, sizeof k.token);
    return k;
}

static uint32_t node_hash(const struct kv *kv, uint64_t salt, int32_t parent, const struct key *key)
{
    return (uint32_t)map_hash(key, sizeof *key,
                              kv->seed ^ salt * 0x9e3779b97f4a7c15ull ^ (uint32_t)parent);
}

static int32_t node_find(const struct kv *kv, uint64_t salt, int32_t parent, const struct key *key)
{
    uint32_t h = node_hash(kv, salt, parent, key);
    int32_t i = kv->bucket[h & (kv->n_buckets - 1)];

    for (; i >= 0; i = kv->node[i].chain) {
        const struct node *n = &kv->node[i];
        if (n->hash == h && n->parent == parent && n->salt == salt &&
            !memcmp(&n->key, key, sizeof *key))
            return i;
    }
    return -1;
}

static void node_unlink(struct kv *kv, int32_t i)
{
    int32_t *at = &kv->bucket[kv->node[i].hash & (kv->n_buckets - 1)];
    while (*at != i)
        at = &kv->node[*at].chain;
    *at = kv->node[i].chain;
    if (kv->node[i].parent >= 0)
        kv->node[kv->node[i].parent].n_children--;
    kv->node[i].chain = kv->free_node;
    kv->free_node = i;
}

static void page_free(struct kv *kv, int g, int32_t page)
{
    kv->group[g].free[kv->group[g].n_free++] = page;
}

/* Evict the oldest leaf that nobody holds; 1 when a global page came free. */
static int evict_node(struct kv *kv)
{
    int32_t i = kv->group[0].oldest;

    while (i >= 0 && kv->node[i].n_children)
        i = kv->node[i].newer[0];
    if (i < 0)
        return 0;
    idle_del(kv, 0, i);
    page_free(kv, 0, kv->node[i].page[0]);
    if (kv->n_groups > 1 && kv->node[i].page[1] >= 0) {
        idle_del(kv, 1, i);
        page_free(kv, 1, kv->node[i].page[1]);
    }
    node_unlink(kv, i);
    kv->evictions++;
    return 1;
}

/* Take the window page of the node that has been idle longest; the node itself stays. */
static int evict_window(struct kv *kv)
{
    int32_t i = kv->group[1].oldest;
    if (i < 0)
        return 0;
    idle_del(kv, 1, i);
    page_free(kv, 1, kv->node[i].page[1]);
    kv->node[i].page[1] = -1;
    kv->evictions++;
    return 1;
}

static int32_t page_take(struct kv *kv, int g)
{
    struct group *gr = &kv->group[g];
    if (!gr->n_free && !(g ? evict_window(kv) : evict_node(kv)))
        return -1;
    return gr->free[--gr->n_free];
}

/* ---- sequences ------------------------------------------------------------------------------- */

int kv_seq_init(struct kv *kv, struct kv_seq *s)
{
    size_t n = (size_t)kv->pages_max * sizeof(int32_t);
    *s = (struct kv_seq){0};
    s->page[0] = malloc(n);
    s->page[1] = malloc(n);
    s->node = malloc(n);
    if (!s->page[0] || !s->page[1] || !s->node) {
        kv_seq_done(s);
        return ERR_NOMEM;
    }
    return 0;
}

void kv_seq_done(struct kv_seq *s)
{
    free(s->page[0]);
    free(s->page[1]);
    free(s->node);
    *s = (struct kv_seq){0};
}

/* First page that a query at position pos still sees in the window layers. */
static int32_t first_seen(const struct kv *kv, int32_t pos)
{
    int32_t key = pos - kv->group[1].window + 1;
    return key > 0 ? key / P : 0;
}

int32_t kv_seq_open(struct kv *kv, struct kv_seq *s, uint64_t salt, int use_cache, int share,
                    const int32_t *tokens, const uint32_t *answer, int32_t n)
{
    int32_t k = 0, parent = -1, first = 0;

    s->n_pages = s->n_nodes = s->first_live = 0;
    s->salt = salt;
    s->share = share;
    if (!use_cache)
        return 0;
    while ((k + 1) * P < n) { /* strictly: one token must be left to compute */
        struct key key = key_of(tokens, answer, k);
        int32_t i = node_find(kv, salt, parent, &key);
        if (i < 0)
            break;
        s->node[k] = parent = i;
        k++;
    }
    if (kv->n_groups > 1) { /* shorten until the whole window before the end is resident */
        for (;;) {
            int32_t bad = -1;
            first = first_seen(kv, k * P);
            for (int32_t i = first; i < k; i++) {
                if (kv->node[s->node[i]].page[1] < 0)
                    bad = i;
            }
            if (bad < 0)
                break;
            k = bad;
        }
    }
    for (int32_t i = 0; i < k; i++) {
        hold(kv, 0, s->node[i]);
        s->page[0][i] = kv->node[s->node[i]].page[0];
        s->page[1][i] = -1;
        if (kv->n_groups > 1 && i >= first) {
            hold(kv, 1, s->node[i]);
            s->page[1][i] = kv->node[s->node[i]].page[1];
        }
    }
    s->n_pages = s->n_nodes = k;
    s->first_live = first;
    return k * P;
}

int kv_seq_grow(struct kv *kv, struct kv_seq *s, int32_t n)
{
    int32_t want = (n + P - 1) / P;

    CHECK(want <= kv->pages_max);
    while (s->n_pages < want) {
        int32_t a = page_take(kv, 0), b = -1;
        if (a < 0)
            return ERR_AGAIN;
        if (kv->n_groups > 1 && (b = page_take(kv, 1)) < 0) {
            page_free(kv, 0, a);
            return ERR_AGAIN;
        }
        s->page[0][s->n_pages] = a;
        s->page[1][s->n_pages] = b;
        s->node[s->n_pages] = -1;
        s->n_pages++;
    }
    return 0;
}

/* Page i of the sequence is full: make it a node, or use the node that is already there. */
static void share_page(struct kv *kv, struct kv_seq *s, int32_t i, const struct key *key)
{
    int32_t parent = i ? s->node[i - 1] : -1;
    int32_t k = node_find(kv, s->salt, parent, key);
    struct node *n;

    if (k < 0) {
        k = kv->free_node;
        CHECK(k >= 0); /* as many nodes as pages, and each node has a page */
        n = &kv->node[k];
        kv->free_node = n->chain;
        n->key = *key;
        n->salt = s->salt;
        n->parent = parent;
        n->page[0] = s->page[0][i];
        n->page[1] = s->page[1][i];
        n->ref[0] = 1;
        n->ref[1] = s->page[1][i] >= 0;
        n->n_children = 0;
        n->hash = node_hash(kv, s->salt, parent, key);
        n->chain = kv->bucket[n->hash & (kv->n_buckets - 1)];
        kv->bucket[n->hash & (kv->n_buckets - 1)] = k;
        if (parent >= 0)
            kv->node[parent].n_children++;
    } else {
        /* another sequence has shared this page already: it holds the same bits, keep one copy */
        n = &kv->node[k];
        page_free(kv, 0, s->page[0][i]);
        s->page[0][i] = n->page[0];
        hold(kv, 0, k);
        if (s->page[1][i] >= 0) {
            if (n->page[1] < 0) {
                n->page[1] = s->page[1][i];
                n->ref[1] = 1;
            } else {
                page_free(kv, 1, s->page[1][i]);
                s->page[1][i] = n->page[1];
                hold(kv, 1, k);
            }
        }
    }
    s->node[i] = k;
    s->n_nodes++;
}

static void drop_window(struct kv *kv, struct kv_seq *s, int32_t i)
{
    if (s->page[1][i] < 0)
        return;
    if (s->node[i] >= 0)
        let_go(kv, 1, s->node[i]);
    else
        page_free(kv, 1, s->page[1][i]);
    s->page[1][i] = -1;
}

void kv_seq_commit(struct kv *kv, struct kv_seq *s, const int32_t *tokens, const uint32_t *answer,
                   int32_t n_done)
{
    while (s->share && (s->n_nodes + 1) * P <= n_done) {
        struct key key = key_of(tokens, answer, s->n_nodes);
        share_page(kv, s, s->n_nodes, &key);
    }
    if (kv->n_groups > 1) {
        int32_t first = first_seen(kv, n_done);
        for (; s->first_live < first && s->first_live < s->n_pages; s->first_live++)
            drop_window(kv, s, s->first_live);
    }
}

void kv_seq_close(struct kv *kv, struct kv_seq *s)
{
    /* Deepest first, so that leaves are older in the list than their parents. */
    for (int32_t i = s->n_pages - 1; i >= 0; i--) {
        if (kv->n_groups > 1)
            drop_window(kv, s, i);
        if (s->node[i] >= 0)
            let_go(kv, 0, s->node[i]);
        else
            page_free(kv, 0, s->page[0][i]);
    }
    s->n_pages = s->n_nodes = s->first_live = 0;
}

struct kv_place kv_place(const struct kv *kv, const struct model_layer *l)
{
    const struct group *g = &kv->group[l->kv_group];
    return (struct kv_place){g->base +
                                 (size_t)l->kv_index * (size_t)kv->n_kv_heads * kv->head_bytes,
                             g->page_bytes, kv->head_bytes};
}

/* ---- open and close -------------------------------------------------------------------------- */

static int open_group(struct group *g, int32_t n_pages, size_t page_bytes, int32_t window,
                      struct err *e)
{
    const size_t huge = (size_t)2 << 20;

    g->n_pages = g->n_free = n_pages;
    g->page_bytes = page_bytes;
    g->window = window;
    g->oldest = g->newest = -1;
    g->map_bytes = ((size_t)n_pages * page_bytes + huge - 1) & ~(huge - 1);
    g->free = malloc((size_t)n_pages * sizeof *g->free);
    if (g->map_bytes) { /* pages without a byte only count: no layer is in the group */
        void *p = mmap(NULL, g->map_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        g->base = p == MAP_FAILED ? NULL : p;
    }
    if (!g->free || (g->map_bytes && !g->base))
        return err_set(e, ERR_NOMEM, "no memory for %.1f MB of KV cache",
                       (double)g->map_bytes / 1e6);
    if (g->base)
        madvise(g->base, g->map_bytes, MADV_HUGEPAGE);
    for (int32_t i = 0; i < n_pages; i++)
        g->free[i] = n_pages - 1 - i; /* low pages are used first, so used memory stays dense */
    return 0;
}

int kv_open(struct kv **ret, const struct model *m, const struct kv_config *c, struct err *e)
{
    struct kv *kv = calloc(1, sizeof *kv);
    size_t bytes[2] = {kv_page_bytes(m, c->type, 0), kv_page_bytes(m, c->type, 1)};
    int64_t n[2], one[2] = {(c->context + P - 1) / P, 0};
    int rc = ERR_NOMEM;

    if (!kv)
        return err_set(e, ERR_NOMEM, "no memory for the KV cache");
    kv->n_groups = m->n_kv_groups;
    kv->n_kv_heads = m->n_kv_heads;
    kv->head_bytes = kern_kv_head_bytes(c->type, m->head_dim);
    kv->pages_max = (int32_t)one[0] + 1;
    n[0] = (int64_t)(c->bytes_max / (bytes[0] + bytes[1]));
    n[1] = 0;
    if (kv->n_groups > 1) {
        /* Window layers need few pages a sequence; what they do not need goes to the global ones.
         */
        int64_t enough = (int64_t)c->n_seqs * window_pages(m->window, P) +
                         window_pages(m->window, c->chunk) + 64;
        one[1] = window_pages(m->window, c->chunk);
        if (one[1] > one[0])
            one[1] = one[0];
        n[1] = n[0] < enough ? n[0] : enough;
        /* the global group first gets the pages of one sequence at full context */
        if (bytes[1] && c->bytes_max > (size_t)one[0] * bytes[0]) {
            int64_t rest = (int64_t)((c->bytes_max - (size_t)one[0] * bytes[0]) / bytes[1]);
            n[1] = n[1] < rest ? n[1] : rest;
        }
        if (n[1] < one[1])
            n[1] = one[1];
        if ((size_t)n[1] * bytes[1] < c->bytes_max && bytes[0])
            n[0] = (int64_t)((c->bytes_max - (size_t)n[1] * bytes[1]) / bytes[0]);
        if (!bytes[0]) /* every layer has a window: the global table only counts */
            n[0] = n[1] > one[0] ? n[1] : one[0];
    }
    if (n[0] < one[0] || n[0] > INT32_MAX / 4) {
        rc = err_set(e, ERR_LIMIT,
                     "%.1f MB of KV cache cannot hold one sequence of %d tokens (%.1f MB needed)",
                     (double)c->bytes_max / 1e6, c->context,
                     ((double)one[0] * (double)bytes[0] + (double)one[1] * (double)bytes[1]) / 1e6);
        goto fail;
    }
    for (int g = 0; g < kv->n_groups; g++) {
        rc = open_group(&kv->group[g], (int32_t)n[g], bytes[g], m->kv_window[g], e);
        if (rc)
            goto fail;
    }
    kv->n_nodes = (int32_t)n[0];
    for (kv->n_buckets = 64; kv->n_buckets < 2 * (uint32_t)kv->n_nodes;)
        kv->n_buckets *= 2;
    kv->node = calloc((size_t)kv->n_nodes, sizeof *kv->node);
    kv->bucket = malloc(kv->n_buckets * sizeof *kv->bucket);
    if (!kv->node || !kv->bucket) {
        rc = err_set(e, ERR_NOMEM, "no memory for the KV cache's tables");
        goto fail;
    }
    memset(kv->bucket, 0xff, kv->n_buckets * sizeof *kv->bucket);
    for (int32_t i = 0; i < kv->n_nodes; i++)
        kv->node[i].chain = i + 1 < kv->n_nodes ? i + 1 : -1;
    kv->seed = map_hash(&kv, sizeof kv, (uint64_t)(uintptr_t)kv);
    *ret = kv;
    return 0;
fail:
    kv_close(kv);
    return rc;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    for (int g = 0; g < 2; g++) {
        if (kv->group[g].base)
            munmap(kv->group[g].base, kv->group[g].map_bytes);
        free(kv->group[g].free);
    }
    free(kv->node);
    free(kv->bucket);
    free(kv);
}

void kv_stats(const struct kv *kv, struct kv_stats *ret)
{
    ret->n_pages = kv->group[0].n_pages;
    ret->n_free = kv->group[0].n_free;
    ret->n_cached = kv->group[0].n_idle;
    ret->bytes = kv->group[0].map_bytes + kv->group[1].map_bytes;
    ret->evictions = kv->evictions;
}

int kv_check(const struct kv *kv, struct kv_seq *const *seqs, int n)
{
    for (int g = 0; g < kv->n_groups; g++) {
        const struct group *gr = &kv->group[g];
        int32_t held = 0, idle = 0;
        uint8_t *seen = calloc((size_t)gr->n_pages, 1);
        int ok = seen != NULL;

        for (int32_t i = 0; ok && i < gr->n_free; i++)
            ok = !seen[gr->free[i]]++;
        for (int32_t i = gr->oldest; ok && i >= 0; i = kv->node[i].newer[g]) {
            ok = !seen[kv->node[i].page[g]]++ && kv->node[i].ref[g] == 0;
            idle++;
        }
        ok = ok && idle == gr->n_idle;
        for (int k = 0; ok && k < n; k++) {
            for (int32_t i = 0; ok && i < seqs[k]->n_pages; i++) {
                int32_t page = seqs[k]->page[g][i], node = seqs[k]->node[i];
                if (page < 0)
                    continue;
                ok = node < 0 ? !seen[page]
                              : kv->node[node].page[g] == page && kv->node[node].ref[g] > 0 &&
                                    seen[page] != 1;
                if (!seen[page])
                    held++;
                seen[page] = 2;
            }
        }
        ok = ok && held + idle + gr->n_free == gr->n_pages;
        free(seen);
        if (!ok)
            return 0;
    }
    return 1;
}
