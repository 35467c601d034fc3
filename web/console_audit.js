/* Who changed what, the newest first. */

import * as api from './console_api.js';
import { h, card, set_text, Table } from './console_dom.js';

const PAGE = 100;
const NEWEST = 2 ** 53;

/** What differs: "name: before → after", as text. */
function difference(l) {
    const before = l.before && typeof l.before === 'object' ? l.before : {};
    const after = l.after && typeof l.after === 'object' ? l.after : {};
    const say = (v) => (v === undefined ? 'nothing' : JSON.stringify(v));
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((k) => say(before[k]) !== say(after[k]))
        .map((k) => (k in before ? `${k}: ${say(before[k])} → ${say(after[k])}` : `${k}: ${say(after[k])}`)).join(', ');
}

export function mount(root) {
    const note = h('p.eg-note', { role: 'status' }, 'Loading …');
    const lines = [];
    const table = new Table('Changes', [{ name: 'No.', right: true, text: (l) => String(l.seq) }, { name: 'When', text: (l) => new Date(l.at).toLocaleString() },
        { name: 'Who', person: (l) => l.actor }, { name: 'Did', text: (l) => l.action }, { name: 'To', person: (l) => `${l.kind} ${l.id}` }, { name: 'What', wide: true, person: difference }],
    { key: (l) => l.seq, empty: 'Nothing was changed yet.' });
    const more = h('button.soft-button', { type: 'button', onclick: () => load() }, 'Older');
    async function load() {
        try {
            const { data } = await api.json(`/audit?limit=${PAGE}&before=${lines.at(-1)?.seq ?? NEWEST}`);
            lines.push(...data);
            table.update(lines);
            table.el.hidden = false;
            more.hidden = data.length < PAGE;
            set_text(note, '');
        } catch (e) {
            set_text(note, e.message);
        }
    }
    table.el.hidden = more.hidden = true;
    root.replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Audit'), card('Changes of accounts', note, table.el, h('div.row', null, more))));
    load();
    return { update() {}, close() {} };
}
