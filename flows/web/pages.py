"""The live page's files: read once at start and served from memory, so that no path from outside meets the disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from aiohttp import web

from flows.web.answers import not_found

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class _File(msgspec.Struct, frozen=True):
    body: bytes
    content_type: str
    etag: str


def routes() -> list[web.AbstractRouteDef]:
    """Return the page at `/` and its files below `/static/`."""
    files = _read(_FOLDER)

    async def page(request: web.Request) -> web.Response:
        return _serve(request, files["index.html"])

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise not_found(f"there is no file {name!r}")
        return _serve(request, files[name])

    return [web.get("/", page), web.get("/static/{name:.+}", file)]


def _read(folder: Path) -> dict[str, _File]:
    return {
        path.relative_to(folder).as_posix(): _load(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES and path.is_file()
    }


def _load(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:20])


def _serve(request: web.Request, file: _File) -> web.Response:
    # no-cache asks again each time, so that a newer worker's page is never mixed with an older one's modules.
    headers = {"ETag": f'"{file.etag}"', "Cache-Control": "no-cache"}
    if any(tag.value == file.etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)
