/* Entry: views, keys, and the start. #/chat, #/chat/ID and #/engine are all the addresses there are. */

import * as api from './api.js';
import { $ } from './dom.js';
import * as models from './models.js';
import { mount_drawers, configure_api } from './shell.js';
import { mount_theme } from './theme_button.js';
import { Chat } from './chat.js';

let unmount_engine = null;

async function show_engine() {
    const root = $('view-engine');
    root.hidden = false;
    $('view-chat').hidden = true;
    document.title = 'Engine · gaufre';
    if (unmount_engine) return;
    unmount_engine = () => {};
    try {
        const engine = await import('./engine.js');
        unmount_engine = engine.mount(root, { api });
    } catch (e) {
        root.textContent = `The engine view could not be shown: ${e.message}`;
    }
}

function hide_engine() {
    $('view-engine').hidden = true;
    $('view-chat').hidden = false;
    if (unmount_engine) unmount_engine();
    unmount_engine = null;
}

function route(chat) {
    const [, view, id] = location.hash.split('/');
    const engine = view === 'engine';
    for (const [name, on] of [['nav-chat', !engine], ['nav-engine', engine]]) {
        if (on) $(name).setAttribute('aria-current', 'page');
        else $(name).removeAttribute('aria-current');
    }
    $('side-toggle').hidden = $('settings-toggle').hidden = engine;
    document.body.classList.toggle('in-engine', engine);
    if (engine) {
        show_engine();
    } else {
        hide_engine();
        chat.open(id || '');
    }
}

const in_engine = () => document.body.classList.contains('in-engine');
const is_writing = (el) => el.matches('input:not([type=checkbox]),textarea,select,[contenteditable]');

/** Keys with a modifier: they work everywhere. */
function command(e, chat, drawers) {
    if (!(e.ctrlKey || e.metaKey) || e.altKey) return false;
    const k = e.key.toLowerCase();
    if (k === 'k' && !e.shiftKey) { drawers.show_side(); $('search').focus(); $('search').select(); }
    else if (k === 'o' && e.shiftKey) chat.fresh('chat');
    else if (k === ',') drawers.toggle_settings();
    else if (k === 'b' && !e.shiftKey) drawers.toggle_side();
    else return false;
    return true;
}

function single(e, chat) {
    if (e.ctrlKey || e.metaKey || e.altKey) return false;
    if (in_engine() && !'n12m?'.includes(e.key)) return false; // nothing is done to what is not seen
    const act = { e: 'edit', r: 'again', c: 'copy', g: 'go_on', '[': 'back', ']': 'forth', t: 'tokens', w: 'raw' }[e.key];
    if (act) chat.act_here(act);
    else if (e.key === '/') $('prompt')?.focus();
    else if (e.key === 'n') chat.fresh('chat');
    else if (e.key === 'j') chat.step(1);
    else if (e.key === 'k') chat.step(-1);
    else if (e.key === 'm') $('model-button').click();
    else if (e.key === '1') location.hash = $('nav-chat').hash;
    else if (e.key === '2') location.hash = '#/engine';
    else if (e.key === '?') help();
    else return false;
    return true;
}

const help = async () => (await import('./help.js')).show_help();

function keys(chat, drawers) {
    let single_on = true;
    import('./help.js').then((m) => { single_on = m.single_keys; });
    addEventListener('keydown', (e) => {
        if (e.isComposing || e.defaultPrevented || document.querySelector('dialog[open]')) return;
        let used = command(e, chat, drawers);
        if (!used && e.key === 'Escape') used = drawers.escape() || (!in_engine() && chat.escape());
        if (!used && !is_writing(e.target) && (typeof single_on !== 'function' || single_on())) used = single(e, chat);
        if (used) e.preventDefault();
    });
}

function start() {
    mount_theme();
    const drawers = mount_drawers();
    const chat = new Chat(drawers);
    configure_api(() => chat.back_online());
    models.models.on_change = () => chat.model_changed();
    models.mount_picker((id) => chat.model_picked(id));
    $('help-button').addEventListener('click', help);
    keys(chat, drawers);
    addEventListener('hashchange', () => route(chat));
    route(chat);
    models.load().catch((e) => { if (e.code !== 'offline') chat.trouble(e); });
}

start();
