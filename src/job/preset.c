#include "job/preset.h"

struct preset preset_plain(void)
{
    return (struct preset){.temperature = 1, .top_p = 1};
}

int preset_is_valid(const struct preset *s)
{
    return s->temperature >= 0 && s->temperature <= 2 && s->top_p > 0 && s->top_p <= 1 &&
           s->min_p >= 0 && s->min_p <= 1 && s->top_k >= 0 && s->top_k <= PRESET_TOP_K_MAX;
}

int preset_put(struct buf *out, const struct preset *s)
{
    return buf_addf(out, "{\"temperature\":%.6g,\"top_p\":%.6g,\"top_k\":%d,\"min_p\":%.6g}",
                    s->temperature, s->top_p, s->top_k, s->min_p);
}

int preset_tell(struct buf *out, const struct preset *s)
{
    buf_addf(out, "temperature %.6g", s->temperature);
    if (s->top_p < 1)
        buf_addf(out, ", top_p %.6g", s->top_p);
    if (s->top_k > 0)
        buf_addf(out, ", top_k %d", s->top_k);
    if (s->min_p > 0)
        buf_addf(out, ", min_p %.6g", s->min_p);
    return out->failed;
}
