"""Pages of other sites, in a real browser: they run nothing here, unless they were let in."""
import http.server
import subprocess
import threading

import pytest
from browsing import Server, find_gaufre

from serving import MODEL

# A request of each kind that a page can make; what came of it.
TRY = """async ([url, model, key]) => {
    const out = {};
    const own = key ? { authorization: `Bearer ${key}` } : {};
    const body = JSON.stringify({ model, max_tokens: 2, messages: [{ role: 'user', content: 'hi' }] });
    const kinds = {
        plain: ['/v1/chat/completions', { method: 'POST', body, headers: { ...own, 'content-type': 'text/plain' } }],
        asked: ['/v1/chat/completions', { method: 'POST', body, headers: { ...own, 'content-type': 'application/json' } }],
        blind: ['/v1/chat/completions', { method: 'POST', body, mode: 'no-cors' }],
        models: ['/v1/models', { headers: own }],
        metrics: ['/metrics', { mode: 'no-cors' }],
    };
    for (const [name, [path, options]] of Object.entries(kinds))
        out[name] = await fetch(url + path, options).then((r) => r.status, () => 'refused');
    return out;
}"""


@pytest.fixture
def elsewhere():
    """Another origin on this machine, with an empty page."""
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{s.server_address[1]}"
    s.shutdown()
    s.server_close()


def test_a_page_of_elsewhere_runs_nothing(browser, site, elsewhere):
    page = browser.new_page()
    page.goto(elsewhere)
    before = site.metric("gaufre_requests_total")
    got = page.evaluate(TRY, [site.url, MODEL])
    assert {got[k] for k in ("plain", "asked", "models")} == {"refused"}, got
    assert site.metric("gaufre_requests_total") == before
    page.evaluate("(url) => { location = url; }", site.url)  # a link to the page may be followed
    page.wait_for_selector("#prompt", state="attached")
    page.close()


def test_a_rebound_name_reads_nothing(browser, site):
    page = browser.new_page()
    url = site.url.replace("127.0.0.1", "evil.localhost")  # leads here, in every browser
    assert page.goto(url).status == 403
    got = page.evaluate(TRY, [url, MODEL])
    assert set(got.values()) == {403}, got
    page.close()


def test_a_page_that_was_let_in(browser, elsewhere, tmp_path):
    s = Server(str(tmp_path), "--cors-origin", elsewhere)
    page = browser.new_page()
    try:
        page.goto(elsewhere)
        got = page.evaluate(TRY, [s.url, MODEL])
        assert [got[k] for k in ("plain", "asked", "models")] == [200, 200, 200], got
    finally:
        page.close()
        assert s.stop() == 0, s.read_log()[-4000:]


def test_pages_of_a_tenant(browser, elsewhere, tmp_path):
    """The setting lets no page in. A tenant's own list does, and for its keys only; the browser asks before, without a key."""
    def gaufre(*flags):
        return subprocess.run([find_gaufre(), *flags, "-a", tmp_path / "accounts.db"], check=True, capture_output=True, text=True).stdout.strip()

    gaufre("tenant", "new", "acme", "--origins", elsewhere)
    gaufre("tenant", "new", "other", "--origins", "https://other.example")
    keys = [gaufre("key", "new", t, "--tenant", t) for t in ("acme", "other")]
    s = Server(str(tmp_path), "--accounts", tmp_path / "accounts.db", "--cors-origin", "none")
    page = browser.new_page()
    try:
        page.goto(elsewhere)
        got = [page.evaluate(TRY, [s.url, MODEL, k]) for k in keys]
        assert [got[0][k] for k in ("plain", "asked", "models")] == [200, 200, 200], got
        assert [got[1][k] for k in ("plain", "asked", "models")] == [403, 403, 403], got  # an answer that it may read
        page.goto(elsewhere.replace("127.0.0.1", "localhost"))  # a page that nobody has named: it is told no before it asks
        got = page.evaluate(TRY, [s.url, MODEL, keys[0]])
        assert {got[k] for k in ("plain", "asked", "models")} == {"refused"}, got
    finally:
        page.close()
        assert s.stop() == 0, s.read_log()[-4000:]
