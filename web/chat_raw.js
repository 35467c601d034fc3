/* What went over the wire for one answer, and the same request as curl and Python lines. */

import { h, open_dialog, copy_button } from './dom.js';
import { key } from './api.js';

const shell = (s) => `'${s.replaceAll("'", "'\\''")}'`;

export function curl_of(path, body) {
    return [`curl -N ${location.origin}${path}`, "-H 'Content-Type: application/json'",
        key() ? '-H "Authorization: Bearer $GAUFRE_KEY"' : '', `-d ${shell(JSON.stringify(body))}`]
        .filter(Boolean).join(' \\\n  ');
}

/** A JSON value as a Python literal. */
export function python(v, indent = '') {
    const deeper = `${indent}    `;
    if (v === null) return 'None';
    if (v === true) return 'True';
    if (v === false) return 'False';
    if (typeof v !== 'object') return JSON.stringify(v);
    const items = Array.isArray(v) ? v.map((x) => python(x, deeper))
        : Object.entries(v).map(([k, x]) => `${JSON.stringify(k)}: ${python(x, deeper)}`);
    const [open, close] = Array.isArray(v) ? '[]' : '{}';
    const flat = open + items.join(', ') + close;
    if (flat.length < 80 && !flat.includes('\n')) return flat;
    return `${open}\n${deeper}${items.join(`,\n${deeper}`)},\n${indent}${close}`;
}

// Fields of the OpenAI library's own; what else the server takes goes in extra_body.
const KNOWN = ['model', 'messages', 'prompt', 'stream', 'stream_options', 'max_completion_tokens', 'max_tokens', 'temperature',
    'top_p', 'seed', 'stop', 'frequency_penalty', 'presence_penalty', 'logprobs', 'top_logprobs', 'reasoning_effort'];

export function python_of(path, body) {
    const chat = path.includes('chat');
    const own = Object.entries(body).filter(([k]) => KNOWN.includes(k) && k !== 'stream_options');
    const extra = Object.entries(body).filter(([k]) => !KNOWN.includes(k));
    const args = own.map(([k, v]) => `    ${k}=${python(v, '    ')},`);
    if (extra.length) args.push(`    extra_body=${python(Object.fromEntries(extra), '    ')},`);
    const text = chat ? 'chunk.choices[0].delta.content' : 'chunk.choices[0].text';
    return `${key() ? 'import os\n' : ''}from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key=${key() ? 'os.environ["GAUFRE_KEY"]' : '"none"'})
stream = client.${chat ? 'chat.completions' : 'completions'}.create(
${args.join('\n')}
)
for chunk in stream:
    if chunk.choices:
        print(${text} or "", end="", flush=True)
`;
}

function tab_panel(name, text) {
    return h('div.raw-panel', { role: 'tabpanel', 'aria-label': name },
        h('div.code', null, h('div.code-head', null, h('span', null, name), copy_button(() => text, `Copy ${name}`)),
            h('pre', { tabIndex: 0, role: 'region', 'aria-label': name }, h('code', null, text))));
}

/** answer: the one that this tab saw, or null; then {path, body} made again from what is stored. */
export function show_raw(answer, made, node) {
    const { path, body } = answer || made;
    const came = answer ? answer.raw.map((s) => `data: ${s}\n`).join('\n')
        : JSON.stringify({ content: node.content, finish_reason: node.finish, error: node.error, stats: node.stats }, null, 2);
    const panels = [['Request', `POST ${path}\n\n${JSON.stringify(body, null, 2)}`],
        [answer ? 'Answer' : 'Answer (as kept)', came], ['curl', curl_of(path, body)], ['Python', python_of(path, body)]];
    const place = h('div');
    const show = (i) => {
        place.replaceChildren(tab_panel(...panels[i]));
        tabs.forEach((t, k) => { t.setAttribute('aria-selected', String(k === i)); t.tabIndex = k === i ? 0 : -1; });
    };
    const tabs = panels.map(([name], i) => h('button.tab', { role: 'tab', onclick: () => show(i) }, name));
    const bar = h('div.tabs', { role: 'tablist', 'aria-label': 'Views', onkeydown: (e) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
        if (!by) return;
        const to = (tabs.indexOf(document.activeElement) + by + tabs.length) % tabs.length;
        show(to);
        tabs[to].focus();
    } }, ...tabs);
    const about = [answer?.request_id, answer?.id].filter(Boolean).join(' · ');
    show(0);
    return open_dialog('Request and answer', h('div', null, bar, place, about ? h('p.soft.small.num', null, about) : ''), 'wide-dialog');
}
