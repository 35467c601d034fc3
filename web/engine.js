/* The engine at work: one stream of states, shown as figures, plots and rows. */

import { h, bytes, count, number, say, set_text } from './engine_dom.js';
import { Plot, forget_colours } from './plot.js';
import * as state from './engine_state.js';
import { Requests } from './engine_requests.js';
import { open_timeline } from './engine_timeline.js';

const EVENTS = '/v1/engine/events?interval_ms=500';
const RETRY_MS = 1000;

let style = null;

/** The view's own style sheet, loaded when it is first opened. */
function load_style() {
    style ??= new Promise((resolve) => {
        const link = h('link', { rel: 'stylesheet', href: '/engine.css' });
        link.addEventListener('load', resolve);
        link.addEventListener('error', resolve);
        document.head.append(link);
    });
    return style;
}

const rate = (v) => (v === null || v === undefined ? '–' : v < 99.95 ? v.toFixed(1) : number(Math.round(v)));
const percent = (v) => (v === null || v === undefined ? '–' : `${(100 * v).toFixed(v > 0 && v < 0.0995 ? 1 : 0)} %`);
const ms = (s) => (s === undefined || s === null ? '–' : s < 9.9995 ? number(Math.round(s * 1000)) : number(Math.round(s)) + '\u2009k');

const CARDS = [
    {
        name: 'Generated', unit: 'tokens/s', value: (s) => rate(s.out), least: 10,
        series: [{ name: 'generated', get: (s) => s.out, colour: '--accent', fill: 0.16 }],
        note: (s, all) => [`${number(s.model.totals.generated_tokens)} so far`,
            all.drafts === null ? '' : `${percent(all.drafts)} of drafts right`],
    },
    {
        name: 'Prompts', unit: 'tokens/s', value: (s) => rate(s.prompt + s.cached), least: 100, stack: true,
        series: [{ name: 'computed', get: (s) => s.prompt, colour: '--accent', fill: 0.16 },
            { name: 'from the cache', get: (s) => s.cached, colour: '--ok', fill: 0.16 }],
        note: (s, all) => [`${percent(all.cached)} from the cache`, `${number(s.model.totals.prompt_tokens)} computed`],
    },
    {
        name: 'Machine', unit: 'of its measured limit', value: (s) => percent(s.share), max: 1,
        series: [{ name: 'share', get: (s) => s.share, colour: '--accent', fill: 0.16 }],
        note: (s) => (s.model.limit ? [`weights ${percent(s.read_share)}`, `prompts ${percent(s.prompt_share)}`]
            : ['Not measured here yet: gaufre bench ', h('code', null, s.model.id)]),
    },
    {
        name: 'Sequences', unit: 'in the batch', value: (s) => number(s.model.running), least: 4, stack: true,
        series: [{ name: 'running', get: (s) => s.model.running, colour: '--accent', fill: 0.16 },
            { name: 'waiting', get: (s) => s.model.waiting, colour: '--soft', fill: 0.16 }],
        note: (s) => [`${number(s.model.waiting)} waiting`, s.model.running ? `${count(s.model.batch.tokens, 'token')} in a step` : 'idle'],
    },
    {
        name: 'KV pages', unit: 'in use', value: (s) => percent(s.model.pages.total ? s.model.pages.used / s.model.pages.total : null),
        max: (seen) => seen.at(-1)?.model.pages.total || 1, stack: true,
        series: [{ name: 'used', get: (s) => s.model.pages.used, colour: '--accent', fill: 0.16 },
            { name: 'kept for equal beginnings', get: (s) => s.model.pages.shared, colour: '--ok', fill: 0.16 }],
        note: (s) => [`${number(s.model.pages.used)} used`, `${number(s.model.pages.shared)} shared`, `${number(s.model.pages.free)} free`],
    },
];

