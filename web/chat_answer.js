/* One generation: sends the request, reads the stream into its node, keeps the clock. It knows no DOM;
 * `on_change` may be called hundreds of times a second, drawing is the caller's business. */

import * as api from './api.js';

const RAW_MAX = 4e6; // characters of the stream kept for the raw view

/** What a chunk's choice brought: {text, reasoning, tokens}. Both endpoints, one form. */
function read_choice(choice) {
    const delta = choice.delta || {};
    const out = { text: delta.content ?? choice.text ?? '', tokens: null,
        reasoning: delta.reasoning ?? delta.reasoning_content ?? '' };
    const lp = choice.logprobs;
    if (lp?.content) {
        out.tokens = lp.content.map((t) => [t.token, t.logprob,
            (t.top_logprobs || []).map((a) => [a.token, a.logprob])]);
    } else if (lp?.tokens) {
        out.tokens = lp.tokens.map((t, i) => [t, lp.token_logprobs[i],
            Object.entries(lp.top_logprobs?.[i] || {}).sort((a, b) => b[1] - a[1])]);
    }
    return out;
}

export class Answer {
    /** node: {content, reasoning, tokens, finish, stats, error}; filled as the stream comes.
     * make_request: async () -> {path, body}. */
    constructor(node, make_request, on_change) {
        Object.assign(this, { node, make_request, on_change });
        this.id = api.random_id('web-');
        this.state = 'sent'; // sent, queued, prefill, decode, done
        this.row = null; // the engine's view of this request
        this.raw = [];
        this.raw_size = 0;
        this.n = 0;
        this.times = []; // of the last tokens
        this.first = 0;
        this.control = new AbortController();
        this.before = node.content; // a continued answer begins with this
    }

    get done() {
        return this.state === 'done';
    }

    stop() {
        this.control.abort();
    }

    async run() {
        const { node } = this;
        this.began = performance.now();
        node.error = null;
        node.finish = '';
        const watch = setTimeout(() => this.watch(), 250);
        try {
            Object.assign(this, await this.make_request());
            const response = await api.request(this.path, { body: this.body, signal: this.control.signal,
                headers: { 'x-client-request-id': this.id } });
            this.request_id = response.headers.get('x-request-id') || '';
            await api.read_events(response, (text) => this.event(text));
            if (!node.finish && !node.error) throw api.lost();
        } catch (e) {
            if (this.control.signal.aborted) node.finish = 'stopped';
            else node.error = plain_error(e instanceof api.ApiError ? e : api.lost());
        }
        clearTimeout(watch);
        this.engine?.abort();
        this.state = 'done';
        this.settle();
        this.on_change();
    }

    event(text) {
        if (this.raw_size < RAW_MAX) this.raw.push(text);
        this.raw_size += text.length;
        if (text === '[DONE]') return;
        const { node } = this;
        const chunk = JSON.parse(text);
        if (chunk.error) {
            node.error = { message: chunk.error.message, code: chunk.error.code || '', status: chunk.status_code };
            return;
        }
        if (chunk.usage) this.usage = chunk.usage;
        if (chunk.time_info) this.time_info = chunk.time_info;
        for (const choice of chunk.choices || []) {
            const got = read_choice(choice);
            if (got.text || got.reasoning) this.arrived(got.tokens ? got.tokens.length : 1);
            node.content += got.text;
            if (got.reasoning) node.reasoning = (node.reasoning || '') + got.reasoning;
            if (got.tokens) (node.tokens ||= []).push(...got.tokens);
            if (choice.finish_reason) node.finish = choice.finish_reason;
        }
        this.on_change();
    }

    arrived(n) {
        const now = performance.now();
        if (!this.first) {
            this.first = now;
            this.state = 'decode';
            this.engine?.abort();
        }
        this.n += n;
        this.times.push([now, this.n]);
        while (this.times.length > 2 && this.times[0][0] < now - 2000) this.times.shift();
    }

    /** Tokens per second over the last two seconds; 0 before there are two tokens. */
    rate() {
        const [from] = this.times;
        const to = this.times[this.times.length - 1];
        return from && to[0] > from[0] ? ((to[1] - from[1]) * 1000) / (to[0] - from[0]) : 0;
    }

    ttft() {
        return this.first ? (this.first - this.began) / 1000 : 0;
    }

    /** Slow to begin: ask the engine where the request is (its place in the queue, its prefill). */
    async watch() {
        if (this.first || this.done) return;
        this.engine = new AbortController();
        try {
            await api.sse('/v1/engine/events?interval_ms=200', { signal: this.engine.signal,
                onEvent: (state) => {
                    const row = (state.requests || []).find((r) => r.client_id === this.id);
                    if (!row || this.first) return;
                    this.row = row;
                    this.state = row.state === 'prefill' ? 'prefill' : row.state === 'queued' ? 'queued' : this.state;
                    this.on_change();
                } });
        } catch { /* progress is a courtesy: the answer itself says what is wrong */ }
    }

    settle() {
        const { node, usage, time_info: t } = this;
        const n = usage?.completion_tokens ?? this.n;
        const span = this.times.length ? (this.times[this.times.length - 1][0] - this.first) / 1000 : 0;
        const rate = t?.completion_time && n > 1 ? n / t.completion_time : span > 0.05 && this.n > 1 ? (this.n - 1) / span : 0;
        node.stats = { n, rate, ttft: this.ttft(), prompt: usage?.prompt_tokens ?? null,
            cached: usage?.prompt_tokens_details?.cached_tokens ?? null,
            queue: t?.queue_time ?? null, prefill: t?.prompt_time ?? null,
            total: (performance.now() - this.began) / 1000, request: this.request_id || '' };
    }
}

function plain_error(e) {
    return { message: e.message, code: e.code, status: e.status, retry: e.retry,
        retry_at: e.retry_after === null ? null : Date.now() + e.retry_after * 1000 };
}

/** Did the connection end the answer, and not the server? */
export const is_lost = (error) => error?.code === 'lost' || error?.code === 'offline';

/** Keeps a record that grows: once a second, and less often where that takes long. */
export class Keeper {
    constructor(put) {
        this.put = put;
        this.pause = 1000;
    }

    soon() {
        this.timer ||= setTimeout(() => this.now(), this.pause);
    }

    async now() {
        clearTimeout(this.timer);
        const began = performance.now();
        await this.put();
        this.pause = Math.max(1000, (performance.now() - began) * 20);
        this.timer = 0;
    }

    done() {
        clearTimeout(this.timer);
        this.put = () => {};
    }
}

/** An answer as it was kept: what no page is writing any more did not end. */
export function mark_cut(node) {
    const nothing = !node.content && !node.reasoning && !node.finish && !node.error && !node.edited;
    if (node.role === 'assistant' && (node.live || nothing)) {
        delete node.live;
        node.error = { message: 'The page was closed before the answer ended.', code: 'lost' };
    }
    return node;
}

/** Requests that are shown raw: what this tab has seen, newest 50. */
export const recent = new Map();

export function remember(answer) {
    recent.set(answer.node.id, answer);
    if (recent.size > 50) recent.delete(recent.keys().next().value);
}
