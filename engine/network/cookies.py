"""The cookies a session keeps: those by which YouTube recognises it, and no others.

A session belongs to one egress, and so do its cookies. All other cookies are dropped before they are parsed: after
three hundred answers that set new ones, each request would carry a header of a megabyte.
"""

from __future__ import annotations

from collections.abc import Iterable
from http.cookiejar import Cookie
from typing import Any

from requests.cookies import RequestsCookieJar

# The jar keeps one cookie a name, so this also bounds their number.
NAMES = frozenset(
    {
        "CONSENT", "GPS", "PREF", "SOCS", "VISITOR_INFO1_LIVE", "VISITOR_PRIVACY_METADATA", "YSC",
        "__Secure-ROLLOUT_TOKEN", "__Secure-YEC", "__Secure-YENID", "__Secure-YNID",
    }
)  # fmt: skip
MAX_CHARS = 1_000  # of one value: VISITOR_INFO1_LIVE has 11, the longest has a few hundred
DOMAIN, PATH = ".youtube.com", "/"


class Jar(RequestsCookieJar):
    """Keeps the cookies in `NAMES`, one each, valid for all of YouTube."""

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> Any:
        if cookie.name not in NAMES or len(cookie.value or "") > MAX_CHARS:
            return None
        cookie.domain, cookie.path = DOMAIN, PATH
        cookie.domain_specified = cookie.domain_initial_dot = cookie.path_specified = True
        return super().set_cookie(cookie, *args, **kwargs)

    def clear(self, domain: str | None = None, path: str | None = None, name: str | None = None) -> None:
        """Remove a cookie that an answer deletes. The answer's domain and path are ignored: see `set_cookie`."""
        if name is None:
            super().clear(domain, path)
        else:
            super().clear(DOMAIN, PATH, name)


def worth_reading(headers: Iterable[str]) -> list[str]:
    """Those `Set-Cookie` headers of an answer that the jar would keep."""
    kept = {}
    for header in headers:
        name = header[:100].partition("=")[0].strip()
        if name in NAMES and len(header) <= 2 * MAX_CHARS:
            kept[name] = header  # the last one wins, as in a browser
    return list(kept.values())
