#include "engine/family.h"

#include <string.h>

#include "base/check.h"

static const struct family families[] = {
    {.arch = "llama",
     .models = "Llama 2/3.x, Mistral, Mixtral, SmolLM2",
     .rope_adjacent = 1,
     .act = KERN_SILU,
     .moe = 1,
     .gating = FAMILY_SOFTMAX_THEN_TOP,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.6, .top_p = 0.9}},
    {.arch = "qwen2",
     .models = "Qwen2, Qwen2.5",
     .act = KERN_SILU,
     .qkv_bias = 1,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.7, .top_p = 0.8, .top_k = 20}},
    {.arch = "qwen3",
     .models = "Qwen3",
     .act = KERN_SILU,
     .qk_norm = 1,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.6, .top_p = 0.95, .top_k = 20}},
    {.arch = "qwen3moe",
     .models = "Qwen3 MoE",
     .act = KERN_SILU,
     .qk_norm = 1,
     .moe = 2,
     .gating = FAMILY_SOFTMAX_THEN_TOP,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 0.6, .top_p = 0.95, .top_k = 20}},
    {.arch = "gemma3",
     .models = "Gemma 3",
     .act = KERN_GELU_TANH,
     .embed_scale = 1,
     .qk_norm = 1,
     .post_norms = 1,
     .window_every = 6,
     .window_rope_base = 10000.0f,
     .window_rope_unscaled = 1,
     .ffn_norm = "ffn_norm",
     .sampling = {.temperature = 1, .top_p = 0.95, .top_k = 64}},
    {.arch = "gpt-oss",
     .models = "gpt-oss",
     .act = KERN_SWIGLU_OAI,
     .qkv_bias = 1,
     .moe = 2,
     .gating = FAMILY_TOP_THEN_SOFTMAX,
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

const char *family_list(void)
{
    return "llama, qwen2, qwen3, qwen3moe, gemma3, gpt-oss";
}
