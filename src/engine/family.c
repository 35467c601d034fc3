#include "engine/family.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

static const struct family families[] = {
    {.arch = "llama",
     .rope_adjacent = 1,
     .act = KERN_SILU,
     .moe = FAMILY_MAY_HAVE_EXPERTS,
     .expert_width_is_ff = 1,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.6, .top_p = 0.9}},
    {.arch = "qwen2",
     .act = KERN_SILU,
     .qkv_bias = 1,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.7, .top_p = 0.8, .top_k = 20}},
    {.arch = "qwen3",
     .act = KERN_SILU,
     .qk_norm = 1,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.6, .top_p = 0.95, .top_k = 20}},
    {.arch = "qwen3moe",
     .act = KERN_SILU,
     .qk_norm = 1,
     .moe = FAMILY_HAS_EXPERTS,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.6, .top_p = 0.95, .top_k = 20}},
    {.arch = "gemma3",
     .act = KERN_GELU_TANH,
     .embed_scale = 1,
     .layers_scaled_by_embd = 62, /* Gemma 3 27B */
     .qk_norm = 1,
     .post_norms = 1,
     .window_every = 6,
     .window_rope_base = 10000.0f,
     .window_rope_unscaled = 1,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 1, .top_p = 0.95, .top_k = 64}},
    {.arch = "gpt-oss",
     .act = KERN_SWIGLU_OAI,
     .qkv_bias = 1,
     .moe = FAMILY_HAS_EXPERTS,
     .expert_bias = 1,
     .sinks = 1,
     .window_every = 2,
     .ffn_norm = "post_attention_norm",
     .sampling = {.temperature = 1, .top_p = 1}},
};

const struct family *family_find(const char *arch, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        if (strlen(families[i].arch) == n && !memcmp(families[i].arch, arch, n))
            return &families[i];
    }
    return NULL;
}

void family_list(char *out, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(families) && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? ", " : "", families[i].arch);
}
