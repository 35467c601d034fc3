/* The chat view: which conversation is shown, its tree, the answers that are being written (also those
 * of conversations one has left: they go on), and the acts on messages. */

import * as api from './api.js';
import { $, h, copy_text, count, say, toast } from './dom.js';
import * as store from './store.js';
import * as tree_of from './chat_tree.js';
import { models, is_chat, current, find, load as load_models } from './models.js';
import { List } from './chat_list.js';
import { MessageView, split_thinking } from './chat_message.js';
import { Composer } from './chat_composer.js';
import { Side } from './chat_side.js';
import { put_unsent } from './chat_unsent.js';
import { Answer, Keeper, is_lost, mark_cut, recent, remember } from './chat_answer.js';
import { body_of, defaults, keep_begun, show_hints, show_settings } from './chat_settings.js';

const HELLO = ['Explain how a waffle iron works, in three sentences.', 'Write a haiku about memory bandwidth.',
    'Write a Python function that reverses a linked list.'];

const sleep = (ms) => new Promise((go) => { setTimeout(go, ms); });

/** The address of the conversation that this tab showed last; kept over a reload. */
function place(now) {
    try {
        if (now) sessionStorage.setItem('gaufre.place', now);
        return sessionStorage.getItem('gaufre.place') || '#/chat';
    } catch {
        return now || '#/chat';
    }
}

