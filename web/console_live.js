/* The one stream of overviews, while the page is looked at: what was seen is kept for the plots. Where it
 * breaks off it is asked for again, and the page says for how long it has not been live. */

import * as api from './console_api.js';
import { set_text } from './console_dom.js';

const EVENTS = '/overview/events';
const STALE_MS = 4000;
const KEPT_S = 310;
const PAUSE_MS = [1000, 2000, 4000, 8000];

export class Live {
    constructor(status, on_state) {
        Object.assign(this, { status, on_state, samples: [], last: null, seen_ms: 0, why: '', stop: null, on: false });
        document.addEventListener('visibilitychange', () => { if (this.on) { if (document.hidden) this.pause(); else this.run(); } });
        setInterval(() => this.tell(), 500);
    }

    start() {
        this.on = true;
        this.status.hidden = false;
        this.seen_ms = performance.now();
        this.run();
    }

    end() {
        this.on = false;
        this.status.hidden = true;
        this.pause();
        document.body.classList.remove('not-live');
    }

    pause() {
        this.stop?.abort();
        this.stop = null;
    }

    async run() {
        if (this.stop || document.hidden) return;
        const stop = this.stop = new AbortController();
        for (let tries = 0; !stop.signal.aborted; tries++) {
            try {
                await api.events(EVENTS, { signal: stop.signal, onEvent: (s) => { tries = -1; this.learn(s); } });
                this.why = 'the server ended the stream';
            } catch (e) {
                this.why = e.message || String(e);
            }
            if (stop.signal.aborted) return;
            await new Promise((r) => { setTimeout(r, PAUSE_MS[Math.min(Math.max(tries, 0), PAUSE_MS.length - 1)]); });
        }
    }

    learn(s) {
        if (this.last && (s.uptime_s < this.last.uptime_s)) this.samples = []; // another process
        this.last = s;
        this.seen_ms = performance.now();
        this.why = '';
        const t = s.simulated ? s.uptime_s : s.time; // plots are of real seconds
        this.samples.push({ t, generated: s.rates?.completion_tokens_per_s ?? null, prompt: s.rates?.prompt_tokens_per_s ?? null,
            requests: s.rates?.requests_per_s ?? null, running: s.tiers.reduce((n, x) => n + x.running, 0), waiting: s.tiers.reduce((n, x) => n + x.waiting, 0) });
        while (this.samples[0].t < t - KEPT_S) this.samples.shift();
        this.tell();
        this.on_state(s);
    }

    tell() {
        if (!this.on || document.hidden) return;
        const old_ms = performance.now() - this.seen_ms;
        const live = this.last !== null && old_ms < STALE_MS;
        document.body.classList.toggle('not-live', !live);
        this.status.dataset.state = live ? 'live' : 'lost';
        set_text(this.status, live ? 'Live' : this.last === null ? 'Connecting …' : `Not live for ${Math.round(old_ms / 1000)} s${this.why ? `: ${this.why}` : ''}`);
    }
}
