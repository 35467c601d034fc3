"""The chat page against a real server with the default model."""
import json
import os
import subprocess
import sys
import urllib.request

from browsing import Server, answered, ask, find_gaufre, prose, wait_for
from playwright.sync_api import expect

HELLO = "What is the capital of France? Answer in one sentence."


def test_an_answer_streams_and_is_kept(pages, site):
    page = pages.open(site.url)
    answer = ask(page, HELLO)
    assert "Paris" in prose(page)
    facts = answer.locator(".meta").inner_text()
    for word in ("tokens", "tok/s", "to the first", "prompt", "ended by itself"):
        assert word in facts, facts
    expect(page.locator("#conversations a")).to_have_text([HELLO])
    assert page.title().startswith("What is the capital")
    page.reload()
    page.wait_for_selector(".message.assistant .prose")
    assert "Paris" in prose(page)
    assert "tok/s" in page.locator(".message.assistant .meta").inner_text()
    page.click("#new-chat")
    expect(page.locator(".message")).to_have_count(0)
    page.click("#conversations a")
    page.wait_for_selector(".message.assistant .prose")


def test_model_picker_says_what_a_model_is(pages, site):
    page = pages.open(site.url)
    page.click("#model-button")
    facts = page.locator(".option-facts").inner_text()
    assert "8,192 context" in facts and "135 M parameters" in facts and "98 MB" in facts and "Q4_1" in facts
    page.keyboard.press("Escape")
    expect(page.locator("#model-list")).to_be_hidden()
    expect(page.locator("#model-button")).to_be_focused()


def test_stop_frees_the_engine(pages, site):
    page = pages.open(site.url, settings={"temperature": "0"})
    # however slow the test is: the answer does not end before it is stopped
    page.route("**/v1/chat/completions", lambda r: r.continue_(post_data=json.dumps({**r.request.post_data_json, "min_tokens": -1})))
    ask(page, "Write a very long story about a dragon.", wait=False)
    page.wait_for_selector(".message.assistant .prose p")
    assert not site.idle()
    page.keyboard.press("Escape")
    answer = answered(page)
    assert "stopped" in answer.locator(".meta").inner_text()
    wait_for("the engine is free", site.idle)
    assert prose(page)
    expect(answer.get_by_role("button", name="Continue")).to_be_visible()


def test_regenerate_and_switch_versions(pages, site):
    page = pages.open(site.url, settings={"temperature": "1", "max_tokens": "24"})
    ask(page, "Tell me a word.")
    first = prose(page)
    page.locator(".message.assistant").get_by_label("Answer again").click()
    expect(page.locator(".branch .num")).to_have_text("2/2")
    answered(page)
    page.get_by_label("Earlier version").click()
    expect(page.locator(".branch .num")).to_have_text("1/2")
    assert prose(page) == first
    page.reload()
    expect(page.locator(".branch .num")).to_have_text("1/2")  # the choice is kept


