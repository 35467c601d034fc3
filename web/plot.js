/* Small plots over time on a canvas: lines, filled or stacked, over the last minutes. Scales are round
 * and move seldom, so that a plot is calm to look at; where nothing was seen there is a gap. */

const GAP_S = 4; // between samples: beyond it nobody looked
const SHRINK = 0.4; // a scale comes down only when less than this of it is used

/** 1, 2 or 5 times a power of ten, at least v. */
export function round_up(v) {
    const unit = 10 ** Math.floor(Math.log10(v));
    return [1, 2, 5, 10].find((k) => k * unit >= v * 0.999999) * unit;
}

let colours = null;
export const forget_colours = () => { colours = null; };

function colour(name) {
    colours ??= {};
    colours[name] ??= getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return colours[name];
}

export class Plot {
    /** series: [{get(sample), colour: '--accent', fill}], drawn one upon the other when `stack`.
     *  max: the scale's end, a number or (samples) => number; else it follows the values, from `least` on.
     *  on_cursor(part): the pointer is at that part of the span before now; null: it left. */
    constructor(canvas, { series, stack = false, max = null, least = 1, span_s = 300, gap_s = GAP_S, on_cursor }) {
        Object.assign(this, { canvas, series, stack, max, least, span_s, gap_s });
        this.scale = least;
        this.width = this.height = 0;
        this.observer = new ResizeObserver(() => { this.width = 0; this.redraw(); });
        this.observer.observe(canvas);
        if (!on_cursor) return;
        canvas.addEventListener('pointermove', (e) => {
            const box = canvas.getBoundingClientRect();
            on_cursor(1 - (e.clientX - box.left) / box.width);
        });
        canvas.addEventListener('pointerleave', () => on_cursor(null));
    }

    close() { this.observer.disconnect(); }

    fit() {
        if (this.width) return true;
        const ratio = devicePixelRatio || 1;
        this.width = this.canvas.clientWidth;
        this.height = this.canvas.clientHeight;
        if (!this.width || !this.height) return false;
        this.canvas.width = Math.round(this.width * ratio);
        this.canvas.height = Math.round(this.height * ratio);
        this.canvas.getContext('2d').setTransform(ratio, 0, 0, ratio, 0, 0);
        return true;
    }

    /** samples: oldest first, each with its time t in seconds; now: the right edge. */
    draw(samples, now, cursor = null) {
        this.last = [samples, now, cursor];
        this.redraw();
    }

    redraw() {
        if (!this.last || !this.fit()) return;
        const [samples, now, cursor] = this.last;
        const c = this.canvas.getContext('2d');
        const from = samples.findIndex((s) => s.t >= now - this.span_s - GAP_S);
        const seen = from < 0 ? [] : samples.slice(from);
        this.rescale(seen);
        c.clearRect(0, 0, this.width, this.height);
        this.grid(c);
        const below = new Float64Array(seen.length);
        const runs = this.series.map((s) => this.runs(s, seen, now, below));
        // The lower ones last: a part that is nothing must not hide what it stands on.
        for (let i = runs.length - 1; i >= 0; i--) this.line(c, this.series[i], runs[i]);
        if (cursor !== null) {
            const x = Math.round((1 - cursor / this.span_s) * this.width) + 0.5;
            c.strokeStyle = colour('--soft');
            c.lineWidth = 1;
            c.beginPath();
            c.moveTo(x, 0);
            c.lineTo(x, this.height);
            c.stroke();
        }
    }

    rescale(seen) {
        if (this.max !== null) {
            this.scale = (typeof this.max === 'function' ? this.max(seen) : this.max) || 1;
            return;
        }
        let top = 0;
        for (const sample of seen) {
            let sum = 0;
            for (const s of this.series) {
                const v = s.get(sample) || 0;
                sum = this.stack ? sum + v : Math.max(sum, v);
            }
            top = Math.max(top, sum);
        }
        const want = Math.max(round_up(Math.max(top, 1e-9)), this.least);
        if (want > this.scale || top < this.scale * SHRINK) this.scale = want;
    }

    y(v) { return this.height - 1.5 - (v / this.scale) * (this.height - 4); }

    grid(c) {
        c.strokeStyle = colour('--line');
        c.lineWidth = 1;
        for (const part of [0, 0.5, 1]) {
            const y = Math.round(this.y(this.scale * part)) + 0.5;
            c.globalAlpha = part ? 0.55 : 1;
            c.beginPath();
            c.moveTo(0, y);
            c.lineTo(this.width, y);
            c.stroke();
        }
        c.globalAlpha = 1;
    }

    /** The pieces without gaps, as [x, y, y of the floor]. */
    runs(series, seen, now, below) {
        const x = (t) => this.width * (1 - (now - t) / this.span_s);
        const runs = [];
        let last = null;
        seen.forEach((sample, i) => {
            const v = series.get(sample);
            if (v === null || v === undefined) { last = null; return; }
            if (last === null || sample.t - last > this.gap_s) runs.push([]);
            const floor = below[i];
            if (this.stack) below[i] += v;
            runs.at(-1).push([x(sample.t), this.y(floor + v), this.y(floor)]);
            last = sample.t;
        });
        return runs;
    }

    line(c, series, runs) {
        c.strokeStyle = c.fillStyle = colour(series.colour);
        c.lineWidth = series.thin ? 1 : 1.5;
        c.lineJoin = 'round';
        for (const run of runs) {
            if (series.fill) {
                c.globalAlpha = series.fill;
                c.beginPath();
                run.forEach(([px, py]) => c.lineTo(px, py));
                [...run].reverse().forEach(([px, , pf]) => c.lineTo(px, pf));
                c.fill();
                c.globalAlpha = 1;
            }
            c.beginPath();
            run.forEach(([px, py]) => c.lineTo(px, py));
            c.stroke();
        }
    }
}
