/* Markdown tokens (marked's lexer) to DOM, by construction: every element is made here by name, every
 * text is a text node. No HTML is ever written or parsed, so there is nothing to sanitise and nothing
 * that a hostile text could slip through: no attribute of it survives but the address of a link. */

import { code_block } from './code_block.js';

const LINK = /^(?:https?:\/\/[^/\s]|mailto:.)/i;
// Raw HTML that models use for looks; every other tag is shown as the text it is.
const PAIRED = /^<(\/?)(sub|sup|kbd|mark|u|b|i|em|strong|s|del)\s*>$/i;
const BREAK = /^<br\s*\/?>$/i;
const DEPTH_MAX = 60;
const LATIN = ('Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute '
    + 'Ocirc Otilde Ouml - Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave '
    + 'eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml - oslash ugrave uacute ucirc uuml yacute thorn yuml').split(' ');
const GREEK = ('Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho - Sigma Tau Upsilon Phi Chi Psi Omega - - - - - - - '
    + 'alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigmaf sigma tau upsilon phi chi psi omega').split(' ');
const row = (names, first) => Object.fromEntries(names.map((n, i) => [n, String.fromCharCode(first + i)]));
const NAMED = { ...row(LATIN, 0xc0), ...row(GREEK, 0x391), amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', reg: '®', trade: '™',
    hellip: '…', mdash: '—', ndash: '–', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', laquo: '«', raquo: '»',
    times: '×', divide: '÷', plusmn: '±', deg: '°', middot: '·', bull: '•', larr: '←', uarr: '↑', rarr: '→', darr: '↓',
    harr: '↔', rArr: '⇒', ne: '≠', le: '≤', ge: '≥', infin: '∞', sum: '∑', radic: '√', minus: '−', asymp: '≈', iexcl: '¡', iquest: '¿', micro: 'µ', euro: '€',
    pound: '£', yen: '¥', cent: '¢', sect: '§', para: '¶', frac12: '½', frac14: '¼', frac34: '¾', shy: '\u00ad', ensp: '\u2002', emsp: '\u2003', thinsp: '\u2009', sup1: '¹', sup2: '²', sup3: '³' };

/** What an entity stands for; the lexer leaves them (and its own escapes) in texts. */
function decode(s) {
    return s.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]\w{1,7}));/gi, (all, dec, hex, name) => {
        if (name) return Object.hasOwn(NAMED, name) ? NAMED[name] : all;
        const c = dec ? Number(dec) : parseInt(hex, 16);
        return c > 0 && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? String.fromCodePoint(c) : '\ufffd';
    });
}

function make(tag, ...children) {
    const el = document.createElement(tag);
    el.append(...children);
    return el;
}

const STRONG = /\p{L}/u;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** An element with the direction of its first letter, those of its children included (which dir=auto
 * leaves out): an Arabic list in an English answer has its markers on the right. */
export function direct(el) {
    const first = STRONG.exec(el.textContent);
    if (first) el.dir = RIGHT_TO_LEFT.test(first[0]) ? 'rtl' : 'ltr';
    return el;
}

const block = (tag, ...children) => direct(make(tag, ...children));

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

/** Maths, as its source. */
function math(t) {
    const el = make(t.display ? 'div' : 'code', t.raw.trim());
    el.className = 'math';
    el.dir = 'ltr';
    return el;
}

function one_inline(t, depth) {
    switch (t.type) {
    case 'strong': return make('strong', ...inline(t.tokens, depth));
    case 'em': return make('em', ...inline(t.tokens, depth));
    case 'del': return make('del', ...inline(t.tokens, depth));
    case 'math_within': case 'math': return math(t);
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
    const start = t.ordered && Number.isInteger(t.start) ? t.start : 1;
    if (start !== 1) el.start = start;
    const digits = String(start + t.items.length - 1).length; // room for its markers
    if (t.ordered && digits > 1) el.className = digits > 2 ? 'd3' : 'd2';
    for (const item of t.items) {
        const li = make('li');
        let text = null; // runs of text tokens are one paragraph; in a tight list it has no element
        for (const k of item.tokens) {
            if (k.type !== 'text') {
                li.append(...blocks([k], final, depth));
                text = null;
                continue;
            }
            const more = k.tokens ? inline(k.tokens, depth) : [decode(k.text)];
            if (text) text.append('\n', ...more);
            else if (t.loose) li.append(text = block('p', ...more));
            else li.append(...(li.childNodes.length ? ['\n'] : []), ...more);
        }
        if (item.task) li.className = 'task';
        if (item.task) (li.querySelector(':scope > p:first-child') || li).prepend(item.checked ? '☑ ' : '☐ ');
        el.append(direct(li));
    }
    return el;
}

function table(t, depth) {
    const cells = (row, tag) => make('tr', ...row.map((c, i) => {
        const cell = block(tag, ...inline(c.tokens, depth));
        if (t.align[i]) cell.style.textAlign = t.align[i];
        return cell;
    }));
    const box = make('div', block('table', make('thead', cells(t.header, 'th')),
        ...(t.rows.length ? [make('tbody', ...t.rows.map((r) => cells(r, 'td')))] : [])));
    box.dir = box.firstChild.dir; // it scrolls from where it begins
    box.className = 'table';
    box.tabIndex = 0; // scrolls on its own, by keys too
    box.setAttribute('role', 'region');
    box.setAttribute('aria-label', 'Table');
    return box;
}

function one_block(t, final, depth) {
    switch (t.type) {
    case 'space': case 'def': return null;
    case 'math': return math(t);
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
    default: return BREAK.test(t.raw.trim()) ? null : block('p', t.raw.trim()); // raw HTML, as text
    }
}

/** Block tokens as nodes; `final` code blocks are given their colours. */
export function blocks(tokens, final, depth = 0) {
    if (depth > DEPTH_MAX) return tokens.map((t) => t.raw);
    return tokens.map((t) => one_block(t, final, depth + 1)).filter(Boolean);
}
