/* Sites: how each is, what it may carry, and an operator's order. */

import * as api from './console_api.js';
import { ask_form, h, card, field, meter, new_meter, number, say, set_chip, set_text, Table } from './console_dom.js';

const EVERY_MS = 5000;
const STATES = ['active', 'planned', 'draining', 'offline'];
const TONES = { active: 'ok', draining: 'warn', offline: 'bad' };

const mw = (s) => (s.contracted_mw === null && s.active_mw === null ? '–' : `${s.active_mw ?? '–'} of ${s.contracted_mw ?? '–'} MW (${s.power_basis})`);
const grams = (x) => (x === null ? '–' : `${number(Math.round(x))}`);

/** What an operator says, beside configuration and file; nothing said is the lowest of these. */
function order(s, done) {
    const said = s.said.operator;
    const state = h('select', null, h('option', { value: '' }, 'as configured'), ...STATES.map((x) => h('option', { value: x, selected: said.state === x }, x)));
    const factor = h('input', { inputmode: 'decimal', autocomplete: 'off', value: said.capacity_factor === null ? '' : String(said.capacity_factor) });
    ask_form('An order for a site', [h('p', null, 'For the site ', h('bdi', null, s.name), ', in force for new requests at once.'), field('site-state', 'State', state),
        field('site-factor', 'Capacity factor', factor, 'From 0 to 1; empty: none is ordered.')], 'Order it', async () => {
        const f = factor.value.trim();
        await api.json(`/sites/${api.part(s.name)}`, { method: 'PATCH', body: { state: state.value || null, capacity_factor: f === '' ? null : Number(f) } });
        say('The order is in force.');
        done();
    });
}

export function mount(root) {
    const note = h('p.eg-note', { role: 'status' }, 'Loading …');
    let asked_ms = -EVERY_MS, closed = false;
    const factor = { name: 'Capacity factor', make: () => h('span.co-budget', null, new_meter(), h('span', null)),
        show: (el, s) => { meter(el.firstChild, 0); el.firstChild.firstChild.style.width = `${100 * s.capacity_factor}%`; set_text(el.lastChild, `${(100 * s.capacity_factor).toFixed(0)} %`); } };
    const table = new Table('Sites', [{ name: 'Site', person: (s) => s.name, wide: true }, { name: 'Region', person: (s) => s.region },
        { name: 'For', person: (s) => (s.generally_available ? 'all' : s.dedicated_to.join(', ')) },
        { name: 'State', make: () => h('span.co-chip', null), show: (el, s) => set_chip(el, s.state, TONES[s.state] || '') }, factor,
        { name: 'Power', person: mw }, { name: 'PUE', right: true, text: (s) => (s.pue === null ? '–' : s.pue.toFixed(2)) },
        { name: 'g CO₂/kWh', person: (s) => `${grams(s.carbon_grams_per_kwh.location)}, market ${grams(s.carbon_grams_per_kwh.market)}` },
        { name: 'Running', text: (s) => `${number(s.running)} of ${number(s.places)}${s.waiting ? `, ${number(s.waiting)} wait` : ''}` },
        ...(api.may_change() ? [{ name: 'Order', hidden: true, make: (row) => h('button.soft-button', { type: 'button', onclick: () => order(row.r, load) }, 'Order'),
            show: (el, s) => el.setAttribute('aria-label', `Order for ${s.name}`.slice(0, 200)) }] : [])], { key: (s) => s.name, empty: 'The configuration names no sites.' });

    async function load() {
        asked_ms = performance.now();
        try {
            const list = await api.json('/sites');
            if (closed) return;
            table.update(list.data);
            table.el.hidden = false;
            set_text(note, '');
        } catch (e) {
            if (!closed) set_text(note, e.message);
        }
    }

    table.el.hidden = true;
    root.replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Sites'), card('Sites', note, table.el)));
    load();
    return { update() { if (performance.now() - asked_ms >= EVERY_MS) load(); }, close() { closed = true; } };
}