/** One figure with its plot. At the cursor it shows what was then. */
class Card {
    constructor(def, on_cursor) {
        this.def = def;
        this.value = h('span.eg-value.num', null, '–');
        this.note = h('p.eg-note', null);
        this.canvas = h('canvas.eg-plot', { role: 'img', 'aria-label': `${def.name}, the last minutes` });
        this.scale = h('span.eg-scale.num', { 'aria-hidden': 'true' });
        this.el = h('section.eg-card', { 'aria-label': def.name },
            h('div.eg-head', null, h('h2', null, def.name, h('span.eg-unit', null, def.unit)),
                def.series.length > 1 ? h('span.eg-key', null, ...def.series.map((s) => h('span', null,
                    h(`i.eg-dot.${s.colour.slice(2)}`, null), s.name))) : null),
            h('p.eg-now', null, this.value),
            h('div.eg-frame', null, this.canvas, this.scale), this.note);
        this.plot = new Plot(this.canvas, { ...def, on_cursor });
    }

    update(id, now, all, cursor) {
        const list = state.samples(id);
        const then = cursor === null ? null : state.at(id, cursor);
        set_text(this.value, cursor === null ? this.def.value(now) : then ? this.def.value(then) : '–');
        const note = this.def.note(now, all).filter(Boolean);
        const text = note.map((n) => n.textContent ?? n).join('|');
        if (this.note_text !== text) {
            this.note_text = text;
            this.note.replaceChildren(...note.map((n) => (typeof n === 'string' ? h('span', null, n) : n)));
        }
        this.plot.span_s = state.span(id);
        this.plot.draw(list, list.at(-1)?.t ?? 0, cursor);
        const top = this.plot.scale;
        set_text(this.scale, this.def.max === 1 ? '100 %' : top < 1 ? '' : number(top));
    }
}

/** Percentiles of the last minutes. */
class Latency {
    constructor() {
        this.cells = {};
        const row = (name, key, title) => h('tr', { title }, h('th', { scope: 'row' }, name), ...['p50', 'p95', 'p99'].map((p) => {
            this.cells[key + p] = h('td.num', null, '–');
            return this.cells[key + p];
        }));
        this.note = h('p.eg-note', null, h('span', null, '–'));
        this.el = h('section.eg-card', { 'aria-label': 'Latency' }, h('div.eg-head', null, h('h2', null, 'Latency'), h('span.eg-unit', null, 'milliseconds')),
            h('table.eg-latency', null, h('thead', null, h('tr', null, h('td', null), ...['median', '95 %', '99 %'].map((t) => h('th', { scope: 'col' }, t)))),
                h('tbody', null, row('First token', 'ttft_s', 'from the first byte of the request to its first token'),
                    row('Each token', 'tpot_s', 'mean time of a token after the first'), row('In the queue', 'queue_s', 'from the request to the beginning of its computation'))),
            this.note);
    }

    update(model) {
        let n = 0;
        for (const key of ['ttft_s', 'tpot_s', 'queue_s']) {
            n = Math.max(n, model[key]?.n ?? 0);
            for (const p of ['p50', 'p95', 'p99']) {
                const v = model[key]?.[p];
                set_text(this.cells[key + p], key === 'tpot_s' && v !== undefined && v < 0.1 ? (v * 1000).toFixed(1) : ms(v));
            }
        }
        set_text(this.note.firstChild, n ? `of ${number(n)} in the last five minutes` : 'no requests in the last five minutes');
    }
}

/** Memory by purpose, as one bar and its parts. */
class Memory {
    constructor() {
        this.bar = h('div.eg-bar', { 'aria-hidden': 'true' });
        this.list = h('dl.eg-parts', null);
        this.el = h('section.eg-card', { 'aria-label': 'Memory' }, h('div.eg-head', null, h('h2', null, 'Memory'), this.total = h('span.eg-unit.num', null)),
            this.bar, this.list);
        this.parts = [['weights', 'Weights', 'accent'], ['kv', 'KV cache', 'ok'], ['work', 'Work space', 'soft'], ['vocab', 'Vocabulary', 'ink']].map(([key, name, tone]) => {
            const part = { key, strip: h(`span.${tone}`, null), text: h('dd.num', null) };
            this.bar.append(part.strip);
            this.list.append(h('div', null, h('dt', null, h(`i.eg-dot.${tone}`, null), name), part.text));
            return part;
        });
        this.extra = [['Resident in all', 'resident'], ['Free on the machine', 'available']].map(([name, key]) => {
            const text = h('dd.num', null);
            this.list.append(h('div', null, h('dt', null, name), text));
            return [key, text];
        });
    }

