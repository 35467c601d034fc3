/* The list of conversations: search, rename, delete (with a way back), export and import. */

import { $, h, icon_button, toast, download } from './dom.js';
import * as store from './store.js';
import { random_id } from './api.js';

const SHOWN_MAX = 300;

function when(ms) {
    const d = new Date(ms);
    const days = Math.floor((new Date().setHours(0, 0, 0, 0) - new Date(ms).setHours(0, 0, 0, 0)) / 864e5);
    if (days <= 0) return d.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    return days === 1 ? 'yesterday' : d.toLocaleDateString([], { day: 'numeric', month: 'short' });
}

export class Side {
    /** on: {open(id), removed(id), renamed(id, title)} */
    constructor(on) {
        this.on = on;
        this.current = '';
        this.search = $('search');
        this.host = $('conversations');
        let timer = 0;
        this.search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(() => this.refresh(), 150); });
        this.search.addEventListener('keydown', (e) => {
            if (e.key === 'ArrowDown') this.host.querySelector('a')?.focus();
            if (e.key === 'Escape' && this.search.value) { e.stopPropagation(); this.search.value = ''; this.refresh(); }
        });
        this.host.addEventListener('keydown', (e) => this.key(e));
        $('export-all').addEventListener('click', () => this.export_all());
        $('import').addEventListener('click', () => $('import-file').click());
        $('import-file').addEventListener('change', (e) => this.import_file(e.target));
    }

    async refresh() {
        const query = this.search.value.trim();
        let all = await store.conversations();
        if (query) {
            const found = await store.search(query);
            if (query !== this.search.value.trim()) return; // a newer search is on its way
            all = all.filter((c) => found.has(c.id));
        }
        if (this.host.querySelector('.rename')) return; // the end of it comes here again
        const focused = document.activeElement?.closest('.conv')?.dataset.id;
        this.host.replaceChildren(...all.slice(0, SHOWN_MAX).map((c) => this.row(c)),
            all.length ? '' : h('p.soft.small', null, query ? 'Nothing found.' : 'Conversations will be listed here.'),
            all.length > SHOWN_MAX ? h('p.soft.small', null, `${all.length - SHOWN_MAX} more: search for them.`) : '');
        if (focused) this.host.querySelector(`[data-id="${focused}"] a`)?.focus({ preventScroll: true });
    }

    row(c) {
        const link = h('a', { href: `#/chat/${c.id}`, 'aria-current': c.id === this.current ? 'page' : null, dir: 'auto',
            title: c.title }, c.title || 'New chat');
        return h('div.conv', { 'data-id': c.id }, link, h('span.when', null, when(c.updated)), h('span.conv-acts', null,
            icon_button('edit', 'Rename', () => this.rename(c, link)),
            icon_button('save', 'Export this conversation', () => this.export_all(c.id)),
            icon_button('trash', 'Delete', () => this.remove(c))));
    }

    key(e) {
        const links = [...this.host.querySelectorAll('a')];
        const at = links.indexOf(document.activeElement);
        if (at < 0) return;
        if (e.key === 'ArrowDown') links[at + 1]?.focus();
        else if (e.key === 'ArrowUp') (links[at - 1] || this.search).focus();
        else if (e.key === 'Delete') links[at].parentElement.querySelector('.conv-acts').lastElementChild.click();
        else if (e.key === 'F2') links[at].parentElement.querySelector('.conv-acts').firstElementChild.click();
        else return;
        e.preventDefault();
    }

    mark(id) {
        this.current = id;
        for (const row of this.host.querySelectorAll('.conv')) {
            const a = row.firstElementChild;
            if (row.dataset.id === id) a.setAttribute('aria-current', 'page');
            else a.removeAttribute('aria-current');
        }
    }

    rename(c, link) {
        const input = h('input.rename', { 'aria-label': 'Title', dir: 'auto' });
        input.value = c.title;
        let over = false; // Enter takes the field away, which then loses the focus
        const finish = async (keep, by_key) => {
            if (over) return;
            over = true;
            const title = input.value.trim();
            input.replaceWith(link);
            if (keep && title && title !== c.title) {
                c.title = title;
                await this.on.renamed(c.id, title);
            }
            await this.refresh();
            if (by_key) this.host.querySelector(`[data-id="${c.id}"] a`)?.focus();
        };
        input.addEventListener('keydown', (e) => {
            e.stopPropagation();
            if (e.key === 'Enter' && !e.isComposing) finish(true, true);
            if (e.key === 'Escape') finish(false, true);
        });
        input.addEventListener('blur', () => finish(true));
        link.replaceWith(input);
        input.select();
    }

    async remove(c) {
        this.on.removed(c.id); // before: what it is being told now must not be kept again
        const kept = await store.remove(c.id);
        await this.refresh();
        toast(`“${(c.title || 'New chat').slice(0, 40)}” was deleted.`, 'Undo', async () => {
            await store.put_back(kept);
            await this.refresh();
        });
    }

    async export_all(only) {
        const id = typeof only === 'string' ? only : undefined;
        const day = new Date().toISOString().slice(0, 10);
        download(`gaufre-${id ? 'conversation' : 'conversations'}-${day}.json`, JSON.stringify(await store.to_export(id), null, 1));
    }

    async import_file(input) {
        const [file] = input.files;
        input.value = '';
        if (!file) return;
        try {
            const n = await store.from_export(await file.text(), random_id);
            toast(`${n} conversation${n === 1 ? '' : 's'} imported.`);
        } catch (e) {
            toast(e.message);
        }
        await this.refresh();
    }
}
