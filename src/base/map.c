#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rand.h"

struct map_slot {
    uint32_t hash; /* 0 marks an empty slot */
    uint32_t value;
    uint32_t off, len;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t p = (__uint128_t)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static uint64_t load32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

uint64_t map_hash(const void *key, size_t n, uint64_t seed)
{
    const uint64_t k0 = 0xa0761d6478bd642full, k1 = 0xe7037ed1a0b428dbull;
    const unsigned char *p = key;
    uint64_t h = seed ^ mix(seed ^ k0, n ^ k1), a = 0, b = 0;

    while (n > 16) {
        h = mix(load64(p) ^ k1, load64(p + 8) ^ h);
        p += 16;
        n -= 16;
    }
    /* Up to 16 bytes, all of them in a and b; loads may overlap, for the length is hashed too. */
    if (n >= 8) {
        a = load64(p);
        b = load64(p + n - 8);
    } else if (n >= 4) {
        a = load32(p);
        b = load32(p + n - 4);
    } else if (n) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[n / 2] << 8 | p[n - 1];
    }
    h = mix(a ^ k1, b ^ h);
    return mix(h ^ k0, k1);
}

int map_init(struct map *m, size_t n_expected)
{
    size_t cap = 16;

    *m = (struct map){0};
    if (rand_system(&m->seed, sizeof m->seed))
        return ERR_IO;
    while (cap < n_expected + n_expected / 2)
        cap *= 2;
    m->slots = calloc(cap, sizeof *m->slots);
    if (!m->slots)
        return ERR_NOMEM;
    m->cap = cap;
    return 0;
}

void map_done(struct map *m)
{
    free(m->slots);
    free(m->keys);
    *m = (struct map){0};
}

static struct map_slot *probe(const struct map *m, const void *key, size_t len, uint32_t hash)
{
    size_t i = hash & (m->cap - 1);
    for (;;) {
        struct map_slot *s = &m->slots[i];
        if (!s->hash)
            return s;
        if (s->hash == hash && s->len == len && !memcmp(m->keys + s->off, key, len))
            return s;
        i = (i + 1) & (m->cap - 1);
    }
}

static uint32_t hash32(const struct map *m, const void *key, size_t len)
{
    uint32_t h = (uint32_t)map_hash(key, len, m->seed);
    return h ? h : 1;
}

static int grow(struct map *m)
{
    struct map_slot *old = m->slots;
    size_t old_cap = m->cap;
    struct map_slot *slots = calloc(old_cap * 2, sizeof *slots);

    if (!slots)
        return ERR_NOMEM;
    m->slots = slots;
    m->cap = old_cap * 2;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].hash) {
            size_t j = old[i].hash & (m->cap - 1);
            while (slots[j].hash)
                j = (j + 1) & (m->cap - 1);
            slots[j] = old[i];
        }
    }
    free(old);
    return 0;
}

uint32_t map_aim(const struct map *m, const void *key, size_t len)
{
    uint32_t hash = hash32(m, key, len);

    __builtin_prefetch(&m->slots[hash & (m->cap - 1)]);
    return hash;
}

/* Room for one more entry and its key. */
static int reserve(struct map *m, size_t len)
{
    size_t cap = m->keys_cap ? m->keys_cap : 256;
    char *p;

    if ((m->n + 1) * 4 > m->cap * 3 && grow(m))
        return ERR_NOMEM;
    if (m->keys_len + len + 1 <= m->keys_cap)
        return 0;
    while (cap < m->keys_len + len + 1)
        cap *= 2;
    if (cap > UINT32_MAX)
        return ERR_NOMEM;
    p = realloc(m->keys, cap);
    if (!p)
        return ERR_NOMEM;
    m->keys = p;
    m->keys_cap = cap;
    return 0;
}

/* The slot of the key, made when it is new; NULL: out of memory. */
static struct map_slot *slot_for(struct map *m, uint32_t hash, const void *key, size_t len,
                                 int *ret_is_new)
{
    struct map_slot *s;

    if (reserve(m, len))
        return NULL;
    s = probe(m, key, len, hash);
    *ret_is_new = !s->hash;
    if (!s->hash) {
        memcpy(m->keys + m->keys_len, key, len);
        *s = (struct map_slot){hash, 0, (uint32_t)m->keys_len, (uint32_t)len};
        m->keys_len += len;
        m->n++;
    }
    return s;
}

int map_put(struct map *m, const void *key, size_t len, uint32_t value)
{
    int is_new;
    struct map_slot *s = slot_for(m, hash32(m, key, len), key, len, &is_new);

    if (!s)
        return ERR_NOMEM;
    s->value = value;
    return 0;
}

int map_add_aimed(struct map *m, uint32_t aim, const void *key, size_t len, uint32_t value,
                  uint32_t *ret_other)
{
    int is_new;
    struct map_slot *s = slot_for(m, aim, key, len, &is_new);

    if (!s)
        return ERR_NOMEM;
    if (!is_new) {
        *ret_other = s->value;
        return 0;
    }
    s->value = value;
    return 1;
}

int map_get_aimed(const struct map *m, uint32_t aim, const void *key, size_t len,
                  uint32_t *ret_value)
{
    const struct map_slot *s = probe(m, key, len, aim);

    if (!s->hash)
        return 0;
    *ret_value = s->value;
    return 1;
}

int map_get(const struct map *m, const void *key, size_t len, uint32_t *ret_value)
{
    return m->n ? map_get_aimed(m, hash32(m, key, len), key, len, ret_value) : 0;
}