def test_edit_makes_a_branch(pages, site):
    page = pages.open(site.url)
    ask(page, HELLO)
    page.locator(".message.user").hover()
    page.get_by_label("Edit and ask again").click()
    page.fill(".editor", "What is the capital of Italy? Answer in one sentence.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".message.user .branch .num")).to_have_text("2/2")
    answered(page)
    assert "Rome" in prose(page)
    page.locator(".message.user").get_by_label("Earlier version").click()
    expect(page.locator(".message.user .plain")).to_have_text(HELLO)
    assert "Paris" in prose(page)
    # an answer may be edited too; the model's own words stay as a version
    page.locator(".message.assistant").get_by_label("Edit the answer").click()
    page.fill(".editor", "Lyon, surely.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".message.assistant .prose")).to_have_text("Lyon, surely.")
    expect(page.locator(".message.assistant .branch .num")).to_have_text("2/2")


def test_continue_a_cut_answer(pages, site):
    page = pages.open(site.url, settings={"temperature": "0", "max_tokens": "8"})
    answer = ask(page, "Explain how a waffle iron works.")
    before = prose(page)
    assert "cut at the limit" in answer.locator(".meta").inner_text()
    answer.get_by_role("button", name="Continue").click()
    page.wait_for_function("n => document.querySelector('.message.assistant .prose').innerText.length > n", arg=len(before))
    answered(page)
    assert prose(page).startswith(before)
    expect(page.locator(".message")).to_have_count(2)


def test_settings_reach_the_request(pages, site):
    page = pages.open(site.url, settings={})
    page.click("#settings-toggle")
    model = page.evaluate("fetch('/v1/models').then((r) => r.json())")["data"][0]
    recommended = model["recommended_sampling"]
    assert recommended["top_p"] < 1 and model["default_sampling"] == "api"
    assert page.get_attribute("#set-temperature", "placeholder") == f"{recommended['temperature']}, recommended"
    assert page.get_attribute("#set-min_p", "placeholder") == "0"
    page.fill("#set-system", "You are terse.")
    page.fill("#set-temperature", "0")
    page.fill("#set-max_tokens", "7")
    page.fill("#set-seed", "42")
    page.fill("#set-stop", "zzz\nEND\\n")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Hi")
    body = sent.value.post_data_json
    assert body["messages"][0] == {"role": "system", "content": "You are terse."}
    assert (body["temperature"], body["max_completion_tokens"], body["seed"]) == (0, 7, 42)
    assert body["stop"] == ["zzz", "END\n"]
    assert body["top_p"] == recommended["top_p"] and "min_p" not in body  # what is left empty is what is recommended
    assert sent.value.headers["x-client-request-id"]
    page.fill("#set-temperature", "9")  # the server's own sentence comes back
    answer = ask(page, "Hi again")
    expect(answer.locator(".error")).to_contain_text("temperature")


def test_an_answer_without_a_word(pages, front):
    front.say("")
    page = pages.open(front.url)
    expect(ask(page, "Hi")).to_contain_text("The model wrote nothing.")


def test_too_long_is_said_in_the_servers_words(pages, site):
    page = pages.open(site.url)
    answer = ask(page, "word " * 9000)
    expect(answer.locator(".error")).to_contain_text("maximum context length is 8192 tokens")
    expect(answer.locator(".error")).to_contain_text("Shorten the conversation")


def test_probabilities(pages, site):
    page = pages.open(site.url, settings={"temperature": "0", "max_tokens": "12", "logprobs": True})
    ask(page, HELLO)
    tokens = page.locator(".tok")
    assert 5 < tokens.count() <= 12
    tokens.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    expect(page.locator(".token-pop .alt")).to_have_count(5)
    expect(page.locator(".token-pop .alt.chosen")).to_have_count(1)
    assert "%" in tokens.nth(1).get_attribute("aria-label")
    page.locator(".message.assistant").get_by_label("Token probabilities").click()
    expect(page.locator(".tok")).to_have_count(0)
    assert "Paris" in prose(page)


def test_raw_view_lines_run(pages, site):
    page = pages.open(site.url)
    ask(page, "Say 'it''s \"fine\" $HOME' \\ and nothing else.")
    said = prose(page)
    page.locator(".message.assistant").get_by_label("Request and answer, raw").click()
    page.get_by_role("tab", name="curl").click()
    curl = page.locator("dialog code").inner_text()
    out = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=180, check=True).stdout
    events = [json.loads(line[6:]) for line in out.splitlines() if line.startswith("data: {")]
    text = "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])
    assert text.split() == said.split()
    page.get_by_role("tab", name="Python").click()
    lines = page.locator("dialog code").inner_text()
    out = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=180, check=True,
                         env={**os.environ, "NO_PROXY": "127.0.0.1"}).stdout
    assert out.split() == said.split()
    page.get_by_role("tab", name="Answer").click()
    assert "data: [DONE]" in page.locator("dialog code").inner_text()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_export_import_search_delete(pages, site, tmp_path):
    page = pages.open(site.url)
    ask(page, HELLO)
    page.click("#new-chat")
    ask(page, "Name a colour of the rainbow.")
    with page.expect_download() as got:
        page.click("#export-all")
    file = tmp_path / "export.json"
    got.value.save_as(file)
    kept = json.loads(file.read_text())
    assert [len(c["messages"]) for c in kept["conversations"]] == [2, 2]
    other = pages.open(site.url)  # another browser profile
    expect(other.locator(".conv")).to_have_count(0)
    other.set_input_files("#import-file", file)
    expect(other.locator(".conv")).to_have_count(2)
    other.fill("#search", "paris")  # only said in an answer
    expect(other.locator(".conv a")).to_have_text([HELLO])
    other.click(".conv a")
    other.wait_for_selector(".message.assistant .prose")
    assert "Paris" in prose(other)
    other.locator(".conv").hover()
    other.get_by_label("Delete").click()
    expect(other.locator(".conv")).to_have_count(0)
    other.get_by_role("button", name="Undo").click()
    expect(other.locator(".conv")).to_have_count(1)
    other.set_input_files("#import-file", {"name": "x.json", "mimeType": "application/json", "buffer": b"[1]"})
    expect(other.locator(".toast").last).to_contain_text("not an export")


