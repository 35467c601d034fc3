"""The bench's own arithmetic: statistics, load generator, targets, plots; and that its scripts start. Nothing timed."""
import http.server
import json
import math
import os
import random
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import pytest

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench")
sys.path.insert(0, BENCH)

import load  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import sides  # noqa: E402
import stats  # noqa: E402


# ---- statistics -----------------------------------------------------------------------------------

def test_percentiles_are_linear_between_neighbours():
    assert stats.percentile([4, 1, 3, 2], 50) == 2.5
    assert stats.percentile([5], 99) == 5
    assert stats.percentile(range(101), 95) == 95
    assert stats.percentile([0, 10], 99) == pytest.approx(9.9)
    assert math.isnan(stats.percentile([], 50))


def test_ratios_are_pair_by_pair():
    assert stats.pair_ratios([2, 9, None, 4], [1, 3, 5, 0]) == [2, 3]
    assert stats.spread([3, None, 1, 2]) == (1, 2, 3)
    assert stats.best({"a": [1, 2, 3], "b": [9, 1, 1], "c": [None]}, higher=True) == "a"
    assert stats.best({"a": [1, 2, 3], "b": [9, 1, 1]}, higher=False) == "b"
    assert stats.best({"a": [None]}, higher=True) is None


# ---- load -----------------------------------------------------------------------------------------

