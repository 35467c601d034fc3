/* The configuration file as a whole: its sections, as a schema for editors and as a commented file
 * to begin with. */
#include "base/check.h"
#include "base/config_form.h"
#include "base/json_write.h"
#include "serve/serve.h"

#define IN_MAX 5
enum { FORM_LIST, FORM_NAMES /* an element may be a name alone */, FORM_MAP /* one map only */ };

/* Lists at the top of the file: a table of settings for each of their maps; and maps. */
static const struct section {
    const char *name, *help;
    const struct config_setting *rows[2]; /* the second may be NULL */
    const char *required;                 /* of a map; NULL: nothing is */
    int form;                             /* FORM_* */
    struct {
        const char *name, *help;
        const struct config_setting *rows;
        const char *required; /* of one map; NULL: it is a list of maps */
    } in[IN_MAX];             /* in each of its maps; those without a name: none */
} sections[] = {
    {"models",
     "what is served: names or paths, or maps with settings of their own",
     {serve_naming, serve_model_settings},
     "model",
     1,
     {{0}}},
    {"suppliers",
     "services elsewhere that serve models too",
     {serve_supplier_settings},
     "base_url",
     0,
     {{"keys", "several keys, in place of key_env and key_file", serve_key_settings, NULL}}},
    {"sites",
     "places with machines and power, to which suppliers belong",
     {serve_site_settings},
     "name",
     0,
     {{"environment", "its sensors: what they say lowers the factor", serve_sensor_settings, NULL},
      {"lifecycle", "its states and their dates, in place of 'state'", serve_lifecycle_settings,
       NULL},
      {"power", "its megawatts by dates, in place of those for all time", serve_power_settings,
       NULL},
      {"curtailment", "when it uses less, because the grid asks for it", serve_curtail_settings,
       NULL},
      {"slurm", "its nodes that Slurm may use while they are idle", serve_slurm_settings,
       "\"partition\",\"nodes\""}}},
    {"prices", "what tokens cost", {serve_price_settings}, "output", 0, {{0}}},
    {"rates", "what suppliers' currencies are worth", {serve_rate_settings}, "rate", 0, {{0}}},
    {"tenants", "who pays, and what they may use", {serve_tenant_settings}, "name", 0, {{0}}},
    {"teams",
     "parts of tenants, with limits of their own",
     {serve_team_settings},
     "name",
     0,
     {{0}}},
    {"api_keys",
     "keys by reference: in the environment or in files",
     {serve_api_key_settings},
     "name",
     0,
     {{0}}},
    {"routes", "how the suppliers of a model are chosen", {serve_route_settings}, NULL, 0, {{0}}},
    {.name = "energy",
     .help = "where the energy that requests use is read",
     .rows = {serve_energy_settings},
     .form = FORM_MAP},
    {"webhooks", "who is told about budgets and keys", {serve_webhook_settings}, "url", 0, {{0}}},
};

/* ---- schema ---------------------------------------------------------------------------------- */

