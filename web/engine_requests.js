/* The rows of requests: those under way, then those that ended. Rows are kept and changed in place, so
 * that nothing jumps and a button stays where it is under the finger. */

import { h, number, icon_button, set_text, age } from './engine_dom.js';

const ENDED_AT_FIRST = 8;

const ordinal = (n) => `${n}${n % 100 > 10 && n % 100 < 14 ? 'th' : ['th', 'st', 'nd', 'rd'][n % 10] || 'th'}`;

function state_text(r) {
    if (r.state === 'queued') return r.position ? `queued, ${ordinal(r.position)}` : 'queued';
    if (r.state === 'finished') return { stop: 'stopped', length: 'full length', cancelled: 'cancelled', error: 'failed' }[r.finish] || 'ended';
    return r.state === 'prefill' ? 'prompt' : 'generating';
}

class Row {
    constructor(r, hooks) {
        this.hooks = hooks;
        this.r = r;
        this.state = h('span.eg-state', null);
        this.name = h('button.eg-name', { type: 'button', title: 'Show its timeline', onclick: () => hooks.on_open(this.r) }, r.client_id || r.id);
        this.kind = h('span.eg-kind', null, `${r.endpoint}${r.stream ? ', streamed' : ''}${r.choices > 1 ? `, ${r.choices} choices` : ''}`);
        this.prompt = h('span.num', null);
        this.cached = h('td.num.eg-cached', { 'data-name': 'cached' });
        this.done = h('span.eg-progress', { 'aria-hidden': 'true' }, h('i', null));
        this.generated = h('td.num', { 'data-name': 'generated' });
        this.rate = h('td.num', { 'data-name': 'tokens/s' });
        this.age = h('td.num', { 'data-name': 'time' });
        this.button = icon_button('close', 'Cancel this request', () => this.cancel());
        this.el = h('tr', null, h('td.eg-first', null, this.state), h('td.eg-who', null, this.name, this.kind, this.model = h('span.eg-kind', null)),
            h('td.eg-prompt', { 'data-name': 'prompt' }, this.prompt, this.done), this.cached, this.generated, this.rate, this.age, h('td.eg-act', null, this.button));
    }

    async cancel() {
        this.button.disabled = true;
        const failed = await this.hooks.on_cancel(this.r);
        if (failed) {
            this.button.disabled = false;
            this.button.title = failed;
        }
    }

    update(r, several) {
        this.r = r;
        this.el.dataset.state = r.finish === 'error' || r.finish === 'cancelled' ? r.finish : r.state;
        set_text(this.state, state_text(r));
        set_text(this.model, several ? r.model : '');
        set_text(this.prompt, number(r.prompt_tokens));
        set_text(this.cached, r.cached_tokens ? number(r.cached_tokens) : '–');
        const part = r.prompt_tokens ? r.prefilled_tokens / r.prompt_tokens : 0;
        this.done.hidden = r.state !== 'prefill';
        this.done.firstChild.style.width = `${100 * part}%`;
        set_text(this.generated, number(r.generated_tokens));
        set_text(this.rate, r.tokens_per_s ? r.tokens_per_s.toFixed(1) : '–');
        set_text(this.age, age(r.age_s));
        this.button.hidden = r.state === 'finished';
    }
}

export class Requests {
    constructor(hooks) {
        this.hooks = hooks;
        this.rows = new Map();
        this.all = false;
        this.body = h('tbody', null);
        this.count = h('span.eg-unit.num', null);
        this.empty = h('p.eg-empty', null, 'No requests yet. Ask something in the chat, or from any client: they appear here while they run.');
        this.more = h('button.quiet', { type: 'button', onclick: () => { this.all = !this.all; this.update(this.last); } });
        const heads = [['State', ''], ['Request', ''], ['Prompt', 'right'], ['Cached', 'right'], ['Generated', 'right'], ['Tokens/s', 'right'], ['Time', 'right']];
        this.table = h('table.eg-table', null, h('thead', null, h('tr', null, ...heads.map(([t, c]) => h(c ? `th.${c}` : 'th', { scope: 'col' }, t)),
            h('th', { scope: 'col' }, h('span.hidden', null, 'Cancel')))), this.body);
        this.el = h('section.eg-card.eg-requests', { 'aria-label': 'Requests' }, h('div.eg-head', null, h('h2', null, 'Requests'), this.count),
            this.table, this.empty, this.more);
    }

    update(s) {
        this.last = s;
        const live = s.requests.filter((r) => r.state !== 'finished');
        const ended = s.requests.filter((r) => r.state === 'finished');
        const shown = [...live, ...(this.all ? ended : ended.slice(0, ENDED_AT_FIRST))];
        const several = s.models.length > 1;
        const ids = new Set(shown.map((r) => r.id));
        for (const [id, row] of this.rows) {
            if (ids.has(id)) continue;
            row.el.remove();
            this.rows.delete(id);
        }
        let at = this.body.firstElementChild;
        for (const r of shown) {
            let row = this.rows.get(r.id);
            if (!row) this.rows.set(r.id, row = new Row(r, this.hooks));
            row.update(r, several);
            if (row.el === at) at = at.nextElementSibling;
            else this.body.insertBefore(row.el, at);
        }
        this.table.hidden = !shown.length;
        this.empty.hidden = !!shown.length;
        this.more.hidden = ended.length <= ENDED_AT_FIRST;
        set_text(this.more, this.all ? 'Show fewer' : `Show all ${ended.length} that ended`);
        const others = s.others ? `, ${number(s.others)} of others` : '';
        set_text(this.count, `${number(live.length)} under way${others}`);
    }
}
