/* The admin API by a session: the key is shown once, and the browser keeps a cookie that no script can
 * read. Each change carries the session's token. */

import { ApiError, error_of, read_events } from './api.js';

const BASE = '/admin/v1';

export const session = { key: null, role: '', csrf: null, accounts: true };
let on_over = () => {}; // the session has ended

export const configure = (hooks) => { on_over = hooks.on_over; };
export const may_change = () => session.role === 'operator';

async function request(path, { method = 'GET', body, signal, key } = {}) {
    let response;
    try {
        response = await fetch(BASE + path, {
            method, signal, credentials: 'same-origin', cache: 'no-store', referrerPolicy: 'no-referrer',
            headers: {
                ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
                ...(method !== 'GET' && session.csrf ? { 'x-gaufre-csrf': session.csrf } : {}),
                ...(key ? { Authorization: `Bearer ${key}` } : {}),
            },
            body: body === undefined ? undefined : JSON.stringify(body),
        });
    } catch (e) {
        if (signal?.aborted) throw e;
        throw new ApiError('The server does not answer. Is it running?', { code: 'offline' });
    }
    if (response.ok) return response;
    const e = await error_of(response);
    if (e.status === 401 && !key && path !== '/session') on_over(e.message);
    throw e;
}

export async function json(path, options) {
    return (await request(path, options)).json();
}

/** A path's part: whatever an id holds, it stays one. */
export const part = (id) => encodeURIComponent(id);

/** Who is in; throws where nobody is. */
export async function who() {
    return Object.assign(session, await json('/session'));
}

export async function log_in(key) {
    return Object.assign(session, await json('/session', { method: 'POST', key }));
}

export async function log_out() {
    await json('/session', { method: 'DELETE' });
    forget();
}

export function forget() {
    Object.assign(session, { key: null, role: '', csrf: null });
}

export async function events(path, { signal, onEvent }) {
    await read_events(await request(path, { signal }), (text) => onEvent(JSON.parse(text)));
}
