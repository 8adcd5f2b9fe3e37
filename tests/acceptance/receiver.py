"""Another system's web server, for what we post to it."""

import contextlib
import http.server
import socket
import threading
import time

from company import SECONDS
from stack import wait_until


class Receiver:
    """Keeps what it was sent and answers by a script, then always 200."""

    def __init__(self, delay=0, port=0, tls=None):
        """tls: an ssl.SSLContext with its certificate."""
        self.got, self.answers, self.paths = [], [], []
        self.headers = {}  # of answers
        self.answered = []  # bodies with the status that each got
        self.delay = delay  # seconds before an answer
        self.connections = set()
        self.refuses_first = False  # answers 500 to the first attempt of each notice
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                receiver.connections.add(self.connection)

            def finish(self):
                receiver.connections.discard(self.connection)
                super().finish()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                known = receiver.refuses_first and {headers["webhook-id"] for headers, _ in receiver.got}
                receiver.paths.append(self.path)
                receiver.got.append((dict((k.lower(), v) for k, v in self.headers.items()), body))
                status = receiver.answers.pop(0) if receiver.answers else 200
                if receiver.refuses_first and self.headers["webhook-id"] not in known:
                    status = 500
                receiver.answered.append((body, status))
                if receiver.delay:
                    time.sleep(receiver.delay)  # it is slow: that is what is tested
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                for header in receiver.headers.items():
                    self.send_header(*header)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except ConnectionError:  # the sender was killed
                    self.close_connection = True

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count, seconds=SECONDS):
        wait_until(lambda: len(self.got) >= count, seconds, f"{count} posts came, not {len(self.got)}")
        return self.got

    def close(self):
        """Nobody is there any more: who is connected is cut off too, and does not go on being answered."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # it has just ended
                connection.shutdown(socket.SHUT_RDWR)
