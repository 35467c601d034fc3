/* What the power of sites became, hour by hour: bars whose parts are the energised energy, all of it, and
 * what they come to. Read from the ledger when somebody looks, and again each minute. */

import * as api from './console_api.js';
import { is_simulated, now_ms } from './simulated.js';
import { h, card, field, number, set_text, Table } from './console_dom.js';

const EVERY_MS = 60000;
const SIMULATED_MS = 10000; // days pass in seconds
const BARS_MAX = 96;
const HOUR_MS = 3600000;
const UJ_PER_MWH = 3.6e15;
/** From the bottom up. */
const PARTS = [['used', 'used by requests'], ['lent', 'lent to others'], ['backstop', 'taken by a buyer of last resort'], ['sold', 'kept ready, and not drawn'],
    ['idle', 'idle'], ['curtailed', 'curtailed'], ['encumbered', 'held for other uses']];
const SPANS = [[1, 'the last 24 hours'], [7, '7 days'], [31, '31 days']];

const mwh = (uj) => { const v = uj / UJ_PER_MWH; return v && v < 0.001 ? `${(v * 1e6).toPrecision(3)} Wh` : `${v.toLocaleString(undefined, { maximumFractionDigits: 3 })} MWh`; };

/** Hours of one time added up, whatever the site: [{from, energised, used, ..., unknown_s}], in order. */
function by_hour(list) {
    const hours = new Map();
    for (const x of list) {
        let one = hours.get(x.from);
        if (!one) hours.set(x.from, one = { from: x.from, energised: 0, unknown_s: 0, ...Object.fromEntries(PARTS.map(([p]) => [p, 0])) });
        for (const p of ['energised', ...PARTS.map(([q]) => q)]) one[p] += Number(x[`${p}_uj`]);
        one.unknown_s += x.unknown_s;
    }
    const known = [...hours.values()].sort((a, b) => (a.from < b.from ? -1 : 1)), all = [];
    for (const one of known) { // hours of which nothing is known are gaps
        for (let t = all.length ? Date.parse(all.at(-1).from) + HOUR_MS : Infinity; t < Date.parse(one.from); t += HOUR_MS) {
            all.push({ ...Object.fromEntries(Object.keys(one).map((k) => [k, 0])), from: new Date(t).toISOString().replace('.000Z', 'Z'), unknown_s: HOUR_MS / 1000 });
        }
        all.push(one);
    }
    return all;
}

const sum = (list) => list.reduce((a, b) => Object.fromEntries(Object.keys(a).map((k) => [k, k === 'from' ? a.from : a[k] + b[k]])));

/** As many bars as can be looked at, each of the same number of hours. */
function bars_of(hours) {
    const each = Math.ceil(hours.length / BARS_MAX) || 1;
    return Array.from({ length: Math.ceil(hours.length / each) }, (_, i) => sum(hours.slice(i * each, (i + 1) * each)));
}

export class PowerHours {
    constructor() {
        this.closed = false;
        this.asked = 0;
        this.asked_ms = 0;
        this.sites = '';
        this.note = h('p.eg-note', { role: 'status' });
        this.site = h('select', { onchange: () => this.load() }, h('option', { value: '' }, 'all sites'));
        this.span = h('select', { onchange: () => this.load() }, ...SPANS.map(([days, words]) => h('option', { value: days }, words)));
        this.bars = h('div.co-hours', { role: 'img' });
        this.ends = h('p.co-hours-ends', { 'aria-hidden': 'true' }, h('span', null), h('span', null));
        this.table = new Table('Power by part', [{ name: 'Part', wide: true, make: () => h('span.co-hours-name', null, h('i.co-hour-part', null), h('span', null)), show: (el, r) => {
            if (r.part) el.firstChild.dataset.part = r.part;
            el.firstChild.hidden = !r.part;
            set_text(el.lastChild, r.words);
        } }, { name: 'Energy', right: true, text: (r) => r.energy }, { name: 'Of what was energised', right: true, text: (r) => r.share }], { key: (r) => r.words, empty: 'Nobody watched the power of a site in this time.' });
        this.el = card('What power became', h('form.co-form', { onsubmit: (e) => { e.preventDefault(); this.load(); } }, field('power-site', 'Site', this.site), field('power-span', 'Time', this.span)),
            this.note, this.bars, this.ends, this.table.el);
    }

    /** The names of sites, as they come; asks when they are new, and each minute. */
    update(names) {
        const text = names.join();
        if (text !== this.sites) {
            const was = this.site.value;
            this.sites = text;
            this.site.replaceChildren(h('option', { value: '' }, 'all sites'), ...names.map((x) => h('option', { value: x }, x)));
            this.site.value = names.includes(was) ? was : '';
        }
        if (!this.asked_ms && is_simulated()) this.span.value = '7';
        if (!this.asked_ms || performance.now() - this.asked_ms >= (is_simulated() ? SIMULATED_MS : EVERY_MS)) this.load();
    }

    async load() {
        const mine = ++this.asked, days = Number(this.span.value), now = now_ms();
        const q = new URLSearchParams(this.site.value ? { site: this.site.value } : {});
        this.asked_ms = performance.now();
        if (days > 1) q.set('from', new Date(now - days * 86400000).toISOString().slice(0, 10));
        try {
            const list = (await api.json(`/power?${q}`)).data;
            if (this.closed || mine !== this.asked) return;
            this.show(by_hour(list));
            set_text(this.note, '');
        } catch (e) {
            if (!this.closed && mine === this.asked) set_text(this.note, e.message);
        }
    }

    show(hours) {
        const all = hours.length ? sum(hours) : null, is_there = !!all?.energised;
        this.bars.hidden = this.ends.hidden = !is_there;
        this.table.update(is_there ? [...PARTS.map(([part, words]) => ({ part, words, energy: mwh(all[part]), share: `${(100 * all[part] / all.energised).toFixed(1)} %` })),
            { words: 'energised, in all', energy: mwh(all.energised), share: all.unknown_s >= 60 ? `${number(Math.round(all.unknown_s / 60))} minutes unknown` : '100 %' }] : []);
        if (!is_there) return;
        const bars = bars_of(hours), most = Math.max(...bars.map((b) => b.energised));
        this.bars.setAttribute('aria-label', `${bars.length} bars from ${hours[0].from} on; the table below has their sums`);
        this.bars.replaceChildren(...bars.map((b) => h('div.co-hour', { title: `${b.from}: ${PARTS.filter(([p]) => b[p] > 0).map(([p]) => `${p} ${mwh(b[p])}`).join(', ') || 'unknown'}` },
            ...PARTS.filter(([p]) => b[p] > 0).map(([p]) => {
                const el = h('i.co-hour-part', { 'data-part': p });
                el.style.height = `${100 * b[p] / most}%`;
                return el;
            }))));
        [hours[0].from, hours.at(-1).from].forEach((t, i) => set_text(this.ends.children[i], new Date(t).toLocaleString()));
    }

    close() { this.closed = true; }
}
