"""The page's server: its routes, and what is answered to them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.batch import Batch
from engine.errors import DiskError, EngineError, HeldError, NoAnswerError, NoRunError, UsageError
from engine.monitor import prometheus
from engine.page import cache, downloads
from engine.page.access import AccessControl, Rules, Secrets
from engine.page.actions import Action, Actions
from engine.page.field_words import by_field
from engine.page.given_input import MAX_TEXT
from engine.page.index import RowIndex
from engine.page.launch import Launcher
from engine.page.listening import changes, listen, serve_app, static
from engine.page.live_view import LiveView
from engine.page.pages import Pages
from engine.process.threads import start_thread
from engine.report.model import name as queue_name
from engine.storage import disk
from engine.storage.append_file import AppendFile

INDEX_S = 0.5
MAX_UPLOAD = 4 << 30
_WRITE_BYTES = 1 << 20
_STATUS_OF: dict[type[EngineError], int] = {
    UsageError: 400,
    NoRunError: 409,
    HeldError: 409,
    NoAnswerError: 504,
    DiskError: 507,
}


@dataclass
class PageServer:
    """One page: what it reads, what it may do, and the ASGI application in `app`."""

    root: str
    port: int
    secrets: Secrets = field(default_factory=Secrets)
    read_only: bool = False
    rehearsal: bool = False

    def __post_init__(self) -> None:
        self.batch = Batch(self.root)
        self.index = RowIndex(self.root, cache.index_path(self.root))
        self.view = LiveView(self.batch, self.index, read_only=self.read_only, rehearsal=self.rehearsal)
        self.launcher = Launcher(self.batch, rehearsal=self.rehearsal)
        self.pages = Pages(self.batch, self.index, self.view, read_only=self.read_only)
        self.ending = threading.Event()
        self.index_trouble = ""
        actions = Actions(self.batch, self.launcher)
        routes = [
            Route("/", self.pages.main),
            Route("/rows", self.pages.rows),
            Route("/video/{n:int}/{video_id}", self.pages.video),
            Route("/video/{n:int}/{video_id}/{suffix}", self.pages.file),
            Route("/download/{name}", self.download),
            Route("/static/{name}", static),
            Route("/events", self.events),
            Route("/metrics", self.metrics),
        ]
        if not self.read_only:
            routes += [Route("/do/upload", self.upload, methods=["POST"])]
            routes += [
                Route(f"/do/{verb}", self.doing(action), methods=["POST"])
                for verb, action in actions.by_name.items()
            ]
        site = Starlette(routes=routes, exception_handlers={EngineError: _trouble, OSError: _trouble})
        self.app = AccessControl(site, Rules(self.port, self.secrets, self.read_only))

    def follow_manifest(self) -> None:
        """Keep the index up to date until the page ends."""
        while not self.ending.is_set():
            more = False
            try:
                more = self.index.follow()
                self.index_trouble = ""
            except (OSError, sqlite3.Error) as exc:
                self.index_trouble = f"the index of the rows cannot be written: {exc}"
            self.ending.wait(0.02 if more else INDEX_S)

    # ---- what moves --------------------------------------------------------------------------------------
    async def events(self, request: Request) -> Response:
        return changes(self._look, self.ending)

    def _look(self) -> tuple[dict[str, str], dict[str, Any]]:
        state = self.view()
        return state.parts, self._controls(state.controls)

    def _controls(self, known: dict[str, Any]) -> dict[str, Any]:
        indexed = 0
        with contextlib.suppress(sqlite3.Error, OSError):
            indexed = self.index.size()
        words = " ".join([*self.launcher.last_words, self.index_trouble]).strip()
        title = f"{queue_name(self.root)}: {known['state']}"
        return {**known, "indexed": indexed, "words": words, "title": title}

    def metrics(self, request: Request) -> Response:
        status = self.view().status or self.batch.status()
        return Response(prometheus.render(status.to_json(), self.root), media_type=prometheus.CONTENT_TYPE)

    # ---- files -------------------------------------------------------------------------------------------
    def download(self, request: Request) -> Response:
        wanted = [each for each in downloads.offered(self.root) if each.name == request.path_params["name"]]
        if not wanted:
            return _said("there is no such download", 404)
        as_file = {"content-disposition": f'attachment; filename="{wanted[0].name}"'}
        parts = wanted[0].open(self.batch)
        try:
            first = next(parts, b"")  # an export is made here, or fails before anything is sent
        except EngineError as exc:
            return _said(str(exc), 503)
        return StreamingResponse(chain([first], parts), media_type=wanted[0].type, headers=as_file)

    # ---- what changes something --------------------------------------------------------------------------
    def doing(self, action: Action) -> Callable[[Request], Any]:
        """The handler of a button."""

        async def handle(request: Request) -> Response:
            try:
                wanted = json.loads(await _body(request) or b"{}")
                if not isinstance(wanted, dict):
                    raise TypeError
            except (ValueError, TypeError, RecursionError):
                return _answer("this is not what the page's script sends", 400)
            except ClientDisconnect:
                return Response(status_code=400)
            try:
                said = await run_in_threadpool(action, wanted)
            finally:
                self.view.forget()
            return _answer(said)

        return handle

    async def upload(self, request: Request) -> Response:
        """Keep a file in the cache directory; the answer names it for a start."""
        key, path = cache.new_upload(unquote(request.headers.get("x-name", "")))
        file, buffer, size = AppendFile(path), bytearray(), 0
        done = False
        try:
            async for chunk in request.stream():
                buffer += chunk
                size += len(chunk)
                if size > MAX_UPLOAD:
                    return _answer("the file is too large to upload: give its path instead", 413)
                if len(buffer) >= _WRITE_BYTES:
                    await run_in_threadpool(file.append, bytes(buffer))
                    buffer.clear()
            await run_in_threadpool(file.append, bytes(buffer))
            done = True
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            file.close()
            if not done:
                cache.remove_upload(path)
        return JSONResponse({"ok": True, "say": "", "upload": key})


async def _body(request: Request) -> bytes:
    """The body of a request of the script. Raises ValueError when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > 2 * MAX_TEXT:
            raise ValueError("too large")
    return bytes(body)


