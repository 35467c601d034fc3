"""A server before the server: passes everything on, except what a test wants answered differently.

Answers that a real model cannot be made to give (hostile text, 300 tokens a second for a minute, a full
queue) come from here; the page itself, its headers and all other paths come from gaufre."""
import http.client
import http.server
import json
import threading
import time


def chunk(**more):
    return {"id": "chatcmpl-x", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}


def delta(finish=None, usage=None, **fields):
    out = chunk(choices=[{"index": 0, "delta": fields, "finish_reason": finish, "logprobs": None}])
    if usage:
        out["usage"] = {"prompt_tokens": 10, "completion_tokens": usage, "total_tokens": 10 + usage}
    return out


class Front:
    """front.answer = function(handler, body) takes over POST /v1/chat/completions, and
    front.get[path] = function(handler) a path; None and absence pass the request on."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.answer = None
        self.get = {}
        self.asked = []
        handler = type("H", (Handler,), {"front": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, text, piece=24, pause=0.0, **finish):
        """Answer every chat with this text."""
        def answer(handler, _body):
            handler.begin_events()
            handler.event(delta(role="assistant", content=""))
            for i in range(0, len(text), piece):
                handler.event(delta(content=text[i:i + piece]))
                if pause:
                    time.sleep(pause)
            handler.event(delta(finish="stop", usage=-(-len(text) // piece), **finish))
            handler.event("[DONE]")
        self.answer = answer

    def refuse(self, status, message, code, **headers):
        def answer(handler, _body):
            handler.send_json(status, {"error": {"message": message, "code": code}}, headers)
        self.answer = answer

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front = None

    def log_message(self, *args):
        pass

    def begin_events(self):
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()

    def event(self, what):
        text = what if isinstance(what, str) else json.dumps(what)
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def send_json(self, status, what, headers=None):
        body = json.dumps(what).encode()
        self.send_response(status)
        for k, v in {"content-type": "application/json", "content-length": str(len(body)),
                     **(headers or {})}.items():
            self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        self.wfile.write(body)

    def pass_on(self, body):
        host = self.front.upstream.removeprefix("http://")
        up = http.client.HTTPConnection(host, timeout=120)
        try:
            skip = ("host", "connection")
            up.request(self.command, self.path, body,
                       {k: v for k, v in self.headers.items() if k.lower() not in skip})
            answer = up.getresponse()
            self.close_connection = True
            self.send_response(answer.status)
            for k, v in answer.getheaders():
                if k.lower() not in ("transfer-encoding", "connection", "date"):
                    self.send_header(k, v)
            self.send_header("connection", "close")
            self.end_headers()
            while piece := answer.read1(65536):
                self.wfile.write(piece)
                self.wfile.flush()
        finally:
            up.close()

    def handle_all(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.split("?")[0]
        try:
            if self.command == "POST" and path == "/v1/chat/completions" and self.front.answer:
                self.front.asked.append(json.loads(body))
                self.front.answer(self, json.loads(body))
            elif self.front.get.get(path):
                self.front.get[path](self)
            else:
                self.pass_on(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the page stopped reading: what the stop button is for
        except ConnectionRefusedError:
            self.close_connection = True

    do_GET = do_POST = do_HEAD = do_OPTIONS = do_PATCH = do_DELETE = handle_all
