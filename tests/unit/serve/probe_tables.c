/* The tables of docs/operations.md come from the tables in the code.
 *
 *   probe_tables            print them, to be pasted
 *   probe_tables FILE       check that FILE has every row (TAP) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/console.h"
#include "serve/serve.h"

static const char *const kinds[] = {"counter", "gauge",     "gauge",
                                    "counter", "histogram", "histogram"};

static void metrics(struct buf *out)
{
    const struct metric_def *d;

    buf_add_str(out, "| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for (int i = 0; console_metric_row(i, &d); i++) {
        buf_addf(out, "| `%s` | %s |", d->name, kinds[d->kind]);
        for (int k = 0; k < METRIC_LABELS_MAX && d->label[k]; k++)
            buf_addf(out, "%s%s", k ? ", " : " ", d->label[k]);
        buf_addf(out, " | %s |\n", d->help);
    }
}

static char *read_file(const char *path)
{
    struct buf b;
    char chunk[4096];
    size_t n;
    FILE *f = fopen(path, "r");

    buf_init(&b, 1 << 22);
    while (f && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
        buf_add(&b, chunk, n);
    if (f)
        fclose(f);
    return b.data;
}

int main(int argc, char **argv)
{
    struct buf all;
    char *page, *save = NULL;
    int n = 0, missing = 0;

    buf_init(&all, 1 << 20);
    serve_config_doc(&all);
    buf_add_char(&all, '\n');
    metrics(&all);
    if (argc < 2) {
        fputs(all.data, stdout);
        buf_done(&all);
        return 0;
    }
    page = read_file(argv[1]);
    for (char *line = strtok_r(all.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        n++;
        if (!page || !strstr(page, line)) {
            printf("# missing: %s\n", line);
            missing++;
        }
    }
    printf("1..1\n%s 1 - settings and metrics: %d rows\n", missing ? "not ok" : "ok", n);
    free(page);
    buf_done(&all);
    return missing != 0;
}
