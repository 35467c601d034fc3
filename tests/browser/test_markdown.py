"""What models write, as the page shows it. Own examples for every kind of block and span of CommonMark and
of GitHub's extensions; what is shown differently on purpose is listed with its reason."""
import re
from html.parser import HTMLParser

from browsing import ask
import pytest

DRAW = """async (texts) => {
    const { Markdown, render } = await import('/markdown.js');
    const out = [];
    for (const text of texts) {
        const whole = document.createElement('div');
        render(whole, text);
        const pieces = document.createElement('div');
        const m = new Markdown(pieces);
        for (let i = 1; i < text.length; i++) { m.set(text.slice(0, i)); m.draw(); }
        m.set(text);
        m.finish();
        out.push([whole.innerHTML, pieces.innerHTML]);
    }
    return out;
}"""


class Plain(HTMLParser):
    """HTML with nothing but what it means: no classes, directions, heads of code blocks."""

    KEPT = ("href", "title", "start")
    VOID = ("br", "hr")

    def __init__(self):
        super().__init__()
        self.out, self.open, self.skip = [], [], 0

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        name = tag + "".join(f" {k}={attrs[k]}" for k in self.KEPT if k in attrs)
        if "text-align" in (attrs.get("style") or ""):
            name += " " + attrs["style"].split()[1].rstrip(";")
        if attrs.get("class") == "math":
            name = tag = "math"
        if tag in self.VOID:
            self.out.append(f"<{name}>")
            return
        self.skip += attrs.get("class") == "code-head" or self.skip > 0
        bare = self.skip or tag in ("div", "span")
        self.open.append(None if bare else tag)
        self.out.append("" if bare else f"<{name}>")

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            self.skip -= self.skip > 0
            name = self.open.pop()
            self.out.append(f"</{name}>" if name else "")

    def handle_data(self, data):
        self.out.append("" if self.skip else data)


def plain(text):
    p = Plain()
    p.feed(text)
    p.close()
    return re.sub(r"<p>\s+", "<p>", "".join(p.out))  # blanks that nobody sees


