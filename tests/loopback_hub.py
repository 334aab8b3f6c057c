"""A Hub on the loopback interface that serves folders as model repositories to the real huggingface_hub client."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def loopback_hub(repositories: Mapping[str, Path]) -> Iterator[str]:
    """Serve `repositories` (id -> folder) read-only; yields the endpoint for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            for repository, folder in repositories.items():
                if path in (f"/api/models/{repository}", f"/api/models/{repository}/revision/main"):
                    files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
                    described = {"_id": "0", "id": repository, "sha": COMMIT, "siblings": files, "private": False}
                    return self._send(200, json.dumps(described).encode(), "application/json", with_body)
                for revision in ("main", COMMIT):
                    prefix = f"/{repository}/resolve/{revision}/"
                    file = folder / path.removeprefix(prefix)
                    if path.startswith(prefix) and file.is_file():
                        return self._send(200, file.read_bytes(), "application/octet-stream", with_body)
                if path.startswith((f"/{repository}/resolve/", f"/api/models/{repository}/tree/")):
                    return self._send(404, b"", "text/plain", with_body, {"X-Error-Code": "EntryNotFound"})
            return self._send(404, b"", "text/plain", with_body, {"X-Error-Code": "RepoNotFound"})

        def _send(
            self, status: int, body: bytes, kind: str, with_body: bool, headers: Mapping[str, str] | None = None
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
