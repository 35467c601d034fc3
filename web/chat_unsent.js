/* What was written and not sent yet, for each conversation; it survives a reload. That of a new chat
 * belongs to its tab. Storage may be full or switched off: then what is unsent lives as long as the page. */

const LENGTH_MAX = 1e6; // characters of one text, its attached files with it
const memory = new Map();

const name_of = (id) => `gaufre.draft.${id || 'new'}`;
const place_of = (id) => (id ? localStorage : sessionStorage);

/** {text, files} */
export function get_unsent(id) {
    if (memory.has(id)) return memory.get(id);
    try {
        const d = JSON.parse(place_of(id).getItem(name_of(id)));
        return { text: String(d.text), files: d.files.map(({ name, text }) => ({ name: String(name), text: String(text), tokens: null })) };
    } catch {
        return { text: '', files: [] };
    }
}

export function put_unsent(id, unsent) {
    memory.set(id, unsent);
    try {
        const forms = unsent.text || unsent.files.length ? [unsent, { ...unsent, files: [] }].map((d) => JSON.stringify(d)) : [];
        const fits = forms.find((s) => s.length <= LENGTH_MAX);
        if (fits) place_of(id).setItem(name_of(id), fits);
        else place_of(id).removeItem(name_of(id));
    } catch { /* kept in memory alone */ }
}
