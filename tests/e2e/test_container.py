"""What a container has: the files of the image, run by themselves in a chroot as its user; and the Kubernetes example,
whose probes, times, ports and configuration are those of the program."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml

from finding import ROOT, find_gaufre
from mock_upstream import Mock
from serving import SLOW, model_path, wait_for

USER = 65532
IMAGE_MB_MAX = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60 * SLOW) as a:
            return a.status, a.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read()
    except OSError:
        return 0, b""


@pytest.fixture
def tree(tmp_path):
    for tool in ("ldd", "ldconfig", "strip"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/sbin:/usr/sbin"):
            pytest.skip(f"no {tool}")
    folder = tmp_path / "tree"
    done = subprocess.run([str(ROOT / "tools/image_tree.sh"), find_gaufre(), str(folder)], capture_output=True, text=True,
                          timeout=120 * SLOW, env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})
    if done.returncode == 1 and re.match(r"image_tree: no \S+ here", done.stderr):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return folder


def test_the_image_is_small_and_has_no_shell(tree):
    seen, size = set(), 0
    for where, _, files in os.walk(tree):
        for name in files:
            st = os.lstat(os.path.join(where, name))
            if (st.st_dev, st.st_ino) not in seen:
                seen.add((st.st_dev, st.st_ino))
                size += st.st_size
    assert size < IMAGE_MB_MAX * 1000 * 1000, size
    programs = [os.path.relpath(os.path.join(where, name), tree) for where, _, files in os.walk(tree) for name in files
                if os.access(os.path.join(where, name), os.X_OK) and ".so" not in name]
    assert programs == ["usr/bin/gaufre"]
    assert not [p for p in tree.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o6000]


def test_it_serves_by_itself(tree):
    """Local model, a supplier over HTTP (libcurl is opened), time zones, accounts: nothing of this machine is needed."""
    if os.geteuid():
        pytest.skip("chroot wants root")
    home = tree / "var/lib/gaufre"
    (home / "models").mkdir()
    shutil.copy(model_path(), home / "models/smollm2-135m.gguf")
    far, port = Mock(), free_port()
    (tree / "etc/gaufre/gaufre.yaml").write_text(
        f"port: {port}\nkv_memory: 64M\ncontext: 512\nmodels: [{{model: smollm2-135m, id: small}}]\n"
        f"suppliers: [{{name: far, base_url: '{far.url}', models: [m]}}]\n"
        "tenants: [{name: acme, token_budget_per_day: 100000, budget_zone: Europe/Berlin}]\n"
        "api_keys: [{name: alice, tenant: acme, env: ALICE}]\n")
    subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
    entry = ["chroot", f"--userspec={USER}:{USER}", str(tree), "/usr/bin/gaufre"]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "GAUFRE_HOME": "/var/lib/gaufre", "ALICE": "sk-alice-is-here"}
    with open(tree.parent / "log", "wb") as log:
        process = subprocess.Popen([*entry, "serve", "--config", "/etc/gaufre/gaufre.yaml"], env=env, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    try:
        wait_for("ready", lambda: process.poll() is not None or get(port, "/ready")[0] == 200)
        assert process.poll() is None, (tree.parent / "log").read_text()
        for model in ("small", "m"):
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
            r = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
                                       {"Content-Type": "application/json", "Authorization": "Bearer sk-alice-is-here"})
            with urllib.request.urlopen(r, timeout=120 * SLOW) as a:
                assert json.load(a)["choices"][0]["message"]["content"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60 * SLOW) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    used = subprocess.run([*entry, "usage", "--json"], env=env, capture_output=True, text=True, check=True).stdout
    assert json.loads(used)["requests"] == 2
    done = subprocess.run([*entry, "doctor", "-c", "/etc/gaufre/gaufre.yaml"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout  # nothing alarming where neither /proc nor /sys is


def objects():
    return {o["kind"]: o for o in yaml.safe_load_all((ROOT / "deploy/kubernetes/gaufre.yaml").read_text())}


def test_kubernetes_means_what_the_program_does(tmp_path):
    of = objects()
    assert set(of) == {"ConfigMap", "Service", "PodDisruptionBudget", "StatefulSet"}
    spec = of["StatefulSet"]["spec"]
    pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
    server = pod["containers"][0]
    # Who is meant by whom.
    assert of["Service"]["spec"]["selector"] == labels == spec["selector"]["matchLabels"]
    assert of["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert spec["serviceName"] == of["Service"]["metadata"]["name"]
    assert of["Service"]["spec"]["ports"][0]["targetPort"] == server["ports"][0]["name"]
    volumes = {v["name"] for v in pod["volumes"]} | {v["metadata"]["name"] for v in spec["volumeClaimTemplates"]}
    for c in pod["containers"] + pod["initContainers"]:
        assert {m["name"] for m in c["volumeMounts"]} <= volumes
        assert c["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                        "capabilities": {"drop": ["ALL"]}}
    assert pod["securityContext"]["runAsUser"] == USER and pod["securityContext"]["runAsNonRoot"]
    # The configuration is one, and agrees with what is around it.
    text = of["ConfigMap"]["data"]["gaufre.yaml"]
    config = yaml.safe_load(text)
    assert config["port"] == server["ports"][0]["containerPort"]
    assert config["threads"] == int(server["resources"]["limits"]["cpu"]) == int(server["resources"]["requests"]["cpu"])
    drain, pause = int(config["drain_timeout"].rstrip("s")), server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > drain + pause
    (tmp_path / "models").mkdir()
    os.symlink(model_path(), tmp_path / "models/smollm2-135m.gguf")
    (tmp_path / "gaufre.yaml").write_text(text.replace("/var/lib/gaufre", str(tmp_path)).replace("kv_memory: 2G", "kv_memory: 64M"))
    done = subprocess.run([find_gaufre(), *server["args"][:-1], str(tmp_path / "gaufre.yaml"), "--check"], capture_output=True,
                          text=True, env={**os.environ, "GAUFRE_HOME": str(tmp_path)}, timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr


def test_the_probes_are_answered_without_a_key(start, tmp_path):
    server = objects()["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    paths = [server[k]["httpGet"]["path"] for k in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert paths == ["/health", "/health", "/ready"]
    s = start("--accounts", tmp_path / "accounts.db")
    assert s.get("/v1/models")[0] == 401
    assert [s.get(p)[0] for p in paths] == [200, 200, 200]
