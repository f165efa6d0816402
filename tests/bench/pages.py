"""The page of a short queue and of long ones: what a browser waits for must not grow with the rows.

For each size a finished queue is made (`long_queues.py`) and a page opened on it. First it makes its index: seconds,
size and memory. Then, by turns with the other sizes: the main page and its table over HTTP (milliseconds to the last
byte), filtered by status, by a common and by a rare kind, in the middle of the rows, and searched; and where there is
Chromium, the first paint and a filter as a person sees them. Searching looks at every row, and says so meanwhile.
With --first-minute instead: how many clicks and seconds lead from `engine page --open` to a transcript.
Run by `scripts/bench page [--rows N…] [--rounds N] [--room DIR] [--quick]`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from children import HERE
from tables import machine, middle, spread, table

sys.path.append(str(HERE.parent / "page"))

import long_queues
from page_rig import CHROMIUM, Page

ASKED = {
    "main page": "/",
    "all rows": "/rows",
    "a status": "/rows?status=failed",
    "a kind": "/rows?kind=network",
    "a rare kind": "/rows?kind=poison",
    "both": "/rows?status=absent&kind=private",
    "amid the rows": "/rows?before={middle}",
    "a kind amid them": "/rows?kind=network&before={middle}",
    "a word in many": "/rows?q=bridges",
}
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
FILTER = """async (kind) => {
  const rows = document.getElementById("rows"), select = document.getElementById("kind");
  const began = performance.now();
  const drawn = new Promise((done) => new MutationObserver(() => requestAnimationFrame(() => setTimeout(done)))
    .observe(rows, { childList: true }));
  select.value = kind;
  select.dispatchEvent(new Event("change"));
  await drawn;
  return performance.now() - began;
}"""


class Opened:
    """A page on a queue of so many rows, and what was measured of it."""

    def __init__(self, rows: int, room: Path, stack: ExitStack) -> None:
        self.rows, self.room = rows, room
        self.ms: dict[str, list[float]] = defaultdict(list)
        began = time.perf_counter()
        long_queues.make(room / "queue", rows)
        self.made_s, began = time.perf_counter() - began, time.perf_counter()
        self.page = stack.enter_context(Page(room / "queue", cache=room / "cache")).enter()
        while "the index is being made" in (note := self.note("/rows")) or f"{rows:,} rows" not in note:
            time.sleep(0.1)
        self.indexed_s = time.perf_counter() - began
        self.index_mb = sum(path.stat().st_size for path in (room / "cache").rglob("*.sqlite*")) / 1e6

    def note(self, path: str) -> str:
        """What stands above the table."""
        found = re.search(r'id="rows-note"[^>]*>([^<]*)<', self.page.get(path).text)
        return found[1] if found else ""

    def ask(self, what: str) -> None:
        path = ASKED[what].format(middle=self.rows // 2)
        began = time.perf_counter()
        answer = self.page.get(path)
        self.ms[what].append(1000 * (time.perf_counter() - began))
        if not answer.ok or "data-video" not in answer.text:
            raise SystemExit(f"{path}: {answer.status_code} without rows")

    def search_s(self) -> tuple[float, int]:
        """How long a search for what is in no row takes, and in how many answers, as the page's script asks."""
        path, answers, began = "/rows?q=nowhere+at+all", 0, time.perf_counter()
        while path:
            text = self.page.get(path).text
            answers += 1
            found = re.search(r'data-searching="/\?([^"#]*)', text)
            path = f"/rows?{found[1].replace('&amp;', '&')}" if found else ""
        return time.perf_counter() - began, answers

    def memory_mb(self) -> tuple[float, float]:
        """What the page's process uses, and the most that it has used."""
        text = Path(f"/proc/{self.page.command.pid}/status").read_text()
        found = {name: int(kb) / 1024 for name, kb in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text)}
        return found["VmRSS"], found["VmHWM"]


