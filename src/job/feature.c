#include "job/feature.h"

const char *feature_name(enum feature f)
{
    static const char *const names[FEATURES] = {"tools",  "response_format", "reasoning",
                                                "images", "suffix",          "other"};

    return names[f];
}
