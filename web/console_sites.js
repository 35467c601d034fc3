/* Sites: how each is, what it may carry, what it draws and what its requests used of that, and an
 * operator's order. A number that was computed or told by others never looks like one that was measured. */

import * as api from './console_api.js';
import { PowerHours } from './power_hours.js';
import { is_simulated } from './simulated.js';
import { SiteMap } from './site_map.js';
import { ask_form, h, card, field, meter, new_meter, number, say, set_chip, set_text, Table } from './console_dom.js';

const EVERY_MS = 5000;
const SIMULATED_MS = 900; // days pass in seconds
const STATES = ['planned', 'commissioning', 'acceptance', 'active', 'derated', 'draining', 'offline', 'closed'];
const TONES = { active: 'ok', derated: 'warn', draining: 'warn', offline: 'bad', closed: 'bad' };

const held = (s) => (s.encumbered_mw ? `, ${s.encumbered_mw} encumbered` : '');
const mw = (s) => (s.contracted_mw === null && s.energised_mw === null ? '–' : `${s.energised_mw ?? '–'} of ${s.contracted_mw ?? '–'} MW (${s.power_basis})${held(s)}`);
const power = (s) => (s.pue === null ? mw(s) : `${mw(s)}, PUE ${s.pue.toFixed(2)}`);
const open_to = (s) => `${s.region ?? '–'}, ${s.generally_available ? 'all' : s.dedicated_to.join(', ')}`;
const METHODS = { rapl: "measured, the processor's counters", redfish: 'measured, the management controller', feed: 'measured, a feed', model: 'modelled from CPU time',
    stated: 'as the supplier says', contracted: 'as agreed with the supplier' };
const BOUNDARIES = { accelerator: 'chips and their memory', it: 'whole machine', facility: 'building' };
const method = (e) => METHODS[e.method] || e.method;
const off_by = (e) => (e.uncertainty >= 1 ? 'nobody says how far it may be off' : `±${(100 * e.uncertainty).toFixed(e.uncertainty < 0.1 ? 1 : 0)} %`);
const watts = (w) => (w === null || w === undefined ? '–' : w < 99.95 ? `${w.toFixed(1)} W` : w < 9999.5 ? `${number(Math.round(w))} W` : `${(w / 1000).toFixed(1)} kW`);
const joules = (j) => (j < 9999.5 ? `${j < 99.95 ? j.toFixed(1) : number(Math.round(j))} J` : j < 3.6e6 ? `${(j / 1000).toFixed(1)} kJ` : `${number(Math.round(j / 3600) / 1000)} kWh`);
const share = (part, all) => (all > 0 ? ` (${Math.min(100, Math.max(0, 100 * part / all)).toFixed(0)} %)` : '');

/** The meter of this machine: what it says now, and whose what it counted was. */
class Meter {
    constructor() {
        this.rows = {};
        this.list = h('dl.eg-parts.co-two', null);
        for (const title of ['Power now', 'Method', 'Boundary', 'May be off by', 'Counted', 'Requests got', 'Unattributed', 'Carbon']) {
            this.rows[title] = h('dd.num', null);
            this.list.append(h('div', null, h('dt', null, title), this.rows[title]));
        }
        this.where = h('p.eg-note', null);
        this.el = card('Power of this machine', this.where, this.list);
    }

    update(s) {
        const e = s.energy, set = (k, text) => set_text(this.rows[k], text);
        this.list.hidden = !e;
        if (!e) {
            set_text(this.where, 'This server reads no meter.');
            return;
        }
        const site = s.sites.find((x) => x.name === e.site);
        set_text(this.where, e.site === null ? 'It belongs to no site.' : `At the site ${e.site}.`);
        set('Power now', e.watts === null ? 'the meter is silent' : watts(e.watts));
        set('Method', method(e));
        set('Boundary', BOUNDARIES[e.boundary] || e.boundary);
        set('May be off by', off_by(e));
        set('Counted', joules(e.metered_joules));
        set('Requests got', joules(e.requests_joules) + share(e.requests_joules, e.metered_joules));
        set('Unattributed', joules(e.unattributed_joules) + share(e.unattributed_joules, e.metered_joules));
        set('Carbon', site ? `${both(site.carbon_grams_per_kwh)} g CO₂ a kWh` : 'unknown: no site');
    }
}

const grams = (x) => (x === null ? '–' : `${number(Math.round(x))}`);
const both = (c) => `${grams(c.location)}, market ${grams(c.market)}`;
/** Where the meter stands; elsewhere nobody says what is drawn. */
const drawn = (s) => (s.meter ? `${watts(s.meter.watts)}, ${method(s.meter)}` : 'no meter here');
const used = (s) => {
    if (!s.energy) return s.requests ? 'not known' : s.meter ? `–; unattributed ${joules(s.meter.unattributed_joules)}` : '–';
    const rest = s.requests_unmetered ? `; of ${number(s.requests_unmetered)} not known` : '';
    return `${joules(s.energy.joules)}, ${method(s.energy)}${rest}${s.meter ? `; unattributed ${joules(s.meter.unattributed_joules)}` : ''}`;
};

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