export class Chat {
    constructor(drawers) {
        this.drawers = drawers;
        this.conv = null;
        this.tree = tree_of.make_tree();
        this.answers = new Map(); // node id -> Answer, while it runs
        this.open_conversations = new Map(); // id -> {conv, tree}, of this session's answers
        this.options = { tokens: true };
        this.dirty = new Set();
        this.text = null;
        this.side = new Side({ removed: (id) => this.removed(id), renamed: (id, title) => this.renamed(id, title) });
        this.list = new List($('scroller'), $('list'), (node) => this.make_view(node), (at_end) => { $('to-end').hidden = at_end; });
        this.composer = new Composer($('composer'), { send: (text) => this.send(text), stop: () => this.stop(),
            edit_last: () => this.edit_last() });
        $('new-chat').addEventListener('click', () => this.fresh('chat'));
        $('new-text').addEventListener('click', () => this.fresh('text'));
        $('to-end').addEventListener('click', () => this.list.to_end());
        this.side.refresh();
        // Reloaded or closed in mid-answer: what came so far is kept, and that the connection broke is not.
        addEventListener('pagehide', () => { this.keep_all(); this.leaving = true; });
        addEventListener('beforeunload', () => { this.may_leave = true; });
        addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });
        document.addEventListener('visibilitychange', () => { if (document.hidden) this.keep_all(); });
        $('nav-chat').href = place();
    }

    keep_all() {
        for (const a of this.answers.values()) a.keeper.now();
        if (this.text?.answer_running) this.text.keeper.now();
    }

    /* --- which conversation --- */

    async open(id) {
        if (this.conv && (id === this.conv.id || (!id && this.conv.fresh))) return;
        if (!id) { this.show(this.make_conversation(is_chat(current()) ? 'chat' : 'text'), []); return; }
        const known = this.open_conversations.get(id);
        if (known) { this.show(known.conv, null, known.tree); return; }
        const conv = (await store.conversations()).find((c) => c.id === id);
        if (!conv) { location.hash = '#/chat'; return; }
        const nodes = (await store.messages(id)).map(mark_cut);
        if (location.hash.endsWith(id)) this.show(conv, nodes);
    }

    make_conversation(kind) {
        return { id: api.random_id('c'), kind, title: '', created: Date.now(), updated: Date.now(), model: '',
            settings: defaults(), chosen: {}, text: '', fresh: true };
    }

    fresh(kind) {
        this.drawers.settle();
        this.show(this.make_conversation(kind), []);
        if (!/^#\/chat\/?$/.test(location.hash)) location.hash = '#/chat';
    }

    show(conv, nodes, tree) {
        this.conv = conv;
        this.tree = tree || tree_of.make_tree(nodes, conv.chosen);
        if (conv.model && find(conv.model)) models.current = conv.model;
        this.text?.stop();
        this.text = null;
        this.list.clear();
        $('list').replaceChildren();
        const is_text = conv.kind === 'text';
        document.querySelector('.dock').hidden = is_text;
        $('list').setAttribute('role', is_text ? 'group' : 'list');
        document.body.classList.toggle('in-text', is_text);
        if (is_text) this.show_text();
        else this.show_path();
        this.composer.use(conv.fresh ? '' : conv.id);
        this.mark();
        this.drawers.settle();
        this.show_settings();
        this.title();
        if (!is_text && !matchMedia('(pointer: coarse)').matches) this.composer.area.focus();
    }

    async show_text() {
        $('hello').hidden = true;
        const { TextView } = await import('./chat_text.js');
        if (this.conv.kind !== 'text') return;
        const { conv, tree } = this;
        this.text = new TextView($('list'), conv, { save: () => this.save(false, conv, tree), raw: (node) => this.raw(node) });
    }

    /** Show where one is: in the list, and where the way back from the engine leads. */
    mark() {
        this.side.mark(this.conv.id);
        place(this.conv.fresh ? '#/chat' : `#/chat/${this.conv.id}`);
        $('nav-chat').href = place();
    }

    show_path() {
        const path = tree_of.path(this.tree);
        this.list.follow = true;
        this.list.set(path);
        $('hello').hidden = path.length > 0;
        if (!path.length) this.hello();
        this.busy();
    }

    hello() {
        $('hello').replaceChildren(h('h1', null, 'What shall we cook up?'),
            h('p.soft', null, 'The model runs on this server. What is written here stays in this browser.'),
            h('div.starters', null, ...HELLO.map((t) => h('button', { onclick: () => this.send(t) }, t))));
    }

    title() {
        document.title = this.conv?.title ? `${this.conv.title} · gaufre` : 'gaufre';
    }

    show_settings() {
        show_settings($('settings'), this.conv.settings, this.conv.kind === 'chat', current(), {
            changed: () => this.save(true), close: () => this.drawers.close_settings() });
    }

    /** Keep the conversation's record; a conversation without a word is not kept. */
    async save(quiet, conv = this.conv, tree = this.tree) {
        if (conv.fresh && quiet) { keep_begun(conv.settings); return; }
        const first = conv.fresh;
        if (first) keep_begun(null);
        delete conv.fresh;
        if (!quiet) conv.updated = Date.now();
        conv.chosen = tree.chosen;
        const put = store.put_conversation(conv);
        if (first && this.conv === conv) { // at once: who reloads now comes back to it
            this.composer.named(conv.id);
            history.replaceState(null, '', `#/chat/${conv.id}`);
            this.mark();
        }
        await put;
        this.title();
        clearTimeout(this.side_timer);
        this.side_timer = setTimeout(() => this.side.refresh(), first ? 0 : 400);
    }

    removed(id) {
        for (const [node, a] of this.answers) if (a.conv === id) { a.keeper.done(); a.stop(); this.answers.delete(node); }
        this.open_conversations.delete(id);
        if (this.conv?.id === id) this.fresh('chat');
        put_unsent(id, { text: '', files: [] });
    }

    async renamed(id, title) {
        const conv = this.conv?.id === id ? this.conv
            : this.open_conversations.get(id)?.conv || (await store.conversations()).find((c) => c.id === id);
        if (conv) await store.put_conversation(Object.assign(conv, { title, named: true }));
        this.title();
    }

    /* --- sending and answering --- */

    send(content) {
        if (this.busy()) return false;
        const path = tree_of.path(this.tree);
        const user = this.add_node('user', path.at(-1)?.id || '', content);
        if (!this.conv.title) this.conv.title = content.replace(/\s+/g, ' ').trim().slice(0, 60);
        this.answer(user.id);
        return true;
    }

    add_node(role, parent, content) {
        const node = { id: api.random_id('m'), conv: this.conv.id, parent, role, content, reasoning: '',
            created: Date.now(), order: this.tree.nodes.size, model: role === 'assistant' ? models.current : '',
            finish: '', stats: null, tokens: null, error: null };
        tree_of.add(this.tree, node);
        tree_of.choose(this.tree, node);
        store.put_message(node);
        return node;
    }

    request_for(node, { settings } = this.conv, tree = this.tree) {
        const nodes = tree_of.path_to(tree, node.id).filter((n) => n !== node || n.content);
        const clean = nodes.map((n) => (n.role === 'assistant' && n !== node ? { ...n, content: split_thinking(n).text } : n));
        const model = node.model || models.current;
        return { path: '/v1/chat/completions', body: { model,
            messages: tree_of.messages_of(clean, settings.system), stream: true,
            stream_options: { include_usage: true }, ...body_of(settings, true, find(model)) } };
    }

    /** Begin an answer below `parent`, or go on with the node that is given. */
    async answer(parent, node) {
        const { conv, tree } = this;
        const target = node || this.add_node('assistant', parent, '');
        let kept;
        const a = new Answer(target, async () => {
            await kept; // who closes the page once it has asked finds the question again
            if (!models.list.length) await load_models(); // the key was missing, or the server was away
            conv.model = models.current;
            target.model ||= conv.model;
            return this.request_for(target, conv, tree);
        }, () => this.changed(target));
        a.conv = conv.id;
        a.keeper = new Keeper(() => store.put_message(target));
        target.live = true; // in the store only as long as it is being written
        remember(a);
        this.answers.set(target.id, a);
        this.open_conversations.set(conv.id, { conv, tree });
        kept = Promise.allSettled([store.put_message(target), this.save()]);
        this.show_path();
        say('Answering');
        await a.run();
        if (this.leaving) return;
        a.keeper.done();
        this.answers.delete(target.id);
        if (!this.open_conversations.has(conv.id)) return; // deleted meanwhile
        this.keep_ended(target, conv);
        this.dirty.add(target.id);
        this.draw();
        say(target.error ? target.error.message : `Answer ended, ${count(target.stats.n, 'token')}`);
        if (this.conv === conv) this.busy();
        else if (!target.error) toast(`“${conv.title}” is answered.`, 'Show', () => { location.hash = `#/chat/${conv.id}`; });
    }

    /** Keeps an answer that has ended. A page that is being left loses its connections, sometimes before it is told that
     * it goes: that a connection was lost is kept only when the page has lived on, and shown at once. */
    async keep_ended(target, conv) {
        if (is_lost(target.error)) {
            store.put_message(target); // as one that is still being written
            await sleep(1000);
            if (this.may_leave) await sleep(10000);
            if (this.leaving || this.answers.has(target.id) || !this.open_conversations.has(conv.id)) return;
        }
        delete target.live;
        store.put_message(target);
        if (![...this.answers.values()].some((x) => x.conv === conv.id)) this.open_conversations.delete(conv.id);
    }

    /** Is this conversation's path being written? Also sets the composer's button. */
    busy() {
        const last = tree_of.path(this.tree).at(-1);
        const busy = Boolean(last && this.answers.has(last.id));
        if (this.composer.busy !== busy) this.composer.set_busy(busy);
        const used = last?.stats ? (last.stats.prompt || 0) + (last.stats.n || 0) : 0;
        this.composer.set_usage(used, current()?.context_length);
        return busy;
    }

    stop() {
        const last = tree_of.path(this.tree).at(-1);
        if (this.text) { const was = this.text.answer_running; this.text.stop(); return was; }
        const a = last && this.answers.get(last.id);
        a?.stop();
        return Boolean(a);
    }

    escape() {
        return this.stop();
    }

    /* --- drawing: at most once per frame, only what is on screen --- */

    changed(node) {
        this.answers.get(node.id)?.keeper.soon();
        this.dirty.add(node.id);
        this.frame ||= requestAnimationFrame(() => this.draw());
    }

    draw() {
        cancelAnimationFrame(this.frame);
        this.frame = 0;
        for (const id of [...this.dirty]) {
            const view = this.list.view(id);
            // A view that was drawn too lately stays dirty for the next frame.
            if (!view || view.editing || view.draw() !== false) this.dirty.delete(id);
        }
        if (this.list.follow) this.list.go_end();
        if (this.dirty.size) this.frame = requestAnimationFrame(() => this.draw());
    }

    make_view(node) {
        return new MessageView(node, { options: { tokens: this.options.tokens && this.conv.settings.logprobs !== false },
            place: (n) => tree_of.place(this.tree, n), answer: (n) => this.answers.get(n.id), act: (name, n) => this.act(name, n) });
    }

    /* --- acts on messages --- */

    act(name, node) {
        const running = this.answers.has(node.id);
        if (running && name !== 'raw' && name !== 'copy') return;
        const acts = {
            edit: () => this.edit(node),
            again: () => node.role === 'assistant' && !this.busy() && this.answer(node.parent),
            retry: () => {
                if (this.busy()) return;
                if (node.content) this.answer(node.parent);
                else this.answer('', Object.assign(node, { reasoning: '', tokens: null }));
            },
            // Only the end of the path can be continued: what follows was said to the text as it is.
            go_on: () => node.role === 'assistant' && node === tree_of.path(this.tree).at(-1) && node.content && !this.busy() && this.answer('', node),
            back: () => this.branch(node, -1),
            forth: () => this.branch(node, 1),
            copy: async () => say(await copy_text(split_thinking(node).text) ? 'Copied' : 'This browser does not allow copying here.'),
            raw: () => node.role === 'assistant' && this.raw(node),
            tokens: () => this.toggle_tokens(),
        };
        acts[name]?.();
    }

    async raw(node) {
        const { show_raw } = await import('./chat_raw.js');
        const answer = recent.get(node.id);
        show_raw(answer, answer ? null : this.request_for({ ...node, content: '' }), node);
    }

    toggle_tokens() {
        this.options.tokens = !this.options.tokens;
        for (const item of this.list.items) if (item.tokens?.length) this.list.redraw(item.id);
        if (!this.tree.nodes.size || ![...this.tree.nodes.values()].some((n) => n.tokens?.length)) {
            toast('No probabilities yet: switch them on in the settings, then ask.', 'Settings', () => this.drawers.toggle_settings());
        }
    }

    branch(node, by) {
        const to = tree_of.sibling(this.tree, node, by);
        if (!to) return;
        this.list.follow = false;
        this.list.set(tree_of.path(this.tree));
        this.busy();
        this.save(true);
        this.list.show(to.id);
    }

    edit(node) {
        if (this.busy()) return;
        this.list.show(node.id);
        const view = this.list.view(node.id);
        if (!view || view.editing) return;
        view.editing = true;
        view.edit((text) => {
            this.list.redraw(node.id);
            if (text === null || (!text.trim() && node.role === 'user') || text === node.content) {
                this.list.view(node.id)?.el.focus();
                return;
            }
            const made = this.add_node(node.role, node.parent, text);
            if (node.role === 'user') {
                this.answer(made.id);
                this.composer.area.focus();
            } else {
                Object.assign(made, { edited: true, finish: '', model: node.model });
                store.put_message(made);
                this.save();
                this.show_path();
                this.list.show(made.id);
            }
        });
    }

    edit_last() {
        const last = tree_of.path(this.tree).filter((n) => n.role === 'user').at(-1);
        if (last) this.edit(last);
    }

    /** The message that keys act on: the focused one, else the last. */
    here() {
        const id = document.activeElement?.closest('.message')?.dataset.id;
        return (id && this.tree.nodes.get(id)) || tree_of.path(this.tree).at(-1);
    }

    act_here(name) {
        const node = this.here();
        if (!node || this.conv.kind === 'text') return;
        this.act(name, node);
    }

    step(by) {
        const path = tree_of.path(this.tree);
        if (!path.length) return;
        const id = document.activeElement?.closest('.message')?.dataset.id;
        const at = path.findIndex((n) => n.id === id);
        const to = at < 0 ? path.length - 1 : Math.max(0, Math.min(path.length - 1, at + by));
        this.list.show(path[to].id);
    }

    /* --- the world outside --- */

    model_changed() {
        this.close_trouble?.();
        if (!this.conv) return;
        const m = current();
        this.composer.area.placeholder = m ? `Ask ${m.id}` : 'No model is loaded';
        show_hints($('settings'), m);
        this.busy();
        // A model without a chat template cannot chat: an empty page becomes a text to continue.
        if (m && !is_chat(m) && this.conv.fresh && this.conv.kind === 'chat') this.show(this.make_conversation('text'), []);
    }

    model_picked(id) {
        if (is_chat(find(id)) && this.conv.fresh && this.conv.kind === 'text') this.show(this.make_conversation('chat'), []);
    }

    back_online() {
        for (const node of tree_of.path(this.tree)) {
            if (node.error?.code === 'offline') node.error.message = 'The server was away; it is back.';
        }
        this.list.items.filter((n) => n.error).forEach((n) => this.list.redraw(n.id));
    }

    trouble(e) {
        this.close_trouble = toast(e.message, null, null, 15000);
    }
}
