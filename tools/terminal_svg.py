#!/usr/bin/env python3
"""A picture of a terminal session, for the documents: terminal_svg.py < session.txt > tour.svg

Lines that begin with "$ " are what was typed; the rest is what was printed.
"""
import html
import sys

LINE, PAD, BAR = 19, 18, 30


def main():
    lines = [line.rstrip("\n").expandtabs() for line in sys.stdin]
    width = int(max(map(len, lines + ["x" * 60])) * 8.05) + 2 * PAD
    height = len(lines) * LINE + 2 * PAD + BAR - 6
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
          f'width="{width}" height="{height}">')
    print("<style>text{font:13.4px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',"
          "monospace;white-space:pre;fill:#e8ded0}.c{fill:#f0b060}.s{fill:#9a8d7d}</style>")
    print(f'<rect width="{width}" height="{height}" rx="9" fill="#211b16"/>')
    for i, colour in enumerate(("#e0645a", "#e0b050", "#78b870")):
        print(f'<circle cx="{PAD + 5 + 18 * i}" cy="16" r="5.5" fill="{colour}"/>')
    for i, line in enumerate(lines):
        kind = ' class="c"' if line.startswith("$ ") else ""
        print(f'<text x="{PAD}" y="{BAR + PAD + i * LINE}" textLength="{len(line) * 8.05:.1f}" '
              f'lengthAdjust="spacingAndGlyphs"{kind} xml:space="preserve">{html.escape(line)}</text>'
              if line else "")
    print("</svg>")


main()
