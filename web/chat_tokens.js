/* Tokens coloured by their probability; the alternatives of the one that the pointer or the focus is
 * on. Arrow keys walk from token to token. Tokens are [text, logprob, [[text, logprob], ...]]. */

import { h } from './dom.js';

const STEPS = [0.9, 0.7, 0.45, 0.2, 0.05]; // p0 is nearly certain, p5 a surprise
const step_of = (lp) => { const i = STEPS.findIndex((p) => Math.exp(lp) >= p); return i < 0 ? 5 : i; };
const percent = (lp) => { const p = Math.exp(lp) * 100; return p >= 0.05 ? `${p.toFixed(1)} %` : '< 0.1 %'; };
const visible = (t) => t.replace(/\n/g, '↵').replace(/\t/g, '⇥').replace(/^ +| +$/g, (s) => '␣'.repeat(s.length));

/* One for the page, at its end: inside of a message it would be held by that message's box. */
let the_popover = null;

function popover() {
    if (!the_popover) {
        the_popover = h('div.token-pop', { role: 'tooltip', hidden: true });
        document.body.append(the_popover);
        addEventListener('scroll', () => { the_popover.hidden = true; }, { capture: true, passive: true });
    }
    return the_popover;
}

export class TokenView {
    constructor(host) {
        this.drawn = 0;
        this.tokens = [];
        this.el = h('div.tokens', { role: 'listbox', 'aria-label': 'Tokens by probability; arrow keys move',
            'aria-orientation': 'horizontal', dir: 'auto' });
        this.pop = popover();
        host.append(this.el);
        const over = (e) => { const t = e.target.closest('.tok'); if (t) this.show(t); };
        this.el.addEventListener('pointerover', over);
        this.el.addEventListener('focusin', over);
        this.el.addEventListener('pointerleave', () => this.hide());
        this.el.addEventListener('focusout', () => this.hide());
        this.el.addEventListener('keydown', (e) => this.key(e));
    }

    /** Draw what is new. */
    set(tokens) {
        this.tokens = tokens;
        const fresh = document.createDocumentFragment();
        for (; this.drawn < tokens.length; this.drawn++) {
            const [text, lp] = tokens[this.drawn];
            fresh.append(h(`span.tok.p${step_of(lp ?? 0)}`, { role: 'option', tabIndex: this.drawn ? -1 : 0,
                'data-i': String(this.drawn), 'aria-label': `${visible(text)}, ${percent(lp ?? 0)}` }, text));
        }
        this.el.append(fresh);
    }

    key(e) {
        const at = e.target.closest('.tok');
        const rtl = getComputedStyle(this.el).direction === 'rtl';
        const to = { ArrowRight: rtl ? 'previous' : 'next', ArrowLeft: rtl ? 'next' : 'previous' }[e.key];
        let next = null;
        if (to && at) next = at[`${to}ElementSibling`];
        else if (e.key === 'Home') next = this.el.firstElementChild;
        else if (e.key === 'End') next = this.el.lastElementChild;
        else if (e.key === 'Escape' && !this.pop.hidden) this.hide();
        else return;
        e.preventDefault();
        e.stopPropagation();
        if (!next) return;
        if (at) at.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
    }

    show(el) {
        const [text, lp, others] = this.tokens[Number(el.dataset.i)];
        const rows = others.some(([t]) => t === text) ? others : [[text, lp], ...others];
        this.pop.replaceChildren(...rows.map(([t, p]) => {
            const bar = h('span.bar-fill');
            bar.style.width = `${Math.max(1, Math.exp(p) * 100)}%`;
            return h(`div.alt${t === text ? '.chosen' : ''}`, null, h('code', null, visible(t)),
                h('span.bar-track', null, bar), h('span.num', null, percent(p)));
        }));
        this.pop.hidden = false;
        const at = el.getBoundingClientRect();
        const box = this.pop.getBoundingClientRect();
        this.pop.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.width - 8))}px`;
        this.pop.style.top = at.bottom + box.height + 8 < innerHeight ? `${at.bottom + 4}px`
            : `${Math.max(8, at.top - box.height - 4)}px`;
    }

    hide() {
        this.pop.hidden = true;
    }
}
