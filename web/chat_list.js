/* The list of messages, windowed: only what is near the viewport has DOM, the rest is padding of
 * measured or guessed height. It follows the end while the reader is there, and keeps what is being
 * read in its place when something above it changes. */

const GUESS = 140; // height of a message nobody has seen yet
const BUDGET_MS = 10; // for messages beyond the screen, per frame

export class List {
    /** make(item) -> {el, done()}; items have ids. */
    constructor(scroller, host, make, on_end_change) {
        Object.assign(this, { scroller, host, make, on_end_change });
        this.items = [];
        this.views = new Map();
        this.heights = new Map(); // of messages that were seen, by id
        this.tall = new Float64Array(0); // of all, by place: thousands are added up in every frame
        this.low = 0;
        this.high = 0;
        this.follow = true;
        this.last_top = 0;
        this.frame = 0;
        this.sizes = new ResizeObserver((all) => this.resized(all));
        this.sizes.observe(scroller);
        scroller.addEventListener('scroll', () => this.scrolled(), { passive: true });
    }

    view(id) {
        return this.views.get(id);
    }

    /** Show these items; views of items that stay are kept. */
    set(items) {
        const first = this.items[this.low]?.id;
        const ids = new Set(items.map((i) => i.id));
        this.items = items;
        // The rendered run may go on in the new list as long as the ids agree.
        let n = 0;
        const at = items.findIndex((i) => i.id === first);
        for (const el of [...this.host.children]) {
            const same = at >= 0 && items[at + n]?.id === el.dataset.id;
            if (same) n++;
            else this.drop(el.dataset.id);
        }
        for (const id of this.heights.keys()) if (!ids.has(id)) this.heights.delete(id);
        this.tall = new Float64Array(items.length).fill(GUESS);
        if (this.heights.size) items.forEach((it, i) => { this.tall[i] = this.heights.get(it.id) ?? GUESS; });
        this.low = n ? at : Math.max(0, items.length);
        this.high = this.low + n;
        this.update();
    }

    /** Make one message's view again (it became an editor, or its tokens are to be seen). */
    redraw(id) {
        const old = this.views.get(id);
        const item = this.items.find((i) => i.id === id);
        if (!old || !item) return;
        this.sizes.unobserve(old.el);
        old.done?.();
        const view = this.make(item);
        view.el.dataset.id = id;
        this.views.set(id, view);
        old.el.replaceWith(view.el);
        this.sizes.observe(view.el);
    }

    clear() {
        for (const el of [...this.host.children]) this.drop(el.dataset.id);
        this.items = [];
        this.tall = new Float64Array(0);
        this.heights.clear();
        this.low = this.high = 0;
        this.pad();
    }

