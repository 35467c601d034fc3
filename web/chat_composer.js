/* Where one writes: grows with the text, Enter sends (never while an input method is composing), files
 * become attachments that are sent as text. */

import { h, $, icon, icon_button, toast, bytes, count, number } from './dom.js';
import * as api from './api.js';
import { models } from './models.js';
import { get_unsent, put_unsent } from './chat_unsent.js';

const FILE_MAX = 1e6;
const FILES_MAX = 8;

/** Text of a file, or an Error with a sentence. */
async function read_file(file) {
    if (file.size > FILE_MAX) throw new Error(`${file.name} is ${bytes(file.size)}; at most ${bytes(FILE_MAX)} can be attached.`);
    const text = await file.text();
    if (text.includes('\0') || text.includes('\uFFFD')) throw new Error(`${file.name} is not a text file.`);
    return text;
}

/** The fence is longer than any run of backticks in the file, so that the file cannot end it. */
function fenced({ name, text }) {
    const longest = Math.max(2, ...(text.match(/`+/g) || []).map((s) => s.length));
    const fence = '`'.repeat(longest + 1);
    return `${name}:\n${fence}\n${text.replace(/\n$/, '')}\n${fence}`;
}

export class Composer {
    /** on: {send(text), stop(), edit_last()} */
    constructor(host, on) {
        this.on = on;
        this.files = [];
        this.busy = false;
        this.chips = h('div.chips', { hidden: true });
        this.area = h('textarea', { id: 'prompt', rows: '1', dir: 'auto', placeholder: 'Ask something', 'aria-label': 'Message',
            enterkeyhint: 'send' });
        this.pick = h('input', { type: 'file', multiple: true, hidden: true, 'aria-label': 'Text files to attach',
            onchange: () => { this.add(this.pick.files); this.pick.value = ''; } });
        this.button = h('button.send', { type: 'button', 'aria-label': 'Send', title: 'Send', onclick: () => this.press() }, icon('send'));
        this.usage = h('span.num');
        host.append(h('div.composer', null, this.chips,
            h('div.writing', null, icon_button('clip', 'Attach text files', () => this.pick.click()), this.pick, this.area, this.button)),
        h('div.under', null, h('span.keys', null, h('kbd', null, 'Enter'), ' sends, ', h('kbd', null, 'Shift'), ' ',
            h('kbd', null, 'Enter'), ' breaks the line, ', h('kbd', null, '?'), ' shows all keys'), this.usage));
        this.area.addEventListener('input', () => { this.fit(); this.keep_soon(); });
        addEventListener('pagehide', () => this.keep());
        this.area.addEventListener('keydown', (e) => this.key(e));
        this.area.addEventListener('paste', (e) => {
            if (e.clipboardData.files.length) { e.preventDefault(); this.add(e.clipboardData.files); }
        });
        this.drops();
        this.fit();
    }

    /** Write for this conversation ('': a new one); what was written for the last one is kept. */
    use(id) {
        if (this.id !== undefined) this.keep();
        this.id = id;
        const { text, files } = get_unsent(id);
        this.area.value = text;
        this.files = [...files];
        this.show_files();
        this.fit();
    }

    /** The new conversation has got its id. */
    named(id) {
        put_unsent(this.id, { text: '', files: [] });
        this.id = id;
        this.keep();
    }

    keep() {
        clearTimeout(this.keeping);
        put_unsent(this.id, { text: this.area.value, files: [...this.files] });
    }

    keep_soon() {
        clearTimeout(this.keeping);
        this.keeping = setTimeout(() => this.keep(), 300);
    }

    fit() {
        this.area.style.height = 'auto';
        this.area.style.height = `${Math.min(this.area.scrollHeight, innerHeight * 0.4)}px`;
        this.button.disabled = !this.busy && !this.area.value.trim() && !this.files.length;
    }

    key(e) {
        // keyCode 229 is how Safari tells that the key belongs to the input method.
        if (e.isComposing || e.keyCode === 229) return;
        const touch = matchMedia('(pointer: coarse)').matches;
        if (e.key === 'Enter' && !e.shiftKey && !e.altKey && (!touch || e.ctrlKey || e.metaKey)) {
            e.preventDefault();
            if (!this.busy) this.send();
        } else if (e.key === 'ArrowUp' && !this.area.value) {
            e.preventDefault();
            this.on.edit_last();
        }
    }

    press() {
        if (this.busy) this.on.stop();
        else this.send();
    }

    send() {
        const text = [...this.files.map(fenced), this.area.value.trim()].filter(Boolean).join('\n\n');
        if (!text) return;
        if (this.on.send(text) === false) return;
        this.area.value = '';
        this.files = [];
        this.show_files();
        this.fit();
        this.keep();
    }

    set_busy(busy) {
        this.busy = busy;
        const label = busy ? 'Stop' : 'Send';
        this.button.replaceChildren(icon(busy ? 'stop' : 'send'));
        this.button.setAttribute('aria-label', label);
        this.button.title = busy ? 'Stop (Esc)' : label;
        this.button.classList.toggle('stop', busy);
        this.fit();
    }

    /** How full the context is. */
    set_usage(used, of) {
        this.usage.textContent = used ? `${number(used)}${of ? ` / ${number(of)}` : ''} tokens of context` : '';
    }

    async add(files) {
        for (const file of files) {
            if (this.files.length >= FILES_MAX) { toast(`At most ${FILES_MAX} files at once.`); break; }
            try {
                const entry = { name: file.name, text: await read_file(file), tokens: null };
                this.files.push(entry);
                this.count(entry);
            } catch (e) {
                toast(e.message);
            }
        }
        this.show_files();
        this.fit();
        this.area.focus();
    }

    /** How many tokens a file is: known before it is sent. */
    async count(entry) {
        try {
            const { tokens } = await api.json('/tokenize', { body: { model: models.current, content: entry.text } });
            entry.tokens = tokens.length;
            this.show_files();
        } catch { /* the chip goes without the number */ }
    }

    show_files() {
        this.keep_soon();
        this.chips.hidden = !this.files.length;
        this.chips.replaceChildren(...this.files.map((f) => h('span.chip', null, icon('clip'), h('span', { dir: 'auto' }, f.name),
            h('span.soft.num', null, f.tokens === null ? bytes(f.text.length) : count(f.tokens, 'token')),
            icon_button('close', `Remove ${f.name}`, () => {
                this.files.splice(this.files.indexOf(f), 1);
                this.show_files();
                this.fit();
            }))));
    }

    drops() {
        const zone = $('main');
        const shade = $('drop');
        const has_files = (e) => [...e.dataTransfer.types].includes('Files');
        zone.addEventListener('dragover', (e) => { if (has_files(e)) { e.preventDefault(); shade.hidden = false; } });
        zone.addEventListener('dragleave', (e) => { if (!zone.contains(e.relatedTarget)) shade.hidden = true; });
        // A file dropped beside the zone must not replace the page.
        for (const name of ['dragover', 'drop']) addEventListener(name, (e) => { if (has_files(e)) e.preventDefault(); });
        zone.addEventListener('drop', (e) => { shade.hidden = true; if (has_files(e)) this.add(e.dataTransfer.files); });
    }
}
