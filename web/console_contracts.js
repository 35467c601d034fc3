/* Contracts: power that was promised in dated tranches, as it is known on a day, what is still to come of
 * them, and on whom it depends. */

import * as api from './console_api.js';
import { h, card, field, meter, new_meter, number, set_chip, set_text, Table } from './console_dom.js';
import { Settlement } from './settlement.js';
import { is_simulated, now_ms } from './simulated.js';
import { day_ms, day_text, TrancheTimeline } from './tranche_timeline.js';

const EVERY_MS = 5000;
const TONES = { active: 'ok', late: 'warn', overdue: 'bad', lapsed: '', cancelled: 'bad' };
const mw = (watts) => `${(watts / 1e6).toLocaleString(undefined, { maximumFractionDigits: 3 })} MW`;
/** Whole units of a sum that may be longer than a number is exact. */
const amount = (text, currency) => `${BigInt(text.split('.')[0]).toLocaleString()} ${currency}`;
const sum = (list, of) => list.reduce((n, x) => n + of(x), 0);

const FIGURES = [['Ready', 'delivered, and not over'], ['Promised', 'firm today, delivered or not'], ['Late', 'past its target date'],
    ['Options', 'may be exercised yet'], ['At most', 'when all that is firm is there']];

class Figures {
    constructor() {
        this.dd = FIGURES.map(() => h('dd.num', null));
        this.el = card('Power', h('dl.eg-parts.co-two', null, ...FIGURES.map(([title, what], i) => h('div', null, h('dt', null, `${title}: ${what}`), this.dd[i]))));
    }

    update(contracts, report) {
        const tranches = contracts.flatMap((c) => c.tranches), of = (...states) => sum(tranches.filter((t) => states.includes(t.state)), (t) => t.mw * 1e6);
        [sum(contracts, (c) => c.ready_watts), sum(contracts, (c) => c.firm_watts), of('late', 'overdue'), of('option'), sum(report.contracts, (c) => c.firm_watts_at_most)]
            .forEach((w, i) => set_text(this.dd[i], mw(w)));
    }
}

const contracts_table = () => new Table('Contracts', [{ name: 'Contract', person: (c) => c.contract, wide: true }, { name: 'Supplier', person: (c) => c.supplier.name },
    { name: 'Customer', person: (c) => c.customer.name }, { name: 'Term', text: (c) => `${c.from} … ${c.until}` },
    { name: 'Ready of promised', right: true, text: (c) => `${(c.ready_watts / 1e6).toLocaleString()} of ${mw(c.firm_watts)}` },
    { name: 'Above it', text: (c) => ({ reject: 'is refused', pay: 'is paid as it goes', borrow: 'borrows what is idle' })[c.spillover ?? 'reject'] },
    { name: 'Still to come', right: true, text: (c) => amount(c.due.still_to_come, c.currency) }, { name: 'More by option', right: true, text: (c) => amount(c.due.by_option, c.currency) }],
{ key: (c) => c.contract, empty: 'No contract is recorded.' });

/** What contracts entitle to, and what of that is used: a server's own counts, since it started. */
const tokens = (n) => `${number(Math.round(n))} tokens`;
const per_s = (a) => (a.tokens_per_second < a.tokens_per_second_full ? `${number(Math.round(a.tokens_per_second))} of ${number(Math.round(a.tokens_per_second_full))}` : number(Math.round(a.tokens_per_second)));
const admission_table = () => new Table('In admission', [{ name: 'Contract', person: (c) => c.contract, wide: true },
    { name: 'Tokens a second', right: true, text: (c) => `${per_s(c.admission)}, ${c.admission.basis}` }, { name: 'Used now', right: true, text: (c) => (c.rate === null ? '–' : `${number(Math.round(c.rate))} a second`) },
    { name: 'Under way', right: true, text: (c) => number(c.admission.sequences) }, { name: 'Requests', right: true, text: (c) => number(c.admission.requests) },
    { name: 'Within it', right: true, text: (c) => tokens(c.admission.tokens) }, { name: 'Above it, paid', right: true, text: (c) => tokens(c.admission.tokens_paid) },
    { name: 'Borrowed', right: true, text: (c) => tokens(c.admission.tokens_borrowed) }, { name: 'Lent to others', right: true, text: (c) => tokens(c.admission.tokens_lent) },
    { name: 'Refused', right: true, text: (c) => number(c.admission.refused) }], { key: (c) => c.contract, empty: 'No contract takes part in admission here.' });

