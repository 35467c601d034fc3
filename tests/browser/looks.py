"""What is wrong with how a page looks, found by measuring it: the same in every font and size of text."""
import importlib.util
import pathlib

import pytest

# Where and how a page is looked at: size, theme, text (browsing.SIZES and TEXTS).
LOOKS = [("phone", "light", "usual"), ("phone", "dark", "wide"), ("phone", "light", "large"), ("tablet", "dark", "usual"),
         ("tablet", "light", "wide"), ("wide", "light", "large")]

# Boxes that leave the window, and text that leaves or is cut off by its box where nothing scrolls and no
# ellipsis says so.
OUTSIDE = """async () => {
    const moving = document.getAnimations().filter((a) => a instanceof CSSTransition);
    await Promise.allSettled(moving.map((a) => a.finished));
    const style = (e) => getComputedStyle(e);
    const passes = (e) => e.closest('.hidden,.skip,.side[inert],.eg-bar,svg') || style(e).visibility !== 'visible' || style(e).clipPath !== 'none';
    const may_scroll = (e) => /auto|scroll/.test(style(e).overflowX) && e.matches('[tabindex="0"]'); // by keys as well
    const scrolls = (e) => { for (; e; e = e.parentElement) if (may_scroll(e)) return true; return false; };
    const bad = [];
    for (const e of document.body.querySelectorAll('*')) {
        const box = e.getBoundingClientRect();
        if (!box.width || passes(e)) continue;
        const name = e.outerHTML.slice(0, 90);
        if ((box.right > innerWidth + 1 || box.left < -1) && !scrolls(e.parentElement)) bad.push(`outside: ${name}`);
        const s = style(e);
        const over = e.clientWidth && e.scrollWidth > e.clientWidth + 6; // icons hang out a little
        if (over && !may_scroll(e) && s.textOverflow !== 'ellipsis' && !e.matches('input,textarea,select')) bad.push(`does not fit: ${name}`);
    }
    if (document.documentElement.scrollWidth > innerWidth) bad.push('the page scrolls sideways');
    return bad;
}"""


def axe_script():
    spec = importlib.util.find_spec("axe_playwright_python")
    if not spec:
        pytest.skip("axe is not installed")
    return (pathlib.Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def serious(page):
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(axe_script())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found
            if v["impact"] in ("serious", "critical")]


# What moves has arrived: drawers slide, colours fade.
STILL = """async () => {
    const frame = () => new Promise((r) => { requestAnimationFrame(r); });
    await frame();
    await frame();
    const ending = document.getAnimations().filter((a) => a.effect.getComputedTiming().endTime !== Infinity);
    await Promise.all(ending.map((a) => a.finished.catch(() => {})));
}"""


def misplaced(page):
    """What does not stay inside its place."""
    page.evaluate(STILL)
    return page.evaluate(OUTSIDE)


def faults(page):
    """All that is wrong; an empty list is right."""
    return misplaced(page) + serious(page)
