/* Hash map from byte strings to 32-bit values: vocabularies, merges, name tables.
 *
 * Open addressing, linear probing. Keys are copied into the map; the hash is seeded per process,
 * so that keys from a file or a client cannot be chosen to collide. Readers may share a map that
 * nobody writes. Limit: 2^31 entries, 2^32 key bytes. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map {
    struct map_slot *slots;
    char *keys;
    size_t n, cap; /* entries; slots, a power of two */
    size_t keys_len, keys_cap;
    uint64_t seed;
};

int map_init(struct map *m, size_t n_expected); /* 0, ERR_NOMEM, ERR_IO: no random seed */
void map_done(struct map *m);
/* Insert or replace; 0 or ERR_NOMEM. */
int map_put(struct map *m, const void *key, size_t key_len, uint32_t value);
/* 1 and *ret_value when found, else 0. */
int map_get(const struct map *m, const void *key, size_t key_len, uint32_t *ret_value);

/* The same in two steps, for looking up many keys in a row. map_aim hashes the key and prefetches
 * its slot; the caller calls it for a few keys, so that their slots come into the cache together,
 * and then passes each result as `aim` below. An aim stays valid until map_done. */
uint32_t map_aim(const struct map *m, const void *key, size_t key_len);
int map_get_aimed(const struct map *m, uint32_t aim, const void *key, size_t key_len,
                  uint32_t *ret_value);
/* 1: added; 0: there already with *ret_other, and not changed; or ERR_NOMEM. */
int map_add_aimed(struct map *m, uint32_t aim, const void *key, size_t key_len, uint32_t value,
                  uint32_t *ret_other);

/* The keyed hash itself (wyhash-like mixing; not cryptographic). */
uint64_t map_hash(const void *p, size_t n, uint64_t seed);

#endif
