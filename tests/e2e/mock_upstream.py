"""A supplier that does what a script says: an HTTP/1.1 server of bytes, so that it can do everything wrong."""
import json
import socket
import threading
import time

CHAT = {"id": "chatcmpl-up", "object": "chat.completion", "created": 7, "model": "their-name",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello from afar", "x_own": [1, 2]},
                     "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15,
                  "prompt_tokens_details": {"cached_tokens": 3}}, "x_extra": {"cost": 0.5}}


def chunk(delta=None, finish=None, **more):
    return json.dumps({"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 7, "model": "their-name",
                       "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more})


def words(text="one two three four", role=True, finish="stop", usage=True):
    """The data of a stream's events, without [DONE]."""
    all_ = [chunk({"role": "assistant", "content": ""})] if role else []
    all_ += [chunk({"content": w + " "}) for w in text.split()]
    if finish:
        all_.append(chunk({}, finish))
    if usage:
        all_.append(json.dumps({"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 7,
                                "model": "their-name", "choices": [],
                                "usage": {"prompt_tokens": 11, "completion_tokens": len(text.split()),
                                          "total_tokens": 11 + len(text.split())}}))
    return all_


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.at = time.monotonic()
        self.gone = threading.Event()  # the client closed the connection before the answer ended

    @property
    def json(self):
        return json.loads(self.body)


class Answer:
    """What a script does with one connection's request."""

    def __init__(self, mock, connection, request):
        self.mock, self.connection, self.request = mock, connection, request

    def send(self, data):
        try:
            self.connection.sendall(data.encode() if isinstance(data, str) else data)
        except OSError:
            self.request.gone.set()
            raise Gone from None

    def head(self, status=200, reason="OK", **headers):
        lines = [f"HTTP/1.1 {status} {reason}"] + [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        self.send("\r\n".join(lines) + "\r\n\r\n")

    def reply(self, status, body, **headers):
        data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
        self.head(status, "X", content_length=len(data), **headers)
        self.send(data)

    def begin(self):
        self.head(content_type="text/event-stream", transfer_encoding="chunked")

    def raw(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def event(self, data):
        self.raw(f"data: {data}\n\n")

    def end(self, done=True):
        if done:
            self.event("[DONE]")
        self.send("0\r\n\r\n")

    def stream(self, events, done=True):
        self.begin()
        for e in events:
            self.event(e)
        self.end(done)

    def cut(self):
        """Close in the middle, by a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise Gone

    def wait_gone(self, seconds=60):
        """Until the client closes; then its request is gone."""
        self.connection.settimeout(seconds)
        try:
            if not self.connection.recv(1):
                self.request.gone.set()
        except OSError:
            self.request.gone.set()
        raise Gone


class Gone(Exception):
    pass


def default(a):
    if a.request.json.get("stream"):
        a.stream(words())
    else:
        a.reply(200, CHAT)


class Mock:
    def __init__(self, script=default):
        self.script, self.requests, self.lock = script, [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.n_connections = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.n_connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with connection, connection.makefile("rb") as f:
                while self.serve_one(connection, f):
                    pass
        except (OSError, ValueError):
            pass

    def serve_one(self, connection, f):
        line = f.readline().decode()
        if not line:
            return False
        method, path, _ = line.split()
        headers = {}
        while (h := f.readline().decode().strip()):
            k, v = h.split(":", 1)
            headers[k.lower()] = v.strip()
        request = Request(method, path, headers, f.read(int(headers.get("content-length", 0))))
        with self.lock:
            self.requests.append(request)
            script = self.script.pop(0) if isinstance(self.script, list) and len(self.script) > 1 else \
                self.script[0] if isinstance(self.script, list) else self.script
        try:
            script(Answer(self, connection, request))
        except Gone:
            return False
        return True

    def close(self):
        self.listener.close()
