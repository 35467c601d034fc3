/* Colours for code, off the main thread: {id, code, language} -> {id, parts: [class, text, ...]}.
 * The library's HTML is taken apart here, so that the page itself never parses HTML made from code. */
'use strict';

const policy = self.trustedTypes && self.trustedTypes.createPolicy('gaufre', {
    createScriptURL: (s) => s,
});
console.log = () => {}; // version 9 announces its age to everybody's console
importScripts(policy ? policy.createScriptURL('/lib/highlight.js') : '/lib/highlight.js');

const KINDS = { keyword: 'k', built_in: 'b', type: 'b', literal: 'n', number: 'n', string: 's', regexp: 's',
    comment: 'c', quote: 'c', doctag: 'c', title: 't', section: 't', name: 'k', attr: 't', attribute: 't',
    meta: 'm', 'meta-keyword': 'm', 'meta-string': 's', symbol: 'n', variable: 'v', 'template-variable': 'v',
    'selector-tag': 'k', 'selector-class': 't', 'selector-id': 't', addition: 'add', deletion: 'del',
    bullet: 'n', link: 's', tag: '', params: '', subst: '' };
const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#x27;': "'", '&#39;': "'" };

function parts_of(html) {
    const out = [];
    const stack = [''];
    for (const m of html.matchAll(/<span class="([^"]*)">|<\/span>|[^<]+/g)) {
        if (m[0] === '</span>') {
            if (stack.length > 1) stack.pop();
        } else if (m[1] !== undefined) {
            const kind = KINDS[m[1].replace(/^hljs-/, '')];
            stack.push(kind === undefined ? stack[stack.length - 1] : kind && `h-${kind}`);
        } else {
            out.push(stack[stack.length - 1], m[0].replace(/&[#\w]+;/g, (e) => ENTITIES[e] || e));
        }
    }
    return out;
}

self.onmessage = (e) => {
    const { id, code, language } = e.data;
    let parts = null;
    try {
        if (language && self.hljs.getLanguage(language)) {
            const value = self.hljs.highlight(language, code, true).value;
            parts = parts_of(value);
            // Colours must not change a character.
            if (parts.filter((_, i) => i % 2).join('') !== code) parts = null;
        }
    } catch {
        parts = null;
    }
    self.postMessage({ id, parts });
};