/* A map of the rows. */
static void put_map(const struct section *s, struct buf *out)
{
    buf_add_str(out, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    config_schema(s->rows[0], 1, out);
    if (s->rows[1])
        config_schema(s->rows[1], 0, out);
    for (int i = 0; i < IN_MAX && s->in[i].name; i++) {
        const char *required = s->in[i].required;
        buf_addf(out, ",\"%s\":{\"description\":", s->in[i].name);
        json_put_str(out, s->in[i].help);
        buf_add_str(out, required ? "," : ",\"type\":\"array\",\"items\":{");
        buf_add_str(out, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
        config_schema(s->in[i].rows, 1, out);
        if (required)
            buf_addf(out, "},\"required\":[%s]}", required);
        else
            buf_add_str(out, "}}}");
    }
    buf_add_char(out, '}');
    if (s->required)
        buf_addf(out, ",\"required\":[\"%s\"]", s->required);
}

static void put_section(const struct section *s, struct buf *out)
{
    buf_addf(out, ",\"%s\":{\"description\":", s->name);
    json_put_str(out, s->help);
    buf_add_char(out, ',');
    if (s->form == FORM_MAP) {
        put_map(s, out);
        buf_add_char(out, '}');
        return;
    }
    buf_add_str(out, "\"type\":\"array\",\"items\":{\"anyOf\":[");
    if (s->form == FORM_NAMES)
        buf_add_str(out, "{\"type\":\"string\"},");
    buf_add_char(out, '{');
    put_map(s, out);
    buf_add_str(out, "}]}}");
}

int serve_config_schema(struct buf *out)
{
    buf_add_str(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
                     "\"title\":\"gaufre configuration\",\"type\":\"object\","
                     "\"additionalProperties\":false,\"properties\":{");
    config_schema(serve_settings, 1, out);
    config_schema(serve_model_settings, 0, out);
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        put_section(&sections[i], out);
    buf_add_str(out, "}}\n");
    return out->failed;
}

/* ---- a file to begin with -------------------------------------------------------------------- */

int serve_config_template(const char *model, struct buf *out)
{
    buf_add_str(out, "# yaml-language-server: $schema=http://127.0.0.1:8080/config.schema.json\n"
                     "#\n"
                     "# The configuration of a gaufre server. Start it with\n"
                     "#     gaufre serve -c THIS_FILE\n"
                     "# and look at what it would do with --check. What is commented out is the\n"
                     "# default; a running server serves the schema of this file for editors.\n\n"
                     "# What is served: names ('gaufre list') or paths.\n"
                     "models:\n");
    buf_addf(out, "  - model: %s\n", model);
    config_template(serve_naming + 1, "    ", out);
    buf_add_str(out,
                "\n# Services elsewhere that serve models too, over an API like this one: a list.\n"
                "#suppliers:\n#  - name: cerebras\n#    base_url: https://api.cerebras.ai/v1\n"
                "#    key_env: CEREBRAS_API_KEY\n#    models: [llama3.1-8b]\n\n");
    buf_add_str(out,
                "# Places with machines and power, to which suppliers belong ('site: NAME' there, "
                "or\n# here for this machine): a list.\n#sites:\n#  - name: fra1\n"
                "#    region: eu-central\n#    pue: 1.2\n#    carbon_file: fra1.csv\n"
                "#    capacity_file: /run/fra1.factor\n#    environment:\n#      - {name: inlet, "
                "quantity: dry_bulb, kind: redfish, url: "
                "https://bmc.example/redfish/v1/Chassis/1/Sensors/Inlet, key_env: BMC_KEY}\n"
                "#      - {name: feeder, quantity: feeder_load, url: http://meter.example/feed, "
                "path: load, high: 80, high_allowed: 90}\n\n");
    buf_add_str(out,
                "# What tokens cost, for a million of them: a list. Without a price a request is "
                "booked\n# as not priced yet; a price of 0 is one.\n#prices:\n#  - model: "
                "smollm2-135m\n#    input: 0.10\n#    output: 0.40\n\n");
    buf_add_str(out, "# What other currencies are worth in which suppliers have prices: a list.\n"
                     "#rates:\n#  - {from: USD, rate: 0.92, since: 2026-12-01}\n\n");
    buf_add_str(out, "# How the suppliers of a model are chosen: a list.\n#routes:\n#  - model: "
                     "llama3.1-8b\n#    route: ttft\n#    residency: [eu]\n\n");
    buf_add_str(
        out, "# Tenants, teams and keys, where they are not in the store of accounts "
             "('gaufre tenant --help'): lists.\n#tenants:\n#  - name: acme\n"
             "#    tokens_per_day: 400000\n#teams:\n#  - {name: research, tenant: acme, "
             "concurrency: 4}\n#api_keys:\n#  - {name: alice, tenant: acme, team: research, "
             "env: ALICE_KEY}\n\n# Who is told when a budget or a key comes to its end: a list.\n"
             "#webhooks:\n#  - {name: ops, url: https://ops.example/hook, "
             "secret_env: OPS_SECRET}\n\n# Where the energy that requests use is read "
             "('gaufre energy --help'): a map.\n#energy:\n#  kind: redfish\n#  url: "
             "https://bmc.example/redfish/v1/Chassis/1/EnvironmentMetrics\n#  key_env: BMC_KEY\n\n"
             "# The server.\n");
    config_template(serve_settings, "", out);
    buf_add_str(out, "\n# Models that say nothing of their own.\n");
    config_template(serve_model_settings, "", out);
    return out->failed;
}