const limits = (x) => {
    const l = x.limits, of = (v) => (v === null ? '' : number(v));
    const range = [l.low_allowed, l.low, l.high, l.high_allowed].every((v) => v === null) ? '' : `${of(l.low)} … ${of(l.high)} (allowed ${of(l.low_allowed)} … ${of(l.high_allowed)})`;
    return [range, l.rate === null ? '' : `${number(l.rate)} an hour`].filter(Boolean).join('; ') || 'only shown';
};
const reading = (x) => (x.value === null ? '–' : x.unit ? `${x.value.toFixed(1)} ${x.unit === 'C' ? '°C' : x.unit}` : x.value ? 'yes' : 'no');
const SENSOR_TONES = { good: 'ok', stale: 'bad', refused: 'bad', 'not heard': 'bad' };

/** What each sensor of each site says, how old that is, and what it leaves. */
const sensor_table = () => new Table('Sensors', [{ name: 'Sensor', person: (x) => `${x.site} ${x.name}`, wide: true }, { name: 'Quantity', text: (x) => x.quantity.replaceAll('_', ' ') },
    { name: 'Reading', right: true, text: reading }, { name: 'Age', right: true, text: (x) => (x.age_seconds === null ? '–' : `${number(Math.round(x.age_seconds))} s`) },
    { name: 'Quality', make: () => h('span.co-chip', null), show: (el, x) => set_chip(el, x.quality, SENSOR_TONES[x.quality] || '') },
    { name: 'Leaves', right: true, text: (x) => `${(100 * x.capacity_factor).toFixed(0)} %` }, { name: 'Well', text: limits },
    { name: 'Source', person: (x) => x.source }, { name: 'Why not', person: (x) => x.error || '' }], { key: (x) => `${x.site} ${x.name}`, empty: 'No site has sensors.' });

export function mount(root) {
    const note = h('p.eg-note', { role: 'status' }, 'Loading …');
    const here = new Meter(), map = new SiteMap(TONES), hours = new PowerHours();
    let asked_ms = -EVERY_MS, closed = false, list = null, listed_ms = 0, now = null, now_ms = 0;
    const factor = { name: 'Capacity factor', make: () => h('span.co-budget.co-short', null, new_meter(), h('span', null)),
        show: (el, s) => { meter(el.firstChild, 0); el.firstChild.firstChild.style.width = `${100 * s.capacity_factor}%`; set_text(el.lastChild, `${(100 * s.capacity_factor).toFixed(0)} %`); } };
    const table = new Table('Sites', [{ name: 'Site', person: (s) => s.name, wide: true }, { name: 'Region, for whom', person: open_to },
        { name: 'State', make: () => h('span.co-chip', null), show: (el, s) => set_chip(el, s.state, TONES[s.state] || '') }, factor,
        { name: 'Power', person: power }, { name: 'Drawn now', person: drawn }, { name: 'Requests got', person: used },
        { name: 'g CO₂/kWh', person: (s) => both(s.carbon_grams_per_kwh) },
        { name: 'Running', text: (s) => `${number(s.running)} of ${number(s.places)}${s.waiting ? `, ${number(s.waiting)} wait` : ''}` },
        ...(api.may_change() ? [{ name: 'Order', hidden: true, make: (row) => h('button.soft-button', { type: 'button', onclick: () => order(row.r, load) }, 'Order'),
            show: (el, s) => el.setAttribute('aria-label', `Order for ${s.name}`.slice(0, 200)) }] : [])], { key: (s) => s.name, empty: 'The configuration names no sites.' });

    /** What the configuration says comes seldom, how it is comes with each overview. */
    function show() {
        if (list === null) return;
        const live = new Map(now && now_ms > listed_ms ? now.sites.map((x) => [x.name, x]) : []);
        const each = list.map((s) => ({ ...s, ...live.get(s.name), meter: now?.energy && now.energy.site === s.name ? now.energy : null }));
        table.update(each);
        map.update(each);
        hours.el.hidden = !each.length;
        if (each.length) hours.update(each.map((s) => s.name));
    }

    async function load() {
        asked_ms = performance.now();
        try {
            const told = await api.json('/sites');
            if (closed) return;
            list = told.data;
            listed_ms = performance.now();
            show();
            sensors.update(list.flatMap((s) => s.sensors.map((x) => ({ ...x, site: s.name }))));
            room.hidden = !list.some((s) => s.sensors.length);
            table.el.hidden = false;
            set_text(note, '');
        } catch (e) {
            if (!closed) set_text(note, e.message);
        }
    }

    const sensors = sensor_table(), room = card('Sensors', sensors.el);
    table.el.hidden = room.hidden = hours.el.hidden = true;
    root.replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Sites'), map.el, hours.el, here.el, card('Sites', note, table.el), room));
    load();
    return {
        update(s) {
            now = s;
            now_ms = performance.now();
            here.update(s);
            show();
            if (performance.now() - asked_ms >= (is_simulated() ? SIMULATED_MS : EVERY_MS)) load();
        },
        close() {
            closed = true;
            hours.close();
        },
    };
}
