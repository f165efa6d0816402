"""The cookies a session keeps: what YouTube needs to know it again, and nothing that grows.

A session belongs to one egress, and so do its cookies. Whatever else an answer sets is dropped before anybody
parses it: three hundred answers with new cookies would make a header of a megabyte, sent with each request.
"""

from __future__ import annotations

from collections.abc import Iterable
from http.cookiejar import Cookie
from typing import Any

from requests.cookies import RequestsCookieJar

# One entry a name, so their number is bounded too.
NAMES = frozenset(
    {
        "CONSENT", "GPS", "PREF", "SOCS", "VISITOR_INFO1_LIVE", "VISITOR_PRIVACY_METADATA", "YSC",
        "__Secure-ROLLOUT_TOKEN", "__Secure-YEC", "__Secure-YENID", "__Secure-YNID",
    }
)  # fmt: skip
MAX_CHARS = 1_000  # of one value: VISITOR_INFO1_LIVE has 11, the longest a few hundred
DOMAIN, PATH = ".youtube.com", "/"


class Jar(RequestsCookieJar):
    """Takes cookies of `NAMES` for all of YouTube, each once."""

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> Any:
        if cookie.name not in NAMES or len(cookie.value or "") > MAX_CHARS:
            return None
        cookie.domain, cookie.path = DOMAIN, PATH
        cookie.domain_specified = cookie.domain_initial_dot = cookie.path_specified = True
        return super().set_cookie(cookie, *args, **kwargs)

    def clear(self, domain: str | None = None, path: str | None = None, name: str | None = None) -> None:
        """Called for a cookie that an answer takes back, with the domain and path that it was sent with."""
        if name is None:
            super().clear(domain, path)
        else:
            super().clear(DOMAIN, PATH, name)


def worth_reading(headers: Iterable[str]) -> list[str]:
    """Those of an answer's `Set-Cookie` headers that the jar would take."""
    kept = {}
    for header in headers:
        name = header[:100].partition("=")[0].strip()
        if name in NAMES and len(header) <= 2 * MAX_CHARS:
            kept[name] = header  # the last one counts, as in a browser
    return list(kept.values())
