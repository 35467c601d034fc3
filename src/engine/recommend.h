/* Which sampling is recommended for a model: what the caller knows of it, else what its file says,
 * else what its family's makers say. */
#ifndef ENGINE_RECOMMEND_H
#define ENGINE_RECOMMEND_H

#include "engine/family.h"
#include "engine/gguf.h"
#include "job/preset.h"

/* The first source that states any value decides; parameters that it does not state are off. A file
 * with a value that is out of bounds or of another type is passed over. `given` may be NULL.
 * Returns the source's name: "catalogue", "file", "family". */
const char *recommend_sampling(const struct preset *given, const struct gguf *g,
                               const struct family *f, struct preset *ret);

#endif
