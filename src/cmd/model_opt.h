/* Options and opening of a model, shared by the commands that run one in this process. */
#ifndef CMD_MODEL_OPT_H
#define CMD_MODEL_OPT_H

#include "base/team.h"
#include "cmd/cmd.h"
#include "engine/engine.h"
#include "kern/kern.h"

struct model_opt {
    int cls, kv, no_cache, no_speculation, no_part_time;
    uint64_t kv_memory;
    int64_t context, chunk, batch, threads;
    const char *cpu, *template_file;
};

/* Rows for a command's table; `field` is its struct model_opt. */
#define MODEL_OPT_ROWS(s, field)                                                                   \
    OPT_INT('t', "threads", "N", "0", 0, TEAM_THREADS_MAX, s, field.threads,                       \
            "compute threads (0: all CPUs)"),                                                      \
        OPT_FLAG(0, "no-part-time", s, field.no_part_time,                                         \
                 "all threads in every step, also beside busy processes"),                         \
        OPT_CHOICE(0, "class", engine_class_words, "auto", s, field.cls,                           \
                   "numeric class: integer dot products (q8), prompts in bf16, everything in "     \
                   "float; auto: bf16 where the CPU has AMX, else q8"),                            \
        OPT_CHOICE(0, "kv", KERN_KV_WORDS, NULL, s, field.kv,                                      \
                   "type of the KV cache (f16, in class f32: f32)"),                               \
        OPT_SIZE(0, "kv-memory", NULL, s, field.kv_memory, "memory for the KV cache"),             \
        OPT_INT(0, "chunk", "N", "0", 0, 8192, s, field.chunk,                                     \
                "prompt tokens in one step (0: 512)"),                                             \
        OPT_FLAG(0, "no-prefix-cache", s, field.no_cache,                                          \
                 "do not share the KV cache of equal beginnings"),                                 \
        OPT_FLAG(0, "no-speculation", s, field.no_speculation,                                     \
                 "one token a step: draft nothing from the text so far"),                          \
        OPT_STR(0, "cpu", "ISA", "auto", s, field.cpu,                                             \
                "use kernels up to this: auto" KERN_ISA_LIST),                                     \
        OPT_FILE(0, "chat-template", NULL, s, field.template_file,                                 \
                 "chat template to use instead of the model's")

#define MODEL_OPT_CONTEXT(s, field)                                                                \
    OPT_INT('c', "context", "N", "0", 0, 1 << 24, s, field.context,                                \
            "context length in tokens (0: the trained length, as memory allows)")

/* A model opened for this process. */
struct model_run {
    char *path;
    struct preset sampling; /* the catalogue's, if any: the engine's info has what holds */
    struct team *team;
    struct engine *engine;
};

/* Resolve the spec (a path, or a name that was pulled), load, show progress on a terminal. */
int model_open(struct model_run *r, const char *spec, const struct model_opt *o, struct err *e);
void model_close(struct model_run *r); /* accepts a zeroed one */

/* The same without weights: for engine_info and text functions. */
int model_describe(struct model_run *r, const char *spec, const struct model_opt *o, struct err *e);

#endif
