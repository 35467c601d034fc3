/* The DOM of one message: text, thinking, what it cost, and what can be done with it. */

import { h, icon, icon_button, copy_button, number, seconds, say } from './dom.js';
import { Markdown } from './markdown.js';
import { direct } from './markdown_dom.js';
import { TokenView } from './chat_tokens.js';

const FOLD_LINES = 16; // longer messages of the user (files, mostly) begin folded
const WHY = { stop: 'ended by itself', length: 'cut at the limit', stopped: 'stopped', cancelled: 'cancelled' };
const TODO = {
    offline: 'The page tries again by itself; then the answer can be asked for again.',
    lost: 'What came so far is kept: continue it, or ask again.',
    context_length_exceeded: 'Shorten the conversation (edit an early message, or begin a new chat), or lower the maximum of tokens.',
    queue_exceeded: 'The server is busy.', request_quota_exceeded: 'Too many requests for now.',
    token_quota_exceeded: 'Too many tokens for now.', model_loading: 'It will be ready in a moment.',
    request_cancelled: 'Somebody cancelled it, or the server is stopping.',
    wrong_api_format: 'See the settings of this conversation.', model_not_found: 'Choose another model above.',
};

/** Models that think in the open write <think>...</think> before the answer. */
export function split_thinking(node) {
    const c = node.content;
    if (node.reasoning) return { thinking: node.reasoning, text: c, thought: Boolean(c) };
    const end = c.indexOf('</think>');
    const starts = /^\s*<think>/.exec(c);
    // A closing tag alone ends thinking that the template began; one in the midst of a text is text.
    if (!starts && (end < 0 || c.lastIndexOf('<think>', end) >= 0)) return { thinking: '', text: c, thought: true };
    const from = starts ? starts[0].length : 0;
    if (end < 0) return { thinking: c.slice(from), text: '', thought: false };
    return { thinking: c.slice(from, end), text: c.slice(end + 8).replace(/^\s+/, ''), thought: true };
}

export class MessageView {
    /** ctx: {place, answer(node), act(name, node, ...), options: {tokens}} */
    constructor(node, ctx) {
        Object.assign(this, { node, ctx });
        this.body = h(`div.body.${node.role}`, { dir: 'auto' });
        this.meta = h('div.meta');
        this.acts = h('div.acts', { role: 'group', 'aria-label': 'What to do with this message' });
        this.note = h('div.note');
        this.el = h(`div.message.${node.role}`, { role: 'listitem', tabIndex: -1,
            'aria-label': node.role === 'user' ? 'You' : `Answer${node.model ? `, ${node.model}` : ''}` },
        this.body, this.note, h('div.foot', null, this.meta, this.acts));
        this.not_before = 0;
        this.shown_at = 0;
        if (node.role === 'user') this.draw_user();
        else this.draw();
    }

    done() {
        clearInterval(this.timer);
    }

    draw_user() {
        const lines = this.node.content.split('\n').length;
        const text = h('div.plain', { dir: 'auto' }, this.node.content);
        this.body.append(text);
        if (lines > FOLD_LINES || this.node.content.length > 3000) {
            text.classList.add('folded');
            const more = h('button.quiet', { 'aria-expanded': 'false', onclick: () => {
                const open = text.classList.toggle('folded') === false;
                more.setAttribute('aria-expanded', String(open));
                more.textContent = open ? 'Show less' : `Show all ${number(lines)} lines`;
            } }, `Show all ${number(lines)} lines`);
            this.body.append(more);
        }
        this.draw_acts();
    }

    /** Draw what changed; called at most once per frame. Returns false when it is too early again. */
    draw() {
        const { node } = this;
        const answer = this.ctx.answer(node);
        const live = answer && !answer.done;
        const now = performance.now();
        if (live && now < this.not_before) return false;
        const { thinking, text, thought } = split_thinking(node);
        if (thinking) this.draw_thinking(thinking, thought);
        if (this.ctx.options.tokens && node.tokens?.length) this.draw_tokens();
        else this.draw_text(text, live);
        this.draw_note(answer, live);
        if (!live) this.draw_acts();
        if (!live || now - this.shown_at > 250) {
            this.shown_at = now;
            this.draw_meta(answer, live);
        }
        this.el.setAttribute('aria-busy', String(Boolean(live)));
        // A block that is slow to draw is drawn less often, so that the page never falls behind.
        this.not_before = performance.now() + (performance.now() - now) * 3;
        return true;
    }

