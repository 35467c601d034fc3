/* The completion view: a text that the model continues, for models without a chat template (and for
 * anybody who wants the bare model). What the model wrote can be taken back, one generation at a time. */

import { h, icon, count, seconds } from './dom.js';
import { Answer, Keeper, remember } from './chat_answer.js';
import { body_of } from './chat_settings.js';
import { models, find } from './models.js';
import { TokenView } from './chat_tokens.js';
import { waiting } from './chat_message.js';

export class TextView {
    /** ctx: {save(), raw(node)} */
    constructor(host, conv, ctx) {
        Object.assign(this, { host, conv, ctx });
        this.undo = [];
        this.area = h('textarea.sheet', { dir: 'auto', 'aria-label': 'Text to continue', spellcheck: 'false',
            placeholder: 'Begin a text; the model goes on with it.' });
        this.area.value = conv.text || '';
        this.go = h('button.primary', { onclick: () => this.press() }, 'Continue');
        this.back = h('button.soft-button', { disabled: true, onclick: () => this.take_back() }, icon('undo'), 'Take back');
        this.raw = h('button.soft-button', { disabled: true, onclick: () => this.ctx.raw(this.node) }, icon('raw'), 'Raw');
        this.meta = h('div.meta', { 'aria-live': 'off' });
        this.note = h('div.note');
        this.probs = h('div');
        this.el = h('div.text-view', null, this.area, this.note, h('div.row', null, this.go, this.back, this.raw, this.meta),
            h('p.soft.small', null, h('kbd', null, 'Ctrl'), ' ', h('kbd', null, 'Enter'), ' continues, ', h('kbd', null, 'Esc'), ' stops'),
            this.probs);
        host.replaceChildren(this.el);
        this.area.addEventListener('input', () => { this.fit(); this.keep(); });
        this.area.addEventListener('keydown', (e) => {
            if (e.isComposing) return;
            if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); this.start(); }
        });
        this.fit();
        this.area.focus();
    }

    get answer_running() {
        return this.answer && !this.answer.done;
    }

    fit() {
        this.area.style.height = 'auto';
        this.area.style.height = `${this.area.scrollHeight + 2}px`;
    }

    keep() {
        this.conv.text = this.area.value;
        if (!this.conv.named) this.conv.title = this.area.value.trim().slice(0, 60) || 'New text';
        return this.ctx.save();
    }

    press() {
        if (this.answer_running) this.stop();
        else this.start();
    }

    stop() {
        this.answer?.stop();
    }

    async start() {
        if (this.answer_running) return;
        const prompt = this.area.value;
        this.undo.push(prompt);
        this.node = { id: `text-${this.conv.id}`, content: '', reasoning: '', tokens: null, error: null, finish: '' };
        const body = { model: models.current, prompt, stream: true, stream_options: { include_usage: true },
            ...body_of(this.conv.settings, false, find(models.current)) };
        this.answer = new Answer(this.node, async () => ({ path: '/v1/completions', body }), () => this.changed());
        remember(this.answer);
        this.area.readOnly = true;
        this.go.textContent = 'Stop';
        this.probs.replaceChildren();
        this.tokens = this.node.tokens = null;
        this.keeper = new Keeper(() => { this.draw(); this.keep(); });
        this.changed();
        await this.answer.run();
        this.keeper.done();
        this.draw();
        this.area.readOnly = false;
        this.go.textContent = 'Continue';
        this.back.disabled = this.raw.disabled = false;
        this.keep();
    }

    take_back() {
        if (this.answer_running || !this.undo.length) return;
        this.area.value = this.undo.pop();
        this.back.disabled = !this.undo.length;
        this.probs.replaceChildren();
        this.fit();
        this.keep();
    }

    changed() {
        this.keeper.soon();
        this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); });
    }

    draw() {
        const { node, answer } = this;
        const scroller = this.el.closest('.scroller');
        const at_end = scroller && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
        const have = this.undo[this.undo.length - 1].length;
        const fresh = (this.undo[this.undo.length - 1] + node.content).slice(this.area.value.length);
        if (fresh && this.area.value.length >= have) {
            this.area.setRangeText(fresh, this.area.value.length, this.area.value.length, 'end');
            this.fit();
            if (at_end) scroller.scrollTop = scroller.scrollHeight;
        }
        this.note.replaceChildren(...(!answer.done && !answer.first ? waiting(answer) : []));
        if (node.error) this.note.replaceChildren(h('div.error', { role: 'alert' }, h('p', null, node.error.message)));
        const s = node.stats;
        this.meta.textContent = answer.done
            ? s?.n ? `${count(s.n, 'token')} · ${s.rate.toFixed(1)} tok/s · ${seconds(s.ttft)} to the first` : ''
            : answer.first ? `${count(answer.n, 'token')} · ${answer.rate().toFixed(1)} tok/s` : '';
        if (node.tokens?.length) {
            this.tokens ??= new TokenView(this.probs);
            this.tokens.set(node.tokens);
        }
    }
}
