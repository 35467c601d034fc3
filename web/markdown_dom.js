/* Markdown tokens (marked's lexer) to DOM, by construction: every element is made here by name, every
 * text is a text node. No HTML is ever written or parsed, so there is nothing to sanitise and nothing
 * that a hostile text could slip through: no attribute of it survives but the address of a link. */

import { code_block } from './code_block.js';

const LINK = /^(?:https?:\/\/|mailto:)/i;
// Raw HTML that models use for looks; every other tag is shown as the text it is.
const PAIRED = /^<(\/?)(sub|sup|kbd|mark|u|b|i|em|strong|s|del)\s*>$/i;
const BREAK = /^<br\s*\/?>$/i;
const DEPTH_MAX = 60;
const NAMED = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', reg: '®', trade: '™',
    hellip: '…', mdash: '—', ndash: '–', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', laquo: '«', raquo: '»',
    times: '×', divide: '÷', plusmn: '±', deg: '°', middot: '·', bull: '•', larr: '←', uarr: '↑', rarr: '→', darr: '↓',
    harr: '↔', rArr: '⇒', ne: '≠', le: '≤', ge: '≥', infin: '∞', sum: '∑', radic: '√', pi: 'π', micro: 'µ', euro: '€',
    pound: '£', yen: '¥', cent: '¢', sect: '§', para: '¶', frac12: '½', frac14: '¼', sup2: '²', sup3: '³' };

/** What an entity stands for; the lexer leaves them (and its own escapes) in texts. */
function decode(s) {
    return s.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(\w{2,8}));/gi, (all, dec, hex, name) => {
        if (name) return NAMED[name] ?? all;
        const c = dec ? Number(dec) : parseInt(hex, 16);
        return c > 0 && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? String.fromCodePoint(c) : '\ufffd';
    });
}

function make(tag, ...children) {
    const el = document.createElement(tag);
    el.append(...children);
    return el;
}

/** An element with its own direction: an Arabic paragraph in an English answer reads right. */
function block(tag, ...children) {
    const el = make(tag, ...children);
    el.dir = 'auto';
    return el;
}

function link(t, depth) {
    const href = decode(t.href || '');
    const children = t.tokens?.length ? inline(t.tokens, depth) : [decode(t.text || '')];
    if (!LINK.test(href)) return make('span', ...children);
    const a = make('a', ...children);
    a.href = href;
    a.target = '_blank';
    a.rel = 'noopener noreferrer nofollow';
    if (t.title) a.title = decode(t.title);
    return a;
}

function one_inline(t, depth) {
    switch (t.type) {
    case 'strong': return make('strong', ...inline(t.tokens, depth));
    case 'em': return make('em', ...inline(t.tokens, depth));
    case 'del': return make('del', ...inline(t.tokens, depth));
    case 'codespan': return make('code', decode(t.text));
    case 'br': return make('br');
    case 'link': return link(t, depth);
    case 'image': return link({ href: t.href, text: t.text || 'image' }, depth); // never loaded
    case 'html': return BREAK.test(t.raw) ? make('br') : t.raw;
    case 'text': return t.tokens ? make('span', ...inline(t.tokens, depth)) : decode(t.text);
    case 'escape': return decode(t.text);
    default: return t.raw;
    }
}

/** Inline tokens as nodes. Paired raw tags nest; what is left open ends here. */
function inline(tokens, depth) {
    if (depth > DEPTH_MAX) return tokens.map((t) => t.raw);
    const out = document.createDocumentFragment();
    const stack = [out];
    for (const t of tokens) {
        const tag = t.type === 'html' && PAIRED.exec(t.raw.trim());
        const top = stack[stack.length - 1];
        if (tag && !tag[1] && stack.length < DEPTH_MAX) {
            const el = make(tag[2].toLowerCase());
            top.append(el);
            stack.push(el);
        } else if (tag && tag[1] && top.localName === tag[2].toLowerCase()) {
            stack.pop();
        } else {
            top.append(one_inline(t, depth + 1));
        }
    }
    return [out];
}

function list(t, final, depth) {
    const el = make(t.ordered ? 'ol' : 'ul');
    if (t.ordered && Number.isInteger(t.start) && t.start !== 1) el.start = t.start;
    for (const item of t.items) {
        const li = block('li');
        if (item.task) li.append(item.checked ? '☑ ' : '☐ ');
        for (const k of item.tokens) {
            if (k.type === 'text') li.append(...(k.tokens ? inline(k.tokens, depth) : [decode(k.text)]));
            else li.append(...blocks([k], final, depth));
        }
        el.append(li);
    }
    return el;
}

function table(t, depth) {
    const cells = (row, tag) => make('tr', ...row.map((c, i) => {
        const cell = block(tag, ...inline(c.tokens, depth));
        if (t.align[i]) cell.style.textAlign = t.align[i];
        return cell;
    }));
    const box = make('div', make('table', make('thead', cells(t.header, 'th')),
        make('tbody', ...t.rows.map((r) => cells(r, 'td')))));
    box.className = 'table';
    box.tabIndex = 0; // scrolls on its own, by keys too
    box.setAttribute('role', 'region');
    box.setAttribute('aria-label', 'Table');
    return box;
}

function one_block(t, final, depth) {
    switch (t.type) {
    case 'space': case 'def': return null;
    case 'heading': return block(`h${Math.min(6, t.depth)}`, ...inline(t.tokens, depth));
    case 'paragraph': return block('p', ...inline(t.tokens, depth));
    case 'text': return block('p', ...(t.tokens ? inline(t.tokens, depth) : [decode(t.text)]));
    case 'hr': return make('hr');
    case 'blockquote': return block('blockquote', ...blocks(t.tokens, final, depth));
    case 'list': return list(t, final, depth);
    case 'table': return table(t, depth);
    case 'code': {
        const made = code_block(t.lang);
        made.append(t.text);
        if (final) made.finish();
        return made.el;
    }
    default: return block('p', t.raw.trim()); // raw HTML, as text
    }
}

/** Block tokens as nodes; `final` code blocks are given their colours. */
export function blocks(tokens, final, depth = 0) {
    if (depth > DEPTH_MAX) return tokens.map((t) => t.raw);
    return tokens.map((t) => one_block(t, final, depth + 1)).filter(Boolean);
}
