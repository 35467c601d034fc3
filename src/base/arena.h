/* A bump allocator with a ceiling: one lifetime, freed at once (per request, per load).
 * Memory is 16-byte aligned and not zeroed unless asked. Not thread-safe. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_chunk *head;
    size_t used;  /* bytes handed out, with padding and what was left over of full chunks */
    size_t max;   /* ceiling for `used` */
    size_t chunk; /* size of an ordinary chunk */
    int failed;   /* why the last NULL was returned: ERR_LIMIT (max) or ERR_NOMEM; 0: none was */
};

void arena_init(struct arena *a, size_t chunk, size_t max); /* allocates nothing */
void arena_done(struct arena *a);

/* All return NULL when the ceiling or the system's memory is reached. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
void *arena_array(struct arena *a, size_t n, size_t size); /* n * size, checked for overflow */
void *arena_dup(struct arena *a, const void *p, size_t n);
char *arena_strndup(struct arena *a, const char *s, size_t n); /* NUL-terminated copy */
char *arena_strdup(struct arena *a, const char *s);

#endif