def in_browser(pages: list[Opened], rounds: int, stack: ExitStack) -> None:
    """The first paint, and a filter from the choice to the rows on the screen, in Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = stack.enter_context(sync_playwright()).chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
    )
    stack.callback(chromium.close)
    tabs: list[Any] = []
    for each in pages:
        tabs.append(chromium.new_page(bypass_csp=True))  # it asks the page what it measures
        tabs[-1].goto(each.page.address)
    for turn in range(rounds + 1):
        for each, tab in list(zip(pages, tabs, strict=True))[:: -1 if turn % 2 else 1]:
            tab.bring_to_front()
            tab.goto(each.page.origin)
            tab.wait_for_function(PAINT + " > 0")
            each.ms["first paint"].append(tab.evaluate(PAINT))
            for kind in ("network", ""):
                each.ms["filter in the browser"].append(tab.evaluate(FILTER, kind))
    for each in pages:
        del each.ms["first paint"][0], each.ms["filter in the browser"][:2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--room", type=Path, help="where the queues are made, and removed again")
    parser.add_argument("--quick", action="store_true", help="1,000 and 20,000 rows, 3 rounds")
    parser.add_argument("--first-minute", action="store_true")
    wanted = parser.parse_args()
    if wanted.first_minute:
        newcomer(wanted.rounds)
        return
    if wanted.quick:
        wanted.rows, wanted.rounds = [1_000, 20_000], 3
    print(machine("starlette", "uvicorn"), end="\n\n")
    with ExitStack() as stack:
        pages = []
        for rows in wanted.rows:
            room = stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-bench-", dir=wanted.room))
            pages.append(Opened(rows, Path(room), stack))
        for each in pages:
            for what in ASKED:
                each.ask(what)  # once, so that all is in memory
        for each in pages:
            each.ms.clear()
        for turn in range(wanted.rounds):
            for what in ASKED:
                for each in pages[:: -1 if turn % 2 else 1]:
                    each.ask(what)
        if CHROMIUM:
            with suppress(ImportError):
                in_browser(pages, wanted.rounds, stack)
        report(pages)


def newcomer(rounds: int) -> None:
    """A newcomer's first minute, with the page's own rate and an answer of the site in a fifth of a second."""
    from browser_rig import ARGS, first_minute
    from playwright.sync_api import sync_playwright

    from engine.rehearsal import RehearsalSettings, start

    found = []
    with sync_playwright() as playwright, start(RehearsalSettings(latency_s=0.2)) as site:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="engine-bench-") as room:
                found.append(first_minute(chromium, site, Path(room)))
        chromium.close()
    clicks = sorted({each for each, _ in found})
    print(
        f"from `engine page --open` to a transcript: {clicks} clicks, {spread([s for _, s in found], '.1f')} s"
    )


def report(pages: list[Opened]) -> None:
    head = ["", *(f"{each.rows:,} rows" for each in pages), "times the first (of the least)"]
    lines: list[list[str]] = []
    for what in pages[0].ms:
        ms = [each.ms[what] for each in pages]
        ratios = (f"{middle(one) / middle(ms[0]):.2f} ({min(one) / min(ms[0]):.2f})" for one in ms[1:])
        lines.append([what, *(f"{spread(one, ',.1f')} ms" for one in ms), ", ".join(ratios)])
    searched = [each.search_s() for each in pages]
    lines.append(
        ["a word in no row", *(f"{took_s:.2f} s in {answers} answers" for took_s, answers in searched), ""]
    )
    memory = [each.memory_mb() for each in pages]
    lines.append(["memory, most", *(f"{most:.0f} MB" for _, most in memory), ""])
    lines.append(["queue made in", *(f"{each.made_s:.1f} s" for each in pages), ""])
    lines.append(["index made in", *(f"{each.indexed_s:.1f} s" for each in pages), ""])
    lines.append(["index", *(f"{each.index_mb:,.1f} MB" for each in pages), ""])
    table(head, lines)


if __name__ == "__main__":
    main()
