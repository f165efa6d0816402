"""yt-dlp's requests, sent through the door: a request handler over our own session and permits."""

from __future__ import annotations

import functools
import io
from typing import Any


@functools.cache
def handler_class() -> type[Any]:
    """The handler's class; made late because yt-dlp is imported late."""
    from yt_dlp.networking.common import RequestHandler, Response
    from yt_dlp.networking.exceptions import HTTPError, TransportError

    class DoorRH(RequestHandler):  # type: ignore[misc]
        """Sends by `ask(method, url, data=, headers=)` and keeps what that raised: yt-dlp forgets it.

        `shown(response)` is the body that yt-dlp gets to see, None: the response's own.
        """

        _SUPPORTED_URL_SCHEMES = ("https",)
        _SUPPORTED_PROXY_SCHEMES = None
        _SUPPORTED_FEATURES = None

        ask: Any = None
        shown: Any = None
        trouble: Exception | None = None

        def _check_extensions(self, extensions: dict[str, Any]) -> None:
            extensions.clear()

        def _send(self, request: Any) -> Any:
            if self.ask is None or self.trouble is not None:
                raise TransportError("no attempt at hand")
            headers = {k: v for k, v in self._get_headers(request).items() if k.lower() != "accept-encoding"}
            try:
                got = self.ask(request.method, request.url, data=request.data, headers=headers)
            except Exception as exc:  # noqa: BLE001 - kept, and judged when yt-dlp has returned
                self.trouble = exc
                raise TransportError("the request failed") from None
            kept = {
                k: v
                for k, v in got.headers.items()
                if k.lower() not in ("content-encoding", "content-length")
            }
            body = self.shown(got) if self.shown is not None else got.content
            response = Response(io.BytesIO(body), got.url, kept, status=got.status_code, reason=got.reason)
            if not 200 <= got.status_code < 300:
                raise HTTPError(response)
            return response

    return DoorRH


class Silent:
    """yt-dlp's logger interface; what it warns of is seen in the answers themselves."""

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str, **_: Any) -> None: ...

    def error(self, message: str) -> None: ...
