/* What a request says of where it comes from: one line each of Host, Origin, Sec-Fetch-Site and
 * Sec-Fetch-Mode, then of the settings cors_origin and allowed_hosts. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "serve/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *rest = text, *line[6] = {0};
    struct serve_config c;
    struct origin_ask ask;
    struct err e = {0};
    const char *cors;
    int r;

    CHECK(text);
    memcpy(text, data, n);
    text[n] = 0;
    for (int i = 0; i < 6 && rest; i++)
        line[i] = strsep(&rest, "\n");
    serve_config_init(&c);
    c.is_wide = n & 1;
    if (line[4])
        serve_config_flag(&c, "cors_origin", line[4], &e);
    if (line[5])
        serve_config_flag(&c, "allowed_hosts", line[5], &e);
    for (int i = 0; i < c.cors_origin.n; i++)
        origin_is_valid(c.cors_origin.v[i]);
    for (int i = 0; i < c.allowed_hosts.n; i++)
        origin_host_is_valid(c.allowed_hosts.v[i]);
    ask = (struct origin_ask){line[0], line[1], line[2], line[3], n & 2};
    r = origin_check(&c, &ask, &cors, &e);
    CHECK(!r || (r == ERR_FORBIDDEN && !cors && e.text[0]));
    /* Nobody but the browser's own page, where no settings let others in. */
    if (!line[4] && !line[5] && !r && line[0] && *line[0] && line[2] &&
        !strcmp(line[2], "cross-site"))
        CHECK(ask.is_page && line[3] && !strcmp(line[3], "navigate"));
    if (!r && origin_is_own(&c, &ask))
        CHECK(!origin_check(&c, &ask, &cors, &e));
    serve_config_done(&c);
    free(text);
    return 0;
}