# Markdown and what it means, in the order of the specification's chapters.
SAME = {
    "tabs": ("- a\n\n\tb", "<ul><li><p>a</p><p>b</p></li></ul>"),
    "escapes": (r"\*a\* \# \\ \`b\`", r"<p>*a* # \ `b`</p>"),
    "entities": ("&amp; &copy; &eacute;&Uuml; &alpha; &#35; &#x41; &frac34; &nothing;", "<p>& © éÜ α # A ¾ &nothing;</p>"),
    "rules": ("a\n\n---\n\n***\n\nb", "<p>a</p><hr><hr><p>b</p>"),
    "headings": ("# A\n## B ##\n###### C\n####### D", "<h1>A</h1><h2>B</h2><h6>C</h6><p>####### D</p>"),
    "setext headings": ("A\n===\n\nB\n---", "<h1>A</h1><h2>B</h2>"),
    "indented code": ("a\n\n    b\n      c\n\nd", "<p>a</p><pre><code>b\n  c</code></pre><p>d</p>"),
    "fenced code": ("```c x\na\n\n  b\n```\nd", "<pre><code>a\n\n  b</code></pre><p>d</p>"),
    "a fence in a fence": ("~~~~\n```\n~~~\n~~~~", "<pre><code>```\n~~~</code></pre>"),
    "a fence that is indented": ("a\n\n  ```\n  b\n   c\n```\nd", "<p>a</p><pre><code>b\n c</code></pre><p>d</p>"),
    "an indented fence at the start": (" ```\n a\nb\n ```", "<pre><code>a\nb</code></pre>"),
    "a fence without an end": ("```\na", "<pre><code>a</code></pre>"),
    "tildes with backticks": ("~~~ a ``` b\nc\n~~~", "<pre><code>c</code></pre>"),
    "a line of code that looks like a fence": ("``` a ```\nb", "<p><code>a</code><br>b</p>"),
    "three backticks in a line": ("Do\n```ls -l```\nnow", "<p>Do<br><code>ls -l</code><br>now</p>"),
    "backticks that are no fence": ("```a``\nb", "<p>```a``<br>b</p>"),
    "paragraphs": ("a\n\n\nb", "<p>a</p><p>b</p>"),
    "quotes": ("> a\n> > b\n\nc", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><p>c</p>"),
    "quoted code": ("> ```\n> a\n> ```", "<blockquote><pre><code>a</code></pre></blockquote>"),
    "tight list": ("- a\n- b\n  - c", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
    "loose list": ("1. **First step**\n\n   Do this\n\n2. Then", "<ol><li><p><strong>First step</strong></p><p>Do this</p></li><li><p>Then</p></li></ol>"),
    "loose by blank lines": ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    "list with code": ("1. a\n\n   ```\n   x\n   ```\n\n2. b", "<ol><li><p>a</p><pre><code>x</code></pre></li><li><p>b</p></li></ol>"),
    "text after a nested list": ("- a\n  - b\n\n  c", "<ul><li><p>a</p><ul><li>b</li></ul><p>c</p></li></ul>"),
    "start of a list": ("3) a\n4) b", "<ol start=3><li>a</li><li>b</li></ol>"),
    "items without text": ("-\n- a", "<ul><li></li><li>a</li></ul>"),
    "code spans": ("`a` ``b`c`` ` d `", "<p><code>a</code> <code>b`c</code> <code>d</code></p>"),
    "emphasis": ("*a* _b_ **c** __d__ ***e*** a_b_c", "<p><em>a</em> <em>b</em> <strong>c</strong> <strong>d</strong> <em><strong>e</strong></em> a_b_c</p>"),
    "links": ('[a](https://e.example "t") [b][1] <https://e.example/x>\n\n[1]: https://e.example/1',
              "<p><a href=https://e.example title=t>a</a> <a href=https://e.example/1>b</a> <a href=https://e.example/x>https://e.example/x</a></p>"),
    "hard breaks": ("a  \nb\\\nc", "<p>a<br>b<br>c</p>"),
    "tables": ("|a|b|c|\n|-|:-:|-:|\n|1|2 \\| 3|`x`|", "<table><thead><tr><th>a</th><th center>b</th><th right>c</th></tr></thead>"
               "<tbody><tr><td>1</td><td center>2 | 3</td><td right><code>x</code></td></tr></tbody></table>"),
    "table without rows": ("|a|\n|-|", "<table><thead><tr><th>a</th></tr></thead></table>"),
    "struck out": ("~~a~~", "<p><del>a</del></p>"),
    "bare addresses": ("see www.e.example or https://e.example.", "<p>see <a href=http://www.e.example>www.e.example</a> or "
                       "<a href=https://e.example>https://e.example</a>.</p>"),
    "maths in a line": (r"so \(a_1 * b_2 * c\) and $$x \in \{1\}$$", r"<p>so <math>\(a_1 * b_2 * c\)</math> and <math>$$x \in \{1\}$$</math></p>"),
    "maths between dollars": (r"$\{x_1\}$ and $a^2$", r"<p><math>$\{x_1\}$</math> and <math>$a^2$</math></p>"),
    "maths of its own": ("so\n\\[\nx\n+ y \\\\\n= z\n\\]\nand", "<p>so</p><math>\\[\nx\n+ y \\\\\n= z\n\\]</math><p>and</p>"),
    "maths with an empty line": ("$$\na\n\n- b\n$$\n\nc", "<math>$$\na\n\n- b\n$$</math><p>c</p>"),
    "maths in a list": ("- \\(x\\)\n- **\\(y\\)**", r"<ul><li><math>\(x\)</math></li><li><strong><math>\(y\)</math></strong></li></ul>"),
    "maths in code": ("`\\(x\\)`\n\n```\n\\[x\\]\n```", "<p><code>\\(x\\)</code></p><pre><code>\\[x\\]</code></pre>"),
    "money is no maths": ("$5 and $6, or US$ 7/8 for \\$9", "<p>$5 and $6, or US$ 7/8 for $9</p>"),
    "brackets are no maths": (r"a\[0\] and \[see below\]", "<p>a[0] and [see below]</p>"),
    "a bracket at the start": ("a\n\\[b] c", "<p>a<br>[b] c</p>"),
}

# What the specifications want otherwise, and why.
OTHERWISE = {
    "a line break of a model is one": ("a\nb", "<p>a<br>b</p>"),
    "HTML is text": ('<div class="x">a</div>\n\n<!-- b -->', '<p><div class="x">a</div></p><p><!-- b --></p>'),
    "but for tags without attributes that set type": ("H<sub>2</sub>O <kbd>a</kbd><br>b <b>c</b>", "<p>H<sub>2</sub>O <kbd>a</kbd><br>b <b>c</b></p>"),
    "images are never loaded: a link to them": ("![a](https://e.example/x.png)", "<p><a href=https://e.example/x.png>a</a></p>"),
    "links lead to http, https and mail alone": ("[a](/b) [c](ftp://d) [e](javascript:f)", "<p>a c e</p>"),
    "entities: those of Latin, Greek and type": ("&HilbertSpace;", "<p>&HilbertSpace;</p>"),
    "tasks are signs: nothing can be ticked": ("- [ ] a\n- [x] b", "<ul><li>☐ a</li><li>☑ b</li></ul>"),
    "tasks in a loose list": ("- [ ] a\n\n- [x] b", "<ul><li><p>☐ a</p></li><li><p>☑ b</p></li></ul>"),
}


@pytest.fixture(scope="module")
def drawn(browser, site):
    page = browser.new_page()
    page.goto(site.url)
    texts = {**SAME, **OTHERWISE}
    got = page.evaluate(DRAW, [text for text, _ in texts.values()])
    page.close()
    return dict(zip(texts, got))


@pytest.mark.parametrize("name", [*SAME, *OTHERWISE])
def test_example(drawn, name):
    _, wanted = {**SAME, **OTHERWISE}[name]
    whole, pieces = map(plain, drawn[name])
    assert whole == wanted
    assert pieces == wanted  # written by the letter, it ends the same


WORDS = ["Zusammenfassung", "Geschwindigkeit", "Abhängigkeiten", "Beschreibungstext", "Versionsnummer"]


def test_a_table_scrolls_instead_of_breaking_words(pages, front):
    front.say("\n".join(["|" + "|".join(WORDS) + "|", "|" + "-|" * len(WORDS), "|" + "|".join(w.lower() for w in WORDS) + "|"]))
    page = pages.open(front.url, size="phone")
    ask(page, "Hi")
    lines = """(cell) => { const r = document.createRange(); r.selectNodeContents(cell);
        return new Set([...r.getClientRects()].map((b) => Math.round(b.top))).size; }"""
    cells = page.locator(".prose th, .prose td")
    assert [cells.nth(i).evaluate(lines) for i in range(cells.count())] == [1] * 10
    assert page.locator(".prose .table").evaluate("e => e.scrollWidth > e.clientWidth && e.getBoundingClientRect().right <= innerWidth")


ARABIC = """مرحبا بك في هذا الاختبار.

- واحد
- اثنان

100. عشرة

    فقرة

> اقتباس

| الاسم | القيمة |
|---|---|
| سطر | 1 |

- one in English
"""


def test_right_to_left(pages, front):
    """Markers, the bar of a quote and the first column are on the side where the text begins."""
    front.say(ARABIC)
    page = pages.open(front.url, size="phone")
    ask(page, "Hi")
    inside = page.evaluate("""() => {
        const prose = document.querySelector('.prose').getBoundingClientRect();
        return [...document.querySelectorAll('.prose li')].map((li) => {
            const box = li.getBoundingClientRect();
            return getComputedStyle(li).direction === 'rtl' ? Math.round(prose.right - box.right) : Math.round(box.left - prose.left);
        });
    }""")
    assert len(inside) == 4 and all(room >= 20 for room in inside) and inside[2] >= 40, inside
    ways = page.evaluate("[...document.querySelectorAll('.prose li, .prose blockquote, .prose table')].map((e) => getComputedStyle(e).direction)")
    assert ways == ["rtl", "rtl", "rtl", "rtl", "rtl", "ltr"]
    quote = page.locator(".prose blockquote").evaluate("e => [getComputedStyle(e).borderRightWidth, getComputedStyle(e).borderLeftWidth]")
    assert quote == ["3px", "0px"]
    first, second = (page.locator(".prose th").nth(i).bounding_box()["x"] for i in range(2))
    assert first > second
    right = page.locator(".prose table").evaluate("e => Math.round(e.parentElement.getBoundingClientRect().right - e.getBoundingClientRect().right)")
    assert right == 0
