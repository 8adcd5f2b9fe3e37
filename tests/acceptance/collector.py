"""A collector of traces: takes OTLP over HTTP in JSON, and reads it by OpenTelemetry's own schema."""

import base64
import http.server
import json
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage, Status

from company import SECONDS
from stack import wait_until

IDS = ("traceId", "spanId", "parentSpanId")


def with_base64_ids(node):
    """protobuf's JSON has bytes in base64, OTLP's has ids in hexadecimal; all else is the same."""
    if isinstance(node, list):
        return [with_base64_ids(n) for n in node]
    if not isinstance(node, dict):
        return node
    return {name: base64.b64encode(bytes.fromhex(value)).decode() if name in IDS else with_base64_ids(value)
            for name, value in node.items()}


class Span:
    def __init__(self, resource, span):
        self.service, self.span = attributes(resource)["service.name"], span
        self.name, self.kind = span.name, SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.attributes = attributes(span)
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.failed = span.status.code == Status.STATUS_CODE_ERROR
        self.began, self.ended = span.start_time_unix_nano, span.end_time_unix_nano

    def __repr__(self):
        return f"{self.service} {self.kind} {self.name} {self.trace}/{self.id} of {self.parent}"


def attributes(of):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in of.attributes}


class Collector:
    """open: False, it takes requests and never answers."""

    def __init__(self):
        self.spans, self.faults, self.posts = [], [], 0
        self.open = threading.Event()
        self.open.set()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.posts += 1
                if collector.open.wait():
                    collector.take(self.path, self.headers["content-type"], body)
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")
                except ConnectionError:  # the daemon did not wait
                    self.close_connection = True

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, content_type, body):
        try:
            assert (path, content_type) == ("/v1/traces", "application/json")
            request = ExportTraceServiceRequest()
            json_format.ParseDict(with_base64_ids(json.loads(body)), request)  # refuses unknown fields
            assert len(request.resource_spans) == 1
            for resource in request.resource_spans:
                self.spans += [Span(resource.resource, span) for scope in resource.scope_spans for span in scope.spans]
        except Exception as fault:  # pylint: disable=broad-except
            self.faults.append(f"{fault!r}: {body[:2000]}")

    def wait(self, count, **wanted):
        """The spans with these fields, once there are so many."""
        def found():
            assert not self.faults, self.faults[0]
            got = [s for s in list(self.spans) if all(getattr(s, k) == v for k, v in wanted.items())]
            return len(got) >= count and got
        try:
            return wait_until(found, SECONDS, f"{count} spans came: {wanted}")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n" + "\n".join(map(repr, self.spans[-60:]))) from None

    def one(self, **wanted):
        got = self.wait(1, **wanted)
        assert len(got) == 1, got
        return got[0]

    def close(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