    update(model, memory) {
        const sum = this.parts.reduce((n, p) => n + model.memory[p.key], 0) || 1;
        for (const p of this.parts) {
            p.strip.style.flexGrow = String(model.memory[p.key] / sum);
            const used = p.key === 'kv' && model.pages.total ? ` (${percent((model.pages.used + model.pages.shared) / model.pages.total)} holds tokens)` : '';
            set_text(p.text, bytes(model.memory[p.key]) + used);
        }
        for (const [key, text] of this.extra) set_text(text, bytes(memory[key]));
        set_text(this.total, `${bytes(sum)} for this model`);
    }
}

function span_of(s) {
    const units = [[86400, 'd'], [3600, 'h'], [60, 'min']];
    for (const [n, name] of units) if (s >= n) return `${Math.floor(s / n)} ${name}`;
    return `${Math.floor(s)} s`;
}

/** What it is, and how it computes: as words. */
class Facts {
    constructor() {
        this.rows = {};
        this.list = h('dl.eg-parts', null);
        for (const name of ['Model', 'Kernels', 'Numbers', 'Context', 'Processor', 'Load', 'Limit', 'Server']) {
            this.rows[name] = h('dd', null);
            this.list.append(h('div', null, h('dt', null, name), this.rows[name]));
        }
        this.el = h('section.eg-card', { 'aria-label': 'How it computes' }, h('div.eg-head', null, h('h2', null, 'How it computes')), this.list);
    }

    update(m, s, now) {
        const set = (name, text) => set_text(this.rows[name], text);
        set('Model', m.family ? `${m.family}, ${m.formats}` : m.state);
        set('Kernels', m.kernels || '–');
        set('Numbers', m.class ? `class ${m.class}, KV ${m.kv_type}` : '–');
        set('Context', `${count(m.context, 'token')}, batch ${number(m.batch_max)}, prompts by ${number(m.chunk)}`);
        set('Processor', `${s.cpu || 'unknown'}, ${s.threads} thread${s.threads === 1 ? '' : 's'}`);
        set('Load', now.cpu === null ? '–' : `${now.cpu.toFixed(2)} cores busy`);
        const l = m.limit;
        set('Limit', l ? `${(l.read_bytes_per_s / 1e9).toFixed(1)} GB/s read, ${l.decode_tokens_per_s ? `${number(Math.round(l.decode_tokens_per_s))} tokens/s one by one, ` : ''}${l.prefill_tokens_per_s ? `${number(Math.round(l.prefill_tokens_per_s))} of prompts, ` : ''}measured ${new Date(l.measured * 1000).toLocaleDateString()}`
            : 'not measured on this machine');
        set('Server', `gaufre ${s.version}, up ${span_of(s.uptime_s)}`);
    }
}

class View {
    constructor(root, api) {
        Object.assign(this, { root, api, cursor: null, last: null, model_id: null, stop: new AbortController() });
        const on_cursor = (part) => { this.cursor = part === null ? null : part * state.span(this.model_id); this.show(); };
        this.cards = CARDS.map((def) => new Card(def, on_cursor));
        this.latency = new Latency();
        this.memory = new Memory();
        this.facts = new Facts();
        this.requests = new Requests({ on_cancel: (r) => this.cancel(r), on_open: (r) => open_timeline(r, this.api) });
        this.title = h('h1', null, 'Engine');
        this.note = h('p.eg-status', { role: 'status' }, 'Connecting …');
        this.tabs = h('div.eg-models', { role: 'group', 'aria-label': 'Model' });
        this.el = h('div.eg', null,
            h('header.eg-top', null, this.title, this.tabs, this.note),
            h('div.eg-grid', null, ...this.cards.map((c) => c.el), this.latency.el),
            this.requests.el,
            h('div.eg-grid.two', null, this.memory.el, this.facts.el));
        root.replaceChildren(this.el);
        this.el.classList.add('waiting');
        this.on_visible = () => (document.hidden ? this.pause() : this.run());
        document.addEventListener('visibilitychange', this.on_visible);
        this.theme = new MutationObserver(() => this.repaint());
        this.theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
        this.dark = matchMedia('(prefers-color-scheme: dark)');
        this.on_dark = () => this.repaint();
        this.dark.addEventListener('change', this.on_dark);
        this.run();
    }

