#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud/keyring.h"

#define SALT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HASH "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

static char dir[] = "/tmp/gaufre-key-XXXXXX", path[128];

static int setup(void **state)
{
    strcpy(dir, "/tmp/gaufre-key-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/keys", dir);
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    return rmdir(dir);
}

static const struct key_line *key_find(const struct key_table *t, const char *key, size_t n)
{
    unsigned char hash[KEY_HASH_BYTES];

    key_hash(t->salt, key, n, hash);
    for (int i = 0; i < t->n_lines; i++) {
        if (!memcmp(hash, t->lines[i].hash, sizeof hash))
            return &t->lines[i];
    }
    return NULL;
}

static void make_and_find(void **state)
{
    char a[CLOUD_KEY_TEXT_MAX], b[CLOUD_KEY_TEXT_MAX], line[1024];
    struct key_table *t = NULL;
    struct err e = {0};
    struct stat st;
    struct buf out;
    FILE *f;

    assert_int_equal(cloud_key_new(path, "alice", NULL, a, &e), 0);
    assert_int_equal(cloud_key_new(path, "bob", "acme", b, &e), 0);
    assert_int_equal(cloud_key_new(path, "bob", NULL, b, &e), ERR_EXISTS);
    assert_string_not_equal(a, b);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    f = fopen(path, "r");
    while (fgets(line, sizeof line, f)) {
        assert_null(strstr(line, a)); /* the key itself is nowhere */
        assert_null(strstr(line, b));
    }
    fclose(f);

    assert_int_equal(key_table_load(&t, path, &e), 0);
    assert_int_equal(t->n_lines, 2);
    assert_string_equal(key_find(t, a, strlen(a))->id, "alice");
    assert_int_equal(key_find(t, a, strlen(a))->i_tenant, 0);
    assert_string_equal(t->tenants[key_find(t, b, strlen(b))->i_tenant].name, "acme");
    assert_null(key_find(t, a, strlen(a) - 1));
    assert_null(key_find(t, "", 0));
    key_table_free(t);

    /* A key of one's own. */
    buf_init(&out, 1024);
    assert_int_equal(cloud_key_line(path, "carol", "acme", "my own key", &out, &e), 0);
    f = fopen(path, "a");
    fputs(out.data, f);
    fclose(f);
    t = NULL;
    assert_int_equal(key_table_load(&t, path, &e), 0);
    assert_string_equal(key_find(t, "my own key", 10)->id, "carol");
    key_table_free(t);
    buf_done(&out);
}

static int mode(void)
{
    struct stat st;

    return stat(path, &st) ? -1 : (int)(st.st_mode & 0777);
}

static void file_is_private(void **state)
{
    mode_t mask = umask(0);
    char key[CLOUD_KEY_TEXT_MAX];
    struct err e = {0};

    assert_int_equal(cloud_key_new(path, "a", NULL, key, &e), 0);
    assert_int_equal(mode(), 0600);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(cloud_key_new(path, "b", NULL, key, &e), 0);
    assert_int_equal(mode(), 0600);
    assert_int_equal(chmod(path, 0640), 0); /* on purpose, for a group */
    assert_int_equal(cloud_key_new(path, "c", NULL, key, &e), 0);
    assert_int_equal(mode(), 0640);
    umask(mask);
}

