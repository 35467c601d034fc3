"""The server behind TLS: who is served, what is refused, and certificates that change while it serves."""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

from finding import find_gaufre
from serving import MODEL, SLOW, Server, model_path, wait_for

pytestmark = pytest.mark.sanitize

STREAM = {"model": MODEL, "messages": [{"role": "user", "content": "Count to ten."}], "max_tokens": 24, "temperature": 0}


def make_pair(folder, name, days=30):
    """A certificate of its own for this machine, and its key. One of -1 days has expired."""
    cert, key, ask, alt = (os.path.join(folder, name + end) for end in (".pem", ".key", ".csr", ".ext"))
    with open(alt, "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", ask, "-subj", "/CN=" + name], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", ask, "-signkey", key, "-days", str(days), "-extfile", alt,
                    "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return {name: make_pair(folder, name, days) for name, days in (("a", 30), ("b", 60), ("old", -1))}


@pytest.fixture
def server(tmp_path, pairs):
    cert, key = tmp_path / "in-use.pem", tmp_path / "in-use.key"
    shutil.copy(pairs["a"][0], cert)
    shutil.copy(pairs["a"][1], key)
    s = Server(str(tmp_path), "--tls-cert", cert, "--tls-key", key, ca=pairs["a"][0])
    s.cert, s.key = cert, key
    yield s
    s.stop()


def handshake(server, context):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60 * SLOW) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            return tls.version(), tls.selected_alpn_protocol(), tls.getpeercert()


def trusting(ca):
    return ssl.create_default_context(cafile=ca)


def subject(server, ca):
    return dict(x[0] for x in handshake(server, trusting(ca))[2]["subject"])["commonName"]


def test_answers_are_those_of_plain_http(server):
    status, _, whole = server.chat("Count to ten.", max_tokens=24, temperature=0)
    assert status == 200
    status, heads, text = server.request("POST", "/v1/chat/completions", {**STREAM, "stream": True})
    assert status == 200 and heads["transfer-encoding"] == "chunked"
    chunks = [json.loads(line[6:]) for line in text.decode().splitlines() if line.startswith("data: {")]
    said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    assert said == whole["choices"][0]["message"]["content"]
    big = {**STREAM, "messages": [{"role": "user", "content": "x"}], "metadata": {"filler": "y" * (4 << 20)}}
    assert server.request("POST", "/v1/chat/completions", big)[0] in (200, 400)
    assert server.metric("gaufre_tls_handshakes_total", result="done") >= 3


def test_versions_and_protocols(server, pairs):
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context = trusting(pairs["a"][0])
        context.minimum_version = context.maximum_version = version
        for offered, chosen in ((["http/1.1"], "http/1.1"), (["http/1.1", "h2"], "h2")):
            context.set_alpn_protocols(offered)
            assert handshake(server, context)[:2] == (name, chosen)
    context = trusting(pairs["a"][0])
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(server, context)
    context = trusting(pairs["a"][0])
    context.set_alpn_protocols(["spdy/3"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(server, context)
    assert server.metric("gaufre_tls_handshakes_total", result="failed") == 2


def test_plain_http_gets_a_clear_answer(server):
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60 * SLOW)
    c.request("POST", "/v1/chat/completions", json.dumps(STREAM))
    answer = c.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 400 and "https://" in body["message"]
    c.close()


def test_a_new_certificate_is_taken_up_without_a_reload(server, pairs):
    # A connection that is open stays open, with the certificate it has.
    old = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60 * SLOW, context=trusting(pairs["a"][0]))
    old.request("GET", "/health")
    assert old.getresponse().read()
    first = server.metric("gaufre_tls_certificate_expiry_seconds")
    # First the certificate, which is not that of the key that is there; then its key.
    shutil.copy(pairs["b"][0], server.cert)
    wait_for("the mismatch to be seen", lambda: "is not the key of the certificate" in server.read_log())
    assert subject(server, pairs["a"][0]) == "a"
    shutil.copy(pairs["b"][1], server.key)
    wait_for("the new certificate", lambda: "certificate in use" in server.read_log())
    assert subject(server, pairs["b"][0]) == "b"
    with pytest.raises(ssl.SSLError):
        subject(server, pairs["a"][0])
    old.request("GET", "/health")
    assert old.getresponse().status == 200
    old.close()
    server.tls = trusting(pairs["b"][0])
    assert server.metric("gaufre_tls_certificate_expiry_seconds") - first > 29 * 86400