    close() {
        this.closed = true;
        this.pause();
        document.removeEventListener('visibilitychange', this.on_visible);
        this.theme.disconnect();
        this.dark.removeEventListener('change', this.on_dark);
        for (const c of this.cards) c.plot.close();
        this.root.replaceChildren();
    }

    pause() {
        this.stop.abort();
        this.running = false;
    }

    repaint() {
        forget_colours();
        for (const c of this.cards) c.plot.redraw();
    }

    /** One stream after the other, until the view is closed or nobody looks. */
    async run() {
        if (this.running || this.closed) return;
        this.running = true;
        const stop = this.stop = new AbortController();
        while (!stop.signal.aborted) {
            let wait = RETRY_MS;
            try {
                await this.api.sse(EVENTS, { signal: stop.signal, onEvent: (s) => this.learn(s) });
                if (!stop.signal.aborted) this.tell('The server ended the stream. Connecting again …');
            } catch (e) {
                if (stop.signal.aborted) return;
                this.tell(e.message || String(e));
                wait = (e.retry_after ?? (e.status === 401 || e.status === 403 ? 30 : 1)) * 1000;
            }
            await new Promise((r) => { setTimeout(r, wait); });
        }
    }

    tell(text) {
        set_text(this.note, text);
        this.el.classList.add('waiting');
    }

    learn(s) {
        state.learn(s);
        this.last = s;
        this.el.classList.remove('waiting');
        this.show();
    }

    async cancel(r) {
        try {
            const a = await this.api.json(`/v1/engine/requests/${encodeURIComponent(r.id)}/cancel`, { method: 'POST', body: {} });
            say(a.cancelled ? 'The request was cancelled.' : 'It had ended already.');
        } catch (e) {
            say(e.message);
            return e.message;
        }
        return null;
    }

    show() {
        const s = this.last;
        if (!s || this.closed) return;
        const m = s.models.find((x) => x.id === this.model_id) || s.models[0];
        if (!m) {
            this.tell('No model is served.');
            return;
        }
        this.model_id = m.id;
        const now = state.now(m.id);
        const all = state.overall(m.id);
        this.show_models(s, m);
        for (const c of this.cards) c.update(m.id, now, all, this.cursor);
        this.latency.update(m);
        this.memory.update(m, s.memory);
        this.facts.update(m, s, now);
        this.requests.update(s);
        const words = { loaded: 'Live', loading: `Loading, ${Math.round(100 * m.loading)} %`, failed: 'Could not be loaded', frozen: 'Does not answer' };
        const span = state.span(m.id) / 60;
        set_text(this.note, this.cursor === null ? `${words[m.state]}, ${span > 1 ? `last ${span} minutes` : 'last minute'}` : `${Math.round(this.cursor)} s ago`);
        this.note.dataset.state = this.cursor === null ? m.state : 'past';
    }

    show_models(s, chosen) {
        const names = s.models.map((m) => m.id).join('\n');
        if (this.names !== names) {
            this.names = names;
            this.tabs.replaceChildren(...s.models.map((m) => h('button.eg-model', { type: 'button', onclick: () => { this.model_id = m.id; this.show(); } },
                h('span.dot', null), m.id)));
        }
        s.models.forEach((m, i) => {
            const b = this.tabs.children[i];
            b.firstChild.dataset.state = m.state;
            b.setAttribute('aria-pressed', String(m === chosen));
            b.disabled = s.models.length === 1;
        });
    }
}

/** Show the view in `root`; the answer takes it away again. */
export function mount(root, { api }) {
    let view = null;
    let gone = false;
    load_style().then(() => { if (!gone) view = new View(root, api); });
    return () => {
        gone = true;
        view?.close();
        root.replaceChildren();
    };
}
