/* The fields that a browser sends for the page's files, and a request's target: Accept-Encoding,
 * If-None-Match and the target, one a line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/sse.h"
#include "base/check.h"
#include "console/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *rest = text, *line[3] = {0};

    CHECK(text);
    memcpy(text, data, n);
    text[n] = 0;
    for (int i = 0; i < 3 && rest; i++)
        line[i] = strsep(&rest, "\n");
    page_takes_gzip(line[0]);
    page_has_tag(line[1], "\"tag\"");
    CHECK(api_sse_frame(line[1]));
    if (line[2])
        page_find(line[2]);
    free(text);
    return 0;
}
