"""The page as a real command, asked over HTTP as its script asks: a whole batch, deaths, two pages, hostile text."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import socket
import stat
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import recount
import requests
from commands import engine, kill
from page_rig import Page
from patience import HANG_S, until
from warm import start as start_rehearsal

from engine.cli.page import read_token
from engine.errors import UsageError
from engine.monitor import status
from engine.page import cache
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.queue.manifest import Checkpoint, Counts, write_checkpoint
from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids

HOSTILE = '"><script>alert(1)</script>\u202e\x1b[2J</title><img src=x onerror=y>&amp;'


@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start_rehearsal(RehearsalSettings(scenarios=("absent=0.1",))) as found:
        yield found


class Room:
    """A directory with a queue in it, and the pages that are opened on it."""

    def __init__(self, root: Path, site: Rehearsal) -> None:
        root.mkdir(exist_ok=True)
        self.root, self.queue, self.stack = root, root / "queue", ExitStack()
        self._env = {
            "ENGINE_PROXY": site.proxy_url,
            "ENGINE_CA_BUNDLE": str(site.ca_bundle),
            "ENGINE_OUTPUT": str(root / "out"),
        }

    def page(self, *args: str | Path, **env: str) -> Page:
        return self.stack.enter_context(
            Page(self.queue, *args, cache=self.root / "cache", **self._env, **env)
        ).enter()

    def status(self) -> dict[str, Any]:
        return status.collect(str(self.queue))

    def run_pid(self) -> int | None:
        try:
            return int(json.loads((self.queue / "run.lock").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return None

    def finished(self) -> None:
        until(lambda: self.status()["state"] == "finished", HANG_S, "for the run to finish", each_s=0.1)

    def end(self) -> None:
        """End what is still at work; a run is in a session of its own."""
        self.stack.close()
        pid = self.run_pid()
        if pid is not None and str(self.queue) in _command_line(pid):
            os.killpg(pid, signal.SIGKILL)
            kill(pid)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.fixture
def room(tmp_path: Path, site: Rehearsal) -> Iterator[Room]:
    found = Room(tmp_path / "room", site)
    try:
        yield found
    finally:
        found.end()


def told(page: Page) -> Iterator[dict[str, Any]]:
    """What the stream tells."""
    with page.get("/events", stream=True) as stream:
        for line in stream.iter_lines():
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def test_a_batch_from_the_first_paste_to_the_audit(room: Room) -> None:
    page = room.page()
    first = next(told(page))
    assert first["controls"]["state"] == "empty"
    names = list(invented_ids(150, 3))
    text = "\n".join([*names, "this is no video"])
    looked = page.do("check", text=text, rate="40/s", at_once=4).json()
    assert looked["ok"] and "151 read: 150 new, 1 without a video" in looked["say"]
    assert "72,000 videos an hour" in looked["say"]
    assert not (room.queue / "FORMAT").exists()
    started = page.do("start", text=text, rate="40/s", at_once=4, languages="en", formats=["md", "srt"])
    assert started.status_code == 200, started.text
    assert "150 added" in started.json()["say"]
    again = page.do("start").json()
    assert again == {"ok": True, "say": "a run is at work already"}

    until(
        lambda: next(told(page))["controls"]["at_once"] == 4, HANG_S, "for the run to say what it is set to"
    )
    assert page.do("set", at_once=7).json()["say"] == "7 at once"
    assert next(told(page))["controls"]["at_once"] == 7
    assert page.do("set", sequential=True).json()["say"] == "one after the other"
    assert page.do("set", at_once=20).json()["ok"]
    for wrong in ({"at_once": 21}, {"at_once": 1}, {"at_once": "8"}, {"rate": "fast"}, {"rate": 3}, {}):
        answer = page.do("set", **wrong)
        assert (answer.status_code, answer.json()["ok"]) == (400, False), wrong
    assert page.do("pause").json()["ok"]
    assert room.status()["state"] == "paused"
    assert "paused" in next(told(page))["parts"]["summary"]
    assert page.do("set", rate="none").json()["say"] == "the rate is none"
    assert page.do("resume").json()["ok"]
    room.finished()

    rows = recount.manifest(room.queue)
    assert {row["video_id"] for row in rows} == set(names)
    until(lambda: "150 rows" in page.get("/rows").text, HANG_S, "for the index")
    shown = []
    query = "/rows"
    while query:
        html = page.get(query).text
        shown += re.findall(r"/video/\d+/([\w-]{11})", html)
        older = re.search(r'href="/(\?before=\d+)#rows" data-page>Older', html)
        query = f"/rows{older[1]}" if older else ""
    assert shown == [row["video_id"] for row in reversed(rows)]
    absent = [row for row in rows if row["status"] == "absent"]
    assert f"{len(absent):,} row" in page.get("/rows?status=absent").text
    one = next(row for row in rows if row["status"] == "ok")
    found = re.findall(
        r"/video/(\d+)/([\w-]{11})", page.get("/rows", params={"q": one["video_id"].upper()}).text
    )
    assert [video for _, video in found] == [one["video_id"]]
    n = found[0][0]

    video = page.get(f"/video/{n}/{one['video_id']}").text
    assert f"https://www.youtube.com/watch?v={one['video_id']}&amp;t=0s" in video
    for suffix in ("json", "md", "srt"):
        assert f'href="/video/{n}/{one["video_id"]}/{suffix}"' in video
        data = page.get(f"/video/{n}/{one['video_id']}/{suffix}")
        assert data.content == (room.root / "out" / one["files"][suffix]).read_bytes()
        assert "attachment" in data.headers["content-disposition"]
    for wrong in (
        f"/video/{n}/{'x' * 11}",
        f"/video/{int(n) + 1}/{one['video_id']}",
        f"/video/{n}/{one['video_id']}/vtt",
    ):
        assert page.get(wrong).status_code == 404

    assert page.get("/download/manifest.jsonl").content == (room.queue / "manifest.jsonl").read_bytes()
    assert len(page.get("/download/failures.csv").text.splitlines()) == 1 + len(absent)
    assert "this is no video" in page.get("/download/rejects.csv").text
    assert "<!doctype html>" in page.get("/download/report.html").text
    assert page.get("/download/report.json").json()["state"] == "finished"
    table = page.get("/download/table.csv").content.decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(table)))) == len(rows)
    for name in ("texts.zip", "md.zip", "srt.zip", "vtt.zip"):
        with zipfile.ZipFile(io.BytesIO(page.get(f"/download/{name}").content)) as archive:
            assert len(archive.namelist()) == sum(row["status"] == "ok" for row in rows)
    assert page.get("/download/table.db").content.startswith(b"SQLite format 3")
    assert page.get("/download/table.parquet").content.startswith(b"PAR1")
    assert len(page.get("/download/table.jsonl").text.splitlines()) == len(rows)
    passages = {json.loads(line)["video_id"] for line in page.get("/download/passages.jsonl").iter_lines()}
    assert passages == {row["video_id"] for row in rows if row["status"] == "ok"}
    for name in ("batch.json", "..%2fbatch.json", "%2fetc%2fpasswd"):
        assert page.get(f"/download/{name}").status_code == 404
    assert 'engine_jobs{queue="' in page.get("/metrics").text

    main = page.get("/").text
    assert 'data-step="verify"' in main
    assert "Fixed by the first run: languages en, formats json, md, srt" in main
    assert "this is no video" in main
    assert page.do("verify").json()["say"].startswith("no damage found")
    uploads = room.root / "cache" / "engine" / "uploads"
    assert list(uploads.iterdir()) == []


def test_a_file_is_uploaded_looked_at_and_started(room: Room) -> None:
    page = room.page()
    names = list(invented_ids(3, 9))
    data = ("title,url\n" + "".join(f"x,https://youtu.be/{name}\n" for name in names)).encode()
    headers = {"Origin": page.origin, "X-Engine": "1", "X-Name": "../..%2f%00my%20list.csv"}
    sent = page.browser.post(f"{page.origin}/do/upload", data=data, headers=headers, timeout=HANG_S).json()
    assert sent["ok"]
    (file,) = (room.root / "cache" / "engine" / "uploads").glob("*/*")
    assert file.name.endswith(".csv") and file.read_bytes() == data
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "3 new" in page.do("check", upload=sent["upload"]).json()["say"]
    assert "3 added" in page.do("start", upload=sent["upload"], rate="none").json()["say"]
    assert not file.exists()
    room.finished()
    assert recount.manifest(room.queue)[0]["input"]["title"] == "x"
    gone = page.do("check", upload=sent["upload"])
    assert (gone.status_code, "no longer there" in gone.json()["say"]) == (400, True)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"path": "/no/such/file"}, "no such file"),
        ({"path": "-"}, "no such file"),
        ({"path": "https://youtu.be/dQw4w9WgXcQ"}, "no such file"),
        ({"path": "/etc"}, "no such file"),
        ({"path": "/etc/\0passwd"}, "not a text"),
        ({"upload": "../../etc"}, "no longer there"),
        ({"text": "dQw4w9WgXcQ", "path": "/etc/hostname"}, "give one of them"),
        ({"text": "dQw4w9WgXcQ", "languages": "en;rm"}, "Languages: 'en;rm' is not"),
        ({"text": "dQw4w9WgXcQ", "languages": "en,deutsch"}, "Languages: 'deutsch' is not"),
        ({"text": "dQw4w9WgXcQ", "formats": ["exe"]}, "Formats: there are"),
        ({"text": "dQw4w9WgXcQ", "rate": "-q/etc"}, "Rate: '-q/etc' is not a rate"),
        ({"text": "dQw4w9WgXcQ", "rate": "fast"}, "Rate: 'fast' is not a rate"),
        ({"text": "dQw4w9WgXcQ", "at_once": 99}, "Videos at once: 2 to 20"),
        ({"text": "dQw4w9WgXcQ", "output": "/dev/null/x"}, "Folder: /dev/null/x: nothing can be"),
        ({"text": "dQw4w9WgXcQ", "output": "queue/tmp"}, "Folder: "),
        ({"text": "dQw4w9WgXcQ", "encoding": "utf-99"}, "Encoding: 'utf-99': no such encoding"),
        ({"text": ["dQw4w9WgXcQ"]}, "not a text"),
        ({}, "queue"),
    ],
)
def test_wrong_input_is_refused_in_words_and_makes_nothing(
    looking: Page, wanted: dict[str, Any], says: str
) -> None:
    answer = looking.do("start", **wanted)
    assert answer.status_code != 200
    assert says in answer.json()["say"]
    assert "Traceback" not in answer.text
    queue = Path(looking.command.args[2])
    assert not queue.exists()


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on a queue that is not there; nothing of it reaches for a network."""
    root = tmp_path_factory.mktemp("looking")
    with Page(root / "queue", cache=root / "cache", ENGINE_PROXY="http://127.0.0.1:1") as page:
        yield page.enter()


