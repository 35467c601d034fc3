/* The tables of docs/api.md come from the tables in the code.
 *
 *   docs_tables            print them, to be pasted
 *   docs_tables FILE       check that FILE has every row (TAP) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"

static char *page;
static int n_rows, n_missing;

static void row(const char *line)
{
    n_rows++;
    if (!page) {
        puts(line);
    } else if (!strstr(page, line)) {
        printf("# missing: %s\n", line);
        n_missing++;
    }
}

static void verdict(int number, const char *what)
{
    if (page)
        printf("%s %d - %s: %d rows\n", n_missing ? "not ok" : "ok", number, what, n_rows);
    else
        puts("");
    n_rows = n_missing = 0;
}

static const char *field_note(const struct api_field_doc *d)
{
    return d->state == API_FIELD_IGNORED
               ? d->extension ? "extension; accepted, without effect" : "accepted, without effect"
           : d->state == API_FIELD_UNBUILT ? "anything else: not built yet (400)"
           : d->extension                  ? "extension"
                                           : "";
}

static void fields(void)
{
    static const char *const kinds[] = {"", "chat", "completions", "both"};
    struct api_field_doc d;
    char line[512];

    for (int i = 0; api_field_row(i, &d); i++) {
        snprintf(line, sizeof line, "| `%s` | %s | %s | %s | %s | %s |", d.name, kinds[d.kinds],
                 d.type, d.range, d.dflt, field_note(&d));
        row(line);
    }
    for (int i = 0; api_header_row(i, &d); i++) {
        snprintf(line, sizeof line, "| `%s` | %s | %s | %s |", d.name, d.type, d.range,
                 field_note(&d));
        row(line);
    }
    verdict(1, "request fields and headers");
}

static void routes(void)
{
    const char *path;
    unsigned methods;
    char line[256];
    int built;

    for (int i = 0; api_route_row(i, &path, &methods, &built); i++) {
        char names[64];
        api_allow_text(methods, names);
        snprintf(line, sizeof line, "| `%s` | %s | %s |", path, names,
                 built ? "served" : "not built yet (400)");
        row(line);
    }
    verdict(2, "routes");
}

static void errors(void)
{
    struct api_error_doc d;
    char line[256];

    for (int i = 0; api_error_row(i, &d); i++) {
        snprintf(line, sizeof line, "| %d | `%s` | `%s` | %s | %s |", d.status, d.type, d.code,
                 d.param ? d.param : "the field, or none", d.when);
        row(line);
    }
    verdict(3, "errors");
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        FILE *f = fopen(argv[1], "rb");
        size_t n;
        page = calloc(1, 1 << 20);
        if (!f || !page) {
            printf("1..1\nnot ok 1 - cannot read %s\n", argv[1]);
            return 1;
        }
        n = fread(page, 1, (1 << 20) - 1, f);
        page[n] = 0;
        fclose(f);
        puts("1..3");
    }
    fields();
    routes();
    errors();
    free(page);
    return 0;
}
