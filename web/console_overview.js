/* The first view: how much is served, what waits, who serves, and whether it is written down. */

import { Plot, forget_colours } from './plot.js';
import { h, bytes, card, name, number, set_chip, set_name, set_text, show_budgets, Table } from './console_dom.js';

const rate = (v) => (v === null || v === undefined ? '–' : v < 99.95 ? v.toFixed(1) : number(Math.round(v)));
const ms = (s) => (s === undefined || s === null ? '–' : s < 9.9995 ? `${number(Math.round(s * 1000))} ms` : `${s.toFixed(1)} s`);

const CARDS = [
    { name: 'Tokens', unit: 'generated a second', value: (x) => rate(x.generated), least: 10,
        series: [{ name: 'generated', get: (x) => x.generated, colour: '--accent', fill: 0.16 }],
        note: (s) => [`${number(s.totals.completion_tokens)} generated`, `${number(s.totals.prompt_tokens)} of prompts`] },
    { name: 'Requests', unit: 'a second', value: (x) => rate(x.requests), least: 1,
        series: [{ name: 'ended', get: (x) => x.requests, colour: '--accent', fill: 0.16 }],
        note: (s) => [`${number(s.totals.requests)} ended`, `${number(s.totals.failed)} failed`, `${number(s.totals.refused)} refused`] },
    { name: 'Under way', unit: 'requests', value: (x) => number(x.running), least: 4, stack: true,
        series: [{ name: 'running', get: (x) => x.running, colour: '--accent', fill: 0.16 }, { name: 'waiting', get: (x) => x.waiting, colour: '--soft', fill: 0.16 }],
        note: (s) => s.tiers.filter((t) => t.waiting || t.running).map((t) => `${t.tier}: ${t.running} running, ${t.waiting} waiting`) },
];

class Card {
    constructor(def) {
        this.def = def;
        this.value = h('span.eg-value.num', null, '–');
        this.note = h('p.eg-note', null);
        this.canvas = h('canvas.eg-plot', { role: 'img', 'aria-label': `${def.name}, the last minutes` });
        this.scale = h('span.eg-scale.num', { 'aria-hidden': 'true' });
        this.el = h('section.eg-card', { 'aria-label': def.name }, h('div.eg-head', null, h('h2', null, def.name, h('span.eg-unit', null, def.unit))),
            h('p.eg-now', null, this.value), h('div.eg-frame', null, this.canvas, this.scale), this.note);
        this.plot = new Plot(this.canvas, def);
    }

    update(s, samples) {
        set_text(this.value, this.def.value(samples.at(-1)));
        set_text(this.note, this.def.note(s).join(' · ') || 'nothing under way');
        this.plot.span_s = samples.at(-1).t - samples[0].t > 55 ? 300 : 60;
        this.plot.draw(samples, samples.at(-1).t);
        set_text(this.scale, number(this.plot.scale));
    }
}

function breaker(s) {
    if (s.state !== 'ready') return [s.state, s.state === 'loading' ? 'warn' : 'bad'];
    if (s.breaker === null) return ['this machine', 'ok'];
    const wait = s.retry_after_ms > 0 ? `, again in ${Math.ceil(s.retry_after_ms / 1000)} s` : '';
    return [`${s.breaker.replace('_', ' ')}${wait}`, { closed: 'ok', open: 'bad' }[s.breaker] || 'warn'];
}

class Ledger {
    constructor() {
        this.state = h('span.co-chip', null);
        this.list = h('dl.eg-parts', null);
        this.rows = Object.fromEntries([['Written', 'rows_written'], ['On their way', 'rows_pending'], ['In the journal', 'rows_in_journal'], ['Failed writes', 'write_failures']]
            .map(([title, key]) => {
                const dd = h('dd.num', null);
                this.list.append(h('div', null, h('dt', null, title), dd));
                return [key, dd];
            }));
        this.el = card('Ledger', h('p.co-line', null, this.state), this.list);
    }

    update(s) {
        const l = s.ledger;
        this.list.hidden = !l;
        if (!l) {
            set_chip(this.state, 'This server keeps no ledger', 'warn');
            return;
        }
        const full = l.rows_pending / l.rows_max;
        const word = full > 0.9 ? ['Nearly full: requests will be refused', 'bad'] : full > 0.1 ? ['Behind', 'warn'] : ['Keeps up', 'ok'];
        set_chip(this.state, ...word);
        for (const [key, dd] of Object.entries(this.rows)) set_text(dd, number(l[key]));
    }
}

