/* One request from its acceptance to its last token: what it waited for, what it computed, and how its
 * tokens came. Asked for again while it runs. */

import { h, count, number, open_dialog, set_text, copy_button, age } from './engine_dom.js';
import { Plot } from './plot.js';

const AGAIN_MS = 500;

const PHASES = [['queued', 'In the queue', 'soft'], ['prefill', 'Prompt', 'ok'], ['decode', 'Answer', 'accent']];

/** When each phase began and ended, in seconds; the last one goes on until `end`. */
function phases(r) {
    const when = (what) => r.timeline.find((m) => m.what === what)?.t;
    const end = when('finished') ?? r.age_s;
    const started = when('started') ?? end;
    const first = when('first_token') ?? end;
    return { end, queued: [0, started], prefill: [started, first], decode: [first, end] };
}

const exact = (s) => (s < 0.0995 ? `${(s * 1000).toFixed(1)} ms` : s < 0.9995 ? `${Math.round(s * 1000)} ms` : age(s));

class Timeline {
    constructor(api, r) {
        Object.assign(this, { api, id: r.id });
        this.strips = PHASES.map(([key, name, tone]) => ({ key, strip: h(`span.${tone}`, null), text: h('dd.num', null), name, tone }));
        this.facts = h('dl.eg-parts', null);
        this.marks = h('tbody', null);
        this.canvas = h('canvas.eg-plot.tall', { role: 'img', 'aria-label': 'Tokens computed over time' });
        this.axis = h('div.eg-axis.num', { 'aria-hidden': 'true' }, h('span', null, '0'), this.top = h('span', null), this.end = h('span', null));
        this.plot = new Plot(this.canvas, {
            least: 1, span_s: 1,
            series: [{ get: (s) => s.prompt, colour: '--ok', fill: 0.16 }, { get: (s) => s.answer, colour: '--accent', fill: 0.16 }],
        });
        this.trouble = h('p.eg-empty', { role: 'status' });
        this.el = h('div.eg-timeline', null,
            h('p.eg-ids', null, h('code', null, r.id), copy_button(() => r.id, 'Copy the id')),
            h('div.eg-bar.thick', { 'aria-hidden': 'true' }, ...this.strips.map((p) => p.strip)),
            h('dl.eg-parts.across', null, ...this.strips.map((p) => h('div', null, h('dt', null, h(`i.eg-dot.${p.tone}`, null), p.name), p.text))),
            h('div.eg-frame', null, this.canvas), this.axis, this.trouble, this.facts,
            h('details', null, h('summary', null, 'Every mark'), h('table.eg-table.eg-marks', null,
                h('thead', null, h('tr', null, h('th.right', { scope: 'col' }, 'Time'), h('th', { scope: 'col' }, 'What'), h('th.right', { scope: 'col' }, 'Tokens'))), this.marks)));
    }

    async load() {
        try {
            this.show(await this.api.json(`/v1/engine/requests/${encodeURIComponent(this.id)}`));
        } catch (e) {
            set_text(this.trouble, e.message);
            return true;
        }
        return this.over;
    }

    show(r) {
        const p = phases(r);
        const total = Math.max(p.end, 1e-6);
        this.over = r.state === 'finished';
        for (const s of this.strips) {
            const [a, b] = p[s.key];
            s.strip.style.flexGrow = String(Math.max(0, b - a) / total);
            set_text(s.text, exact(Math.max(0, b - a)));
        }
        this.curve(r, total);
        const facts = {
            Model: r.model, State: r.finish || r.state, Prompt: `${count(r.prompt_tokens, 'token')}, ${number(r.cached_tokens)} from the cache`,
            Answer: `${count(r.generated_tokens, 'token')}${r.choices > 1 ? ` in ${r.choices} choices` : ''}`,
            Speculation: r.draft_tokens ? `${number(r.draft_tokens)} drafted, ${number(r.draft_accepted)} right` : 'none',
            'First token': r.ttft_s === null ? '–' : exact(r.ttft_s), Rate: r.tokens_per_s ? `${r.tokens_per_s.toFixed(1)} tokens/s` : '–',
            'Computed prompt': this.prompt_rate(r, p), Accepted: new Date(r.accepted * 1000).toLocaleTimeString(),
        };
        this.facts.replaceChildren(...Object.entries(facts).map(([name, text]) => h('div', null, h('dt', null, name), h('dd.num', null, text))));
        this.marks.replaceChildren(...r.timeline.map((m) => h('tr', null, h('td.num', null, exact(m.t)), h('td', null, m.what.replace('_', ' ')), h('td.num', null, number(m.n)))));
    }

    prompt_rate(r, p) {
        const seconds = p.prefill[1] - p.prefill[0];
        const n = r.prefilled_tokens - r.cached_tokens;
        return seconds > 0 && n > 0 ? `${number(Math.round(n / seconds))} tokens/s` : '–';
    }

    curve(r, total) {
        const points = [];
        for (const m of r.timeline) {
            if (m.what === 'started' || m.what === 'prefill') points.push({ t: m.t, prompt: m.n, answer: null });
            if (m.what === 'first_token') points.push({ t: m.t, prompt: r.prompt_tokens, answer: 0 });
            if (['first_token', 'decode', 'finished'].includes(m.what) && r.ttft_s !== null) points.push({ t: m.t, prompt: null, answer: m.n });
        }
        this.plot.span_s = total;
        this.plot.gap_s = Infinity;
        this.plot.draw(points, total);
        set_text(this.top, `up to ${count(this.plot.scale, 'token')}`);
        set_text(this.end, exact(total));
    }
}

export async function open_timeline(r, api) {
    const line = new Timeline(api, r);
    const dialog = open_dialog(r.client_id ? `Request ${r.client_id}` : 'Request', line.el, 'wide-dialog');
    let open = true;
    dialog.addEventListener('close', () => { open = false; line.plot.close(); });
    while (open && !(await line.load())) await new Promise((done) => { setTimeout(done, AGAIN_MS); });
}
