/* Making DOM without HTML strings: what is text stays text, whatever it holds. */

/** h('button.icon', {onclick, 'aria-label': 'x'}, children...): an element. */
export function h(spec, props, ...children) {
    const [tag, ...classes] = spec.split('.');
    const el = document.createElement(tag || 'div');
    if (classes.length) el.className = classes.join(' ');
    for (const [key, value] of Object.entries(props || {})) {
        if (value === null || value === undefined || value === false) continue;
        if (key.startsWith('on')) el.addEventListener(key.slice(2), value);
        else if (key in el && typeof value !== 'string') el[key] = value;
        else el.setAttribute(key, value === true ? '' : value);
    }
    el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
    return el;
}

export const $ = (id) => document.getElementById(id);

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name) {
    const svg = document.createElementNS(SVG, 'svg');
    const use = document.createElementNS(SVG, 'use');
    use.setAttribute('href', `#i-${name}`);
    svg.setAttribute('aria-hidden', 'true');
    svg.append(use);
    return svg;
}

export function set_icon(button, name) {
    button.querySelector('use').setAttribute('href', `#i-${name}`);
}

/** A button that is only an icon: its label is its name and its tooltip. */
export function icon_button(name, label, onclick, more) {
    return h('button.icon', { type: 'button', 'aria-label': label, title: label, onclick, ...more },
        icon(name));
}

/** Into the clipboard; false where the browser does not allow it. */
export async function copy_text(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        // Plain http from another machine has no clipboard object; this old way still works. It copies what
        // is selected as it is laid out, and what an open dialog does not hold cannot be selected.
        const area = h('textarea.hidden.copied', { readOnly: true, tabIndex: -1, 'aria-hidden': 'true' });
        const before = document.activeElement;
        area.value = text;
        (document.querySelector('dialog[open]') || document.body).append(area);
        area.select();
        const done = document.execCommand('copy');
        area.remove();
        before?.focus({ preventScroll: true });
        return done;
    }
}

/** A copy button that says for a moment that it did. */
export function copy_button(get_text, label = 'Copy') {
    const button = icon_button('copy', label, async () => {
        if (!await copy_text(get_text())) { toast('This browser does not allow copying here.'); return; }
        set_icon(button, 'check');
        say('Copied');
        setTimeout(() => set_icon(button, 'copy'), 1200);
    });
    return button;
}

/** Tell people who listen to the page instead of looking at it. */
export function say(text) {
    const live = $('live');
    live.append(h('p', null, text));
    while (live.childElementCount > 20) live.firstElementChild.remove();
}

/** A short note at the edge, with at most one thing to do about it. */
export function toast(text, action, on_action, ms = 6000) {
    const note = h('div.toast', null, h('span', null, text));
    const close = () => note.remove();
    if (action) {
        note.append(h('button.quiet', { onclick: () => { close(); on_action(); } }, action));
    }
    $('toasts').append(note);
    setTimeout(close, ms);
    return close;
}

export function download(name, text) {
    const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
    h('a', { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** 1234567 -> "1,234,567"; widths come from tabular figures in the style sheet. */
export const number = (n) => Number(n).toLocaleString('en-US');
/** "1 token", "2 tokens". */
export const count = (n, noun) => `${number(n)} ${noun}${Number(n) === 1 ? '' : 's'}`;

export function bytes(n) {
    for (const unit of ['B', 'KB', 'MB', 'GB']) {
        if (n < 1000 || unit === 'GB') return `${n < 10 && unit !== 'B' ? n.toFixed(1) : Math.round(n)} ${unit}`;
        n /= 1000;
    }
    return '';
}

export const seconds = (s) => (s < 0.9995 ? `${Math.round(s * 1000)} ms` : `${s.toFixed(s < 10 ? 2 : 1)} s`);

/** A dialog that closes by Escape, by its button and by a click beside it, and is then dropped. */
export function open_dialog(title, body, klass = '') {
    const dialog = h(`dialog${klass ? `.${klass}` : ''}`, { 'aria-label': title },
        h('div.dialog-head', null, h('h2', null, title),
            icon_button('close', 'Close', () => dialog.close())),
        body);
    dialog.addEventListener('click', (e) => { if (e.target === dialog) dialog.close(); });
    dialog.addEventListener('close', () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
}