def test_attached_file(pages, site):
    page = pages.open(site.url)
    page.set_input_files("#composer input[type=file]", {"name": "notes.md", "mimeType": "text/markdown",
                                                         "buffer": "# Title\n```\ncode\n```\n".encode()})
    expect(page.locator(".chip")).to_contain_text("tokens")
    page.set_input_files("#composer input[type=file]", {"name": "a.bin", "mimeType": "application/x", "buffer": b"\0\1"})
    expect(page.locator(".toast")).to_contain_text("not a text file")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "What is this?")
    content = sent.value.post_data_json["messages"][-1]["content"]
    assert content == "notes.md:\n````\n# Title\n```\ncode\n```\n````\n\nWhat is this?"
    # dropped on the page, as a person does it
    page.evaluate("""() => { const d = new DataTransfer(); d.items.add(new File(['hello'], 'drop.txt', {type: 'text/plain'}));
        document.getElementById('main').dispatchEvent(new DragEvent('drop', {dataTransfer: d, bubbles: true, cancelable: true})); }""")
    expect(page.locator(".chip")).to_contain_text("drop.txt")


def test_text_is_continued(pages, site):
    page = pages.open(site.url, settings={"temperature": "0", "max_tokens": "16", "logprobs": True})
    page.click("#new-text")
    page.fill(".sheet", "The capital of France is")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".text-view .meta:has-text('to the first')")
    text = page.input_value(".sheet")
    assert text.startswith("The capital of France is") and "Paris" in text
    assert page.locator(".tok").count() >= 8
    page.get_by_role("button", name="Take back").click()
    assert page.input_value(".sheet") == "The capital of France is"
    page.reload()
    page.wait_for_selector(".sheet")
    assert page.input_value(".sheet") == "The capital of France is"


def test_key_is_asked_for_and_kept_for_the_tab(pages, tmp_path):
    keys = tmp_path / "keys"
    folder = tmp_path / "server"
    folder.mkdir()
    made = subprocess.run([find_gaufre(), "key", "new", str(keys), "me"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    secret = next(w for w in made.stdout.split() if len(w) > 20)
    s = Server(str(folder), "--keys", str(keys))
    try:
        page = pages.open(s.url)
        page.fill("#api-key", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("dialog")).to_contain_text("key")
        page.wait_for_selector("#api-key:focus")
        page.fill("#api-key", secret)
        page.keyboard.press("Enter")
        page.wait_for_selector("#model-dot[data-state=loaded]")
        ask(page, HELLO)
        assert "Paris" in prose(page)
        stores = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert secret not in json.dumps(json.loads(stores)[0]) and secret in json.dumps(json.loads(stores)[1])
    finally:
        s.stop()


def test_server_goes_and_comes_back(pages, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    s = Server(str(folder))
    page = pages.open(s.url)
    ask(page, HELLO)
    port = s.port
    s.stop()
    ask(page, "And of Italy?")
    expect(page.locator("#banner")).to_contain_text("does not answer")
    expect(page.locator(".message.assistant").last.locator(".error")).to_contain_text("does not answer")
    folder = tmp_path / "two"
    folder.mkdir()
    s = Server(str(folder), "--port", port)
    try:
        expect(page.locator("#banner")).to_be_hidden()
        page.locator(".message.assistant").last.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".message.assistant:last-child .prose p")
        answered(page)
        assert urllib.request.urlopen(s.url + "/health").status == 200
        expect(page.locator(".error")).to_have_count(0)
    finally:
        s.stop()