def test_requests_that_are_none_of_the_scripts_get_no_traceback(looking: Page) -> None:
    good = {"Origin": looking.origin, "X-Engine": "1"}
    for body in (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"text": 1e999}'):
        answer = looking.browser.post(f"{looking.origin}/do/check", data=body, headers=good, timeout=HANG_S)
        assert answer.status_code in (200, 400), body[:20]
    assert looking.do("nothing").status_code == 404
    for path in (
        "/rows?before=x",
        "/rows?before=" + "9" * 400,
        "/rows?q=%ff%00",
        "/video/999999999999999999999/abc",
    ):
        assert looking.get(path).status_code in (200, 404), path
    assert looking.command.live
    assert "Traceback" not in looking.command.said()


def test_the_real_server_refuses_too(looking: Page) -> None:
    """The table of the checks is walked in `test_page_access`; here it stands in front of the real routes."""
    stranger = requests.Session()
    stranger.trust_env = False
    for path in ("/", "/rows", "/events", "/metrics", "/static/page.js", "/download/report.html", "/nothing"):
        assert stranger.get(looking.origin + path, timeout=HANG_S).status_code == 401, path
        foreign = looking.get(path, headers={"Host": "evil.example"})
        assert (foreign.status_code, "set-cookie" in foreign.headers) == (403, False), path
    wrong = looking.browser.post(f"{looking.origin}/do/stop", json={}, timeout=HANG_S)
    assert wrong.status_code == 403
    preflight = looking.browser.options(
        f"{looking.origin}/do/stop", headers={"Origin": "http://evil"}, timeout=HANG_S
    )
    assert not [name for name in preflight.headers if name.lower().startswith("access-control")]
    assert "server" not in {name.lower() for name in looking.get("/").headers}
    with socket.create_connection(("127.0.0.1", looking.port)), pytest.raises(OSError):
        socket.create_connection(
            (socket.gethostbyname(socket.gethostname()), looking.port), timeout=2
        ).close()
        raise OSError if socket.gethostbyname(socket.gethostname()).startswith("127.") else AssertionError


