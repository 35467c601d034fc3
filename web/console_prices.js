/* The price book that is in force. */

import * as api from './console_api.js';
import { h, card, set_text, when, Table } from './console_dom.js';

const amount = (x) => x ?? '–';

export function mount(root) {
    const note = h('p.eg-note', { role: 'status' }, 'Loading …');
    const table = new Table('Prices', [{ name: 'Side', text: (p) => (p.side === 'sell' ? 'tenants owe' : 'suppliers are owed') }, { name: 'Model', person: (p) => p.model ?? 'any' },
        { name: 'Supplier', person: (p) => p.supplier ?? 'any' }, { name: 'Tier', text: (p) => p.tier ?? 'any' }, { name: 'From', text: (p) => (p.from > 0 ? when(p.from) : 'always') },
        { name: 'Input', right: true, text: (p) => amount(p.input) }, { name: 'Cached', right: true, text: (p) => amount(p.cached_input) },
        { name: 'Output', right: true, text: (p) => amount(p.output) }, { name: 'Reasoning', right: true, text: (p) => amount(p.reasoning) },
        { name: 'A request', right: true, text: (p) => amount(p.per_request) }, { name: 'At least', right: true, text: (p) => amount(p.minimum) }, { name: 'Currency', text: (p) => p.currency }],
    { key: (p) => JSON.stringify(p), empty: 'Nothing has a price.' });
    root.replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Prices'), card('For a million tokens', note, table.el)));
    table.el.hidden = true;
    api.json('/prices').then((list) => {
        table.update(list.data);
        table.el.hidden = false;
        set_text(note, 'A dash: as what it is a part of (cached and reasoning), or none.');
    }).catch((e) => set_text(note, e.message));
    return { update() {}, close() {} };
}