    draw_text(text, live) {
        if (!this.markdown) {
            this.prose = h('div.prose', { dir: 'auto' });
            this.body.append(this.prose);
            this.markdown = new Markdown(this.prose);
            if (live) this.markdown.frozen = (block) => say(block.slice(0, 2000));
        }
        this.markdown.set(text);
        if (live) {
            this.markdown.draw();
        } else if (!this.whole || this.whole !== text) {
            this.markdown.finish();
            this.whole = text;
        }
        this.prose.classList.toggle('live', Boolean(live));
    }

    draw_tokens() {
        this.tokens ??= new TokenView(this.body);
        this.tokens.set(this.node.tokens);
    }

    draw_thinking(thinking, thought) {
        if (!this.think) {
            this.think_text = h('div.plain');
            this.think_head = h('summary');
            this.think = h('details.think', null, this.think_head, this.think_text);
            this.body.prepend(this.think);
        }
        this.think_head.textContent = thought ? 'Thought about it' : 'Thinking …';
        if (this.think_text.textContent.length === thinking.length) return;
        this.think_text.textContent = thinking;
        this.think.dir = direct(this.think_text).dir;
    }

    /** Below the text: waiting, an error and its way out, or the way to go on. */
    draw_note(answer, live) {
        const { node } = this;
        const wait = live && !answer.first ? waiting(answer) : null;
        if (wait) {
            this.note.replaceChildren(...wait);
        } else if (live) {
            this.note.replaceChildren();
        } else if (node.error) {
            this.draw_error();
        } else if (node.finish === 'length' || node.finish === 'stopped') {
            this.note.replaceChildren(node.content
                ? h('button.soft-button.go-on', { onclick: () => this.ctx.act('go_on', node) }, icon('right'), 'Continue') : '');
        } else if (node.finish && !node.content.trim() && !node.reasoning) {
            this.note.replaceChildren(h('p.soft', null, 'The model wrote nothing.'));
        } else {
            this.note.replaceChildren();
        }
    }

    draw_error() {
        const { node } = this;
        const e = node.error;
        const again = h('button.soft-button', { onclick: () => this.ctx.act('retry', node) }, icon('again'), h('span', null, 'Try again'));
        this.note.replaceChildren(h('div.error', { role: 'alert' },
            h('p', null, e.message), TODO[e.code] ? h('p.soft', null, TODO[e.code]) : '',
            h('div.row', null, again, node.content && (e.code === 'lost' || e.code === 'request_cancelled')
                ? h('button.soft-button', { onclick: () => this.ctx.act('go_on', node) }, icon('right'), 'Continue') : '')));
        clearInterval(this.timer);
        if (!e.retry_at) return;
        const label = again.querySelector('span');
        const tick = () => {
            const left = Math.ceil((e.retry_at - Date.now()) / 1000);
            again.disabled = left > 0;
            label.textContent = left > 0 ? `Try again in ${left} s` : 'Try again';
            if (left <= 0) clearInterval(this.timer);
        };
        this.timer = setInterval(tick, 500);
        tick();
    }

    draw_meta(answer, live) {
        const s = this.node.stats;
        if (live) {
            if (!answer.first) { this.meta.replaceChildren(); return; }
            this.meta.replaceChildren(tokens_of(answer.n), fact(answer.rate().toFixed(1), 'tok/s', 5),
                fact(seconds(answer.ttft()), 'to the first'));
            return;
        }
        if (!s || this.node.edited) { this.meta.replaceChildren(this.node.edited ? 'edited' : ''); return; }
        const facts = [];
        if (s.n) facts.push(tokens_of(s.n));
        if (s.rate) facts.push(fact(s.rate.toFixed(1), 'tok/s'));
        if (s.ttft) facts.push(fact(seconds(s.ttft), 'to the first'));
        if (s.prompt !== null) {
            facts.push(fact(number(s.prompt), s.cached ? `prompt, ${number(s.cached)} cached` : 'prompt'));
        }
        if (this.node.finish) facts.push(h('span.fact', null, WHY[this.node.finish] || this.node.finish));
        this.meta.replaceChildren(...facts);
    }

