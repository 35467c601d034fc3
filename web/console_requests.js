/* Requests of all tenants: under way, to be opened and ended, and the last that ended. */

import * as api from './console_api.js';
import { h, age, card, icon_button, number, open_dialog, say, set_chip, set_name, toast, Table } from './console_dom.js';

function state(r) {
    if (r.state === 'queued') return ['queued', ''];
    if (r.state === 'prefill') return ['prompt', 'ok'];
    if (r.state === 'decode') return ['generating', 'ok'];
    return [{ stop: 'stopped', length: 'full length', cancelled: 'cancelled', error: 'failed' }[r.finish] || 'ended', r.finish === 'error' ? 'bad' : ''];
}

async function cancel(row, button) {
    button.disabled = true;
    try {
        const a = await api.json(`/requests/${api.part(row.r.id)}/cancel`, { method: 'POST' });
        say(a.cancelled ? 'The request was cancelled.' : 'It had ended already.');
    } catch (e) {
        button.disabled = false;
        toast(e.message);
    }
}

function timeline(r) {
    const table = new Table('Timeline', [{ name: 'After', right: true, text: (m) => `${m.t.toFixed(3)} s` }, { name: 'What', text: (m) => m.what.replace('_', ' ') },
        { name: 'Tokens', right: true, text: (m) => number(m.n) }], { key: (m) => `${m.t} ${m.what} ${m.n}` });
    table.update(r.timeline);
    return table.el;
}

function decisions(route) {
    return route.decisions.map((d, i) => {
        const table = new Table('Candidates', [{ name: 'Supplier', person: (c) => c.supplier, wide: true },
            { name: 'Verdict', make: () => h('span.co-chip', null), show: (el, c) => set_chip(el, c.supplier === d.chosen ? 'chosen' : c.reason.replaceAll('_', ' '), c.supplier === d.chosen ? 'ok' : '') },
            { name: 'Why', person: (c) => c.why, wide: true }, { name: 'Score', right: true, text: (c) => (c.score === null || c.score === undefined ? '–' : Number(c.score).toFixed(3)) }],
        { key: (c) => c.supplier, empty: 'There were no candidates.' });
        table.update(d.candidates);
        return h('section', null, h('h3', null, route.decisions.length > 1 ? `Decision ${i + 1}: ` : '', `by ${d.route}, tier ${d.tier}`), table.el);
    });
}

/** A request with its timeline and how its supplier was chosen. */
async function open(r) {
    const body = h('div.co-detail', null, h('p.soft', null, 'Loading …'));
    open_dialog('Request', body, 'wide-dialog');
    const [row, route] = await Promise.allSettled([api.json(`/requests/${api.part(r.id)}`), api.json(`/requests/${api.part(r.id)}/route`)]);
    const failed = (x) => h('p.soft', null, x.reason.message);
    body.replaceChildren(h('p', null, h('code', null, r.id)), h('p.soft', null, 'Of tenant ', h('bdi', null, r.tenant), ', model ', h('bdi', null, r.model)),
        h('h3', null, 'Why it went where it went'), ...(route.value ? decisions(route.value) : [failed(route)]),
        h('h3', null, 'Timeline'), row.value ? timeline(row.value) : failed(row));
}

function columns(with_cancel) {
    return [{ name: 'Request', wide: true, make: (row) => h('button.eg-name', { type: 'button', title: 'Show its timeline and its route', onclick: () => open(row.r) }),
        show: (el, r) => set_name(el, r.id) },
    { name: 'Tenant', person: (r) => r.tenant }, { name: 'Model', person: (r) => r.model }, { name: 'Supplier', person: (r) => r.supplier }, { name: 'Tier', text: (r) => r.tier },
    { name: 'State', make: () => h('span.co-chip', null), show: (el, r) => set_chip(el, ...state(r)) },
    { name: 'Prompt', right: true, text: (r) => (r.prompt_tokens ? number(r.prompt_tokens) : '–') }, { name: 'Generated', right: true, text: (r) => number(r.completion_tokens) },
    { name: 'Time', right: true, text: (r) => age(r.age_s) },
    ...(with_cancel ? [{ name: 'Cancel', hidden: true, make: (row) => { const b = icon_button('close', 'Cancel this request', () => cancel(row, b)); return b; },
        show: () => {} }] : [])];
}

export function mount(root) {
    const live = new Table('Requests under way', columns(api.may_change()), { empty: 'Nothing is under way.' });
    const ended = new Table('Requests that ended', columns(false), { empty: 'Nothing has ended yet.' });
    const total = h('span.eg-unit.num', null);
    const box = card('Under way', live.el);
    box.querySelector('.eg-head').append(total);
    root.replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Requests'), box, card('Ended', ended.el)));
    return {
        update(s) {
            const more = s.requests_total - s.requests.length;
            total.textContent = `${number(s.requests_total)} in all${more > 0 ? `, the newest ${number(s.requests.length)} are shown` : ''}`;
            live.update(s.requests);
            ended.update(s.ended);
        },
        close() {},
    };
}
