"""The thread that reads the probes of a service."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from faults.probe_watch import ProbeWatch


def test_the_watch_notes_each_time_in_which_a_probe_is_red() -> None:
    status = {"/health": 200, "/readyz": 200, "/livez": 200}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(status[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with ProbeWatch(f"127.0.0.1:{server.server_port}", lambda: False) as watch:
            watch.read_on()
            for code in (503, 200, 500, 200):
                status["/readyz"] = code
                watch.read_on()
        server.shutdown()
    assert [(red.probe, red.cause.strip()) for red in watch.reds] == [("readyz", "503"), ("readyz", "500")]