const second = ({ tranche: t }) => (t.kind === 'option' ? t.exercised ?? `${t.exercise_from ?? ''} … ${t.exercise_until}` : t.longstop ?? '–');
const tranches_table = () => new Table('Tranches', [{ name: 'Tranche', person: (x) => x.tranche.name, wide: true }, { name: 'Contract', person: (x) => x.contract.contract },
    { name: 'Where', person: (x) => x.tranche.site ?? x.tranche.region }, { name: 'Power', right: true, text: (x) => mw(x.tranche.mw * 1e6) },
    { name: 'State', make: () => h('span.co-chip', null), show: (el, x) => set_chip(el, x.tranche.state, TONES[x.tranche.state] ?? '') },
    { name: 'Target', text: (x) => x.tranche.target }, { name: 'Delivered', text: (x) => x.tranche.delivered ?? '–' },
    { name: 'Longstop, or exercise', text: second }, { name: 'Until', text: (x) => x.tranche.cancelled ?? x.tranche.until ?? x.contract.until },
    { name: 'A MWh now', right: true, text: (x) => `${x.tranche.price_now} ${x.contract.currency}` }],
{ key: (x) => x.key, empty: 'No contract has tranches.' });

const shares_table = () => new Table('Concentration', [{ name: 'Who', person: (s) => s.name, wide: true }, { name: 'Is', text: (s) => s.of },
    { name: 'Share', make: () => h('span.co-budget.co-short', null, new_meter(), h('span', null)),
        show: (el, s) => { meter(el.firstChild, 0); el.firstChild.firstChild.style.width = `${100 * s.share}%`; set_text(el.lastChild, `${(100 * s.share).toFixed(1)} %`); } },
    { name: 'Still to come', right: true, text: (s) => amount(s.still_to_come, s.currency) }, { name: 'HHI of all', right: true, text: (s) => number(s.hhi) },
    { name: 'Contracts', right: true, text: (s) => number(s.contracts) }, { name: 'Ready today, and gone if it stops', right: true, text: (s) => mw(s.ready_watts_if_it_stops) }],
{ key: (s) => `${s.of} ${s.currency} ${s.name}`, empty: 'Nothing is still to come.' });

export function mount(root) {
    const note = h('p.eg-note', { role: 'status' }, 'Loading …');
    const figures = new Figures(), line = new TrancheTimeline(), settlement = new Settlement();
    const contracts = contracts_table(), tranches = tranches_table(), shares = shares_table(), admission = admission_table();
    let counted = new Map(), counted_ms = 0, asked_ms = 0;
    const day = h('input', { type: 'date', value: day_text(now_ms()), onchange: () => { chosen = true; load(); } });
    let chosen = false; // else it goes with the clock
    const body = h('div.co-stack', { hidden: true }, figures.el, card('In admission', h('p.eg-note', null, 'What it used is counted since this server started.'), admission.el), card('Timeline', line.el, tranches.el), card('Contracts', contracts.el), settlement.el, card('Concentration', shares.el));
    let asked = 0, closed = false;

    /** The rate follows from two looks. */
    function show_admission(list) {
        const now_ms = performance.now(), s = (now_ms - counted_ms) / 1000;
        admission.update(list.filter((c) => c.admission).map((c) => ({ ...c, rate: counted.has(c.contract) && s > 1 ? Math.max(0, (c.admission.tokens - counted.get(c.contract)) / s) : null })));
        counted = new Map(list.filter((c) => c.admission).map((c) => [c.contract, c.admission.tokens]));
        counted_ms = now_ms;
    }

    async function load() {
        asked_ms = performance.now();
        if (!chosen && is_simulated()) day.value = day_text(now_ms());
        const mine = ++asked, q = day.value ? `?as_of=${day.value}` : '';
        try {
            const [list, report] = await Promise.all([api.json(`/contracts${q}`), api.json(`/obligations${q}`)]);
            if (closed || mine !== asked) return;
            const due = new Map(report.contracts.map((c) => [c.contract, c]));
            const each = list.data.flatMap((contract) => contract.tranches.map((tranche, i) => ({ tranche, contract, key: `${contract.contract} ${i}` })));
            figures.update(list.data, report);
            settlement.update(list.data.map((c) => c.contract));
            show_admission(list.data);
            line.update(each, day_ms(report.as_of));
            contracts.update(list.data.filter((c) => due.has(c.contract)).map((c) => ({ ...c, due: due.get(c.contract) })));
            tranches.update(each);
            shares.update(report.concentration);
            body.hidden = false;
            set_text(note, '');
        } catch (e) {
            if (closed || mine !== asked) return;
            body.hidden = true;
            set_text(note, e.message);
        }
    }

    root.replaceChildren(h('div.eg', null, h('div.co-top', null, h('h1.co-title', null, 'Contracts'), h('form.co-form', { onsubmit: (e) => { e.preventDefault(); load(); } },
        field('contracts-day', 'As known on', day))), note, body));
    load();
    return { update() { if (performance.now() - asked_ms >= EVERY_MS) load(); }, close() { closed = true; } };
}
