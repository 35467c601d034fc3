/* All keys, and the switch for those that are a single letter. */

import { h, open_dialog } from './dom.js';

const KEYS = [
    ['Writing', [['Enter', 'send'], ['Shift Enter', 'line break'], ['↑', 'edit the last message (when empty)'], ['Esc', 'stop the answer']]],
    ['Anywhere', [['Ctrl K', 'search conversations'], ['Ctrl Shift O', 'new chat'], ['Ctrl ,', 'settings'], ['Ctrl B', 'conversations']]],
    ['Single keys', [['/', 'write'], ['N', 'new chat'], ['J  K', 'next, previous message'], ['E', 'edit'], ['R', 'answer again'],
        ['C', 'copy'], ['G', 'continue a cut answer'], ['[  ]', 'earlier, later version'], ['T', 'token probabilities'], ['W', 'raw request and answer'], ['M', 'model'],
        ['1  2', 'chat, engine'], ['?', 'this list']]],
];

const STORE = 'gaufre.single_keys';
export function single_keys() {
    try {
        return localStorage.getItem(STORE) !== 'off';
    } catch {
        return true;
    }
}

export function show_help() {
    const box = h('input', { id: 'single-keys', type: 'checkbox', checked: single_keys(),
        onchange: () => localStorage.setItem(STORE, box.checked ? 'on' : 'off') });
    open_dialog('Keyboard', h('div', null, h('div.keys-grid', null, ...KEYS.map(([title, list]) => h('section', null, h('h3', null, title),
        h('dl', null, ...list.flatMap(([k, what]) => [h('dt', null, ...k.split(/ +/).map((x) => h('kbd', null, x))), h('dd', null, what)]))))),
    h('div.check', null, box, h('label', { for: 'single-keys' }, 'Single keys work outside of text fields'))), 'wide-dialog');
}
