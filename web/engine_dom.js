/* The view's few helpers beside dom.js. */

export { h, bytes, count, number, say, icon_button, open_dialog, copy_button } from './dom.js';

/** Change a text only where it differs: what stands still is not touched, and is not read out again. */
export function set_text(el, text) {
    if (el.textContent !== text) el.textContent = text;
}

/** 12.3 s, 1:05 min, 2:03 h: as wide as the last one of its kind. */
export function age(s) {
    if (s < 99.95) return `${s.toFixed(1)} s`;
    const two = (n) => String(Math.floor(n)).padStart(2, '0');
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)} min` : `${Math.floor(s / 3600)}:${two((s / 60) % 60)} h`;
}
