/* Sites as tiles, region by region: the state of each, its megawatts as a bar on one scale (contracted,
 * of these energised, of these encumbered and ready now), what lowers them, and what comes next. */

import { h, card, name, set_chip, set_name, set_text } from './console_dom.js';

const LEGEND = [['contracted', 'contracted with the grid'], ['energised', 'energised'], ['encumbered', 'held for other uses'], ['ready', 'ready for requests now']];
const mw = (v) => `${v.toLocaleString(undefined, { maximumFractionDigits: 3 })} MW`;

/** Of a site's megawatts, those that its factor leaves; null: not known. */
const ready_mw = (s) => (s.free_mw === null ? null : s.free_mw * s.capacity_factor);

function power_text(s) {
    if (s.energised_mw === null && s.contracted_mw === null) return 'Megawatts are not said.';
    const part = (v, word) => (v ? `${mw(v)} ${word}` : '');
    return [part(s.contracted_mw, 'contracted'), `${s.energised_mw === null ? 'not said what is' : mw(s.energised_mw)} energised`, part(s.encumbered_mw, 'encumbered'),
        ready_mw(s) === null ? '' : `${mw(ready_mw(s))} ready`].filter(Boolean).join(', ');
}

/** The sensor that leaves least, if any lowers the factor. */
function weather(s) {
    const low = s.sensors.filter((x) => x.capacity_factor < 1).sort((a, b) => a.capacity_factor - b.capacity_factor)[0];
    if (!low) return s.sensors.length ? 'All sensors leave all of it.' : '';
    const said = low.value === null ? low.quality : `${low.value.toFixed(1)} ${low.unit}`;
    return `${low.name} (${said}) leaves ${(100 * low.capacity_factor).toFixed(0)} %.`;
}

function next_step(s) {
    const steps = s.lifecycle ?? [], at = steps.findIndex((x) => x.holds), next = steps[at + 1];
    if (!next) return '';
    return `${next.late ? 'Late: ' : 'Next: '}${next.state}, ${next.actual ? 'on' : 'planned for'} ${next.actual ?? next.planned}`;
}

class Tile {
    constructor() {
        this.name = name('');
        this.state = h('span.co-chip', null);
        this.parts = Object.fromEntries(LEGEND.map(([part]) => [part, h('i.co-mw-part', { 'data-part': part })]));
        this.lines = [h('p.co-tile-line', null), h('p.co-tile-line', null), h('p.co-tile-line', null)];
        this.el = h('li.co-tile', null, h('div.co-tile-head', null, h('strong', null, this.name), this.state), h('div.co-mw-bar', { 'aria-hidden': 'true' }, ...Object.values(this.parts)), ...this.lines);
    }

    update(s, most_mw, tones) {
        set_name(this.name, s.name);
        set_chip(this.state, `${s.state}, ${(100 * s.capacity_factor).toFixed(0)} %`, tones[s.state] || '');
        const at = (v) => 100 * (v ?? 0) / most_mw, put = (part, from, to) => {
            this.parts[part].style.left = `${at(from)}%`;
            this.parts[part].style.width = `${at(to) - at(from)}%`;
        };
        const held = s.encumbered_mw ?? 0;
        put('contracted', 0, s.contracted_mw ?? s.energised_mw);
        put('energised', 0, s.energised_mw);
        put('encumbered', 0, held);
        put('ready', held, held + (ready_mw(s) ?? 0));
        [power_text(s), weather(s), next_step(s)].forEach((text, i) => {
            set_text(this.lines[i], text);
            this.lines[i].hidden = !text;
        });
    }
}

export class SiteMap {
    constructor(tones) {
        Object.assign(this, { tones, regions: new Map(), tiles: new Map() });
        this.body = h('div', null);
        this.el = card('Map', h('p.co-legend', { 'aria-hidden': 'true' }, ...LEGEND.map(([part, words]) => h('span', null, h('i.co-mw-part', { 'data-part': part }), words))), this.body);
        this.el.hidden = true;
    }

    region(id) {
        if (!this.regions.has(id)) {
            const list = h('ul.co-tiles', null);
            const el = h('section.co-region', null, h('h3', null, name(id || 'no region')), list);
            this.regions.set(id, { el, list });
        }
        return this.regions.get(id);
    }

    /** Tiles stay where they are; a site that is gone takes its tile along, a region its last one. */
    update(sites) {
        const most_mw = Math.max(...sites.flatMap((s) => [s.contracted_mw ?? 0, s.energised_mw ?? 0]), 1e-9);
        const gone = new Set(this.tiles.keys());
        for (const s of sites) {
            let tile = this.tiles.get(s.name);
            if (!tile) this.tiles.set(s.name, tile = new Tile());
            const { list } = this.region(s.region ?? '');
            if (tile.el.parentElement !== list) list.append(tile.el);
            tile.update(s, most_mw, this.tones);
            gone.delete(s.name);
        }
        for (const id of gone) {
            this.tiles.get(id).el.remove();
            this.tiles.delete(id);
        }
        for (const [id, { el, list }] of this.regions) {
            if (!list.childElementCount) {
                el.remove();
                this.regions.delete(id);
            } else if (!el.isConnected) {
                this.body.append(el);
            }
        }
        this.el.hidden = !sites.length;
    }
}
