/* Tranches over the years: one line each, from the day it was promised for to its end, with what became
 * of it. Plain elements with places in percent, so that it fits any width by itself. */

import { h, name } from './console_dom.js';

const DAY_MS = 86400000;
const LINES_MAX = 200;
const TICKS_MAX = 10;

/** A day as the start of it in UTC; null stays null. */
export const day_ms = (text) => (text ? Date.parse(`${text}T00:00:00Z`) : null);
/** Of a moment, YYYY-MM-DD. */
export const day_text = (ms) => new Date(ms).toISOString().slice(0, 10);

/** What each part of a line means: its class, and its words in the legend. */
export const PARTS = [['planned', 'promised, or expected'], ['active', 'delivered'], ['late', 'late'], ['option', 'option'], ['window', 'may be exercised'], ['longstop', 'longstop']];

/** The parts of a tranche's line, as [part, from, until] in milliseconds; longstop is a moment. */
export function parts_of(t, contract, as_of_ms) {
    const target = day_ms(t.target), until = day_ms(t.until ?? contract.until);
    const out = [];
    const put = (part, from, to) => { if (to > from) out.push([part, from, to]); };
    const cancelled = day_ms(t.cancelled ?? null), end = cancelled === null ? until : Math.min(until, cancelled);
    const exercised = day_ms(t.exercised ?? null);
    if (t.kind === 'option') put('window', day_ms(t.exercise_from ?? contract.signed ?? contract.from), exercised ?? day_ms(t.exercise_until));
    if (t.kind === 'option' && exercised === null) {
        put('option', target, end);
        return out;
    }
    // An early delivery is power before its target date, which nobody pays for.
    const delivered = day_ms(t.delivered ?? null);
    if (delivered === null) {
        const late_until = Math.min(end, Math.max(target, as_of_ms));
        put('late', target, late_until);
        put('planned', Math.max(target, late_until), end);
    } else {
        put('late', target, Math.min(end, delivered));
        put('active', delivered, end);
    }
    const longstop = day_ms(t.longstop ?? null);
    if (longstop !== null) out.push(['longstop', longstop, longstop]);
    return out;
}

/** Years, or every few of them, as [ms, text] between the ends. */
function ticks(from, until) {
    const first = new Date(from).getUTCFullYear(), last = new Date(until).getUTCFullYear();
    const step = Math.max(1, Math.ceil((last - first + 1) / TICKS_MAX));
    const out = [];
    for (let y = first; y <= last; y += step) {
        const at = Date.UTC(y, 0, 1);
        if (at >= from && at <= until) out.push([at, String(y)]);
    }
    return out;
}

export class TrancheTimeline {
    constructor() {
        this.lines = h('div.co-gantt', { role: 'img' });
        this.more = h('p.eg-note', null);
        this.el = h('div', null, h('p.co-legend', { 'aria-hidden': 'true' }, ...PARTS.map(([part, words]) => h('span', null, h('i.co-part', { 'data-part': part }), words))), this.lines, this.more);
    }

    /** list: {tranche, contract} as they are to stand below each other; as_of_ms: the day they are known on. */
    update(list, as_of_ms) {
        const drawn = list.slice(0, LINES_MAX).map(({ tranche, contract }) => ({ tranche, contract, parts: parts_of(tranche, contract, as_of_ms) }));
        const days = drawn.flatMap((x) => x.parts.flatMap(([, from, until]) => [from, until]));
        this.more.textContent = list.length > LINES_MAX ? `The first ${LINES_MAX} of ${list.length} are drawn.` : '';
        this.el.hidden = !days.length;
        if (!days.length) return;
        const from = Math.min(as_of_ms, ...days) - 20 * DAY_MS, until = Math.max(as_of_ms, ...days) + 20 * DAY_MS;
        const at = (ms) => 100 * (ms - from) / (until - from);
        const place = (el, a, b) => {
            el.style.left = `${at(a)}%`;
            if (b > a) el.style.width = `${at(b) - at(a)}%`;
            return el;
        };
        const marks = ticks(from, until);
        const track = (...inside) => h('div.co-track', null, ...marks.map(([ms]) => place(h('i.co-tick', null), ms, ms)), ...inside, place(h('i.co-now', null), as_of_ms, as_of_ms));
        const rows = [h('div.co-lane.axis', null, h('span', null), h('div.co-track', null, ...marks.map(([ms, text], i) => place(h(`span.co-year${i % 2 ? '.odd' : ''}${at(ms) > 90 ? '.end' : ''}`, null, text), ms, ms))))];
        let last = null;
        for (const { tranche, contract, parts } of drawn) {
            if (contract !== last) rows.push(h('p.co-lane-head', null, name(contract.contract)));
            last = contract;
            rows.push(h('div.co-lane', null, h('span.co-lane-name', null, name(tranche.name), h('span.co-mw', null, `${tranche.mw.toLocaleString()} MW`)),
                track(...parts.map(([part, a, b]) => place(h('i.co-part', { 'data-part': part }), a, b)))));
        }
        this.lines.setAttribute('aria-label', `Timeline of ${drawn.length} tranches from ${day_text(from)} to ${day_text(until)}; the table of tranches below says the same`);
        this.lines.replaceChildren(...rows);
    }
}
