"""Pages of other sites, in a real browser: they run nothing here, unless they were let in."""
import http.server
import threading

import pytest
from browsing import Server

from serving import MODEL

# A request of each kind that a page can make; what came of it.
TRY = """async ([url, model]) => {
    const out = {};
    const body = JSON.stringify({ model, max_tokens: 2, messages: [{ role: 'user', content: 'hi' }] });
    const kinds = {
        plain: ['/v1/chat/completions', { method: 'POST', body, headers: { 'content-type': 'text/plain' } }],
        asked: ['/v1/chat/completions', { method: 'POST', body, headers: { 'content-type': 'application/json' } }],
        blind: ['/v1/chat/completions', { method: 'POST', body, mode: 'no-cors' }],
        models: ['/v1/models', {}],
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