# ── deaths ─────────────────────────────────────────────────────────────────────────────────────────────


def started(room: Room, page: Page, videos: int = 60) -> int:
    """Start a run that takes a while; returns its process."""
    names = "\n".join(invented_ids(videos, 5))
    assert page.do("start", text=names, rate="6/s", at_once=4).json()["ok"]
    until(lambda: room.status()["in_flight"], HANG_S, "for the first videos")
    pid = room.run_pid()
    assert pid is not None
    return pid


def test_only_stale_uploads_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _, old = cache.new_upload("links.csv")
    _, young = cache.new_upload("links.csv")
    theirs = tmp_path / "engine" / cache.UPLOADS / "empty"
    theirs.mkdir()
    for path in (Path(old), Path(young)):
        path.write_text("x")
    for path in (Path(old), theirs):
        os.utime(path, (1, 1))
    cache.sweep()
    assert not Path(old).parent.exists()
    assert Path(young).exists()
    assert theirs.is_dir()


def sound(room: Room, videos: int, runs: int) -> None:
    """The batch came to its end in so many runs: each video has one row, and the audit finds nothing."""
    room.finished()
    rows = recount.manifest(room.queue)
    assert sorted(row["video_id"] for row in rows) == sorted(invented_ids(videos, 5))
    events = [json.loads(line) for line in (room.queue / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("start") == runs
    assert engine("verify", "-q", room.queue).code == 0


def test_kill_9_of_the_page(room: Room) -> None:
    """The run does not notice; another page shows it, and steers it to its end."""
    page = room.page()
    pid = started(room, page)
    os.kill(page.command.pid, signal.SIGKILL)
    assert page.command.wait(HANG_S).code == -signal.SIGKILL
    assert "--queue=" in _command_line(pid)
    again = room.page()
    assert next(told(again))["controls"]["state"] == "running"
    assert page.browser.get(again.origin, timeout=HANG_S).status_code == 401, "the old page's cookie"
    assert again.do("set", rate="none").json()["ok"]
    sound(room, 60, runs=1)


def test_kill_9_of_the_run(room: Room) -> None:
    """The page that started it says how it ended, another page that it is no more; either goes on with it."""
    page, other = room.page(), room.page()
    os.killpg(started(room, page), signal.SIGKILL)
    for each in (page, other):
        seen = next(
            one["controls"] for one in told(each) if one.get("controls", {}).get("state") == "stopped"
        )
        assert seen["left"] > 0
        assert 'data-step="start"' in each.get("/").text
        answer = each.do("pause")
        assert (answer.status_code, answer.json()["ok"]) == (409, False)
    until(
        lambda: "SIGKILL" in next(told(page))["controls"]["words"], HANG_S, "for the page to say how it ended"
    )
    assert other.do("start", rate="none").json()["say"] == "the run has started"
    sound(room, 60, runs=2)


def test_kill_9_of_both(room: Room) -> None:
    page = room.page()
    pid = started(room, page)
    os.kill(page.command.pid, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    again = room.page()
    assert next(told(again))["controls"]["state"] == "stopped"
    assert again.do("start", rate="none").json()["say"] == "the run has started"
    sound(room, 60, runs=2)


def test_two_pages_that_start_at_once_start_one_run(room: Room) -> None:
    pages = [room.page(), room.page()]
    assert pages[0].port != pages[1].port
    names = "\n".join(invented_ids(40, 6))
    assert engine("seed", "-q", room.queue, *invented_ids(40, 6)).code == 0
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(
            target=lambda page=page: answers.append(page.do("start", text=names, rate="30/s").json())
        )
        for page in pages
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 2
    assert any(answer["ok"] for answer in answers), answers
    room.finished()
    events = [json.loads(line) for line in (room.queue / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("start") == 1
    for page in pages:
        assert next(told(page))["controls"]["state"] == "finished"


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_while_a_browser_listens(room: Room, sig: signal.Signals) -> None:
    page = room.page()
    stream = told(page)
    next(stream)
    page.command.signal(sig)
    ended = page.command.wait(10.0)
    assert (ended.code, "Traceback" in ended.said) == (0, False), ended.said


# ── what is foreign ────────────────────────────────────────────────────────────────────────────────────


def canned(root: Path, rows: list[dict[str, Any]]) -> Queue:
    queue = make_queue(str(root))
    counts = Counts()
    for row in rows:
        counts.add(row)
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    Path(queue.manifest).write_bytes(data)
    write_checkpoint(queue, Checkpoint(len(data), counts, rows_crc32=zlib.crc32(data)))
    return queue


def test_nothing_of_the_site_becomes_markup_or_a_path(room: Room, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    row = {
        "video_id": "dQw4w9WgXcQ",
        "status": "failed",
        "kind": HOSTILE,
        "message": HOSTILE,
        "title": HOSTILE,
        "channel": HOSTILE,
        "language": HOSTILE,
        "duration_s": HOSTILE,
        "finished_at": HOSTILE,
        "files": {"json": "../secret.json", "md": "/etc/hostname", "srt": 7},
        "input": {"topic": HOSTILE},
    }
    odd = {**row, "video_id": "../../etc/passwd", "title": None, "files": []}
    queue = canned(room.queue, [row, odd])
    event = {"at": "2026-11-22T09:06:08.268Z", "event": HOSTILE, "reason": HOSTILE}
    Path(queue.events).write_text(json.dumps(event) + "\n")
    Path(queue.rejects).write_text(
        f'file,line,text,reason\n{HOSTILE!r},1,"{HOSTILE.replace(chr(34), chr(34) * 2)}",x\n'
    )
    page = room.page()
    until(lambda: "2 rows" in page.get("/rows").text, HANG_S, "for the index")
    texts = [page.get(path).text for path in ("/", "/rows", "/rows?kind=" + HOSTILE, "/video/1/dQw4w9WgXcQ")]
    texts += next(told(page))["parts"].values()
    for text in texts:
        for bad in ("<script>alert", "<img", "\u202e", "\x1b", " style=", " onerror=y>"):
            assert bad not in text.replace("&lt;img src=x onerror=y&gt;", ""), bad
    for suffix in ("json", "md", "srt"):
        assert page.get(f"/video/1/dQw4w9WgXcQ/{suffix}").status_code == 404
    assert "Traceback" not in page.command.said(), page.command.said()


def test_a_queue_of_a_newer_format_is_only_said_to_be_one(room: Room) -> None:
    make_queue(str(room.queue))
    (room.queue / "FORMAT").write_text("99\n")
    page = room.page()
    assert "use a newer engine" in page.get("/").text
    assert "use a newer engine" in page.do("start", text="dQw4w9WgXcQ").json()["say"]


# ── options ────────────────────────────────────────────────────────────────────────────────────────────


def test_read_only_shows_and_changes_nothing(room: Room) -> None:
    canned(room.queue, [])
    page = room.page("--read-only")
    main = page.get("/").text
    assert "<textarea" not in main and "data-do=" not in main and "data-step=" not in main
    for verb in ("stop", "start", "set", "upload"):
        assert page.do(verb).status_code == 405


def test_a_program_reads_the_metrics_with_the_token_of_a_file(room: Room) -> None:
    file = room.root / "token"
    page = room.page("--token-file", file)
    token = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    bearer = {"Authorization": f"Bearer {token}"}
    scraped = requests.get(f"{page.origin}/metrics", headers=bearer, timeout=HANG_S)
    assert scraped.status_code == 200
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert requests.get(f"{page.origin}/rows", headers=bearer, timeout=HANG_S).status_code == 401
    printed = engine("status", "--format", "prometheus", "-q", room.queue)
    assert printed.code == 10
    names = {line.split("{")[0] for line in printed.out.splitlines() if not line.startswith("#")}
    assert names == {line.split("{")[0] for line in scraped.text.splitlines() if not line.startswith("#")}


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _link(path: Path) -> None:
    path.with_suffix(".real").write_text("a-token-that-is-long-enough\n")
    path.symlink_to(path.with_suffix(".real"))


def _holding(text: str, mode: int = 0o600) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text(text)
        path.chmod(mode)

    return make


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_holding(""), "no token in it"),
        (_holding("\n"), "no token in it"),
        (_holding("abc\n"), "no token in it"),
        (_holding("two words that are long enough\n"), "no token in it"),
        (_holding("ein-Schlüssel-mit-Umlaut\n"), "no token in it"),
        (_holding("two-lines-of-a-token\ntwo-lines-of-a-token\n"), "no token in it"),
        (_holding("x" * 2000), "larger than 1024 bytes"),
        (_holding("a-token-that-is-long-enough\n", 0o644), "chmod 600"),
        (_holding("a-token-that-is-long-enough\n", 0o620), "chmod 600"),
        (_fifo, "not a regular file"),
        (_link, "not a regular file"),
        (Path.mkdir, "not a regular file"),
    ],
)
def test_a_token_file_that_is_none_is_refused(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "token"
    make(path)
    with pytest.raises(UsageError, match=said):
        read_token(str(path))


def test_a_token_file_is_made_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = read_token(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(str(path)) == token
    with pytest.raises(UsageError, match="cannot be made"):
        read_token(str(tmp_path / "missing" / "token"))


def test_a_browser_is_opened_with_what_lets_in_once(room: Room) -> None:
    """Whoever lists the processes sees that address, for as long as the browser runs."""
    opened, opener = room.root / "opened", room.root / "browser"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" >"{opened}.part" && mv "{opened}.part" "{opened}"\n')
    opener.chmod(0o700)
    page = room.page("--open", BROWSER=str(opener))
    until(opened.exists, HANG_S, "for the browser to be opened")
    address = opened.read_text()
    assert address.startswith(f"{page.origin}/?token=") and address != page.address
    with requests.Session() as browser:
        assert browser.get(address, timeout=HANG_S).status_code == 200
        assert browser.get(f"{page.origin}/rows", timeout=HANG_S).status_code == 200
    assert requests.get(address, timeout=HANG_S).status_code == 401


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        ("GET / HTTP/1.1", None, 401),
        ("GET / HTTP/1.0", None, 401),
        ("GET / HTTP/1.1", "evil.example", 403),
        ("GET / HTTP/1.1", "[::1]:{port}", 403),
        ("GET http://evil.example/ HTTP/1.1", "evil.example", 403),
        ("GET http://127.0.0.1:{port}/ HTTP/1.1", None, 401),
        ("CONNECT 127.0.0.1:{port} HTTP/1.1", None, 401),
        ("OPTIONS * HTTP/1.1", None, 401),
        ("TRACE / HTTP/1.1", None, 401),
        ("GET /%2e%2e/etc/passwd HTTP/1.1", None, 401),
        ("GET /static/page.js HTTP/1.1", None, 401),
        ("GET /metrics HTTP/1.1", None, 401),
        ("POST /do/stop HTTP/1.1", None, 401),
    ],
)
def test_nobody_comes_in_by_another_way_of_asking(
    looking: Page, request_line: str, host: str | None, status: int
) -> None:
    """Byte for byte, to the real server, without a cookie."""
    with socket.create_connection(("127.0.0.1", looking.port), HANG_S) as sock:
        name = (host or "127.0.0.1:{port}").format(port=looking.port)
        line = request_line.format(port=looking.port)
        sock.sendall(f"{line}\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(1 << 16):
            answer += data
    assert answer.split()[1] == str(status).encode(), answer
    assert b"set-cookie" not in answer.lower() and b"access-control" not in answer.lower()


def test_a_socket_of_the_web_is_not_opened(looking: Page) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    for path in ("/", "/events", "/do/stop"):
        with looking.get(path, headers=headers, stream=True) as answer:
            assert answer.status_code != 101


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_it_listens_on_one_address(looking: Page, address: str) -> None:
    with pytest.raises(OSError, match=r"refused|unreachable|assign|not supported"):
        socket.create_connection((address, looking.port), HANG_S)


def test_wrong_options_are_refused_in_words(room: Room, looking: Page) -> None:
    taken = engine("page", "-q", room.queue, "--port", str(looking.port))
    assert (taken.code, f"by process {looking.command.pid}" in taken.err) == (2, True), taken.said
    foreign = engine("page", "-q", "/")
    assert (foreign.code, "no queue can be made in /" in foreign.err) == (2, True), foreign.said
    both = engine("status", "--format", "prometheus", "--json", "-q", room.queue)
    assert both.code == 2