    draw_acts() {
        const { node, ctx } = this;
        const act = (name) => () => ctx.act(name, node);
        const place = ctx.place(node);
        const list = [];
        if (place.of > 1) {
            list.push(h('span.branch', { role: 'group', 'aria-label': 'Versions' },
                icon_button('left', 'Earlier version', act('back'), { disabled: place.at === 1 }),
                h('span.num', null, `${place.at}/${place.of}`),
                icon_button('right', 'Later version', act('forth'), { disabled: place.at === place.of })));
        }
        if (node.content) list.push(copy_button(() => split_thinking(node).text, 'Copy the text'));
        list.push(icon_button('edit', node.role === 'user' ? 'Edit and ask again' : 'Edit the answer', act('edit')));
        if (node.role === 'assistant') {
            list.push(icon_button('again', 'Answer again', act('again')));
            if (node.tokens?.length) {
                list.push(icon_button('tokens', 'Token probabilities', act('tokens'),
                    { 'aria-pressed': String(Boolean(ctx.options.tokens)) }));
            }
            list.push(icon_button('raw', 'Request and answer, raw', act('raw')));
        }
        this.acts.replaceChildren(...list);
    }

    /** Turn into an editor; Escape puts the message back. */
    edit(on_save) {
        const area = h('textarea.editor', { dir: 'auto', 'aria-label': 'Edit the message', rows: '3' });
        area.value = this.node.content;
        const fit = () => { area.style.height = 'auto'; area.style.height = `${area.scrollHeight + 2}px`; };
        const save = () => on_save(area.value);
        const cancel = () => on_save(null);
        area.addEventListener('input', fit);
        area.addEventListener('keydown', (e) => {
            if (e.isComposing) return;
            if (e.key === 'Escape') { e.stopPropagation(); cancel(); }
            if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); save(); }
        });
        this.body.replaceChildren(area, h('div.row', null,
            h('button.primary', { onclick: save }, this.node.role === 'user' ? 'Send' : 'Save'),
            h('button.quiet', { onclick: cancel }, 'Cancel'),
            h('span.soft.small', null, 'Saved as a new version; the old one stays.')));
        this.body.classList.add('editing');
        this.note.replaceChildren();
        this.acts.replaceChildren();
        fit();
        area.focus();
    }
}

function fact(value, name, width) {
    const v = h('span.num', null, value);
    if (width) v.style.minWidth = `${width}ch`;
    return h('span.fact', null, v, ` ${name}`);
}

const tokens_of = (n) => fact(number(n), n === 1 ? 'token' : 'tokens');

/** Before the first token: where the request is, as the engine tells. */
export function waiting(answer) {
    const r = answer.row;
    if (answer.state === 'queued' && r?.position) {
        return [h('div.wait', { role: 'status' }, h('span.pulse'),
            r.position === 1 ? 'Next in the queue' : `Place ${number(r.position)} in the queue`)];
    }
    if (answer.state === 'prefill' && r?.prompt_tokens) {
        const done = Math.min(r.prompt_tokens, (r.prefilled_tokens || 0) + (r.cached_tokens || 0));
        const bar = h('progress', { max: r.prompt_tokens, value: done, 'aria-label': 'Prompt read' });
        return [h('div.wait', { role: 'status' }, h('span.pulse'), 'Reading the prompt ',
            h('span.num', null, `${number(done)} / ${number(r.prompt_tokens)}`), bar)];
    }
    return [h('div.wait', null, h('span.pulse'), h('span.hidden', null, 'Waiting for the first token'))];
}
