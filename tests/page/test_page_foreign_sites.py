"""What sites that the user visits can do to the page: a real browser that has entered it opens them, and they try.

They are a site of another name, a server on another port of this host (of the same site for a browser, so cookies go
along), and a name that resolves to the page's own address.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser_rig import HANG_MS, needs_chromium, sync_api
from commands import engine
from page_rig import Page

from engine.rehearsal import invented_ids

pytestmark = needs_chromium

ATTACK = """async (target) => {
  const out = {}, frame = (html) => new Promise((done) => {
    const made = document.createElement("iframe");
    made.onload = () => done(made);
    made.srcdoc = html;
    document.body.append(made);
    setTimeout(() => done(made), 1500);
  });
  const attempt = async (name, what) => {
    try { out[name] = await what(); } catch (error) { out[name] = null; }
  };
  for (const path of ["/", "/rows", "/metrics", "/events", "/download/manifest.jsonl", "/download/table.db"]) {
    for (const mode of ["cors", "no-cors"]) {
      await attempt(mode + path, async () => (await fetch(target + path, { mode, credentials: "include" })).text());
    }
  }
  for (const headers of [{}, { "Content-Type": "text/plain" }, { "X-Engine": "1" }]) {
    for (const mode of ["cors", "no-cors"]) {
      await attempt("post " + mode + JSON.stringify(headers), async () => (await fetch(target + "/do/start",
        { method: "POST", mode, credentials: "include", headers, body: '{"rate": "none"}' })).text());
    }
  }
  await attempt("beacon", async () => { navigator.sendBeacon(target + "/do/start", "{}"); return null; });
  await attempt("events", () => new Promise((done) => {
    const events = new EventSource(target + "/events", { withCredentials: true });
    events.onmessage = (event) => done(event.data);
    events.onerror = () => { events.close(); done(null); };
  }));
  await attempt("socket", () => new Promise((done) => {
    const socket = new WebSocket(target.replace("http", "ws") + "/events");
    socket.onopen = () => done("open");
    socket.onerror = () => done(null);
  }));
  for (const kind of ["script", "img"]) {
    await attempt(kind, () => new Promise((done) => {
      const made = document.createElement(kind);
      made.onload = () => done("loaded");
      made.onerror = () => done(null);
      made.src = target + (kind === "img" ? "/static/icon.svg" : "/static/page.js");
      document.body.append(made);
    }));
  }
  await frame(`<form method="post" action="${target}/do/start" enctype="text/plain">` +
    `<input name='{"rate":"none","x":"' value='"}'></form>` +
    "<script>document.forms[0].submit()</" + "script>");
  await frame(`<iframe src="${target}/"></iframe><embed src="${target}/"><object data="${target}/"></object>`);
  return out;
}"""


class Foreign(BaseHTTPRequestHandler):
    """A site with one page: a link to wherever its query says."""

    def do_GET(self) -> None:
        link = self.path.partition("?")[2]
        body = f'<!doctype html><title>another site</title><a id="link" href="{link}">look</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with jobs that nobody works on: a start from elsewhere would be seen."""
    root = tmp_path_factory.mktemp("foreign")
    assert engine("seed", "-q", root / "queue", *invented_ids(3, 1)).code == 0
    dead = "http://127.0.0.1:9"
    with Page(
        root / "queue", cache=root / "cache", ENGINE_PROXY=dead, ENGINE_OUTPUT=str(root / "out")
    ) as found:
        yield found


def sites(page: Page, foreign_port: int) -> list[str]:
    return [
        f"http://evil.example:{foreign_port}",
        f"http://127.0.0.1:{foreign_port}",
        f"http://localhost:{foreign_port}",
    ]


def test_another_site_reads_and_changes_nothing(page: Page, foreign_port: int, chromium: Any) -> None:
    context = chromium.new_context()
    context.set_default_timeout(HANG_MS)
    own = context.new_page()
    own.goto(page.address)
    own.locator("#summary .state").wait_for()
    answers: list[tuple[str, str, int]] = []
    for site in sites(page, foreign_port):
        for target in (page.origin, page.origin.replace("127.0.0.1", "localhost")):
            answers.clear()
            tab = context.new_page()  # what the page itself still loads is no other site's
            tab.on("response", lambda got: answers.append((got.request.method, got.url, got.status)))
            tab.goto(site + "/?x")
            got = tab.evaluate(ATTACK, target)
            leaked = {name: text for name, text in got.items() if text and "\n" in text.strip()}
            assert leaked == {}, site
            reached = [each for each in answers if each[1].startswith(target) and each[2] < 400]
            assert reached == [], site
            assert any(each[1].startswith(target) for each in answers), "nothing was tried"
            tab.close()
    # The name of another site that resolves to this host: its pages would be of one origin with what it asks for.
    tab = context.new_page()
    answer = tab.goto(f"http://evil.example:{page.port}/")
    assert answer.status == 403
    assert "not the host" in tab.content()
    assert own.locator("#summary .state").inner_text() == "stopped"
    queue = Path(page.command.args[page.command.args.index("-q") + 1])
    assert not (queue / "events.jsonl").exists() or '"start"' not in (queue / "events.jsonl").read_text()
    context.close()


def test_a_link_of_another_site_enters_and_leaves_no_token(
    page: Page, foreign_port: int, chromium: Any
) -> None:
    """A terminal or a chat in a tab: a strict cookie does not go along with the redirect of such a link."""
    for site in sites(page, foreign_port):
        context = chromium.new_context()
        context.set_default_timeout(HANG_MS)
        tab = context.new_page()
        referrers: list[str] = []
        tab.on("request", lambda sent, seen=referrers: seen.append(sent.headers.get("referer", "")))
        tab.goto(f"{site}/?{page.address}")
        tab.locator("#link").click()
        tab.locator("#summary .state").wait_for()
        sync_api.expect(tab).to_have_url(f"{page.origin}/")
        assert not [each for each in referrers if "token" in each and page.origin in each]
        tab.go_back()
        assert tab.title() == "another site"
        context.close()
