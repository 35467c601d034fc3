/* One request by an official client for JavaScript. Reads {sdk, url, key, retries, call, body, cut} from its
 * argument, and prints what the client made of the answer as one line of JSON.
 * idempotency: the request's key.
 * call: chat, completions, models; cut: abort after so many pieces of text. */

import Cerebras from '@cerebras/cerebras_cloud_sdk';
import OpenAI from 'openai';

const asked = JSON.parse(process.argv[2]);
const options = { apiKey: asked.key || 'any', maxRetries: asked.retries || 0, timeout: 600e3 };
const client = asked.sdk === 'openai'
    ? new OpenAI({ ...options, baseURL: `${asked.url}/v1` })
    : new Cerebras({ ...options, baseURL: asked.url, warmTCPConnection: false });

const CALLS = {
    chat: (body, more) => client.chat.completions.create(body, more),
    completions: (body, more) => client.completions.create(body, more),
    models: () => client.models.list(),
};

/** The text of a whole answer or of a piece of a stream. */
const text_of = (choice) => choice.message?.content ?? choice.delta?.content ?? choice.text ?? '';

function add(out, answer) {
    out.pieces += 1;
    out.id ||= answer.id;
    if (answer.usage) out.usage = answer.usage;
    if (answer.time_info) out.time_info = answer.time_info;
    for (const choice of answer.choices || []) {
        out.text += text_of(choice);
        out.finish = choice.finish_reason || out.finish;
        for (const call of choice.message?.tool_calls || choice.delta?.tool_calls || []) {
            const at = (out.tools[call.index ?? out.tools.length] ||= { id: '', name: '', arguments: '' });
            at.id += call.id || '';
            at.name += call.function.name || '';
            at.arguments += call.function.arguments || '';
        }
    }
}

async function run() {
    const out = { pieces: 0, text: '', finish: null, usage: null, tools: [] };
    const control = new AbortController();
    const headers = asked.idempotency ? { 'Idempotency-Key': asked.idempotency } : {};
    try {
        const { data, response } = await CALLS[asked.call](asked.body, { signal: control.signal, headers }).withResponse();
        out.replayed = response.headers.get('idempotent-replayed');
        out.request = response.headers.get('x-request-id');
        out.supplier = response.headers.get('x-gaufre-supplier');
        if (asked.call === 'models') {
            out.models = data.data.map((m) => m.id);
        } else if (!asked.body.stream) {
            add(out, data);
        } else {
            for await (const piece of data) {
                add(out, piece);
                if (asked.cut && out.pieces >= asked.cut) control.abort();
            }
        }
    } catch (e) {
        out.error = { kind: e.constructor.name, status: e.status ?? null, code: e.code ?? e.error?.code ?? null, message: e.message };
    }
    out.aborted = control.signal.aborted;
    return out;
}

console.log(JSON.stringify(await run()));
