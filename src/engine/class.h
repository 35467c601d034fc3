/* What the files of the engine share with its door, without including it. */
#ifndef ENGINE_CLASS_H
#define ENGINE_CLASS_H

/* The numeric class: what matrix products are computed with. q8: activations in int8 with a scale
 * for every 32. bf16: tokens of prompts in bf16, tokens of answers as in q8, also when an answer
 * comes back as part of a later prompt; it is fast on CPUs with AMX, a slow reference on others.
 * f32: floats throughout. AUTO: bf16 where it is fast, else q8. */
enum engine_class { ENGINE_AUTO, ENGINE_Q8, ENGINE_BF16, ENGINE_F32 };

/* Called from engine_open with progress 0..1 of a long load; may be NULL. */
typedef void engine_progress(void *arg, double done);

#endif