class Facts {
    constructor() {
        this.rows = {};
        const list = h('dl.eg-parts', null);
        for (const title of ['Version', 'Up', 'Configuration', 'Memory', 'Refused']) {
            this.rows[title] = h('dd', null);
            list.append(h('div', null, h('dt', null, title), this.rows[title]));
        }
        this.el = card('Server', list);
    }

    update(s) {
        const set = (k, text) => set_text(this.rows[k], text);
        const r = Object.entries(s.refused).filter(([, n]) => n).map(([k, n]) => `${number(n)} ${k}`);
        set('Version', `gaufre ${s.version}`);
        set('Up', s.uptime_s < 3600 ? `${Math.floor(s.uptime_s / 60)} min` : s.uptime_s < 172800 ? `${Math.floor(s.uptime_s / 3600)} h` : `${Math.floor(s.uptime_s / 86400)} d`);
        set('Configuration', `generation ${s.generation}`);
        set('Memory', `${bytes(s.memory.resident)} here, ${bytes(s.memory.available)} free`);
        set('Refused', r.join(', ') || 'nothing');
    }
}

export function mount(root) {
    const cards = CARDS.map((def) => new Card(def));
    const tiers = new Table('Queue by tier', [{ name: 'Tier', text: (t) => t.tier }, { name: 'Waiting', right: true, text: (t) => number(t.waiting) },
        { name: 'Running', right: true, text: (t) => number(t.running) }], { key: (t) => t.tier });
    const suppliers = new Table('Suppliers', [{ name: 'Supplier', person: (s) => s.supplier, wide: true },
        { name: 'Breaker', make: () => h('span.co-chip', null), show: (el, s) => set_chip(el, ...breaker(s)) },
        { name: 'Why', person: (s) => s.why }, { name: 'Running', right: true, text: (s) => number(s.running) },
        { name: 'Waiting', right: true, text: (s) => number(s.waiting) }, { name: 'Places', right: true, text: (s) => (s.concurrency ? number(s.concurrency) : '–') }],
    { key: (s) => s.supplier, empty: 'No suppliers.' });
    const models = new Table('Models', [{ name: 'Model', person: (m) => m.id, wide: true },
        { name: 'State', make: () => h('span.co-chip', null), show: (el, m) => set_chip(el, m.state.replace('_', ' '), { ready: 'ok', loading: 'warn' }[m.state] || 'bad') },
        { name: 'Requests', right: true, text: (m) => number(m.requests) }, { name: 'First token, median', right: true, text: (m) => ms(m.ttft_s?.p50) },
        { name: '95 %', right: true, text: (m) => ms(m.ttft_s?.p95) }, { name: 'Queue, 95 %', right: true, text: (m) => ms(m.queue_s?.p95) }], { empty: 'No model is served.' });
    const budgets = new Table('Budgets', [{ name: 'Tenant', make: () => name(''), show: (el, t) => set_name(el, t.id) },
        { name: 'Budgets', make: () => h('div', null), show: (el, t) => show_budgets(el, t.budgets), wide: true }], { empty: 'No tenant has a budget.' });
    const ledger = new Ledger();
    const facts = new Facts();
    root.replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Overview'),
        h('div.eg-grid', null, ...cards.map((c) => c.el)),
        h('div.eg-grid.two', null, card('Queue by tier', tiers.el), ledger.el),
        card('Suppliers', suppliers.el), card('Models', models.el),
        h('div.eg-grid.two', null, card('Budgets nearest to their end', budgets.el), facts.el)));
    const repaint = () => { forget_colours(); for (const c of cards) c.plot.redraw(); };
    const theme = new MutationObserver(repaint);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', repaint);
    return {
        update(s, samples) {
            for (const c of cards) c.update(s, samples);
            tiers.update(s.tiers);
            suppliers.update(s.suppliers);
            models.update(s.models);
            budgets.update(s.tenants.filter((t) => t.budgets.length).slice(0, 5));
            ledger.update(s);
            facts.update(s);
        },
        close() {
            theme.disconnect();
            dark.removeEventListener('change', repaint);
            for (const c of cards) c.plot.close();
        },
    };
}

