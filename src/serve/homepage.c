/* The page at GET /: what this is, what is loaded, how to call it. One file, no request to anywhere
 * else, light and dark. */
#include <string.h>

#include "serve/server.h"

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
    "<title>gaufre</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n"
    ":root{color-scheme:light dark;--ink:#2b2118;--soft:#7a6a58;--bg:#fdfaf5;--card:#f5eee2;"
    "--line:#e4d8c4;--accent:#b5651d;--ok:#3c7d3c;--wait:#b07d10;--bad:#b03a2e}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#efe6d9;--soft:#a99a86;--bg:#1a1613;"
    "--card:#241e19;--line:#3a3129;--accent:#e0994f;--ok:#7dc07d;--wait:#dcb050;--bad:#e57368}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);"
    "font:16px/1.6 system-ui,sans-serif}main{max-width:46rem;margin:0 auto;padding:3rem 1.25rem}\n"
    "h1{font-size:2rem;margin:0;letter-spacing:-.02em}h2{font-size:1.05rem;margin:2.2rem 0 .6rem}"
    "p{margin:.5rem 0}.soft{color:var(--soft)}a{color:var(--accent)}\n"
    "table{width:100%;border-collapse:collapse}td,th{text-align:left;padding:.45rem .6rem .45rem 0;"
    "border-bottom:1px solid var(--line)}th{font-weight:500;color:var(--soft);font-size:.9rem}\n"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.9rem 1rem;"
    "overflow-x:auto;font:13.5px/1.5 ui-monospace,monospace}code{font-family:ui-monospace,"
    "monospace;font-size:.92em}\n"
    ".loaded{color:var(--ok)}.loading{color:var(--wait)}.failed{color:var(--bad)}\n"
    "</style></head><body><main>\n";

static void escaped(struct buf *out, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '<':
            buf_add_str(out, "&lt;");
            break;
        case '>':
            buf_add_str(out, "&gt;");
            break;
        case '&':
            buf_add_str(out, "&amp;");
            break;
        case '"':
            buf_add_str(out, "&quot;");
            break;
        default:
            buf_add_char(out, *s);
        }
    }
}

static void row(struct buf *out, const struct served *v)
{
    static const char *const words[] = {"loading", "loaded", "failed"};
    const struct supplier_facts *f;
    struct supplier_load load;
    const char *word;

    v->sup->ops->load(v->sup, &load);
    word = load.frozen ? "failed" : words[load.state];
    buf_add_str(out, "<tr><td><code>");
    escaped(out, v->names[0]);
    buf_addf(out, "</code></td><td class=\"%s\">%s</td><td>", word,
             load.frozen ? "does not answer" : word);
    if (load.state == SUPPLIER_READY) {
        f = v->sup->ops->facts(v->sup);
        buf_addf(out, "%d tokens</td><td>%.0f M parameters, ", f->context,
                 (double)f->n_params / 1e6);
        escaped(out, f->quantization ? f->quantization : "");
        buf_addf(out, "</td><td>%s", f->chat ? "chat, completions" : "completions");
    } else {
        buf_add_str(out, "</td><td></td><td>");
    }
    buf_add_str(out, "</td></tr>\n");
}

static void calls(struct buf *out, const char *model, int chat, int keys)
{
    const char *path = chat ? "chat/completions" : "completions";

    buf_add_str(out, "<h2>curl</h2>\n<pre>curl <span data-base></span>/v1/");
    buf_add_str(out, path);
    buf_add_str(out, " \\\n  -H 'Content-Type: application/json' \\\n");
    if (keys)
        buf_add_str(out, "  -H \"Authorization: Bearer $GAUFRE_KEY\" \\\n");
    buf_add_str(out, "  -d '{\"model\": \"");
    escaped(out, model);
    buf_add_str(out, chat ? "\",\n       \"messages\": [{\"role\": \"user\", \"content\": \"What "
                            "is a wafer?\"}],\n       \"stream\": true}'</pre>\n"
                          : "\", \"prompt\": \"A wafer is\", \"max_tokens\": 40}'</pre>\n");
    buf_add_str(out, "<h2>Python</h2>\n<pre>from openai import OpenAI\n\nclient = "
                     "OpenAI(base_url=\"<span data-base></span>/v1\", api_key=");
    buf_add_str(out, keys ? "os.environ[\"GAUFRE_KEY\"]" : "\"none\"");
    buf_add_str(out, ")\n");
    if (chat) {
        buf_add_str(out, "stream = client.chat.completions.create(\n    model=\"");
        escaped(out, model);
        buf_add_str(out, "\",\n    messages=[{\"role\": \"user\", \"content\": \"What is a "
                         "wafer?\"}],\n    stream=True)\nfor chunk in stream:\n    "
                         "print(chunk.choices[0].delta.content or \"\", end=\"\")</pre>\n");
    } else {
        buf_add_str(out, "answer = client.completions.create(model=\"");
        escaped(out, model);
        buf_add_str(out, "\", prompt=\"A wafer is\", max_tokens=40)\n"
                         "print(answer.choices[0].text)</pre>\n");
    }
}

int homepage_write(const struct server *s, struct buf *out)
{
    const struct served *first = &s->served[0];
    struct supplier_load load = {0};
    int chat = 1;

    if (s->n_served) {
        first->sup->ops->load(first->sup, &load);
        if (load.state == SUPPLIER_READY)
            chat = first->sup->ops->facts(first->sup)->chat;
    }
    buf_add_str(out, head);
    buf_add_str(out,
                "<h1>gaufre</h1>\n<p class=\"soft\">An inference server, version " GAUFRE_VERSION
                ". It speaks the OpenAI and Cerebras API.</p>\n<h2>Models</h2>\n<table><tr>"
                "<th>id</th><th>state</th><th>context</th><th>size</th><th>serves</th></tr>\n");
    for (int i = 0; i < s->n_served; i++)
        row(out, &s->served[i]);
    buf_add_str(out, "</table>\n");
    if (s->n_served)
        calls(out, first->names[0], chat, *s->config->keys != 0);
    buf_add_str(out, "<h2>More</h2>\n<p><a href=\"/v1/models\">/v1/models</a> &middot; <a "
                     "href=\"/health\">/health</a> &middot; <a href=\"/metrics\">/metrics</a></p>\n"
                     "<script>document.querySelectorAll('[data-base]').forEach(function(e){"
                     "e.textContent=location.origin})</script>\n</main></body></html>\n");
    return out->failed;
}