class Stream(http.server.BaseHTTPRequestHandler):
    """Answers as an OpenAI-compatible server: an empty first chunk, as many as asked, then usage; 503 for "no"."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen.append(body)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        if body["model"] == "no":
            self.send_error(503)
        else:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            n = body["max_tokens"]
            events = [{"choices": [{"text": ""}]}] + [{"choices": [{"text": "a"}]}] * n
            events += [{"choices": [], "usage": {"completion_tokens": n}}]
            for e in events:
                self.chunk(f"data: {json.dumps(e)}\n\n".encode())
                if body["model"] == "hangs":
                    self.server.stop.wait(30)
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        with self.server.lock:
            self.server.now -= 1
        self.close_connection = True

    def chunk(self, data):
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        except OSError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    s.lock, s.seen, s.now, s.most, s.stop = threading.Lock(), [], 0, 0, threading.Event()
    s.daemon_threads = True
    thread = threading.Thread(target=s.serve_forever, args=(0.05,))
    thread.start()
    yield s
    s.stop.set()
    s.shutdown()
    thread.join()
    s.server_close()


def maker(server, model="m", tokens=5):
    port = server.server_address[1]
    return lambda i: load.completion("127.0.0.1", port, model, load.random_prompt(random.Random(i), 8, 32000), tokens, i)


def test_closed_loop_keeps_its_clients_busy(server):
    done = load.closed_loop("127.0.0.1", server.server_address[1], maker(server), 3, 10)
    assert len(done) == 10 and all(r.ok and r.tokens == 5 and r.events == 5 for r in done)
    assert server.most <= 3
    assert all(r.due <= r.first <= r.last <= r.end for r in done)
    assert len({tuple(b["prompt"]) for b in server.seen}) == 10
    s = load.summary(done, 60, 60)
    assert s["output_tokens"] == 50 and s["failed"] == 0 and s["goodput_share"] == 1
    assert s["ttft_p50"] <= s["ttft_p95"] <= s["ttft_p99"]
    assert load.summary(done, 0, 60)["goodput_rps"] == 0


def test_open_loop_does_not_wait_for_answers(server):
    arrivals = [0.0, 0.01, 0.02, 0.03]
    done = load.open_loop("127.0.0.1", server.server_address[1], maker(server, "hangs"), arrivals, drain=0.3)
    assert len(done) == 4 and len(server.seen) == 4 # all were sent although none was answered
    assert all(not r.ok and r.error == "not answered in time" for r in done)
    assert [r.due for r in sorted(done, key=lambda r: r.due)] == arrivals
    s = load.summary(done, 1, 1)
    assert s["failed"] == 4 and s["goodput_share"] == 0 and math.isnan(s["ttft_p50"])


def test_errors_are_failures(server):
    done = load.closed_loop("127.0.0.1", server.server_address[1], maker(server, "no"), 1, 2)
    assert [r.status for r in done] == [503, 503] and not any(r.ok for r in done)
    server.server_close()
    done = load.closed_loop("127.0.0.1", 1, maker(server), 1, 1)
    assert not done[0].ok and done[0].error


def test_poisson_arrivals():
    times = load.poisson(random.Random(1), 50, 100)
    assert times == sorted(times) and 0 <= times[0] and times[-1] < 100
    assert 4600 < len(times) < 5400
    assert load.poisson(random.Random(1), 50, 100) == times


# ---- report ---------------------------------------------------------------------------------------

def row(**changes):
    r = {"machine": "test <CPU>", "kind": "V", "threads": 2, "commit": "abc", "date": "2026-01-01", "workload": "prefill",
         "model": "smollm2-135m", "case": "512", "metric": "tokens/s", "unit": "tokens/s", "higher": True,
         "samples": {"gaufre": [500, 410, 450], "llama.cpp": [100, 100, None], "ik_llama.cpp": [90, 80, 80]},
         "limit": [1000, 1000, 1000], "weight_bytes": 1e6, "note": ""}
    return {**r, **changes}


def test_targets():
    words, met = report.judge(row())
    assert met and words == "at least 4 x" # the best peer is llama.cpp: median of 5.0 and 4.1
    slower = {"gaufre": [300, 300, 300], "llama.cpp": [100, 100, 100]}
    assert report.judge(row(samples=slower))[1] is False
    assert report.judge(row(samples={"gaufre": [300]}))[1] is None
    assert report.judge(row(case="7")) is None
    assert report.judge(row(workload="decode", case="depth 0"))[1] is False # 45 % of the limit
    by_kind = row(model="llama3.2-1b-q4_0")
    assert report.judge(by_kind)[1] and not report.judge(dict(by_kind, kind="X"))[1]
    assert report.judge(dict(by_kind, kind="other")) is None
    start = row(workload="start", case="process start", metric="first token", unit="s", higher=False,
                samples={"gaufre": [0.1], "llama.cpp": [1.0], "ik_llama.cpp": [0.2]}, limit=None)
    assert report.best_peer(start) == "ik_llama.cpp" and report.judge(start)[1] is False
    copied = row(workload="copy", case="code edit", samples={"gaufre": [300], "gaufre, plain": [100]}, limit=None)
    assert report.judge(copied)[1] is True
    assert report.judge(dict(copied, note="ANSWERS DIFFER"))[1] is False


def test_render(tmp_path):
    batches = [row(workload="batch", case=str(n), samples={"gaufre": [100 * n], "llama.cpp": [50]}) for n in (1, 4)]
    rows = [row(), row(workload="kl", metric="kl_mean", unit="", higher=False, limit=None, weight_bytes=None,
                       samples={"gaufre": [0.003], "llama.cpp": [0.004]})] + batches
    limits = {"x": {"date": "2026-01-01", "machine": "m", "commit": "abc", "model": "smollm2-135m", "what": "int8 dot",
                    "threads": 2, "bytes": 0, "value": 465.2, "unit": "GMAC/s"}}
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows, "limits": limits}))
    subprocess.run([sys.executable, f"{BENCH}/suite.py", "--render", "--out", str(tmp_path), "--gaufre", "none"], check=True,
                   stdout=subprocess.DEVNULL)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 + 2 + 4 and all(len(line.split(",")) == len(report.COLUMNS) for line in lines)
    assert "465.2 GMAC/s" in (tmp_path / "summary.md").read_text()
    for name in ("ratio.svg", "share.svg", "batch-smollm2-135m.svg"):
        ElementTree.parse(tmp_path / name)


GAUFRE = """#!/bin/sh
cat <<'END'
{"model": {"kv_token_bytes": 1}, "limits": [],
 "rows": [{"n": 512, "depth": 0, "batch": 1, "median": 200, "limit": 1000, "weight_bytes": 1}]}
