#include "text/special.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rand.h"

struct special_edge {
    uint64_t key; /* node << 8 | byte, plus 1; 0 marks an empty slot */
    uint32_t to;
};

int special_init(struct special *s, size_t n_bytes)
{
    *s = (struct special){.edge_cap = 16};
    while (s->edge_cap < 2 * n_bytes)
        s->edge_cap *= 2;
    s->node_cap = n_bytes + 1;
    s->edge = calloc(s->edge_cap, sizeof *s->edge);
    s->id = malloc(s->node_cap * sizeof *s->id);
    s->guarded = calloc(s->node_cap, 1);
    s->pair = calloc(65536 / 64, sizeof *s->pair);
    if (!s->edge || !s->id || !s->guarded || !s->pair || rand_system(&s->seed, sizeof s->seed)) {
        special_done(s);
        return ERR_NOMEM;
    }
    s->id[0] = -1;
    s->n_nodes = 1;
    return 0;
}

void special_done(struct special *s)
{
    free(s->edge);
    free(s->id);
    free(s->guarded);
    free(s->pair);
    *s = (struct special){0};
}

size_t special_memory(const struct special *s)
{
    return s->edge_cap * sizeof *s->edge + s->node_cap * 5 + 65536 / 8;
}

static struct special_edge *find_edge(const struct special *s, uint32_t node, unsigned char byte)
{
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    uint64_t h = (key ^ s->seed) * 0x9e3779b97f4a7c15ull;
    size_t i = (h ^ h >> 32) & (s->edge_cap - 1);

    while (s->edge[i].key && s->edge[i].key != key)
        i = (i + 1) & (s->edge_cap - 1);
    return &s->edge[i];
}

int special_add(struct special *s, const char *text, size_t n, int32_t id, int guarded)
{
    const unsigned char *p = (const unsigned char *)text;
    uint32_t node = 0;

    CHECK(n > 0 && n <= SPECIAL_LEN_MAX);
    for (size_t i = 0; i < n; i++) {
        struct special_edge *edge = find_edge(s, node, p[i]);
        if (!edge->key) {
            CHECK(s->n_nodes < s->node_cap);
            edge->key = ((uint64_t)node << 8 | p[i]) + 1;
            edge->to = (uint32_t)s->n_nodes++;
            s->id[edge->to] = -1;
        }
        node = edge->to;
    }
    if (s->id[node] < 0) {
        s->id[node] = id;
        s->guarded[node] = guarded != 0;
    }
    for (unsigned b = 0; b < 256; b++)
        if (n == 1 || b == p[1])
            s->pair[(p[0] << 8 | b) / 64] |= 1ull << (b % 64);
    return 0;
}

/* The longest acceptable token that begins at text[at]; its end, or 0. */
static size_t match_at(const struct special *s, const char *text, size_t n, size_t at,
                       size_t trusted_end, int32_t *ret_id)
{
    uint32_t node = 0;
    size_t end = 0;

    for (size_t i = at; i < n; i++) {
        const struct special_edge *edge = find_edge(s, node, (unsigned char)text[i]);
        if (!edge->key)
            break;
        node = edge->to;
        if (s->id[node] >= 0 && (!s->guarded[node] || i + 1 <= trusted_end)) {
            *ret_id = s->id[node];
            end = i + 1;
        }
    }
    return end;
}

int special_next(const struct special *s, const char *text, size_t n, size_t from,
                 const struct vocab_span *trusted, size_t n_trusted, size_t *span,
                 struct special_hit *ret)
{
    const unsigned char *p = (const unsigned char *)text;

    if (s->n_nodes <= 1)
        return 0;
    for (size_t i = from; i < n; i++) {
        /* the last byte has no second one; any will do, as a set bit only means to look closer */
        unsigned b = i + 1 < n ? p[i + 1] : 0;
        size_t inside, end;
        int32_t id = -1;
        if (i + 1 < n && !(s->pair[(p[i] << 8 | b) / 64] >> (b % 64) & 1))
            continue;
        while (*span < n_trusted && trusted[*span].end <= i)
            ++*span;
        inside = *span < n_trusted && trusted[*span].begin <= i ? trusted[*span].end : 0;
        end = match_at(s, text, n, i, inside, &id);
        if (end) {
            *ret = (struct special_hit){.begin = i, .end = end, .id = id};
            return 1;
        }
    }
    return 0;
}
