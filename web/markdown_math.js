/* Maths in a model's text: \( \), \[ \], $$ $$ and $ $. It is not typeset; what matters is that Markdown
 * leaves it alone, so that the source can be read and copied as it was written. */

/* global marked */
const OPEN_MAX = 4000; // characters of display maths whose end has not come yet
const DISPLAY = /^ {0,3}(?:\\\[[^]+?\\\]|\$\$[^]+?\$\$)[ \t]*(?:\n+|$)/;
const DISPLAY_BEGINS = /^ {0,3}(?:\\\[|\$\$)[ \t]*\n/;
const WITHIN = [/^\\\([^]+?\\\)/, /^\$\$[^]+?\$\$/];
// These two also have other uses, as brackets and as money: it has to look like maths.
const PERHAPS = [/^\\\[([^]+?)\\\]/, /^\$(?!\s)((?:\\\$|[^$\n])*[^\s$\\])\$(?!\d)/];
const looks = (s) => /[\\^_{}=<>+*/|]/.test(s) && /[\p{L}\p{N}]/u.test(s);
let is_whole = true;

function display(src) {
    const m = DISPLAY.exec(src);
    if (m && (m[0].includes('$$') || looks(m[0].trim().slice(2, -2)))) return { type: 'math', raw: m[0], display: true };
    // While it is being written, what follows an opening belongs to it.
    if (!m && !is_whole && src.length < OPEN_MAX && DISPLAY_BEGINS.test(src)) return { type: 'math', raw: src, display: true };
    return undefined;
}

function within(src) {
    for (const form of WITHIN) {
        const m = form.exec(src);
        if (m) return { type: 'math', raw: m[0] };
    }
    for (const form of PERHAPS) {
        const m = form.exec(src);
        if (m && looks(m[1])) return { type: 'math', raw: m[0] };
    }
    return undefined;
}

/** Where maths may begin: the lexer asks with the text from its second character on. */
const start_of = (form) => (src) => {
    const m = form.exec(src);
    return m ? m.index + m[1].length : undefined;
};

marked.use({ extensions: [
    { name: 'math', level: 'block', start: start_of(/(\n) {0,3}(?:\\\[|\$\$)/), tokenizer: display },
    { name: 'math_within', level: 'inline', start: start_of(/()(?:\\[([]|\$)/), tokenizer: within },
] });

/** The tokens of a text; `whole`: no more of it will come. */
export function lex(text, whole) {
    is_whole = whole;
    return marked.lexer(text, { ...marked.defaults, gfm: true, breaks: true, silent: true });
}
