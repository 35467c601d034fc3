/* The models that the server serves and which one is in use. Loading models are asked about again until
 * they are ready. */

import * as api from './api.js';
import { $, h, bytes, number } from './dom.js';

const LAST = 'gaufre.model';
export const models = { list: [], current: '', on_change: () => {} };
let timer = 0;

export const find = (id) => models.list.find((m) => m.id === id);
export const current = () => find(models.current) || models.list[0];
export const is_chat = (m) => !m || m.capabilities?.chat !== false;

export async function load() {
    const [own, open] = await Promise.all([api.json('/v1/models'),
        // The formats of the weights are in the public catalogue only; doing without is no harm.
        fetch('/public/v1/models', { credentials: 'omit' }).then((r) => r.json()).catch(() => null)]);
    const more = new Map((open?.data || []).map((m) => [m.id, m]));
    models.list = own.data.map((m) => ({ ...m, formats: more.get(m.id)?.quantization || '' }));
    if (!find(models.current)) {
        let last = '';
        try { last = localStorage.getItem(LAST); } catch { /* storage may be switched off */ }
        models.current = find(last)?.id || models.list[0]?.id || '';
    }
    show();
    clearTimeout(timer);
    if (models.list.some((m) => m.status?.value === 'loading')) {
        timer = setTimeout(() => load().catch(() => {}), 1000);
    }
}

export function choose(id) {
    if (!find(id)) return;
    models.current = id;
    try { localStorage.setItem(LAST, id); } catch { /* as above */ }
    show();
}

function facts(m) {
    const meta = m.meta || {};
    return [m.context_length && `${number(m.context_length)} context`,
        meta.n_params && `${size(meta.n_params)} parameters`, meta.size && bytes(meta.size), m.formats,
        is_chat(m) ? '' : 'completion only'].filter(Boolean).join(' · ');
}

const size = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(1)} B` : `${Math.round(n / 1e6)} M`);

function show() {
    const m = current();
    $('model-name').textContent = m ? m.id : 'no model';
    $('model-dot').dataset.state = m?.status?.value || 'none';
    $('model-dot').title = m?.status?.value || '';
    models.on_change(m);
}

function option(m, pick) {
    const value = m.status?.value || 'loaded';
    return h('div.option', { role: 'option', tabIndex: -1, 'aria-selected': String(m.id === models.current),
        'data-id': m.id, onclick: () => pick(m.id) },
    h('div.option-name', null, m.id, value === 'loaded' ? '' : h('span.soft', null, ` ${value}`)),
    h('div.option-facts', null, facts(m)));
}

/** The picker in the bar: a listbox, by pointer and by keys. */
export function mount_picker(on_pick) {
    const button = $('model-button');
    const list = $('model-list');
    const close = (back) => {
        list.hidden = true;
        button.setAttribute('aria-expanded', 'false');
        if (back) button.focus();
    };
    const pick = (id) => { choose(id); close(true); on_pick(id); };
    const open = () => {
        list.replaceChildren(...models.list.map((m) => option(m, pick)));
        list.hidden = false;
        button.setAttribute('aria-expanded', 'true');
        (list.querySelector('[aria-selected=true]') || list.firstElementChild || list).focus();
        load().catch(() => {}); // its state may have changed since
    };
    button.addEventListener('click', () => (list.hidden ? open() : close(true)));
    document.addEventListener('pointerdown', (e) => {
        if (!list.hidden && !e.target.closest('.picker')) close(false);
    });
    list.addEventListener('focusout', (e) => {
        if (e.relatedTarget && !e.relatedTarget.closest('.picker')) close(false);
    });
    list.addEventListener('keydown', (e) => {
        const all = [...list.children];
        const at = all.indexOf(document.activeElement);
        const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[e.key];
        if (to !== undefined) all[Math.max(0, Math.min(all.length - 1, to))]?.focus();
        else if (e.key === 'Enter' || e.key === ' ') document.activeElement.click();
        else if (e.key === 'Escape') close(true);
        else return;
        e.preventDefault();
        e.stopPropagation();
    });
}
