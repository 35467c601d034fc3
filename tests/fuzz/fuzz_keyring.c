/* Fuzz target: the file of API keys. What is taken has well-formed names, tenants in range, and
 * settings that show as texts which read back as the same. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "cloud/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const struct account_settings *s)
{
    struct account_settings again = account_unsaid();
    char a[ACCOUNT_TEXT_MAX], b[ACCOUNT_TEXT_MAX];
    struct err e;

    for (int i = 0; i < account_n_fields; i++) {
        const struct account_field *f = &account_fields[i];
        if (!account_field_show(s, f, a))
            continue;
        CHECK(!account_field_set(&again, f, a, &e));
        CHECK(account_field_show(&again, f, b) && !strcmp(a, b));
    }
    account_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_table *t = NULL;
    struct err e = {0};

    if (key_table_parse(&t, "f", (const char *)data, size, &e)) {
        CHECK(!t && !strncmp(e.text, "f:", 2));
        return 0;
    }
    CHECK(t->n_tenants >= 1 && t->n_tenants <= CLOUD_TENANTS_MAX && t->n_lines <= CLOUD_KEYS_MAX);
    for (int i = 0; i < t->n_tenants; i++)
        CHECK(account_name_ok(t->tenants[i].name) && t->tenants[i].settings.concurrency >= -1);
    for (int i = 0; i < t->n_lines; i++)
        CHECK(account_name_ok(t->lines[i].id) && t->lines[i].i_tenant < t->n_tenants);
    for (int i = 0; i < t->n_tenants; i++)
        check_texts(&t->tenants[i].settings);
    for (int i = 0; i < t->n_lines; i++)
        check_texts(&t->lines[i].settings);
    key_table_free(t);
    return 0;
}