def test_a_certificate_that_ends_soon_is_told(start, tmp_path, pairs):
    near, far = make_pair(tmp_path, "near", days=5), pairs["a"]
    s = start("--tls-cert", near[0], "--tls-key", near[1], ca=near[0])
    wait_for("the warning", lambda: "certificate expires soon" in s.read_log())
    line = next(x for x in s.read_log().splitlines() if "certificate expires soon" in x)
    assert " warn " in line and near[0] in line and line.endswith(("days=4", "days=5")), line
    other = start("--tls-cert", far[0], "--tls-key", far[1], ca=far[0])
    first = other.metric("gaufre_tls_certificate_expiry_seconds")
    assert first > s.metric("gaufre_tls_certificate_expiry_seconds")
    assert s.read_log().count("certificate expires soon") == 1
    assert "certificate expires soon" not in other.read_log()


def test_a_bad_certificate_is_refused_and_named(server, pairs):
    with open(pairs["b"][0], "rb") as f:
        half = f.read(200)
    server.cert.write_bytes(half)
    wait_for("the half file to be seen", lambda: "no certificate can be read from" in server.read_log())
    assert subject(server, pairs["a"][0]) == "a"
    # One that has expired does not take the place of one that has not.
    shutil.copy(pairs["old"][0], server.cert)
    shutil.copy(pairs["old"][1], server.key)
    wait_for("the expired one to be seen", lambda: "has expired, and the certificate in use has not" in server.read_log())
    assert subject(server, pairs["a"][0]) == "a"
    # Asked for, a reload with it fails as a whole.
    server.process.send_signal(signal.SIGHUP)
    wait_for("the reload to fail", lambda: "configuration not reloaded" in server.read_log())
    assert server.metric("gaufre_config_generation") == 1
    shutil.copy(pairs["a"][0], server.cert)
    shutil.copy(pairs["a"][1], server.key)
    server.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: "configuration in force" in server.read_log())
    assert subject(server, pairs["a"][0]) == "a"


def test_client_certificates(tmp_path, pairs):
    for auth, without in (("required", False), ("optional", True)):
        s = Server(str(tmp_path), "--tls-cert", pairs["a"][0], "--tls-key", pairs["a"][1],
                   "--tls-client-ca", pairs["b"][0], "--tls-client-auth", auth, ca=pairs["a"][0], wait=False)
        s.tls.load_cert_chain(*pairs["b"])
        s.wait_ready()
        c = http.client.HTTPSConnection("127.0.0.1", s.port, timeout=60 * SLOW, context=trusting(pairs["a"][0]))
        try:
            c.request("GET", "/health")
            assert c.getresponse().status == 200 and without
        except (ssl.SSLError, ConnectionError):
            assert not without
        c.close()
        s.stop()


def test_an_expired_certificate_is_said_at_the_start(tmp_path, pairs):
    s = Server(str(tmp_path), "--tls-cert", pairs["old"][0], "--tls-key", pairs["old"][1], ca=pairs["old"][0], wait=False)
    wait_for("the error", lambda: "certificate has expired" in s.read_log())
    s.stop()


def test_settings_that_do_not_belong_together(tmp_path, pairs):
    cert, key = pairs["a"]
    for flags, why in ((["--tls-cert", cert], "both are needed"),
                       (["--tls-client-ca", cert], "needs tls_cert"),
                       (["--tls-cert", cert, "--tls-key", pairs["b"][1]], "is not the key of the certificate"),
                       (["--tls-cert", str(tmp_path / "none"), "--tls-key", key], "No such file"),
                       (["--tls-cert", cert, "--tls-key", key, "--host", "0.0.0.0"], "there are no API keys")):
        done = subprocess.run([find_gaufre(), "serve", model_path(), "--port", "0", "--ledger", str(tmp_path / "l.db"), *flags],
                              env={**os.environ, "GAUFRE_HOME": str(tmp_path)}, capture_output=True, text=True)
        assert done.returncode and why in done.stderr
