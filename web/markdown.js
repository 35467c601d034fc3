/* Markdown of a model on the page, while it is being written.
 *
 * Blocks that can no longer change are frozen (their DOM is never touched again); only the last block
 * is made anew, at most once per animation frame. An open code fence, the one block that grows for
 * long, only has text appended. */

import { code_block } from './code_block.js';
import { blocks } from './markdown_dom.js';

/* global marked */
const FENCE = /^(`{3,}|~{3,})([^\n`]*)(?:\n|$)/;

/** One text that grows at its end. set() any time; draw() once per frame; finish() when it is whole. */
export class Markdown {
    constructor(host) {
        this.host = host;
        this.source = '';
        this.at = 0; // start of the open block
        this.open = []; // its nodes
        this.fence = null; // {block, start, drawn, mark} while the open block is a fence
        this.frozen = null; // called with each block's text once it stands
    }

    /** The text so far: what was set before must be a prefix of it. */
    set(source) {
        this.source = source;
    }

    draw(final = false) {
        // Frozen blocks move `at`; stop when nothing moves any more.
        for (let before = -1; before !== this.at && this.at < this.source.length;) {
            before = this.at;
            if (!this.draw_fence(final)) this.draw_text(final);
        }
    }

    finish() {
        if (/^ {0,3}\[[^\]\n]+\]:/m.test(this.source)) this.reset(); // links may be named further down
        this.draw(true);
    }

    reset() {
        this.host.replaceChildren();
        this.at = 0;
        this.open = [];
        this.fence = null;
    }

    clear_open() {
        for (const n of this.open) n.remove();
        this.open = [];
    }

    freeze(upto) {
        this.frozen?.(this.source.slice(this.at, upto));
        this.at = upto;
        this.open = [];
        this.fence = null;
    }

    /** The open block is a fence: append what came. False when it is not one. */
    draw_fence(final) {
        const m = this.fence || FENCE.exec(this.source.slice(this.at, this.at + 300));
        if (!m) return false;
        if (!this.fence) {
            if (!final && !m[0].endsWith('\n')) return true; // the info string is still coming
            this.clear_open();
            const block = code_block(m[2].trim());
            this.host.append(block.el);
            this.open = [block.el];
            const start = this.at + m[0].length;
            this.fence = { block, drawn: start, close: new RegExp(`^ {0,3}${m[1]}[\`~]*[ \\t]*(?:\\n|$)`, 'm') };
        }
        const f = this.fence;
        const fresh = this.source.slice(f.drawn);
        const end = f.close.exec(fresh);
        if (end) {
            f.block.append(fresh.slice(0, end.index).replace(/\n$/, ''));
            f.block.finish();
            this.freeze(f.drawn + end.index + end[0].length);
            return true;
        }
        // Whole lines only: the last line may turn out to be the closing fence.
        const whole = final ? fresh.length : fresh.lastIndexOf('\n');
        if (whole > 0) {
            f.block.append(fresh.slice(0, whole));
            f.drawn += whole;
        }
        if (final) {
            f.block.finish();
            this.freeze(this.source.length);
        }
        return true;
    }

    draw_text(final) {
        const tail = this.source.slice(this.at);
        const next = /^(?:`{3,}|~{3,})/m.exec(tail);
        const text = next ? tail.slice(0, next.index) : tail;
        if (!text) return;
        const tokens = marked.lexer(text, { ...marked.defaults, gfm: true, breaks: true, silent: true });
        let keep = tokens.length; // tokens before `keep` can no longer change
        if (!next && !final) {
            while (keep && tokens[keep - 1].type === 'space') keep--;
            keep = Math.max(0, keep - 1);
        }
        this.clear_open();
        const whole = tokens.slice(0, keep);
        if (whole.length) {
            this.host.append(...blocks(whole, true));
            // Lines, not characters: the lexer widens tabs.
            const lines = whole.reduce((n, t) => n + t.raw.split('\n').length - 1, 0);
            let upto = this.at;
            for (let i = 0; i < lines; i++) upto = this.source.indexOf('\n', upto) + 1;
            this.freeze(next || final ? this.at + text.length : upto);
        }
        const rest = tokens.slice(keep);
        if (rest.length) {
            this.open = blocks(rest, final);
            this.host.append(...this.open);
        }
    }
}

/** A whole text at once. */
export function render(host, source) {
    const m = new Markdown(host);
    m.set(source);
    m.finish();
}