END
"""
LLAMA = """#!/bin/sh
case $LD_LIBRARY_PATH in *amx*) kill -SEGV $$ ;; esac
echo '[{"n_prompt": 512, "samples_ts": [100]}]'
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_a_peer_that_crashes_is_reported(tmp_path):
    program(tmp_path / "gaufre", GAUFRE)
    program(tmp_path / "llama/bin/llama-bench", LLAMA)
    program(tmp_path / "ik/bin/llama-bench", "#!/bin/sh\nexit 1\n")
    (tmp_path / "m.gguf").touch()
    out = subprocess.run([sys.executable, f"{BENCH}/suite.py", "--gaufre", tmp_path / "gaufre", "--llama", tmp_path / "llama",
                          "--llama-amx", tmp_path / "amx", "--ik", tmp_path / "ik", "--only", "prefill", "--pairs", "3",
                          "--out", tmp_path / "out", tmp_path / "m.gguf"], check=True, capture_output=True, text=True)
    row, = [r for r in out.stdout.splitlines() if r.startswith("prefill")]
    assert "2.00x" in row and row.endswith("; ik_llama.cpp fails; llama.cpp AMX crashes")
    assert "killed by SIGSEGV" in out.stderr and "exit 1" in out.stderr
    summary = (tmp_path / "out/summary.md").read_text()
    assert "- peers: ik_llama.cpp, llama.cpp, llama.cpp AMX" in summary
    assert "| prefill 512, m | tokens/s | llama.cpp AMX | crashes |" in summary
    assert "| prefill 512, m | tokens/s | ik_llama.cpp | fails |" in summary
    lines = [line.split(",") for line in (tmp_path / "out/results.csv").read_text().splitlines()]
    assert all(len(line) == len(report.COLUMNS) for line in lines)
    side, rounds = report.COLUMNS.index("side"), report.COLUMNS.index("rounds")
    assert [(line[side], line[rounds], line[-1]) for line in lines[1:]] == [
        ("gaufre", "3", ""), ("llama.cpp", "3", ""), ("ik_llama.cpp", "0", "fails"), ("llama.cpp AMX", "0", "crashes")]


def test_a_server_that_crashes_is_told_from_one_that_ends(tmp_path):
    for code, how in (("kill -SEGV $$", "crashes"), ("exit 3", "fails")):
        program(tmp_path / "server", f"#!/bin/sh\n{code}\n")
        with sides.Server([str(tmp_path / "server")], 1, "m") as server:
            with pytest.raises(sides.Failed) as caught:
                server.wait_ready()
            assert caught.value.how == how
            with pytest.raises(sides.Failed) as caught:
                server.resident_mib()
            assert caught.value.how == how


def test_some_rounds_without_an_answer_are_told():
    half = row(failed={"llama.cpp": "crashes"})
    assert "; llama.cpp crashes in some rounds" in report.line(half)
    assert [r[-1] for r in report.csv_rows(half)] == ["", "crashes", ""]
    judged = row(samples={"gaufre": [1]}, failed={"llama.cpp": "crashes"})
    assert "not compared; llama.cpp crashes |" in "\n".join(report.target_table([judged])[0])


MMQ = """void init() {
    alignas(64) tile_config_t tc = {};
    tc.rows[0] = 8;   tc.colsb[0] = 64;

    _tile_loadconfig(&tc);
}
"""


def test_the_peers_tiles_keep_their_shapes(tmp_path):
    """gcc 12 drops the stores before _tile_loadconfig: a barrier between them and it."""
    file = tmp_path / "ggml/src/ggml-cpu/amx/mmq.cpp"
    file.parent.mkdir(parents=True)
    patch = [f"{BENCH}/peer_patch.sh", "amx", tmp_path]
    file.write_text(MMQ)
    subprocess.run(patch, check=True)
    barrier = '    __asm__ volatile("" : : "r"(&tc) : "memory");\n'
    assert file.read_text() == MMQ.replace("    _tile", barrier + "    _tile")
    file.write_text(MMQ.replace("_tile_loadconfig(&tc)", "load(&tc)"))
    refused = subprocess.run(patch, capture_output=True, text=True)
    assert refused.returncode == 1 and "not the source that was read" in refused.stderr


def test_plots_of_little():
    assert plot.ratios("t", []) is None and plot.shares("t", []) is None
    assert plot.lines("t", {"a": [(1, 1.0)]}) is None
    ElementTree.fromstring(plot.ratios("a & b", [("x <y>", 1.0, 0.01, 100.0)]))
    ElementTree.fromstring(plot.lines("t", {"a": [(1, 1.0), (64, 1.0)], "b": [(1, 2.0)]}))


@pytest.mark.parametrize("script", ["run.sh", "peers.sh", "peer_patch.sh", "suite.py", "load.py", "speculation.py"])
def test_help(script):
    cmd = [f"{BENCH}/{script}", "--help"] if script.endswith(".sh") else [sys.executable, f"{BENCH}/{script}", "--help"]
    out = subprocess.run(cmd, capture_output=True, text=True, check=True).stdout
    assert f"bench/{script}" in out or "make bench" in out or "usage:" in out


def test_make_model_list():
    pytest.importorskip("gguf")
    out = subprocess.run([sys.executable, f"{BENCH}/make_model.py", "--list"], capture_output=True, text=True, check=True).stdout
    assert "llama3.2-1b-q4_k_m" in out.splitlines()
