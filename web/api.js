/* The one place that talks to the server: the public API, as any client would use it. Errors are the
 * server's own sentences; a lost connection is announced once, and waited out. */

const KEY = 'gaufre.key';

export class ApiError extends Error {
    constructor(message, more) {
        super(message);
        Object.assign(this, { status: 0, code: '', retry_after: null, retry: true }, more);
    }
}

/* The key lives as long as the tab: sessionStorage, never IndexedDB or an export. */
export function key() {
    try {
        return sessionStorage.getItem(KEY) || '';
    } catch {
        return '';
    }
}

let ask_key = null; // async () -> key or ''
let on_lost = () => {}; // the server does not answer, or broke off
let on_key = () => {}; // a key was asked for and is right

export function configure(hooks) {
    ask_key = hooks.ask_key;
    on_lost = hooks.on_lost;
    on_key = hooks.on_key;
}

export function random_id(prefix) {
    // crypto.randomUUID is missing on plain http from another machine
    const b = crypto.getRandomValues(new Uint8Array(12));
    return prefix + Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');
}

function retry_after(headers) {
    const ms = Number(headers.get('retry-after-ms'));
    const s = Number(headers.get('retry-after'));
    if (headers.get('retry-after-ms') && Number.isFinite(ms)) return ms / 1000;
    return headers.get('retry-after') && Number.isFinite(s) ? s : null;
}

export async function error_of(response) {
    let body = null;
    try {
        body = await response.json();
    } catch { /* a proxy's page, or nothing */ }
    const e = body?.error || body || {};
    return new ApiError(e.message || `The server answered ${response.status} ${response.statusText}.`, {
        status: response.status, code: e.code || '', retry_after: retry_after(response.headers),
        retry: response.headers.get('x-should-retry') !== 'false', body,
    });
}

/** fetch with the key; throws ApiError for every answer that is not a success. */
export async function request(path, { body, headers, signal, method } = {}) {
    let asked = false;
    for (;;) {
        const sent = key();
        let response;
        try {
            response = await fetch(path, {
                method: method || (body === undefined ? 'GET' : 'POST'), signal,
                headers: {
                    ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
                    ...(sent ? { Authorization: `Bearer ${sent}` } : {}), ...headers,
                },
                body: body === undefined ? undefined : JSON.stringify(body),
                credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer',
            });
        } catch (e) {
            if (signal?.aborted) throw e;
            on_lost();
            throw new ApiError('The server does not answer. Is it running?', { code: 'offline' });
        }
        if (asked && response.status !== 401) on_key();
        if (response.ok) return response;
        const e = await error_of(response);
        if (e.status !== 401 || !ask_key) throw e;
        asked = true;
        // Somebody else's dialog may have brought a newer key in the meantime.
        const now = key() !== sent ? key() : await ask_key(e.message, Boolean(sent));
        if (!now) throw e;
        sessionStorage.setItem(KEY, now);
    }
}

export async function json(path, options) {
    return (await request(path, options)).json();
}

/** What broke off in its midst. */
export function lost() {
    on_lost();
    return new ApiError('The connection was lost before the answer ended.', { code: 'lost' });
}

/** Read server-sent events from a response. onEvent gets each event's data, as text. Throws where the
 * connection breaks. */
export async function read_events(response, onEvent) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    let data = [];
    for (;;) {
        const { value, done } = await reader.read().catch((e) => { throw e.name === 'AbortError' ? e : lost(); });
        if (done) return;
        rest += value;
        let from = 0;
        for (let end; (end = rest.indexOf('\n', from)) >= 0; from = end + 1) {
            const line = rest.slice(from, rest[end - 1] === '\r' && end > from ? end - 1 : end);
            if (line.startsWith('data:')) {
                data.push(line.slice(line[5] === ' ' ? 6 : 5));
            } else if (line === '' && data.length) {
                onEvent(data.join('\n'));
                data = [];
            }
        }
        rest = rest.slice(from);
    }
}

/** Open an event stream: onEvent gets each event parsed from JSON. Ends when the server ends it. */
export async function sse(path, { signal, onEvent, body, headers } = {}) {
    const response = await request(path, { signal, body, headers });
    await read_events(response, (text) => { if (text !== '[DONE]') onEvent(JSON.parse(text)); });
}
