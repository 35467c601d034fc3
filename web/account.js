/* What a key's owner used and what limits him: his own, and never others'. The key lives as long as the
 * tab, as in the chat. */

import { ApiError, error_of, key as kept_key } from './api.js';
import { $ } from './dom.js';
import { h, card, field, name, number, set_name, set_text, show_budgets, when, Table } from './console_dom.js';
import { mount_theme } from './theme_button.js';

const KEY = 'gaufre.key'; // as api.js keeps it
const EVERY_MS = 5000;

let key = '';
let stop = null;

async function ask() {
    let response;
    try {
        response = await fetch('/v1/account', { headers: key ? { Authorization: `Bearer ${key}` } : {}, credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer', signal: stop.signal });
    } catch (e) {
        if (stop.signal.aborted) throw e;
        throw new ApiError('The server does not answer. Is it running?', { code: 'offline' });
    }
    if (!response.ok) throw await error_of(response);
    return response.json();
}

const per = (r) => `${r.of.replace('_', ' ')} a ${r.per}`;

function view() {
    const facts = {};
    const list = h('dl.eg-parts', null, ...['Tenant', 'Team', 'Key', 'Requests', 'Tokens of prompts', 'Tokens generated', 'Charge'].map((title) => {
        facts[title] = name('');
        return h('div', null, h('dt', null, title), h('dd', null, facts[title]));
    }));
    const since = h('p.eg-note', null);
    const budgets = new Table('Budgets', [{ name: 'Of', person: (a) => `${a.kind} ${a.id}` }, { name: 'Budgets', wide: true, make: () => h('div', null), show: (el, a) => show_budgets(el, a.budgets) }],
        { key: (a) => a.kind, empty: 'There are no budgets.' });
    const rates = new Table('Rates', [{ name: 'Of', person: (r) => r.whose }, { name: 'Limit', text: (r) => `${number(r.limit)} ${per(r)}` }, { name: 'Left', right: true, text: (r) => number(r.left) },
        { name: 'Full in', right: true, text: (r) => (r.full_in_s > 0 ? `${Math.ceil(r.full_in_s)} s` : 'now') }], { key: (r) => `${r.whose} ${per(r)}`, empty: 'There are no rates.' });
    const others = new Table('Other limits', [{ name: 'Of', person: (a) => `${a.kind} ${a.id}` }, { name: 'Running', right: true, text: (a) => number(a.running) },
        { name: 'At a time', right: true, text: (a) => (a.concurrency === null ? 'any' : number(a.concurrency)) },
        { name: 'Tokens of an answer', right: true, text: (a) => (a.max_output_tokens === null ? 'any' : number(a.max_output_tokens)) }], { key: (a) => a.kind, empty: 'There are no other limits.' });
    const keys = new Table('Keys', [{ name: 'Key', person: (k) => k.id }], { key: (k) => k.id, empty: 'There are no keys.' });
    const more = h('p.eg-note', null);
    $('main').replaceChildren(h('div.eg', null, h('h1.co-title', null, 'Account'),
        h('div.eg-grid.two', null, card('Used since the server started', list, since), card('Budgets', budgets.el)),
        card('Rates', rates.el), h('div.eg-grid.two', null, card('Other limits', others.el), card('Keys of this tenant', keys.el, more))));
    return (a) => {
        const u = a.used;
        const say = { Tenant: a.tenant, Team: a.team, Key: a.key, Requests: number(u.requests), 'Tokens of prompts': number(u.prompt_tokens), 'Tokens generated': number(u.completion_tokens),
            Charge: `${u.charge}${u.currency ? ` ${u.currency}` : ''}` };
        for (const [title, text] of Object.entries(say)) set_name(facts[title], text);
        set_text(since, `Since ${when(a.since)}. Bills are made from the ledger.`);
        budgets.update(a.accounts.filter((x) => x.budgets.length));
        rates.update(a.accounts.flatMap((x) => x.rates.map((r) => ({ ...r, whose: `${x.kind} ${x.id}` }))));
        others.update(a.accounts);
        keys.update(a.keys.map((id) => ({ id })));
        set_text(more, a.keys_total > a.keys.length ? `The first ${number(a.keys.length)} of ${number(a.keys_total)}.` : '');
    };
}

function tell(state, text) {
    $('live-state').hidden = false;
    $('live-state').dataset.state = state;
    set_text($('live-state'), text);
    document.body.classList.toggle('not-live', state !== 'live');
}

/** Ask for a key; the first answer shows whether it is one. */
function door(why) {
    stop?.abort();
    key = '';
    $('live-state').hidden = $('leave').hidden = true;
    const input = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
    $('main').replaceChildren(h('div.co-door', null, h('form.co-login.eg-card', { 'aria-label': 'Key', onsubmit: (e) => { e.preventDefault(); key = input.value.trim(); run(); } },
        h('h1', null, 'Account'), field('api-key', 'API key', input, 'Kept until this tab is closed, and sent to this server only.'), h('p.co-wrong', { role: 'alert' }, why),
        h('div.row', null, h('button.primary', { type: 'submit' }, 'Show')))));
    input.focus();
}

async function run() {
    const mine = stop = new AbortController();
    let show = null;
    while (!mine.signal.aborted) {
        try {
            const a = document.hidden ? null : await ask();
            if (a) {
                show ??= view();
                show(a);
                if (key) sessionStorage.setItem(KEY, key);
                $('leave').hidden = !key;
                tell('live', 'Live');
            }
        } catch (e) {
            if (mine.signal.aborted) return;
            if (e.status === 401 || e.status === 403) { door(key ? e.message : ''); return; }
            tell('lost', `Not live: ${e.message}`);
        }
        await new Promise((r) => { setTimeout(r, EVERY_MS); });
    }
}

mount_theme();
key = kept_key();
$('leave').addEventListener('click', () => { sessionStorage.removeItem(KEY); door(''); });
run();
