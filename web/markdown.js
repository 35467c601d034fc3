/* Markdown of a model on the page, while it is being written.
 *
 * Blocks that can no longer change are frozen (their DOM is never touched again); only the last block
 * is made anew, at most once per animation frame. An open code fence, the one block that grows for
 * long, only has text appended. */

import { code_block } from './code_block.js';
import { blocks } from './markdown_dom.js';
import { lex } from './markdown_math.js';

// A line that opens a fence: a backtick after backticks makes it code within a line instead.
const FENCE = /^( {0,3})(?:(`{3,})([^\n`]*)|(~{3,})([^\n]*))(?:\n|$)/;
const FENCE_LINE = /^(?:`{3,}[^\n`]*|~{3,}[^\n]*)(\n|$(?![^]))/m; // where nothing but a fence can begin
const INDENTED = /^ {1,3}(?:`{3,}|~{3,})/;

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

    append(code) {
        const { block, strip } = this.fence;
        block.append(strip ? code.replace(strip, '') : code);
    }

    /** The open block is a fence: append what came. False when it is not one. */
    draw_fence(final) {
        const m = this.fence || FENCE.exec(this.source.slice(this.at, this.at + 300));
        if (!m) return false;
        if (!this.fence) {
            if (!final && !m[0].endsWith('\n')) return true; // the info string is still coming
            this.clear_open();
            const [all, indent, ticks, info, tildes, more] = m;
            const block = code_block((info ?? more).trim());
            this.host.append(block.el);
            this.open = [block.el];
            this.fence = { block, drawn: this.at + all.length, strip: indent && new RegExp(`^ {1,${indent.length}}`, 'gm'),
                close: new RegExp(`^ {0,3}${ticks || tildes}${(ticks || tildes)[0]}*[ \\t]*(?:\\n|$)`, 'm') };
        }
        const f = this.fence;
        const fresh = this.source.slice(f.drawn);
        const end = f.close.exec(fresh);
        if (end && (final || end[0].endsWith('\n'))) {
            this.append(fresh.slice(0, end.index).replace(/\n$/, ''));
            f.block.finish();
            this.freeze(f.drawn + end.index + end[0].length);
            return true;
        }
        // Whole lines only: the last line may turn out to be the closing fence.
        const whole = final ? fresh.length : fresh.lastIndexOf('\n');
        if (whole > 0) {
            this.append(fresh.slice(0, whole));
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
        const next = FENCE_LINE.exec(tail);
        const text = next ? tail.slice(0, next.index) : tail;
        if (!text) return;
        const ends = final || next?.[1]; // what the last block of it is is known
        const tokens = lex(text, ends);
        let keep = tokens.length; // tokens before `keep` can no longer change
        const fence = tokens.findIndex((t, i) => i && t.type === 'code' && INDENTED.test(t.raw));
        if (fence > 0) {
            keep = fence;
        } else if (!ends) {
            const back = () => {
                while (keep && tokens[keep - 1].type === 'space') keep--;
                keep = Math.max(0, keep - 1);
            };
            back();
            // A line that has only begun may yet belong to the block before: "2" becomes "2. ".
            if (keep && !tokens[keep].raw.includes('\n')) back();
        }
        this.clear_open();
        const whole = tokens.slice(0, keep);
        if (whole.length) {
            this.host.append(...blocks(whole, true));
            // Lines, not characters: the lexer widens tabs.
            const lines = whole.reduce((n, t) => n + t.raw.split('\n').length - 1, 0);
            let upto = this.at;
            for (let i = 0; i < lines; i++) upto = this.source.indexOf('\n', upto) + 1;
            this.freeze(ends && fence < 0 ? this.at + text.length : upto);
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
