"""What counts as a false red or a false restart."""

from __future__ import annotations

import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from faults.false_alarms import ProbeWatch, Red, false_reds, false_restarts


def red(probe: str, began: float) -> Red:
    return Red(probe, began, began + 1.0, "503")


def test_a_red_is_false_if_the_fault_does_not_concern_its_probe_or_at_another_time() -> None:
    concerned = frozenset({"health"})
    during, other = red("health", 5.0), red("livez", 5.0)
    before, after = red("health", 3.9), red("health", 8.1)
    assert false_reds([during, other, before, after], concerned, 4.0, 8.0) == [other, before, after]
    assert false_reds([during, after], concerned, 4.0, math.inf) == []


def test_a_restart_is_false_beyond_the_explained_number_of_its_reason() -> None:
    assert false_restarts({"killed": 1, "load": 0}, {"killed": 1}) == {}
    assert false_restarts({"killed": 3, "heartbeat": 1}, {"killed": 1, "load": 2}) == {"killed": 2, "heartbeat": 1}


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
