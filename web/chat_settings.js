/* The settings of a conversation: the fields of the API by their own names. What is left empty is what is
 * recommended for the model, else not sent; the placeholder says what then holds. */

import { h, icon_button } from './dom.js';

const KEPT = 'gaufre.settings';

/* name in the API, label, placeholder (the server's default; a model may recommend another), range, help */
const NUMBERS = [
    ['temperature', 'Temperature', '1', 0, 2, 0.05, '0 always takes the likeliest token'],
    ['top_p', 'Top p', '1', 0, 1, 0.01, 'Keep the likeliest tokens up to this share'],
    ['top_k', 'Top k', '0, off', -1, 1e6, 1, 'Keep this many of the likeliest tokens'],
    ['min_p', 'Min p', '0', 0, 1, 0.01, 'Drop tokens below this share of the likeliest'],
    ['max_tokens', 'Max tokens', 'no limit', 1, 1e7, 1, 'Else up to the end of the context'],
    ['seed', 'Seed', 'random', -9007199254740991, 9007199254740991, 1, 'The same seed gives the same answer'],
    ['frequency_penalty', 'Frequency penalty', '0', -2, 2, 0.1, ''],
    ['presence_penalty', 'Presence penalty', '0', -2, 2, 0.1, ''],
    ['repetition_penalty', 'Repetition penalty', '1', 0.01, 10, 0.05, ''],
];

const read = (place) => {
    try {
        return JSON.parse(window[place].getItem(KEPT));
    } catch {
        return null;
    }
};

/** Settings of a new conversation: those of one that this tab has begun and said nothing in, else the kept ones. */
export const defaults = () => read('sessionStorage') || read('localStorage') || {};

/** Remember them for a conversation that has no word yet; null: it has. */
export function keep_begun(settings) {
    try {
        if (settings) sessionStorage.setItem(KEPT, JSON.stringify(settings));
        else sessionStorage.removeItem(KEPT);
    } catch { /* not over a reload, then */ }
}

/* What is recommended for the model and not what the API does anyway. */
const PLAIN = { temperature: 1, top_p: 1, top_k: 0, min_p: 0 };
function recommended(model) {
    const of = model?.recommended_sampling || {};
    return Object.fromEntries(Object.entries(PLAIN).filter(([k, v]) => typeof of[k] === 'number' && of[k] !== v)
        .map(([k]) => [k, of[k]]));
}

/** The request's fields for these settings and the model (of /v1/models). */
export function body_of(settings, chat, model) {
    const body = recommended(model);
    for (const [name] of NUMBERS) {
        const v = settings[name];
        if (v === undefined || v === '' || !Number.isFinite(Number(v))) continue;
        body[name === 'max_tokens' && chat ? 'max_completion_tokens' : name] = Number(v);
    }
    const stop = (settings.stop || '').split('\n').filter(Boolean)
        .map((s) => s.replace(/\\n/g, '\n').replace(/\\t/g, '\t'));
    if (stop.length) body.stop = stop;
    if (chat && settings.reasoning_effort) body.reasoning_effort = settings.reasoning_effort;
    if (settings.logprobs) {
        if (chat) Object.assign(body, { logprobs: true, top_logprobs: 5 });
        else body.logprobs = 5;
    }
    return body;
}

function number_field([name, label, , min, max, step, help], settings, changed) {
    const input = h('input', { id: `set-${name}`, type: 'number', inputmode: 'decimal', min: String(min), max: String(max),
        step: String(step), autocomplete: 'off', 'aria-describedby': help ? `help-${name}` : null });
    input.value = settings[name] ?? '';
    input.addEventListener('input', () => {
        const bad = input.value === '' ? input.validity.badInput : Number(input.value) < min || Number(input.value) > max;
        input.setAttribute('aria-invalid', String(bad));
        changed(name, input.value);
    });
    return h('div.field', null, h('label', { for: input.id }, label), input,
        help ? h('p.help', { id: `help-${name}` }, help) : '');
}

function area_field(name, label, hint, help, rows, settings, changed) {
    const area = h('textarea', { id: `set-${name}`, rows: String(rows), placeholder: hint, dir: 'auto', spellcheck: 'false',
        'aria-describedby': help ? `help-${name}` : null });
    area.value = settings[name] ?? '';
    area.addEventListener('input', () => changed(name, area.value));
    return h('div.field.tall', null, h('label', { for: area.id }, label), area,
        help ? h('p.help', { id: `help-${name}` }, help) : '');
}

/** What holds where a number is left empty, for this model. */
export function show_hints(panel, model) {
    const hints = recommended(model);
    for (const [name, , hint] of NUMBERS) {
        const input = panel.querySelector(`#set-${name}`);
        if (input) input.placeholder = name in hints ? `${hints[name]}, recommended` : hint;
    }
}

/** Fill the panel for a conversation's settings; changed(settings) after every edit. */
export function show_settings(panel, settings, chat, model, { changed, close }) {
    const set = (name, value) => {
        if (value === '' || value === false) delete settings[name];
        else settings[name] = value;
        changed(settings);
    };
    const effort = h('select', { id: 'set-effort', onchange: () => set('reasoning_effort', effort.value) },
        ...[['', 'default'], ['none', 'none'], ['low', 'low'], ['medium', 'medium'], ['high', 'high']]
            .map(([v, t]) => h('option', { value: v, selected: (settings.reasoning_effort || '') === v }, t)));
    const probs = h('input', { id: 'set-logprobs', type: 'checkbox', checked: Boolean(settings.logprobs),
        onchange: () => set('logprobs', probs.checked) });
    panel.replaceChildren(
        h('div.panel-head', null, h('h2', null, 'Settings'), icon_button('close', 'Close the settings', close)),
        chat ? area_field('system', 'System prompt', 'none', '', 5, settings, set) : '',
        h('div.check', null, probs, h('label', { for: 'set-logprobs' }, 'Token probabilities'),
            h('p.help', null, 'Colours each token of new answers by how likely it was')),
        h('div.grid', null, ...NUMBERS.map((f) => number_field(f, settings, set)),
            chat ? h('div.field', null, h('label', { for: 'set-effort' }, 'Reasoning'), effort) : ''),
        area_field('stop', 'Stop strings', 'none', 'One a line; \\n is a line break', 2, settings, set),
        h('div.row', null,
            h('button.soft-button', { onclick: (e) => {
                const { system, ...rest } = settings;
                localStorage.setItem(KEPT, JSON.stringify(system ? { ...rest, system } : rest));
                e.target.textContent = 'Kept for new chats';
            } }, 'Use for new chats'),
            h('button.quiet', { onclick: () => {
                for (const k of Object.keys(settings)) delete settings[k];
                changed(settings);
                show_settings(panel, settings, chat, model, { changed, close });
            } }, 'Reset')));
    show_hints(panel, model);
}
