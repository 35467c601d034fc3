/* Conversations, in this browser's IndexedDB and nowhere else. Two stores: `conversations` (one small
 * record each: title, times, settings, chosen branches) and `messages` (one record per node of a
 * tree). Where IndexedDB is switched off everything still works, from memory, until the tab closes. */

const LIMIT_IMPORT = 200e6;
let opened = null;
const memory = { conversations: new Map(), messages: new Map() };
let in_memory = false;

function open() {
    opened ??= new Promise((resolve) => {
        const r = window.indexedDB?.open('gaufre', 1);
        const fail = () => { in_memory = true; resolve(null); };
        if (!r) { fail(); return; }
        r.onupgradeneeded = () => {
            r.result.createObjectStore('conversations', { keyPath: 'id' });
            r.result.createObjectStore('messages', { keyPath: 'id' }).createIndex('conv', 'conv');
        };
        r.onsuccess = () => {
            r.result.onversionchange = () => r.result.close();
            resolve(r.result);
        };
        r.onerror = r.onblocked = fail;
    });
    return opened;
}

const wait = (r) => new Promise((resolve, reject) => {
    r.onsuccess = () => resolve(r.result);
    r.onerror = () => reject(r.error);
});

const finished = (t) => new Promise((resolve, reject) => {
    t.oncomplete = resolve;
    t.onerror = t.onabort = () => reject(t.error);
});

export const is_in_memory = () => in_memory;

export async function conversations() {
    const db = await open();
    const all = db ? await wait(db.transaction('conversations').objectStore('conversations').getAll())
        : [...memory.conversations.values()];
    return all.sort((a, b) => b.updated - a.updated);
}

export async function messages(conv) {
    const db = await open();
    if (!db) return [...memory.messages.values()].filter((m) => m.conv === conv);
    return wait(db.transaction('messages').objectStore('messages').index('conv').getAll(conv));
}

async function put(store, records) {
    const db = await open();
    if (!db) {
        for (const r of records) memory[store].set(r.id, structuredClone(r));
        return;
    }
    const t = db.transaction(store, 'readwrite');
    for (const r of records) t.objectStore(store).put(r);
    t.commit(); // at once: the page may be about to go
    await finished(t);
}

export const put_conversation = (c) => put('conversations', [c]);
export const put_message = (m) => put('messages', [m]);

export async function remove(conv) {
    const kept = { conversation: null, messages: await messages(conv) };
    const db = await open();
    if (!db) {
        kept.conversation = memory.conversations.get(conv);
        memory.conversations.delete(conv);
        for (const m of kept.messages) memory.messages.delete(m.id);
        return kept;
    }
    const t = db.transaction(['conversations', 'messages'], 'readwrite');
    kept.conversation = await wait(t.objectStore('conversations').get(conv));
    t.objectStore('conversations').delete(conv);
    for (const m of kept.messages) t.objectStore('messages').delete(m.id);
    await finished(t);
    return kept;
}

export async function put_back(kept) {
    await put('messages', kept.messages);
    await put('conversations', [kept.conversation]);
}

/** Ids of conversations in which every word occurs, in the title or in one message. */
export async function search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (s) => { const low = (s || '').toLowerCase(); return words.every((w) => low.includes(w)); };
    const found = new Set((await conversations()).filter((c) => has(c.title) || has(c.text))
        .map((c) => c.id));
    const db = await open();
    if (!db) {
        for (const m of memory.messages.values()) if (has(m.content)) found.add(m.conv);
        return found;
    }
    const cursor = db.transaction('messages').objectStore('messages').openCursor();
    await new Promise((resolve, reject) => {
        cursor.onerror = () => reject(cursor.error);
        cursor.onsuccess = () => {
            const c = cursor.result;
            if (!c) { resolve(); return; }
            if (!found.has(c.value.conv) && has(c.value.content)) found.add(c.value.conv);
            c.continue();
        };
    });
    return found;
}

/** All conversations, or the named one, in the form of the export file. */
export async function to_export(only) {
    const out = [];
    for (const c of await conversations()) {
        if (!only || c.id === only) out.push({ ...c, messages: await messages(c.id) });
    }
    return { object: 'gaufre.conversations', version: 1, exported: new Date().toISOString(),
        conversations: out };
}

const str = (v, max = 1e7) => (typeof v === 'string' ? v.slice(0, max) : '');
const num = (v) => (Number.isFinite(v) ? v : 0);
const obj = (v) => (v && typeof v === 'object' && !Array.isArray(v) ? v : {});

function clean_message(m, conv, ids, order) {
    const role = ['user', 'assistant'].includes(m.role) ? m.role : 'user';
    return { id: ids.get(m.id), conv, parent: ids.get(m.parent) || '', role, content: str(m.content),
        reasoning: str(m.reasoning), created: num(m.created), order, model: str(m.model, 512),
        finish: str(m.finish, 64), stats: m.stats ? obj(m.stats) : null,
        tokens: Array.isArray(m.tokens) ? m.tokens : null, error: m.error ? { message: str(m.error.message) } : null };
}

/** Read an export. The file is foreign: only known fields are taken, and every id is made new, so that an
 * import never overwrites. Returns the number of conversations. */
export async function from_export(text, new_id) {
    if (text.length > LIMIT_IMPORT) throw new Error('The file is larger than 200 MB.');
    let file;
    try {
        file = JSON.parse(text);
    } catch (e) {
        throw new Error(`The file is not JSON: ${e.message}`);
    }
    if (file?.object !== 'gaufre.conversations' || !Array.isArray(file.conversations)) {
        throw new Error('The file is not an export of conversations.');
    }
    for (const c of file.conversations) {
        const conv = new_id('c');
        const list = Array.isArray(c.messages) ? c.messages.map(obj) : [];
        const ids = new Map(list.map((m) => [m.id, new_id('m')]));
        const chosen = {};
        for (const [parent, kid] of Object.entries(obj(c.chosen))) {
            if (ids.has(kid)) chosen[ids.get(parent) || ''] = ids.get(kid);
        }
        await put('messages', list.map((m, i) => clean_message(m, conv, ids, i)));
        await put('conversations', [{ id: conv, kind: c.kind === 'text' ? 'text' : 'chat',
            title: str(c.title, 200), created: num(c.created), updated: num(c.updated) || Date.now(),
            model: str(c.model, 512), settings: obj(c.settings), chosen, text: str(c.text) }]);
    }
    return file.conversations.length;
}