def _trouble(request: Request, exc: Exception) -> Response:
    """An error in the words of the engine, for the script or for a person."""
    if isinstance(exc, EngineError):
        said = " ".join(map(by_field, exc.lines))
        status = next((_STATUS_OF[kind] for kind in type(exc).__mro__ if kind in _STATUS_OF), 409)
    elif isinstance(exc, OSError) and disk.is_disk_error(exc):
        said, status = str(disk.disk_error(exc, exc.filename or "writing")), 507
    else:
        said, status = (
            f"{getattr(exc, 'filename', None) or 'a file'}: {getattr(exc, 'strerror', None) or exc}",
            500,
        )
    return _answer(said, status) if request.method == "POST" else _said(said, status)


def _answer(said: str | dict[str, Any], status: int = 200) -> Response:
    fields = {"say": said} if isinstance(said, str) else said
    return JSONResponse({"ok": status == 200, **fields}, status)


def _said(text: str, status: int) -> Response:
    return Response(f"{text}\n", status, media_type="text/plain")


def serve(
    root: str,
    *,
    port: int | None = None,
    read_only: bool = False,
    rehearsal: bool = False,
    metrics_token: str | None = None,
    open_browser: bool = False,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the page until ^C or TERM; `on_ready` is called with its address. Raises UsageError."""
    cache.sweep()
    with listen(port) as sock:
        page = PageServer(root, sock.getsockname()[1], Secrets(metrics=metrics_token), read_only, rehearsal)
        start_thread(page.follow_manifest, name="index")
        serve_app(page.app, sock, page.secrets, page.ending, open_browser=open_browser, on_ready=on_ready)
