"""A small HTTP file server that can be told to misbehave."""
import contextlib
import email.utils
import http.server
import threading
import time


class File:
    def __init__(self, data, etag='"v1"', cuts=(), ranges=True, status=200, location=None,
                 kind="application/octet-stream", pause=0.0, length=None, **odd):
        self.data, self.etag, self.ranges = data, etag, ranges
        self.cuts = list(cuts)  # bytes after which successive answers are cut off
        self.status, self.location, self.kind = status, location, kind
        self.pause = pause  # seconds to wait in the middle of the body
        self.length = length  # a false Content-Length; 0: none, the body ends with the connection
        self.conditions = odd.pop("conditions", True)  # False: If-Range is not looked at
        self.shift = odd.pop("shift", 0)  # ranges begin so many bytes beside what was asked
        self.range_max = odd.pop("range_max", None)  # bytes that one 206 has at most
        self.headers = odd.pop("headers", {})  # more of them
        self.hold = odd.pop("hold", None)  # bytes after which to wait for server.go; -1: no head
        self.then = odd.pop("then", None)  # the File that takes this one's place after the cuts
        assert not odd, odd


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.requests.append((path, self.headers.get("Range"), dict(self.headers)))
        file = self.server.files.get(path)
        if file is None:
            return self.answer(404, b"no such file")
        if file.location:
            return self.answer(302, b"", {"Location": file.location})
        if file.status != 200:
            return self.answer(file.status, b"trouble")
        if file.hold == -1:
            self.server.held.set()
            self.server.go.wait(300)
        return self.send_file(file, path)

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for k, v in dict(headers).items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, file, path):
        data, start, end = file.data, 0, len(file.data)
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if wanted and file.ranges and (condition in (None, file.etag) or not file.conditions):
            start = int(wanted.removeprefix("bytes=").split("-")[0]) + file.shift
            if start >= len(data):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            end = min(end, start + (file.range_max or end))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:end]
        self.send_header("Content-Type", file.kind)
        if file.length != 0:
            self.send_header("Content-Length", str(file.length or len(body)))
        if file.etag:
            self.send_header("ETag", file.etag)
        for k, v in file.headers.items():
            self.send_header(k, v)
        self.send_header("Date", email.utils.formatdate(usegmt=True))
        self.end_headers()
        self.close_connection = file.length is not None
        if file.cuts:
            self.wfile.write(body[:file.cuts.pop(0)])
            self.close_connection = True
            if file.then and not file.cuts:
                self.server.files[path] = file.then
            return None
        half = len(body) // 2 if file.hold is None else file.hold
        self.wfile.write(body[:half])
        if file.hold is not None:
            self.wfile.flush()
            self.server.held.set()
            self.server.go.wait(300)
        if file.pause:
            self.wfile.flush()
            time.sleep(file.pause)
        self.wfile.write(body[half:])
        return None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that leave are part of the tests


@contextlib.contextmanager
def serve():
    """Yields a server with .url, .files (path -> File), .requests, and for files with `hold` the
    events .held (one waits) and .go (it may go on)."""
    server = Server(("127.0.0.1", 0), Handler)
    server.files, server.requests = {}, []
    server.held, server.go = threading.Event(), threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.go.set()
        server.shutdown()
        server.server_close()
        thread.join()