/* What a full disk takes of a line is taken back. */
static void full_disk(void **state)
{
    char key[CLOUD_KEY_TEXT_MAX];
    struct key_table *t = NULL;
    struct rlimit limit, all;
    struct err e = {0};
    struct stat st;

    signal(SIGXFSZ, SIG_IGN); /* as the program does */
    assert_int_equal(cloud_key_new(path, "a", NULL, key, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    limit = (struct rlimit){(rlim_t)st.st_size + 20, all.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(cloud_key_new(path, "b", NULL, key, &e), ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    assert_non_null(strstr(e.text, "keys file"));
    assert_int_equal(key_table_load(&t, path, &e), 0);
    assert_int_equal(t->n_lines, 1);
    key_table_free(t);
    assert_int_equal(cloud_key_new(path, "b", NULL, key, &e), 0);
}

static void limits(void **state)
{
    static const char text[] = "# comment\n\nsalt " SALT "\r\n"
                               "tenant acme requests_per_minute=60 concurrency=4 # and so on\n"
                               "tenant default tokens_per_minute=0\n"
                               "key k1 " HASH " tenant=acme\nkey k2 " HASH;
    struct key_table *t = NULL;
    struct err e = {0};

    assert_int_equal(key_table_parse(&t, "f", text, sizeof text - 1, &e), 0);
    assert_int_equal(t->n_tenants, 2);
    assert_int_equal(t->tenants[0].settings.tokens_per_minute, 0);
    assert_int_equal(t->tenants[1].settings.requests_per_minute, 60);
    assert_int_equal(t->tenants[1].settings.tokens_per_minute, -1);
    assert_int_equal(t->tenants[1].settings.concurrency, 4);
    assert_int_equal(t->n_lines, 2);
    key_table_free(t);
}

static void tiers(void **state)
{
    static const char text[] =
        "salt " SALT "\ntenant acme tiers=default,flex,priority concurrency=4\n"
        "key k1 " HASH " tiers=flex tenant=acme\nkey k2 " HASH " tenant=b tiers=batch";
    struct key_table *t = NULL;
    struct err e = {0};

    assert_int_equal(key_table_parse(&t, "f", text, sizeof text - 1, &e), 0);
    assert_int_equal(t->tenants[1].settings.tiers, 7);
    assert_int_equal(t->tenants[1].settings.concurrency, 4);
    assert_int_equal(t->lines[0].settings.tiers, 1 << TIER_FLEX);
    assert_int_equal(t->lines[0].i_tenant, 1);
    assert_int_equal(t->lines[1].settings.tiers, 1 << TIER_BATCH);
    assert_int_equal(t->tenants[2].settings.tiers, -1); /* not said */
    key_table_free(t);
}

static void refuses(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"key a " HASH "\n", "f:1: a 'salt' line must come before"},
        {"salt " SALT "\nsalt " SALT "\n", "f:2: 'salt' wants 64 hex digits, once"},
        {"salt 00\n", "f:1: 'salt' wants"},
        {"salt " SALT "\nkey a secret\n", "f:2: the hash of key 'a' is not 64 hex"},
        {"salt " SALT "\nkey a " HASH "\nkey a " HASH "\n", "f:3: key id 'a' is there twice"},
        {"salt " SALT "\nkey a/b " HASH "\n", "f:2: 'key' wants"},
        {"salt " SALT "\nkey a " HASH " acme\n", "f:2: unknown limit 'acme' of a key"},
        {"salt " SALT "\nkey a " HASH " tenant=\n", "'' is no tenant's name"},
        {"salt " SALT "\nkey a " HASH " tiers=flex,gold\n", "'gold' is not one of the tiers"},
        {"tenant a tiers=auto\n", "f:1: tiers: 'auto' is not one of the tiers"},
        {"tenant a tiers=,\n", "f:1: tiers: '' is not one of the tiers"},
        {"tenant a tiers\n", "f:1: unknown limit 'tiers'"},
        {"tenant a rpm=1\n", "f:1: unknown limit 'rpm'"},
        {"tenant a concurrency\n", "f:1: unknown limit 'concurrency'"},
        {"tenant a concurrency=-1\n", "f:1: concurrency: wants a count"},
        {"tenant a concurrency=99999999999999999999\n", "wants a count"},
        {"gf-abcdef\n", "f:1: a line begins with"},
        {"tenant a budget_zone=Europe/Atlantis\n", "Europe/Atlantis"},
        {"tenant a budget_zone=../../etc/passwd\n", "no name of a time zone"},
        {"tenant a token_budget_per_day=-1\n", "wants a count"},
        {"tenant a budget_per_day=50\n", "no amount of money"},
        {"tenant a budget_per_day=-1EUR\n", "no amount of money"},
        {"tenant a budget=1EUR budget_per_day=1USD\n", "all in one currency, here EUR"},
        {"tenant a models=a;b\n", "models: 'a;b' is not a name"},
        {"tenant a networks=10.0.0.0/33\n", "networks: '10.0.0.0/33' is not a network"},
        {"tenant a labels=env\n", "labels: 'env' is not a label"},
        {"tenant a labels=env=a,env=b\n", "two labels have the name 'env'"},
        {"tenant a expires=2027-01-01\n", "unknown limit 'expires' of a tenant"},
        {"salt " SALT "\nkey a " HASH " expires=tomorrow\n", "'tomorrow' is no time"},
        {"a b c d e f g h i j k l m n o p q r s t u v w x y\n", "f:1: too many words"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct key_table *t = NULL;
        struct err e = {0};
        assert_int_equal(key_table_parse(&t, "f", cases[i].text, strlen(cases[i].text), &e),
                         ERR_FORMAT);
        assert_null(t);
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.text, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(make_and_find, setup, teardown),
        cmocka_unit_test_setup_teardown(file_is_private, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
        cmocka_unit_test(limits),
        cmocka_unit_test(tiers),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
