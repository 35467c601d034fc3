/* What the console's views are built of: text that stays inside its place, cards, and tables whose rows
 * are changed in place, so that nothing jumps and a button stays where it is. */

import { h, number, open_dialog, set_text } from './engine_dom.js';

export { h, age, bytes, count, number, say, icon_button, open_dialog, copy_button, set_text } from './engine_dom.js';
export { toast } from './dom.js';

const LONG = 120; // characters of a name that are shown

/** A text of somebody else's choosing: its direction does not leak, and however long it is, it fits. */
export function name(text) {
    const el = h('bdi.co-name', null);
    set_name(el, text);
    return el;
}

export function set_name(el, text) {
    const whole = text === null || text === undefined || text === '' ? '–' : String(text);
    if (el.whole === whole) return;
    el.whole = whole;
    const points = whole.length > LONG ? Array.from(whole.slice(0, 4 * LONG)) : null;
    el.textContent = points && (points.length > LONG || whole.length > 4 * LONG) ? `${points.slice(0, LONG).join('')}…` : whole;
    if (el.textContent !== whole) el.title = whole.slice(0, 2000);
    else el.removeAttribute('title');
}

export function card(title, ...body) {
    return h('section.eg-card', { 'aria-label': title }, h('div.eg-head', null, h('h2', null, title)), ...body);
}

/** A word in a colour: tone 'ok', 'warn', 'bad' or ''. */
export function set_chip(el, text, tone) {
    set_text(el, text);
    el.className = `co-chip${tone ? ` ${tone}` : ''}`;
}

/** How much of something is used; the figure stands beside it. */
export function meter(el, percent) {
    el.className = `co-meter${percent >= 100 ? ' bad' : percent >= 80 ? ' warn' : ''}`;
    el.firstChild.style.width = `${Math.min(100, Math.max(0, percent))}%`;
}
export const new_meter = () => h('span.co-meter', { 'aria-hidden': 'true' }, h('i', null));

const amounts = { money: (b) => `${b.settled} of ${b.amount} ${b.currency}`, tokens: (b) => `${number(b.settled)} of ${number(b.amount)} tokens`,
    energy: (b) => `${number(b.settled)} of ${number(b.amount)} Wh` };
const budget_text = (b) => `${(amounts[b.of] || amounts.tokens)(b)}, ${b.span === 'all' ? 'in all' : `a ${b.span}`}`;

/** Budgets as bars. */
export function show_budgets(el, list) {
    while (el.childElementCount > list.length) el.lastElementChild.remove();
    list.forEach((b, i) => {
        let line = el.children[i];
        if (!line) el.append(line = h('span.co-budget', null, new_meter(), h('span', null)));
        meter(line.firstChild, b.percent);
        set_text(line.lastChild, `${b.percent.toFixed(0)} %: ${budget_text(b)}`);
    });
    if (!list.length && el.textContent !== '–') el.textContent = '–';
}

/** columns: {name, right, wide, text(r)} for plain text, {.., person(r)} for text of others, or
 *  {.., make(row) -> el, show(el, r)}; row.r is what it shows now. */
export class Table {
    constructor(label, columns, { key = (r) => r.id, empty = 'Nothing here.' } = {}) {
        Object.assign(this, { columns, key, rows: new Map() });
        this.body = h('tbody', null);
        this.table = h('table.co-table', { 'aria-label': label }, h('thead', null, h('tr', null,
            ...columns.map((c) => h(c.right ? 'th.right' : 'th', { scope: 'col' }, c.hidden ? h('span.hidden', null, c.name) : c.name)))), this.body);
        this.empty = h('p.eg-empty', null, empty);
        this.el = h('div', null, this.table, this.empty);
    }

    add(r) {
        const row = { r, cells: [] };
        row.tr = h('tr', null, ...this.columns.map((c) => {
            const inner = c.make ? c.make(row) : c.person ? name('') : null;
            const td = h(`td${c.right ? '.right' : ''}${c.wide ? '.wide' : ''}`, { 'data-name': c.hidden ? null : c.name }, inner);
            row.cells.push(inner || td);
            return td;
        }));
        return row;
    }

    show(row, r) {
        row.r = r;
        this.columns.forEach((c, i) => {
            if (c.make) c.show(row.cells[i], r, row);
            else if (c.person) set_name(row.cells[i], c.person(r));
            else set_text(row.cells[i], c.text(r));
        });
    }

    update(list) {
        const keys = new Set(list.map(this.key));
        for (const [key, row] of this.rows) {
            if (keys.has(key)) continue;
            row.tr.remove();
            this.rows.delete(key);
        }
        let at = this.body.firstElementChild;
        for (const r of list) {
            const key = this.key(r);
            let row = this.rows.get(key);
            if (!row) this.rows.set(key, row = this.add(r));
            this.show(row, r);
            if (row.tr === at) at = at.nextElementSibling;
            else this.body.insertBefore(row.tr, at);
        }
        this.table.hidden = !list.length;
        this.empty.hidden = !!list.length;
    }
}

/** A form in a dialog; do_it() throws where the server refuses, and the sentence is shown in the form.
 *  What it returns is given to `after`, when the dialog is closed. */
export function ask_form(title, fields, word, do_it, { after, tone = 'primary' } = {}) {
    const wrong = h('p.co-wrong', { role: 'alert' });
    const button = h(`button.${tone}`, { type: 'submit' }, word);
    const form = h('form', { onsubmit: async (e) => {
        e.preventDefault();
        button.disabled = true;
        set_text(wrong, '');
        try {
            const made = await do_it();
            dialog.close();
            after?.(made);
        } catch (x) {
            set_text(wrong, x.message);
            button.disabled = false;
        }
    } }, ...fields, wrong, h('div.row', null, button));
    const dialog = open_dialog(title, form);
    form.querySelector('input,select,button')?.focus();
}

/** A field of a form: its label, and what helps. */
export function field(id, label, input, help) {
    input.id = id;
    return h('div.field.tall', null, h('label', { for: id }, label), input, help ? h('p.help', null, help) : null);
}

export const when = (unix_s) => (unix_s ? new Date(unix_s * 1000).toLocaleString() : '–');
