"""The loopback Hub's HTTP: each request of the client answered from a Hub's state, as the real Hub answers it."""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from tests.loopback_hub.metadata import refused_metadata
from tests.loopback_hub.store import Blob, Commit, Hub, Repository

ID = r"(?P<id>[^/]+/[^/]+)"


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Answer on a free port of the loopback interface; `hub.endpoint` is set."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            time.sleep(hub.delay_seconds)
            self.kind = hub.fault(self.command, path)
            length = int(self.headers.get("Content-Length") or 0)
            if self.kind == "drop" and length:
                self.rfile.read(length // 2)
                return self.hang_up()
            body = self.chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else self.rfile.read(length)
            if self.kind == "error":
                return self.send(500, b"<html>out of order</html>", {"Content-Type": "text/html"})
            if self.kind == "garbage":
                return self.send(
                    200, b"<html>sign in to the network of this hotel</html>", {"Content-Type": "text/html"}
                )
            if self.kind == "expired":
                return self.send(401, b"")
            if self.kind == "echo":
                return self.send(400, b"", {"X-Error-Message": f"bad request of {self.headers['Authorization']}"})
            try:
                for method, pattern, name in ROUTES:
                    found = re.fullmatch(pattern, path)
                    if found and method == ("GET" if self.command == "HEAD" else self.command):
                        return getattr(self, name)(body=body, **found.groupdict())
                raise RefusalError(404, "RepoNotFound")
            except RefusalError as refused:
                self.send(refused.status, b"", refused.headers)

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

        def chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def allowed(self) -> str | None:
            """What the request's token may do; None without one."""
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if not token:
                return None
            if token not in hub.tokens:
                raise RefusalError(401, message="Invalid credentials in Authorization header")
            return hub.tokens[token]

        def repository(self, repo_id: str, *, write: bool = False) -> Repository:
            allowed = self.allowed()
            repository = hub.repositories.get(repo_id)
            if repository is None or (repository.private and allowed is None):
                raise RefusalError(401 if allowed is None else 404, "RepoNotFound")
            if write and (allowed != "write" or not repo_id.startswith("you/")):
                raise RefusalError(403, message="You don't have the rights")
            return repository

        def commit(self, repo_id: str, revision: str) -> Commit:
            commit = self.repository(repo_id).at(revision)
            if commit is None:
                raise RefusalError(404, "RevisionNotFound")
            return commit

        def whoami(self, body: bytes) -> None:
            role = self.allowed()
            if role is None:
                raise RefusalError(401)
            token = {"displayName": "a token", "role": role}
            self.json({"type": "user", "name": "you", "auth": {"type": "access_token", "accessToken": token}})

        def create(self, body: bytes) -> None:
            asked = json.loads(body)
            repo_id = f"{asked['organization']}/{asked['name']}"
            if self.allowed() != "write" or asked["organization"] != "you":
                raise RefusalError(401 if self.allowed() is None else 403, message="You don't have the rights")
            known = repo_id in hub.repositories
            if not known:
                hub.repositories[repo_id] = Repository(private=asked.get("visibility") == "private")
            self.json({"url": f"{hub.endpoint}/{repo_id}"}, 409 if known else 200)

        def may_write(self, body: bytes, id: str) -> None:
            self.repository(id, write=True)
            self.json({})

        def branch(self, body: bytes, id: str, revision: str) -> None:
            repository = self.repository(id, write=True)
            if revision in repository.branches:
                raise RefusalError(409)
            repository.branches[revision] = list(repository.branches["main"])
            self.json({})

        def info(self, body: bytes, id: str, revision: str | None = None) -> None:
            commit = self.commit(id, revision or "main")
            files = [{"rfilename": name} for name in commit.files]
            private = hub.repositories[id].private
            self.json({"_id": "0", "id": id, "sha": commit.oid, "siblings": files, "private": private})

        def tree(self, body: bytes, id: str, revision: str, folder: str | None = None) -> None:
            commit = self.commit(id, revision)
            if folder:
                raise RefusalError(404, "EntryNotFound")
            self.json([_listed(name, blob) for name, blob in commit.files.items()])

        def validate(self, body: bytes) -> None:
            content = json.loads(body)["content"]
            fields = yaml.safe_load(content.split("---\n")[1])
            errors = [{"message": message} for message in refused_metadata(fields)]
            self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

        def preupload(self, body: bytes, id: str, revision: str) -> None:
            self.repository(id, write=True)
            there = self.commit(id, revision).files
            self.json({"files": [self.planned(file, there) for file in json.loads(body)["files"]]})

        @staticmethod
        def planned(file: Mapping[str, Any], there: Mapping[str, Blob]) -> dict[str, Any]:
            mode = "lfs" if file["size"] >= hub.large_from else "regular"
            blob = there.get(file["path"])
            return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": blob and blob.oid}

        def lfs_batch(self, body: bytes, id: str) -> None:
            self.repository(id, write=True)
            objects = json.loads(body)["objects"]
            for one in objects:
                if one["oid"] not in hub.large:
                    one["actions"] = {
                        "upload": {"href": f"{hub.endpoint}/lfs/{one['oid']}"},
                        "verify": {"href": f"{hub.endpoint}/lfs-verify/{id}"},
                    }
            self.json({"transfer": "basic", "objects": objects})

        def lfs_put(self, body: bytes, oid: str) -> None:
            if hashlib.sha256(body).hexdigest() != oid:
                raise RefusalError(400)
            hub.large[oid] = body
            self.send(200, b"")

        def lfs_verify(self, body: bytes, id: str) -> None:
            asked = json.loads(body)
            if len(hub.large.get(asked["oid"], b"")) != asked["size"]:
                raise RefusalError(404)
            self.json({})

        def add(self, body: bytes, id: str, revision: str) -> None:
            repository = self.repository(id, write=True)
            self.commit(id, revision)
            header, *rows = (json.loads(line) for line in body.splitlines())
            files, deleted = {}, set()
            for row in rows:
                value = row["value"]
                if row["key"] == "deletedFile":
                    if value["path"] not in self.commit(id, revision).files:
                        raise RefusalError(400, message=f"{value['path']} does not exist")
                    deleted.add(value["path"])
                    continue
                if row["key"] == "lfsFile" and value["oid"] not in hub.large:
                    raise RefusalError(400, message="a large file was not uploaded")
                large = row["key"] == "lfsFile"
                content = hub.large[value["oid"]] if large else base64.b64decode(value["content"])
                files[value["path"]] = Blob(content, large)
            made = repository.commit(revision, header["value"]["summary"], files, deleted)
            self.json({"commitOid": made.oid, "commitUrl": f"{hub.endpoint}/{id}/commit/{made.oid}", "success": True})

        def download(self, body: bytes, id: str, rest: str) -> None:
            repository = self.repository(id)
            commits = [commit.oid for branch in repository.branches.values() for commit in branch]
            revision = next((name for name in (*repository.branches, *commits) if rest.startswith(f"{name}/")), None)
            if revision is None:
                raise RefusalError(404, "RevisionNotFound")
            commit = self.commit(id, revision)
            blob = commit.files.get(rest.removeprefix(f"{revision}/"))
            headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
            if blob is None:
                return self.send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
            headers["ETag"] = f'"{blob.oid}"'
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if not wanted:
                return self.send(200, blob.content, headers)
            first, whole = int(wanted[1]), len(blob.content)
            headers["Content-Range"] = f"bytes {first}-{whole - 1}/{whole}"
            return self.send(206, blob.content[first:], headers)

        def json(self, value: Any, status: int = 200) -> None:
            self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
            if self.kind == "lost":
                return self.hang_up()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return None
            self.wfile.write(body[: len(body) // 2] if self.kind == "drop" else body)
            return self.hang_up() if self.kind == "drop" else None

        def hang_up(self) -> None:
            self.wfile.flush()
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler


def _listed(name: str, blob: Blob) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "path": name, "size": len(blob.content), "oid": blob.oid}
    return row | ({"lfs": {"oid": blob.oid, "size": len(blob.content), "pointerSize": 134}} if blob.large else {})


ROUTES = (
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("GET", f"/api/models/{ID}/auth-check/write", "may_write"),
    ("POST", f"/api/models/{ID}/branch/(?P<revision>.+)", "branch"),
    ("POST", f"/api/models/{ID}/preupload/(?P<revision>.+)", "preupload"),
    ("POST", f"/api/models/{ID}/commit/(?P<revision>.+)", "add"),
    ("GET", f"/api/models/{ID}(/revision/(?P<revision>.+))?", "info"),
    ("GET", f"/api/models/{ID}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", "tree"),
    ("POST", f"/{ID}.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("POST", f"/lfs-verify/{ID}", "lfs_verify"),
    ("GET", f"/{ID}/resolve/(?P<rest>.+)", "download"),
)
