"""A session of one egress: `requests` under the rules for every request.

Only YouTube's own hosts over https, redirects included, and no hidden retries. Everything else about a request is the
business of the attempt that uses the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from engine.model import EgressSpec, Failure, Kind
from engine.network.answer import FailureError
from engine.network.cookies import Jar, worth_reading

if TYPE_CHECKING:
    from engine.network.attempt import Attempt

HOSTS = frozenset({"www.youtube.com", "youtube.com", "m.youtube.com", "consent.youtube.com"})
MAX_REDIRECTS = 5
MAX_URL_CHARS = 10_000


def youtube_host(url: str | bytes | None) -> str:
    """The host of a URL that may be requested. Raises FailureError for any other."""
    text = url.decode("latin-1") if isinstance(url, bytes) else url or ""
    try:
        parts = urlsplit(text)
        host, port, plain = parts.hostname or "", parts.port, parts.username is None
    except ValueError:
        raise FailureError(Failure(Kind.GARBLED, "YouTube's answer leads to a malformed address")) from None
    if parts.scheme == "https" and host in HOSTS and port in (None, 443) and plain:
        return host
    if parts.path.startswith("/sorry") and host.split(".")[-2:-1] == ["google"]:
        # Google's page for "unusual traffic", to which YouTube redirects a blocked address.
        raise FailureError(Failure(Kind.BLOCKED, "YouTube redirects to Google's page for unusual traffic"))
    shown = "".join(c for c in host if c.isalnum() or c in ".-")[:80] or "nowhere"
    message = f"YouTube's answer leads away from youtube.com (to {shown} by {parts.scheme or 'no scheme'})"
    raise FailureError(Failure(Kind.GARBLED, message))


class Adapter(HTTPAdapter):
    """Passes each request to the attempt that uses the session, which transmits it."""

    def __init__(self, manager: urllib3.PoolManager) -> None:
        self._manager = manager
        self.attempt: Attempt | None = None
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self.poolmanager = self._manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> Any:
        # Connect to one of HOSTS, however another parser would read the URL.
        return self._manager.connection_from_host(youtube_host(request.url), 443, scheme="https")

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the TLS context always verifies."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        return request.path_url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if self.attempt is None:
            raise RuntimeError("a session can only be used inside an attempt")
        return self.attempt.send(request, youtube_host(request.url))

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        message = getattr(
            getattr(resp, "_original_response", None), "msg", None
        )  # requests reads cookies there, too
        if message is not None and "Set-Cookie" in message:
            kept = worth_reading(message.get_all("Set-Cookie"))
            del message["Set-Cookie"]
            for header in kept:
                message["Set-Cookie"] = header
        return super().build_response(req, resp)

    def transmit(
        self, request: requests.PreparedRequest, timeout_s: tuple[float, float]
    ) -> requests.Response:
        return super().send(request, stream=True, timeout=timeout_s, proxies={})


class Session(requests.Session):
    """A session of one egress. `attached` is an object that its user keeps with it."""

    def __init__(self, spec: EgressSpec, manager: urllib3.PoolManager) -> None:
        super().__init__()
        self.trust_env = False  # proxies and trust are set here; also twice as fast
        self.max_redirects = MAX_REDIRECTS
        self.adapter = Adapter(manager)
        self.adapters.clear()
        self.mount("https://", self.adapter)
        self.mount("http://", self.adapter)
        self.cookies = Jar()
        self.attached: Any = None
        self.rotating = spec.rotating
        if spec.rotating:
            self.headers["Connection"] = "close"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        if len(url) > MAX_URL_CHARS:
            raise FailureError(Failure(Kind.GARBLED, "YouTube's answer leads to an address of absurd length"))
        return super().request(method, url, *args, **kwargs)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Do what requests does, at a third of the cost for an ordinary request."""
        unusual = (request.headers, request.params, request.cookies, request.auth, request.files)
        if any(unusual) or any(request.hooks.values()):
            return super().prepare_request(request)
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=request.url,
            headers=self.headers,
            data=request.data,
            json=request.json,
            cookies=self.cookies,
        )
        return prepared

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing to merge: the adapter has its proxy and trust."""
        return {}
