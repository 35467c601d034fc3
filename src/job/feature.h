/* What a request may need beyond text in and text out, and a supplier may lack. */
#ifndef JOB_FEATURE_H
#define JOB_FEATURE_H

enum feature {
    FEATURE_TOOLS,
    FEATURE_FORMAT,    /* structured output */
    FEATURE_REASONING, /* split from the answer */
    FEATURE_IMAGES,
    FEATURE_SUFFIX, /* completion before a text */
    FEATURE_OTHER,
    FEATURES
};
#define FEATURES_ALL ((1u << FEATURES) - 1)

const char *feature_name(enum feature f); /* as a configuration has it */

#endif
