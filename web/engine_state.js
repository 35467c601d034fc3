/* What the engine view knows: the last states, and what follows from two of them. Kept while the page
 * lives, so that the view can be left and opened again. */

export const SPAN_S = 300;
const WINDOW_S = 2; // rates that are read as numbers are means over this

const past = new Map(); // model id -> samples, oldest first
let first_cpu = null;

const diff = (a, b, name) => Math.max(0, a.totals[name] - b.totals[name]);

/** The share of the machine's limit: of reading weights, or of computing prompts, whichever is nearer. */
function shares(model, rates) {
    const l = model.limit;
    if (!l) return { share: null, read_share: null, prompt_share: null };
    const read_share = l.read_bytes_per_s ? rates.read / l.read_bytes_per_s : null;
    const prompt_share = l.prefill_tokens_per_s ? rates.prompt / l.prefill_tokens_per_s : null;
    return { read_share, prompt_share, share: Math.max(read_share ?? 0, prompt_share ?? 0) };
}

function rates_between(a, b, seconds) {
    if (!(seconds > 0)) return null;
    return {
        out: diff(b, a, 'generated_tokens') / seconds, prompt: diff(b, a, 'prompt_tokens') / seconds,
        cached: diff(b, a, 'cached_tokens') / seconds, read: diff(b, a, 'weight_bytes_read') / seconds,
        steps: diff(b, a, 'steps') / seconds,
    };
}

/** A state came. */
export function learn(state) {
    for (const m of state.models) {
        const list = past.get(m.id) || [];
        const before = list.at(-1);
        const again = before && (m.totals.steps < before.model.totals.steps || state.time <= before.t);
        if (again) list.length = 0; // the server was started anew
        const prior = again ? null : before;
        const near = prior && state.time - prior.t < 15;
        const rates = near ? rates_between(prior.model, m, state.time - prior.t) : null;
        list.push({
            t: state.time, model: m, cpu_s: state.cpu_s, ...(rates || { out: null, prompt: null, cached: null, read: null }),
            ...(rates ? shares(m, rates) : { share: null }),
        });
        while (list[0].t < state.time - SPAN_S - 10) list.shift();
        past.set(m.id, list);
    }
    first_cpu ??= state.cpu_s;
}

export const samples = (id) => past.get(id) || [];

/** How many seconds the plots show: as much as was seen, in few steps. */
export function span(id) {
    const list = samples(id);
    const seen = list.length ? list.at(-1).t - list[0].t : 0;
    return [60, 120].find((s) => seen <= s) || SPAN_S;
}

/** Means over the last two seconds, so that the figures can be read. */
export function now(id) {
    const list = samples(id);
    const last = list.at(-1);
    if (!last) return null;
    const from = list.find((s) => s.t >= last.t - WINDOW_S);
    const seconds = last.t - from.t;
    const rates = rates_between(from.model, last.model, seconds) || { out: 0, prompt: 0, cached: 0, read: 0, steps: 0 };
    return {
        ...rates, ...shares(last.model, rates), model: last.model,
        cpu: seconds > 0 ? (last.cpu_s - from.cpu_s) / seconds : null,
    };
}

/** Over all that is kept: the part of prompt tokens that came from the cache, and drafts that were right. */
export function overall(id) {
    const list = samples(id);
    if (list.length < 2) return { cached: null, drafts: null };
    const [a, b] = [list[0].model, list.at(-1).model];
    const cached = diff(b, a, 'cached_tokens');
    const all = cached + diff(b, a, 'prompt_tokens');
    const drafts = diff(b, a, 'draft_tokens');
    return { cached: all ? cached / all : null, drafts: drafts ? diff(b, a, 'draft_accepted') / drafts : null };
}

/** The sample `age` seconds before the last one, or null. */
export function at(id, age) {
    const list = samples(id);
    const t = (list.at(-1)?.t ?? 0) - age;
    let best = null;
    for (const s of list) if (!best || Math.abs(s.t - t) < Math.abs(best.t - t)) best = s;
    return best && Math.abs(best.t - t) < 4 ? best : null;
}
