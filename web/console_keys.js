/* Keys: their list, and making, turning over and ending them. A key's text is shown once. */

import * as api from './console_api.js';
import { ask_form, h, card, copy_button, field, open_dialog, say, set_chip, set_text, toast, Table } from './console_dom.js';

const PAGE = 100;
const OVERLAPS = [[0, 'at once'], [3600, 'in an hour'], [86400, 'in a day'], [7 * 86400, 'in a week']];

const role = (k) => (k.admin ? (k.read_only ? 'admin, read only' : 'admin') : '–');

/** The only time that it is seen. */
function show_secret(k) {
    const text = h('input', { readonly: true, value: k.key, spellcheck: 'false', autocomplete: 'off' });
    const dialog = open_dialog('The new key', h('div', null, h('p', null, 'This is the text of the key ', h('bdi', null, k.id), '. It is shown this once; only its hash is kept.'),
        h('div.row.co-secret', null, field('secret', 'Key', text), copy_button(() => text.value, 'Copy the key')),
        h('div.row', null, h('button.primary', { type: 'button', onclick: () => dialog.close() }, 'I have it'))));
    dialog.addEventListener('close', () => { text.value = ''; });
    text.focus();
    text.select();
}

function check(id, label) {
    const box = h('input', { type: 'checkbox', id });
    return [box, h('div.check', null, box, h('label', { for: id }, label))];
}

function make(done) {
    const id = h('input', { required: true, autocomplete: 'off', spellcheck: 'false', maxlength: '63' });
    const tenant = h('input', { required: true, autocomplete: 'off', spellcheck: 'false', maxlength: '63' });
    const team = h('input', { autocomplete: 'off', spellcheck: 'false', maxlength: '63' });
    const expires = h('input', { type: 'date' });
    const [admin, admin_row] = check('key-admin', 'For the admin API and this console, and for nothing else');
    const [read, read_row] = check('key-read-only', 'It may look, and change nothing');
    read_row.hidden = true;
    admin.addEventListener('change', () => { read_row.hidden = !admin.checked; });
    ask_form('Make a key', [field('key-id', 'Name', id), field('key-tenant', 'Tenant', tenant), field('key-team', 'Team', team, 'May stay empty.'),
        field('key-expires', 'Ends on', expires, 'May stay empty.'), admin_row, read_row], 'Make it', async () => {
        const k = await api.json('/keys', { method: 'POST', body: { id: id.value.trim(), tenant: tenant.value.trim(), ...(team.value.trim() ? { team: team.value.trim() } : {}),
            ...(expires.value ? { expires: expires.value } : {}), ...(admin.checked ? { admin: true, ...(read.checked ? { read_only: true } : {}) } : {}) } });
        say('The key was made.');
        done();
        return k;
    }, { after: show_secret });
}

function rotate(k, done) {
    const overlap = h('select', null, ...OVERLAPS.map(([s, text]) => h('option', { value: String(s), selected: s === 86400 }, text)));
    ask_form('Another text for a key', [h('p', null, 'The key ', h('bdi', null, k.id), ' gets another text. The one of now ends:'), field('overlap', 'The old text ends', overlap)],
        'Rotate it', async () => {
            const made = await api.json(`/keys/${api.part(k.id)}/rotate`, { method: 'POST', body: { overlap_seconds: Number(overlap.value) } });
            say('The key has another text.');
            done();
            return made;
        }, { after: show_secret });
}

function revoke(k, done) {
    ask_form('End a key', [h('p', null, 'The key ', h('bdi', null, k.id), ' of tenant ', h('bdi', null, k.tenant), ' ends at once, and what runs with it. It cannot be taken back.')],
        'Revoke it', async () => {
            await api.json(`/keys/${api.part(k.id)}/revoke`, { method: 'POST' });
            say('The key was revoked.');
            done();
        }, { tone: 'danger' });
}

export function mount(root) {
    let offset = 0, closed = false;
    const note = h('p.eg-note', { role: 'status' });
    const tenant = h('input', { type: 'search', autocomplete: 'off', spellcheck: 'false', placeholder: 'all', maxlength: '63' });
    const act = (label, go) => ({ name: label, hidden: true, make: (row) => h('button.soft-button', { type: 'button', onclick: () => go(row.r, load) }, label),
        show: (el, k) => { el.hidden = k.state !== 'active'; el.setAttribute('aria-label', `${label} ${k.id}`.slice(0, 200)); } });
    const table = new Table('Keys', [{ name: 'Key', person: (k) => k.id, wide: true }, { name: 'Tenant', person: (k) => k.tenant }, { name: 'Team', person: (k) => k.team },
        { name: 'State', make: () => h('span.co-chip', null), show: (el, k) => set_chip(el, k.state, k.state === 'active' ? 'ok' : 'bad') },
        { name: 'Role', text: role }, { name: 'Texts', right: true, text: (k) => String(k.secrets) }, { name: 'Made', text: (k) => k.created.slice(0, 10) },
        { name: 'Ends', text: (k) => (k.expires ? k.expires.slice(0, 10) : '–') }, ...(api.may_change() ? [act('Rotate', rotate), act('Revoke', revoke)] : [])], { empty: 'No keys.' });
    const back = h('button.soft-button', { type: 'button', onclick: () => { offset = Math.max(0, offset - PAGE); load(); } }, 'Before');
    const forth = h('button.soft-button', { type: 'button', onclick: () => { offset += PAGE; load(); } }, 'After');

    async function load() {
        try {
            const q = new URLSearchParams({ limit: String(PAGE), offset: String(offset), ...(tenant.value.trim() ? { tenant: tenant.value.trim() } : {}) });
            const list = await api.json(`/keys?${q}`);
            if (closed) return;
            table.update(list.data);
            back.hidden = !offset;
            forth.hidden = !list.has_more;
            set_text(note, '');
        } catch (e) {
            set_text(note, e.message);
        }
    }

    table.update([]);
    back.hidden = forth.hidden = true;
    root.replaceChildren(h('div.eg', null, h('div.co-top', null, h('h1.co-title', null, 'Keys'),
        api.may_change() && api.session.accounts ? h('button.primary', { type: 'button', onclick: () => make(load) }, 'Make a key') : null),
    card('All keys', h('form.co-form', { onsubmit: (e) => { e.preventDefault(); offset = 0; load(); } }, field('keys-tenant', 'Of tenant', tenant), h('button.soft-button', { type: 'submit' }, 'Show')),
        note, table.el, h('div.row', null, back, forth))));
    load().catch((e) => toast(e.message));
    return { update() {}, close() { closed = true; } };
}
