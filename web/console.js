/* The console: who is in, which view is shown, and the stream that all of them share. */

import * as api from './console_api.js';
import { $, open_dialog } from './dom.js';
import { h, field, say, set_text, toast } from './console_dom.js';
import { mount_theme } from './theme_button.js';
import { single_keys } from './help.js';
import { Live } from './console_live.js';
import { learn } from './simulated.js';
import * as overview from './console_overview.js';
import * as requests from './console_requests.js';
import * as tenants from './console_tenants.js';
import * as keys from './console_keys.js';
import * as sites from './console_sites.js';
import * as contracts from './console_contracts.js';
import * as prices from './console_prices.js';
import * as audit from './console_audit.js';

const VIEWS = [['overview', 'Overview', overview], ['requests', 'Requests', requests], ['tenants', 'Tenants', tenants],
    ['keys', 'Keys', keys], ['sites', 'Sites', sites], ['contracts', 'Contracts', contracts], ['prices', 'Prices', prices], ['audit', 'Audit', audit]];

let view = null;
let live = null;
let is_in = false;

function route() {
    if (!is_in) return;
    const id = location.hash.split('/')[1];
    const [at, title, module] = VIEWS.find(([x]) => x === id) || VIEWS[0];
    for (const [x] of VIEWS) {
        if (x === at) $(`nav-${x}`).setAttribute('aria-current', 'page');
        else $(`nav-${x}`).removeAttribute('aria-current');
    }
    document.title = `${title} · gaufre`;
    view?.close();
    view = module.mount($('main'));
    $('main').scrollTop = 0;
    if (live.last) view.update(live.last, live.samples);
}

function show_in() {
    is_in = true;
    $('nav').hidden = false;
    $('who').hidden = false;
    $('leave').hidden = api.session.csrf === null;
    set_text($('who'), `${api.session.key ?? 'this machine'}${api.may_change() ? '' : ', read only'}`);
    live.start();
    route();
}

/** The way in: the key goes to the server once, and is not kept here. */
function show_out(why) {
    is_in = false;
    view?.close();
    view = null;
    live.end();
    api.forget();
    for (const id of ['nav', 'who', 'leave']) $(id).hidden = true;
    document.title = 'Console · gaufre';
    for (const d of document.querySelectorAll('dialog[open]')) d.close();
    const input = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
    const wrong = h('p.co-wrong', { role: 'alert' }, why || '');
    const button = h('button.primary', { type: 'submit' }, 'Log in');
    const form = h('form.co-login.eg-card', { 'aria-label': 'Log in', onsubmit: async (e) => {
        e.preventDefault();
        button.disabled = true;
        try {
            await api.log_in(input.value.trim());
            input.value = '';
            show_in();
        } catch (x) {
            set_text(wrong, x.retry_after ? `${x.message} (${Math.ceil(x.retry_after)} s)` : x.message);
            button.disabled = false;
            input.focus();
        }
    } }, h('h1', null, 'Console'), field('admin-key', 'Key for the admin API', input, 'It is shown to this server once. The browser keeps a session instead, which ends by itself.'), wrong, h('div.row', null, button));
    $('main').replaceChildren(h('div.co-door', null, form));
    input.focus();
}

function help() {
    const list = [...VIEWS.map(([, title], i) => [String(i + 1), title]), ['?', 'this list'], ['Esc', 'close a dialog']];
    open_dialog('Keyboard', h('div.keys-grid', null, h('dl', null, ...list.flatMap(([k, what]) => [h('dt', null, h('kbd', null, k)), h('dd', null, what)]))));
}

function on_key(e) {
    if (!is_in || e.isComposing || e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || !single_keys()) return;
    if (document.querySelector('dialog[open]') || e.target.matches('input:not([type=checkbox]),textarea,select')) return;
    const to = VIEWS[Number(e.key) - 1];
    if (to) location.hash = `#/${to[0]}`;
    else if (e.key === '?') help();
    else return;
    e.preventDefault();
}

async function start() {
    mount_theme();
    $('nav').append(...VIEWS.map(([id, title]) => h('a', { id: `nav-${id}`, href: `#/${id}` }, title)));
    live = new Live($('live-state'), (s) => {
        learn(s, $('simulated'));
        view?.update(s, live.samples);
    });
    api.configure({ on_over: (why) => { if (is_in) show_out(`You are not in any more. ${why}`); } });
    addEventListener('hashchange', route);
    addEventListener('keydown', on_key);
    $('leave').addEventListener('click', async () => {
        try {
            await api.log_out();
            show_out('');
            say('You are out.');
        } catch (e) {
            toast(e.message);
        }
    });
    try {
        await api.who();
        show_in();
    } catch (e) {
        show_out(e.status === 401 ? '' : e.message);
    }
}

start();
