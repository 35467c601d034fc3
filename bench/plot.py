"""Small SVG plots, readable in light and dark. Strings in, a string out; nothing but the standard library."""
import html
import math

STYLE = """<style>
svg { font: 13px system-ui, sans-serif; }
.bg { fill: #ffffff } text { fill: #24292f } .dim { fill: #6e7781 }
.grid { stroke: #d8dee4 } .one { stroke: #6e7781; stroke-dasharray: 3 3 } .range { stroke: #57606a; stroke-width: 1.5 }
.a { fill: #b4690e; stroke: #b4690e } .b { fill: #8c959f; stroke: #8c959f } .c { fill: #3b76b3; stroke: #3b76b3 }
.d { fill: #5f8f4e; stroke: #5f8f4e } .line { fill: none; stroke-width: 2 } text.a, text.b, text.c, text.d { stroke: none }
@media (prefers-color-scheme: dark) {
  .bg { fill: #161b22 } text { fill: #e6edf3 } .dim { fill: #8b949e } .grid { stroke: #30363d }
  .one { stroke: #8b949e } .range { stroke: #afb8c1 }
  .a { fill: #e8a24a; stroke: #e8a24a } .b { fill: #6e7681; stroke: #6e7681 } .c { fill: #6cb0f0; stroke: #6cb0f0 }
  .d { fill: #8fc07c; stroke: #8fc07c }
}
</style>"""
WIDTH, LEFT, RIGHT, ROW, TOP, BOTTOM = 880, 330, 70, 24, 52, 34


def document(height, title, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-label="{html.escape(title)}">\n{STYLE}\n'
            f'<rect class="bg" width="{WIDTH}" height="{height}"/>\n'
            f'<text x="16" y="26" font-weight="600" font-size="15">{html.escape(title)}</text>\n' +
            "\n".join(body) + "\n</svg>\n")


def text(x, y, words, anchor="start", cls=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{f" class={chr(34)}{cls}{chr(34)}" if cls else ""}>' \
           f'{html.escape(words)}</text>'


def vertical(x, top, bottom, cls):
    return f'<line class="{cls}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def ratios(title, rows):
    """rows: (label, median, min, max) of a ratio, on a scale of powers of two."""
    if not rows:
        return None
    low = min(0.5, *(r[2] for r in rows))
    high = max(2.0, *(r[3] for r in rows))
    first, last = math.floor(math.log2(low)), math.ceil(math.log2(high))
    height, body = TOP + ROW * len(rows) + BOTTOM, []

    def at(v):
        return LEFT + (math.log2(v) - first) / (last - first) * (WIDTH - LEFT - RIGHT)
    for e in range(first, last + 1):
        body.append(vertical(at(2.0 ** e), TOP, height - BOTTOM, "one" if e == 0 else "grid"))
        body.append(text(at(2.0 ** e), height - BOTTOM + 18, f"{2.0 ** e:g}x", "middle", "dim"))
    for i, (label, mid, least, most) in enumerate(rows):
        y = TOP + ROW * i
        x, w = min(at(1), at(mid)), abs(at(mid) - at(1))
        body += [text(LEFT - 10, y + 16, label, "end"),
                 f'<rect class="{"a" if mid >= 1 else "b"}" x="{x:.1f}" y="{y + 5}" width="{max(w, 1):.1f}" height="14" rx="2"/>',
                 f'<line class="range" x1="{at(least):.1f}" x2="{at(most):.1f}" y1="{y + 12}" y2="{y + 12}"/>',
                 text(max(at(most), at(1)) + 8, y + 16, f"{mid:.2f}")]
    return document(height, title, body)


def shares(title, rows):
    """rows: (label, our share, the best peer's share or None), 1.0 is the limit."""
    if not rows:
        return None
    most = max(1.0, *(max(a, b or 0) for _, a, b in rows))
    height, body = TOP + 16 + 34 * len(rows) + BOTTOM, []

    def at(v):
        return LEFT + v / most * (WIDTH - LEFT - RIGHT)
    for k in range(0, int(most * 100) + 1, 20):
        body.append(vertical(at(k / 100), TOP + 10, height - BOTTOM, "one" if k == 100 else "grid"))
        body.append(text(at(k / 100), height - BOTTOM + 18, f"{k} %", "middle", "dim"))
    body += [text(LEFT, TOP, "gaufre", "start", "a"), text(LEFT + 60, TOP, "best peer", "start", "b")]
    for i, (label, ours, theirs) in enumerate(rows):
        y = TOP + 14 + 34 * i
        body += [text(LEFT - 10, y + 20, label, "end"),
                 f'<rect class="a" x="{LEFT}" y="{y + 3}" width="{at(ours) - LEFT:.1f}" height="12" rx="2"/>',
                 text(at(ours) + 6, y + 13, f"{100 * ours:.0f} %")]
        if theirs is not None:
            body += [f'<rect class="b" x="{LEFT}" y="{y + 17}" width="{at(theirs) - LEFT:.1f}" height="9" rx="2"/>',
                     text(at(theirs) + 6, y + 26, f"{100 * theirs:.0f} %", cls="dim")]
    return document(height, title, body)


def lines(title, sides):
    """sides: {name: [(x, y)]}, both scales logarithmic."""
    points = [p for line in sides.values() for p in line]
    if len(points) < 2 or any(y <= 0 for _, y in points):
        return None
    left, height = 70, 360
    bottom, right = height - BOTTOM - 14, WIDTH - 170
    xs = sorted({x for x, _ in points})
    x0, x1 = math.log2(xs[0]), max(math.log2(xs[-1]), math.log2(xs[0]) + 1)
    y0 = math.floor(math.log2(min(y for _, y in points)))
    y1 = max(math.ceil(math.log2(max(y for _, y in points))), y0 + 1)

    def at(x, y):
        return (left + (math.log2(x) - x0) / (x1 - x0) * (right - left),
                bottom - (math.log2(y) - y0) / (y1 - y0) * (bottom - TOP))
    body = []
    for e in range(y0, y1 + 1):
        y = at(xs[0], 2.0 ** e)[1]
        body += [f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
                 text(left - 8, y + 4, f"{2.0 ** e:g}", "end", "dim")]
    body += [text(at(x, 2.0 ** y0)[0], bottom + 20, str(x), "middle", "dim") for x in xs]
    names = []
    for i, (side, line) in enumerate(sides.items()):
        cls = "acdb"[min(i, 3)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in line))
        body.append(f'<polyline class="{cls} line" style="fill:none" points="{path}"/>')
        body += [f'<circle class="{cls}" cx="{at(*p)[0]:.1f}" cy="{at(*p)[1]:.1f}" r="3.5"/>' for p in line]
        names.append([at(*line[-1])[1], f"{side} {line[-1][1]:,.0f}", cls])
    names.sort()
    for i, name in enumerate(names):  # labels that would touch are moved apart
        if i and name[0] < names[i - 1][0] + 16:
            name[0] = names[i - 1][0] + 16
        body.append(text(right + 10, name[0] + 4, name[1], cls=name[2]))
    return document(height, title, body)
