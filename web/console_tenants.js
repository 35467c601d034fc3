/* Tenants: what they used since the start and how far their budgets are used; and what the ledger says. */

import * as api from './console_api.js';
import { h, card, field, number, set_text, show_budgets, Table } from './console_dom.js';

const BY = ['tenant', 'team', 'key', 'labels', 'model', 'supplier', 'day', 'all'];
const day = (d) => d.toISOString().slice(0, 10);

/** The ledger's sums: they are asked for, and not live. */
function ledger_card() {
    const by = h('select', null, ...BY.map((x) => h('option', { value: x }, x)));
    const now = new Date();
    const from = h('input', { type: 'date', value: day(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1))) });
    const to = h('input', { type: 'date', value: day(new Date(now.getTime() + 86400000)) });
    const note = h('p.eg-note', { role: 'status' });
    const button = h('button.soft-button', { type: 'submit' }, 'Add up');
    const table = new Table('Usage', [{ name: 'Of', person: (r) => r.key, wide: true }, { name: 'Requests', right: true, text: (r) => number(r.requests) },
        { name: 'Prompt', right: true, text: (r) => number(r.prompt_tokens) }, { name: 'Cached', right: true, text: (r) => number(r.cached_tokens) },
        { name: 'Generated', right: true, text: (r) => number(r.completion_tokens) }, { name: 'Charge', right: true, text: (r) => `${r.charge} ${r.currency}` },
        { name: 'Cost', right: true, text: (r) => `${r.cost} ${r.currency}` }, { name: 'Without a price', right: true, text: (r) => number(r.unpriced) }],
    { key: (r) => `${r.key} ${r.currency}`, empty: 'Nothing was used in that time.' });
    const ask = async (e) => {
        e?.preventDefault();
        button.disabled = true;
        set_text(note, 'The ledger is read …');
        try {
            const q = new URLSearchParams({ by: by.value, ...(from.value ? { from: from.value } : {}), ...(to.value ? { to: to.value } : {}) });
            table.update((await api.json(`/usage?${q}`)).data);
            table.el.hidden = false;
            set_text(note, '');
        } catch (x) {
            set_text(note, x.message);
        }
        button.disabled = false;
    };
    table.el.hidden = true;
    return card('From the ledger', h('form.co-form', { onsubmit: ask }, field('usage-by', 'By', by), field('usage-from', 'From', from), field('usage-to', 'Until (not with it)', to), button), note, table.el);
}

export function mount(root) {
    const total = h('p.eg-note', null);
    let currency = '';
    const table = new Table('Tenants', [{ name: 'Tenant', person: (t) => t.id, wide: true }, { name: 'Requests', right: true, text: (t) => number(t.requests) },
        { name: 'Prompt', right: true, text: (t) => number(t.prompt_tokens) }, { name: 'Generated', right: true, text: (t) => number(t.completion_tokens) },
        { name: 'Charge', right: true, text: (t) => `${t.charge}${currency ? ` ${currency}` : ''}` },
        { name: 'Budgets', wide: true, make: () => h('div', null), show: (el, t) => show_budgets(el, t.budgets) }], { empty: 'Nobody has used anything yet.' });
    root.replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Tenants'), card('Since the server started', table.el, total), ledger_card()));
    return {
        update(s) {
            currency = s.currency || '';
            table.update(s.tenants);
            set_text(total, s.tenants_total > s.tenants.length ? `The ${s.tenants.length} nearest to the end of a budget, of ${number(s.tenants_total)}.` : '');
        },
        close() {},
    };
}
