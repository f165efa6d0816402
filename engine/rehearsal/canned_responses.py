"""A response of the site before it is sent, and the fixed ones."""

from __future__ import annotations

from dataclasses import dataclass

from engine.rehearsal.compressed_bodies import CAPTCHA_PAGE, CONSENT_PAGE, HTML, JSON, XML, Body, dumps


@dataclass(frozen=True, slots=True)
class Response:
    """`body` and `end` make up the body. `scenario` names what changed the response.

    `delivery` is intact, truncated or trickle; with status 0 nothing is sent: reset, hang. With `early_hints` an
    interim answer 103 comes first.
    """

    status: int
    body: Body
    end: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delivery: str = "intact"
    delay_s: float = 0.0
    scenario: str | None = None
    early_hints: bool = False


EMPTY = Body(b"", HTML)
EMPTY_XML = Body(b"", XML)
CAPTCHA = Body(CAPTCHA_PAGE, HTML)
CONSENT = Body(CONSENT_PAGE, HTML)
NOT_FOUND = Body(b"<html><title>404 Not Found</title></html>", HTML)
ERROR_400 = Body(b"<html><title>400 Bad Request</title><h1>Bad Request</h1></html>", HTML)
ERROR_500 = Body(b"<html><title>500 Internal Server Error</title><h1>Server Error</h1></html>", HTML)
ERROR_403 = Body(b"<html><title>403 Forbidden</title><h1>Forbidden</h1></html>", HTML)
ERROR_429 = Body(b"<html><title>429 Too Many Requests</title><h1>Too Many Requests</h1></html>", HTML)
WRONG_PAGE = Body(b"<!DOCTYPE html><html><title>YouTube</title><p>Something went wrong</html>", HTML)
_OPEN = Body(b"{", JSON)


def json_response(value: object, status: int = 200, scenario: str | None = None) -> Response:
    """A JSON object that is made for one request. It is not compressed: only shared bodies are worth it."""
    return Response(status, _OPEN, dumps(value)[1:], scenario=scenario)
