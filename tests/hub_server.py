"""A hub on this machine: as much of its protocol as `huggingface_hub` needs to download a repository."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves `repositories`: ids to folders. `requests` holds what was asked for, as "GET /path"."""

    daemon_threads = True

    def __init__(self, repositories):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = {name: Path(folder) for name, folder in repositories.items()}
        self.requests = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def downloaded(self):
        """The files that were downloaded, with their paths in the repository."""
        paths = [r.split("/resolve/")[1] for r in self.requests if r.startswith("GET") and "/resolve/" in r]
        return sorted(path.split("/", 1)[1] for path in paths)


@contextmanager
def serve(repositories):
    hub = Hub(repositories)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append(f"{self.command} {self.path}")
        words = [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        api = words[0] == "api" and words[1] in ("models", "datasets")
        words = words[2:] if api else words[words[0] == "datasets" :]
        folder = self.server.repositories.get("/".join(words[:2]))
        rest = words[2:]
        if folder is None:
            # A visitor without an account gets 401 for what does not exist, as from the real hub.
            self._send(401, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        elif api and (not rest or rest[0] == "revision"):
            siblings = [{"rfilename": name} for name in self._files(folder)]
            self._send_json({"id": "/".join(words[:2]), "sha": COMMIT, "siblings": siblings})
        elif api and rest[0] == "tree":
            self._send_json(
                [
                    {
                        "type": "file",
                        "path": name,
                        "size": (folder / name).stat().st_size,
                        "oid": _sha1(folder / name),
                    }
                    for name in self._files(folder)
                ]
            )
        elif not api and rest[0] == "resolve" and "/".join(rest[2:]) in self._files(folder):
            path = folder / "/".join(rest[2:])
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_sha1(path)}"', "Accept-Ranges": "bytes"}
            self._send(200, path.read_bytes(), headers)
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET

    def _files(self, folder):
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def _send_json(self, value):
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def _sha1(path):
    return hashlib.sha1(path.read_bytes()).hexdigest()
