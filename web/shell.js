/* Around the views: drawers, the banner of a lost server, the question for a key. */

import * as api from './api.js';
import { $, h, open_dialog, say } from './dom.js';
import * as models from './models.js';

/* Two drawers: beside the talk where there is room, above it where there is not. */
const narrow = matchMedia('(max-width: 860px)');
const roomy = matchMedia('(min-width: 1280px)');

export function mount_drawers() {
    const side = $('side');
    const side_button = $('side-toggle');
    const settings = $('settings');
    const settings_button = $('settings-toggle');
    let side_open = !narrow.matches;

    const apply = () => {
        side.inert = !side_open;
        document.body.classList.toggle('side-open', side_open);
        side_button.setAttribute('aria-expanded', String(side_open));
        const over = (side_open && narrow.matches) || (!settings.hidden && !roomy.matches);
        $('scrim').hidden = !over;
        $('main').inert = over;
    };
    const set_side = (open) => { document.body.classList.add('side-moves'); side_open = open; apply(); };
    const set_settings = (open) => {
        settings.hidden = !open;
        settings_button.setAttribute('aria-expanded', String(open));
        document.body.classList.toggle('settings-open', open);
        apply();
        if (open) settings.querySelector('textarea,input')?.focus({ preventScroll: true });
        else settings_button.focus();
    };
    side_button.addEventListener('click', () => set_side(!side_open));
    settings_button.addEventListener('click', () => set_settings(settings.hidden));
    $('scrim').addEventListener('click', () => { if (narrow.matches) set_side(false); if (!settings.hidden) set_settings(false); });
    narrow.addEventListener('change', () => set_side(!narrow.matches));
    roomy.addEventListener('change', apply);
    apply();
    return {
        toggle_side: () => set_side(!side_open),
        toggle_settings: () => set_settings(settings.hidden),
        close_settings: () => set_settings(false),
        /** After something was chosen in a drawer that covers the talk. */
        settle: () => { if (narrow.matches && side_open) set_side(false); },
        /** Escape: true when a drawer was closed. */
        escape: () => {
            if (!settings.hidden && settings.contains(document.activeElement)) { set_settings(false); return true; }
            if (narrow.matches && side_open) { set_side(false); side_button.focus(); return true; }
            return false;
        },
        show_side: () => set_side(true),
    };
}

/* The server went away: say so, look for it, and come back by itself. */
let waiting = false;

const AWAY = 'The server does not answer. Trying again …';

/** '' when the server is well, else what to say. */
async function look() {
    try {
        const r = await fetch('/health', { cache: 'no-store', signal: AbortSignal.timeout(4000) });
        return r.ok ? '' : (await r.json()).message || 'The server is not ready yet.';
    } catch {
        return AWAY;
    }
}

export async function wait_for_server(on_back) {
    if (waiting) return;
    waiting = true;
    const banner = $('banner');
    const text = h('span', null, AWAY);
    banner.replaceChildren(h('span.pulse'), text);
    banner.hidden = false;
    document.body.classList.add('offline');
    for (let pause = 200; (text.textContent = await look()); pause = Math.min(pause * 1.4, 4000)) {
        await new Promise((r) => { setTimeout(r, pause); });
    }
    waiting = false;
    document.body.classList.remove('offline');
    banner.hidden = true;
    say('The server is back.');
    await models.load().catch(() => {});
    on_back?.();
}

/** Ask for the API key; the answer, or '' when there is none. One dialog, however many ask. */
let asking = null;
export function ask_key(message, had_one) {
    asking ??= new Promise((resolve) => {
        const input = h('input', { id: 'api-key', type: 'password', autocomplete: 'off', spellcheck: 'false' });
        const form = h('form', { method: 'dialog', onsubmit: (e) => { e.preventDefault(); dialog.close(input.value.trim()); } },
            h('p', null, had_one ? message : 'This server asks for an API key.'),
            h('div.field.tall', null, h('label', { for: 'api-key' }, 'API key'), input,
                h('p.help', null, 'Kept until this tab is closed, and sent to this server only.')),
            h('div.row', null, h('button.primary', { type: 'submit' }, 'Use the key')));
        const dialog = open_dialog('API key', form);
        dialog.addEventListener('close', () => { asking = null; resolve(dialog.returnValue || ''); });
        input.focus();
    });
    return asking;
}

export const configure_api = (on_back) => api.configure({ ask_key, on_lost: () => wait_for_server(on_back),
    on_key: () => { if (!models.models.list.length) models.load().catch(() => {}); } });
