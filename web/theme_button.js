/* The button that chooses the theme; theme.js puts the choice in place before the first paint. */

import { $, set_icon } from './dom.js';

const THEMES = [['auto', 'auto', 'as the system'], ['light', 'sun', 'light'], ['dark', 'moon', 'dark']];

export function mount_theme() {
    const button = $('theme-button');
    const root = document.documentElement;
    const show = () => {
        const [, glyph, name] = THEMES.find(([t]) => t === root.dataset.theme) || THEMES[0];
        set_icon(button, glyph);
        button.setAttribute('aria-label', `Theme: ${name}`);
        button.title = `Theme: ${name}`;
    };
    button.addEventListener('click', () => {
        const at = THEMES.findIndex(([t]) => t === root.dataset.theme);
        root.dataset.theme = THEMES[(at + 1) % THEMES.length][0];
        try { localStorage.setItem('gaufre.theme', root.dataset.theme); } catch { /* kept for this page only */ }
        show();
    });
    show();
}
