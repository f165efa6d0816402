"""`--notify` on real runs: told once when it is over, with no word of the secret anywhere else."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import Command, engine, session_members, until

SECRET = "T0pS3cretOfTheHook"


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address that takes notices, and those it got."""
    got: list[dict[str, Any]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", got
        server.shutdown()
        thread.join()


def test_a_run_that_is_stopped(tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]) -> None:
    address, got = hook
    queue, out = tmp_path / "night", tmp_path / "out"
    args = ("rehearse", "--videos", "400", "--latency", "0.2", "-p", "2", "-t", "2", "-q", queue, "-o", out)
    with Command(*args, "--grace", "2", ENGINE_NOTIFY=address) as run:
        until(lambda: any(out.glob("*/*.json")), 30, "the first transcript")
        others = [pid for pid in session_members(run.pid) if pid != run.pid]
        assert len(others) >= 4  # two workers, the monitor, the stand-in
        for pid in others:
            for what in ("cmdline", "environ"):
                assert SECRET.encode() not in Path(f"/proc/{pid}/{what}").read_bytes()
        run.signal(signal.SIGTERM)
        ended = run.wait(30)
    assert ended.code == 143
    [notice] = got
    assert (notice["event"], notice["state"], notice["queue"]) == ("ended", "stopped", "night")
    assert (notice["exit_code"], notice["reason"]) == (143, "stopped by SIGTERM")
    assert notice["counts"]["ok"] > 0 < notice["counts"]["pending"]
    assert notice["new"]["ok"] == notice["counts"]["ok"]
    assert SECRET not in ended.said
    for path in [*queue.rglob("*"), *out.rglob("*")]:
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    assert got and engine("report", "-q", queue).code == 0


def test_a_run_that_halts_keeps_its_exit_code_whatever_the_command_does(tmp_path: Path) -> None:
    said = tmp_path / "said"
    ended = engine(
        *("rehearse", "--videos", "30", "--progress", "none", "-p", "1", "-t", "2", "-q", tmp_path / "q"),
        *("-o", tmp_path / "out", "--scene", "429", "--on-block", "stop"),
        *("--notify", f"sh -c 'cat >{said}; echo $ENGINE_STATE; exit 7'"),
    )
    assert ended.code == 5
    notice = json.loads(said.read_text())
    assert (notice["state"], notice["exit_code"]) == ("halted", 5)
    assert notice["reason"].startswith("every egress is blocked")
    assert ended.out == ""  # the command's words went to stderr
    assert "halted\n--notify: sh was not notified: it ended with 7\n" in ended.err


def test_a_night_of_channels_tells_what_is_new(
    tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    address, got = hook
    where = ("-q", tmp_path / "q", "-o", tmp_path / "out", "--latency", "0", "--progress", "plain")
    first = engine("rehearse", "@made-up-4", "PLmade-up-3", *where, "-p", "1", ENGINE_NOTIFY=address)
    assert first.code == 0, first.said
    assert engine("sync", "-q", tmp_path / "q").code == 0
    night = engine("rehearse", "--uploads", "2", *where, "-p", "1", ENGINE_NOTIFY=address)
    assert night.code == 0, night.said
    [line] = [line for line in night.err.splitlines() if " new" in line]
    report = json.loads(engine("report", "-q", tmp_path / "q", "--json").out)["new"]
    brought = ", ".join(f"{source} {count}" for source, count in report["sources"].items())
    assert report["ok"] >= 2
    assert line == f"{report['ok']} new: {brought}"
    notice = got[-1]
    assert notice["reason"] == f"finished; {line}"
    assert notice["new_sources"] == report["sources"]
    assert notice["new_titles"] == [each["title"] for each in report["examples"]]
    assert len(notice["new_titles"]) == report["ok"]
    last = [line for line in night.err.splitlines() if line.endswith("| finished")]
    assert [line[:3] for line in last] == ["202"]
    assert engine("sync", "-q", tmp_path / "q").code == 0
    nothing = engine("rehearse", "--uploads", "2", *where, "-p", "1", ENGINE_NOTIFY=address)
    assert "\n0 new\n" in nothing.err
    assert (got[-1]["reason"], got[-1]["new_titles"]) == ("finished; 0 new", [])
