"""A bucket in memory behind the part of Google Cloud Storage's JSON API that gcsfs and tensorstore speak."""

import base64
import binascii
import contextlib
import hashlib
import itertools
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"


class Store(ThreadingHTTPServer):
    """`objects`: name -> (generation, content). No appending, no renaming, no folders."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.uploads: dict[str, tuple[str, bytes]] = {}  # resumable: id -> (name, what has come so far)
        self.lock, self.generation = threading.Lock(), itertools.count(1)

    def handle_error(self, request, client_address):
        """A client that is killed leaves its connections broken."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """Makes gcsfs, tensorstore and google-cloud-storage take this server for gs://."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "nobody",
            "GOOGLE_CLOUD_PROJECT": "nothing",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks Google what kind of bucket it is
        }


@contextlib.contextmanager
def serving() -> Iterator[Store]:
    """The store, which answers for gs:// in this process and in those it starts."""
    store = Store()
    thread = threading.Thread(target=store.serve_forever, daemon=True)
    thread.start()
    with mock.patch.dict(os.environ, store.environment):
        yield store
    store.shutdown()
    thread.join()
    store.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        place, query = self._target()
        if place == ["b", BUCKET]:
            return self._json({"kind": "storage#bucket", "name": BUCKET, "id": BUCKET, "storageClass": "STANDARD"})
        if place[:3] == ["b", BUCKET, "o"] and len(place) == 3:
            return self._json(self._listing(query))
        found = self.server.objects.get(place[3]) if place[:3] == ["b", BUCKET, "o"] else None
        if found is None:
            return self._json({"error": {"code": 404, "message": "Not Found"}}, 404)
        if query.get("alt") != "media":
            return self._json(_described(place[3], *found))
        generation, content = found
        status, headers = 200, {"x-goog-generation": str(generation)}
        if self.headers.get("Range"):
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            whole = len(content)
            start = int(first) if first else max(whole - int(last), 0)
            stop = min(int(last) + 1, whole) if first and last else whole
            if start >= whole:
                return self._send(b"", 416)
            content, status = content[start:stop], 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{whole}"
        self._send(content, status, headers | {"Content-Type": "application/octet-stream"})

    def do_POST(self):
        place, query = self._target()
        body = self._body()
        if "upload_id" in query:
            return self._go_on(query, body)
        kind = query["uploadType"]
        if kind == "media":
            return self._store(query["name"], body, query)
        if kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            upload = str(next(self.server.generation))
            self.server.uploads[upload] = name, b""
            return self._send(b"", headers={"Location": f"{self.server.url}{self.path}&upload_id={upload}"})
        _, about, content = body.split(b"\n\n", 2)  # multipart
        self._store(json.loads(about.partition(b"\n")[0])["name"], content[: content.rindex(b"\n--")], query)

    def _go_on(self, query: dict, body: bytes) -> None:
        """The next part of a resumable upload."""
        name, so_far = self.server.uploads[query["upload_id"]]
        self.server.uploads[query["upload_id"]] = name, so_far + body
        if self.headers["Content-Range"].endswith("/*"):
            return self._send(b"", 308, {"Range": f"bytes=0-{len(so_far + body) - 1}"})
        self._store(name, so_far + body, query)

    def do_DELETE(self):
        place, _ = self._target()
        with self.server.lock:
            gone = self.server.objects.pop(place[3], None)
        self._send(b"", 404 if gone is None else 204)

    def _target(self) -> tuple[list[str], dict[str, str]]:
        """["b", bucket, "o", object], and the options."""
        parts = urlsplit(self.path)
        place = [unquote(part) for part in parts.path.partition("/storage/v1/")[2].split("/")]
        return place, {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _store(self, name: str, content: bytes, query: dict) -> None:
        wanted = query.get("ifGenerationMatch")
        with self.server.lock:
            there = self.server.objects.get(name, (0, b""))[0]
            if wanted is not None and int(wanted) != there:
                return self._json({"error": {"code": 412, "message": "conditionNotMet"}}, 412)
            self.server.objects[name] = stored = next(self.server.generation), content
        self._json(_described(name, *stored))

    def _listing(self, query: dict) -> dict:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start, end = query.get("startOffset", ""), query.get("endOffset", "")
        items, folders = [], set()
        with self.server.lock:
            known = sorted(self.server.objects.items())
        for name, stored in known:
            if not name.startswith(prefix) or name < start or (end and name >= end):
                continue
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if found:
                folders.add(prefix + head + found)
            else:
                items.append(_described(name, *stored))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}

    def _json(self, content: dict, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json"})

    def _send(self, content: bytes, status: int = 200, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)


def _described(name: str, generation: int, content: bytes) -> dict:
    now = "2026-01-01T00:00:00.000Z"
    return {
        "kind": "storage#object", "bucket": BUCKET, "name": name, "size": str(len(content)), "timeCreated": now,
        "updated": now, "generation": str(generation), "metageneration": "1", "contentType": "application/octet-stream",
        "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
        "etag": f"{binascii.crc32(content):x}", "mediaLink": "",
    }  # fmt: skip