    drop(id) {
        const view = this.views.get(id);
        if (!view) return;
        this.sizes.unobserve(view.el);
        if (view.el.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
        view.done?.();
        view.el.remove();
        this.views.delete(id);
    }

    sum(from, to) {
        let y = 0;
        for (let i = from; i < to; i++) y += this.tall[i];
        return y;
    }

    saw(id, i, height) {
        if (this.tall[i] === height) return;
        this.tall[i] = height;
        this.heights.set(id, height);
    }

    pad() {
        this.host.style.paddingTop = `${this.sum(0, this.low)}px`;
        this.host.style.paddingBottom = `${this.sum(this.high, this.items.length)}px`;
    }

    schedule() {
        this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.update(); });
    }

    /** Item range that covers the viewport and `over` pixels around it. */
    range(over) {
        const box = this.scroller.getBoundingClientRect();
        const origin = this.host.getBoundingClientRect().top - box.top;
        const from = -origin - over;
        const to = -origin + box.height + over;
        const n = this.items.length;
        let low = 0;
        let y = 0;
        while (low < n && y + this.tall[low] < from) y += this.tall[low++];
        let high = low;
        while (high < n && y < to) y += this.tall[high++];
        return [Math.min(low, Math.max(0, n - 1)), high];
    }

    insert(i, before) {
        const item = this.items[i];
        const view = this.make(item);
        view.el.dataset.id = item.id;
        this.views.set(item.id, view);
        this.host.insertBefore(view.el, before);
        this.sizes.observe(view.el);
    }

    measure() {
        let i = this.low; // what has DOM is one run of places
        for (const el of this.host.children) this.saw(el.dataset.id, i++, el.offsetHeight);
    }

    update() {
        const n = this.items.length;
        if (!n) { this.pad(); this.ends(); return; }
        if (this.follow) this.cover_end();
        else this.cover();
        this.ends();
    }

    /** At the end: render upwards from the last message, then go there. */
    cover_end() {
        const n = this.items.length;
        const tall = this.scroller.clientHeight * 3;
        if (this.high !== n && this.high < n - 40) {
            for (const el of [...this.host.children]) this.drop(el.dataset.id);
            this.low = this.high = n;
        }
        while (this.high < n) this.insert(this.high++, null);
        if (this.low > n) this.low = n;
        const began = performance.now();
        this.measure();
        let have = this.sum(this.low, this.high);
        while (this.low > 0 && have < tall) {
            // Heights are not known before layout: guess low, so that the screen is filled.
            this.insert(--this.low, this.host.firstElementChild);
            have += 60;
            if (have > tall / 2 && performance.now() - began > BUDGET_MS) { this.schedule(); break; }
        }
        this.measure();
        this.pad();
        this.go_end();
    }

    cover() {
        const over = this.scroller.clientHeight * 1.5;
        const [need_low, need_high] = this.range(0);
        const [want_low, want_high] = this.range(over);
        const anchor = this.anchor();
        if (need_low >= this.high || need_high <= this.low) { // a jump: nothing here is near
            for (const el of [...this.host.children]) this.drop(el.dataset.id);
            this.low = this.high = need_low;
        }
        while (this.low < want_low) this.drop(this.items[this.low++].id);
        while (this.high > want_high) this.drop(this.items[--this.high].id);
        const began = performance.now();
        const late = () => performance.now() - began > BUDGET_MS;
        while (this.low > want_low && (this.low > need_low || !late())) {
            this.insert(--this.low, this.host.firstElementChild);
        }
        while (this.high < want_high && (this.high < need_high || !late())) this.insert(this.high++, null);
        if (this.low > want_low || this.high < want_high) this.schedule();
        this.measure();
        this.pad();
        if (anchor?.el.isConnected) {
            const moved = anchor.el.getBoundingClientRect().top - anchor.top;
            if (Math.abs(moved) > 0.5) this.scroller.scrollTop += moved;
        }
        this.last_top = this.scroller.scrollTop;
        // Real heights may be smaller than the guess: look again whether the screen is covered.
        const [low, high] = this.range(0);
        if (low < this.low || high > this.high) this.schedule();
    }

    /** The message at the top of the screen and where it is. */
    anchor() {
        const top = this.scroller.getBoundingClientRect().top;
        for (const el of this.host.children) {
            const box = el.getBoundingClientRect();
            if (box.bottom > top) return { el, top: box.top };
        }
        return null;
    }

    is_at_end() {
        const s = this.scroller;
        return s.scrollHeight - s.scrollTop - s.clientHeight < 40;
    }

    ends() {
        this.on_end_change(this.follow || this.is_at_end());
    }

    go_end() {
        this.scroller.scrollTop = this.scroller.scrollHeight;
        this.last_top = this.scroller.scrollTop;
    }

    to_end() {
        this.follow = true;
        this.update();
    }

    scrolled() {
        const top = this.scroller.scrollTop;
        if (this.is_at_end()) this.follow = true;
        else if (top < this.last_top - 2) this.follow = false; // the reader went up
        this.last_top = top;
        this.schedule();
    }

    resized(all) {
        for (const { target } of all) {
            const at = [...this.host.children].indexOf(target);
            if (at >= 0) this.saw(target.dataset.id, this.low + at, target.offsetHeight);
        }
        if (this.follow) this.go_end();
        else if (all.some((e) => e.target === this.scroller)) this.schedule();
    }

    /** Bring a message to the screen and focus it. */
    show(id) {
        const i = this.items.findIndex((it) => it.id === id);
        if (i < 0) return;
        this.follow = i === this.items.length - 1;
        if (!this.views.has(id)) {
            this.scroller.scrollTop = this.host.offsetTop + this.sum(0, i) - 40;
            this.update();
        }
        const el = this.views.get(id)?.el;
        el?.scrollIntoView({ block: 'nearest' });
        el?.focus({ preventScroll: true });
    }
}
