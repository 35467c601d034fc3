#include "cmd/page_form.h"

static const char style[] =
    "body{font:11pt/1.4 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "h1{font-size:1.4rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:1.5rem 0 "
    ".3rem}dl{display:grid;grid-template-columns:max-content 1fr;"
    "gap:.1rem 1rem;margin:0 0 1rem}dt{color:#555}dd{margin:0}table{border-collapse:collapse;"
    "width:100%}th,td{text-align:right;padding:.25rem .5rem;border-bottom:1px solid #ccc;"
    "overflow-wrap:anywhere}th[scope=row],th.t,td.t{text-align:left;font-weight:normal}"
    "thead th{border-bottom:2px solid #000;font-weight:bold}tfoot td,tfoot th{border-bottom:0;"
    "border-top:2px solid #000;font-weight:bold}section{margin-bottom:3rem}"
    "@page{margin:18mm}@media print{body{margin:0;max-width:none;padding:0;font-size:9pt}"
    "section{break-after:page;margin:0}section:last-of-type{break-after:auto}"
    "tr{break-inside:avoid}thead{display:table-header-group}}";

void page_text(struct buf *out, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '&':
            buf_add_str(out, "&amp;");
            break;
        case '<':
            buf_add_str(out, "&lt;");
            break;
        case '>':
            buf_add_str(out, "&gt;");
            break;
        case '"':
            buf_add_str(out, "&quot;");
            break;
        case '\'':
            buf_add_str(out, "&#39;");
            break;
        default:
            buf_add_char(out, (unsigned char)*s < ' ' ? ' ' : *s);
        }
    }
}

void page_head(struct buf *out, const char *title, const char *title_end)
{
    buf_add_str(out, "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
                     "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
                     "style-src 'unsafe-inline'\">\n<title>");
    page_text(out, title);
    page_text(out, title_end);
    buf_addf(out, "</title>\n<style>%s</style>\n</head>\n<body>\n", style);
}
