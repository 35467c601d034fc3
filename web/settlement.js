/* What would be owed for a month of a contract: its statement, made by the server when it is asked for, as
 * that may take long. */

import * as api from './console_api.js';
import { is_simulated, now_ms } from './simulated.js';
import { card, field, h, set_text, Table } from './console_dom.js';

const JOULES_A_MWH = 3.6e9;
const mwh = (joules) => `${(joules / JOULES_A_MWH).toLocaleString(undefined, { maximumFractionDigits: 3 })} MWh`;
const money = (text, currency) => `${Number(text).toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 })} ${currency}`;

const lines_table = () => new Table('Settlement', [{ name: 'Line', person: (l) => l.what, wide: true },
    { name: 'Energy', right: true, text: (l) => (l.joules === undefined ? '–' : mwh(l.joules)) },
    { name: 'A MWh', right: true, text: (l) => (l.price === undefined ? '–' : l.price) },
    { name: 'Amount', right: true, text: (l) => (l.note ? l.note : money(l.amount, l.currency)) },
    { name: 'Rows behind it', right: true, text: (l) => (l.rows ? Number(l.rows.n).toLocaleString() : '–') }],
{ key: (l) => l.key, empty: 'Nothing is owed for this time.' });

export class Settlement {
    constructor() {
        this.contract = h('select', null);
        this.month = h('input', { type: 'month', value: new Date(now_ms()).toISOString().slice(0, 7) });
        this.month.addEventListener('change', () => { this.is_chosen = true; });
        this.button = h('button.primary', { type: 'submit' }, 'Settle');
        this.note = h('p.eg-note', { role: 'status' });
        this.table = lines_table();
        this.table.el.hidden = true;
        this.el = card('Settlement', h('p.eg-note', null, 'What is owed for a month, as far as it has come. Nothing is booked by looking.'),
            h('form.co-form', { onsubmit: (e) => { e.preventDefault(); this.make(); } }, field('settle-contract', 'Contract', this.contract), field('settle-month', 'Month', this.month), this.button),
            this.note, this.table.el);
    }

    update(names) {
        if (is_simulated() && !this.is_chosen) this.month.value = new Date(now_ms()).toISOString().slice(0, 7);
        const now = Array.from(this.contract.options, (o) => o.value);
        if (now.join('\n') === names.join('\n')) return;
        const chosen = this.contract.value;
        this.contract.replaceChildren(...names.map((n) => h('option', { value: n }, n)));
        if (names.includes(chosen)) this.contract.value = chosen;
        this.button.disabled = !names.length;
    }

    async make() {
        const contract = this.contract.value;
        this.button.disabled = true;
        set_text(this.note, 'The ledger is read …');
        try {
            const s = await api.json(`/contracts/${api.part(contract)}/statement?month=${api.part(this.month.value)}`);
            this.table.update(s.lines.map((l, i) => ({ ...l, currency: s.currency, key: `${i}` })));
            this.table.el.hidden = false;
            set_text(this.note, `${contract}, ${s.from} to ${s.until} (${s.time_zone}): ${money(s.total, s.currency)} in all, without taxes.`);
        } catch (e) {
            this.table.el.hidden = true;
            set_text(this.note, e.message);
        }
        this.button.disabled = false;
    }
}
