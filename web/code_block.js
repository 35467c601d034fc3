/* A block of code: language, copy button, and colours once it is whole. The highlighter is ten times as
 * big as the page, so it is fetched with the first block, and runs in a worker: neither reading it
 * nor running it may cost a frame. It answers with pairs of class and text, never with HTML. */

import { h, copy_button } from './dom.js';

const COLOUR_MAX = 200000; // longer code stays plain
let worker = null;
let policy = null;
let broken = false;
const waiting = new Map();
let n_asked = 0;

/** Trusted Types: the only script ever started by this page's scripts is this worker. */
function worker_url() {
    const url = '/highlight_worker.js';
    if (!window.trustedTypes) return url;
    policy ??= window.trustedTypes.createPolicy('gaufre', {
        createScriptURL: (s) => { if (s !== url) throw new TypeError(s); return s; },
    });
    return policy.createScriptURL(url);
}

function ask(code, language) {
    return new Promise((resolve) => {
        if (broken || code.length > COLOUR_MAX) { resolve(null); return; }
        if (!worker) {
            worker = new Worker(worker_url());
            worker.onmessage = (e) => {
                waiting.get(e.data.id)?.(e.data.parts);
                waiting.delete(e.data.id);
            };
            worker.onerror = () => {
                broken = true; // code stays plain, nothing else is lost
                for (const answer of waiting.values()) answer(null);
                waiting.clear();
            };
        }
        waiting.set(++n_asked, resolve);
        worker.postMessage({ id: n_asked, code, language });
    });
}

/** The language of an info string like "js title=x" or "{.python}". */
function language_of(info) {
    return (/[\w+#.-]+/.exec(info || '')?.[0] || '').replace(/^\./, '').slice(0, 30).toLowerCase();
}

/** {el, append(text), finish()}; text stays a single text node until it is coloured. */
export function code_block(info) {
    const language = language_of(info);
    const text = document.createTextNode('');
    const code = h('code', null, text);
    const pre = h('pre', { tabIndex: 0, role: 'region', 'aria-label': language ? `Code, ${language}` : 'Code' }, code);
    const el = h('div.code', { dir: 'ltr' },
        h('div.code-head', null, h('span', null, language || 'text'),
            copy_button(() => code.textContent, 'Copy code')), pre);
    return {
        el,
        append(more) { text.appendData(more); },
        async finish() {
            const parts = await ask(text.data, language);
            if (!parts) return;
            const coloured = document.createDocumentFragment();
            for (let i = 0; i < parts.length; i += 2) {
                coloured.append(parts[i] ? h(`span.${parts[i]}`, null, parts[i + 1]) : parts[i + 1]);
            }
            code.replaceChildren(coloured);
        },
    };
}
