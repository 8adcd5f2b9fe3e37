"""As much of Kubernetes' API as `kubectl apply --dry-run=client` asks for: which kinds there are, and that no object is there
yet. So kubectl itself says what a selector leaves of an overlay."""

import http.server
import json
import os
import threading

from files import run

NOT_NAMESPACED = {"Namespace"}


def plural(kind):
    word = kind.lower()
    return word[:-1] + "ies" if word.endswith("y") else word + "es" if word.endswith("s") else word + "s"


class ApiServer:
    def __init__(self, objects):
        self.kinds = {}  # of each version
        for one in objects:
            self.kinds.setdefault(one["apiVersion"], set()).add(one["kind"])
        pages = self.pages()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = pages.get(self.path.partition("?")[0])
                body = json.dumps(page or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                                           "code": 404}).encode()
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def pages(self):
        groups = [version.split("/") for version in self.kinds if "/" in version]
        made = {"/api": {"kind": "APIVersions", "versions": ["v1"]},
                "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                    {"name": group, "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                     "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version}}
                    for group, version in groups]}}
        for version, kinds in self.kinds.items():
            made[("/apis/" if "/" in version else "/api/") + version] = {
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
                    {"name": plural(kind), "kind": kind, "namespaced": kind not in NOT_NAMESPACED,
                     "verbs": ["get", "create", "patch"]} for kind in sorted(kinds)]}
        return made

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def applied(self, kubectl, folder, selector, home):
        """(kind, name) of what `kubectl apply -k FOLDER -l SELECTOR` would apply."""
        told = run(kubectl, "apply", "--server", f"http://127.0.0.1:{self.server.server_address[1]}", "--dry-run=client",
                   "--validate=false", "-k", folder, "-l", selector, "-o", "json",
                   env=dict(os.environ, HOME=str(home), KUBECONFIG=str(home / "none")))
        made = json.loads(told)
        return {(one["kind"], one["metadata"]["name"]) for one in made.get("items", [made])}
