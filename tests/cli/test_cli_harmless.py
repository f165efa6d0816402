"""Nothing that is typed, or read from a file, can steer a terminal or look like a line of ours: every command, by a
table of where foreign text comes in."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import click
import pytest
from support import Kind, worked

from engine.cli import group, invoke
from engine.queue.directory import Queue
from engine.queue.manifest import read_checkpoint, write_checkpoint

pytestmark = pytest.mark.usefixtures("no_fsync")

EVIL = "e\x1b]0;x\x07v\x9b31mi\u202el\u2066\x1b[2J\rFAKE\nFAKE\x85FAKE\u2028FAKE\x00"[:-1]
STEERING = set(EVIL) - set("evilxFAKEmJ[]0;231\n")
ID = "dQw4w9WgXcQ"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    for name in [text for text in os.environ if text.startswith("ENGINE_")]:
        monkeypatch.delenv(name)


def check(said: str) -> None:
    assert not set(said) & STEERING, ascii(said)
    assert not any(line.startswith("FAKE") for line in said.split("\n")), said


TYPED: list[list[str]] = [
    [EVIL],
    ["--" + EVIL],
    ["-" + EVIL],
    ["run", "--" + EVIL],
    ["config", EVIL],
    ["proxies", EVIL],
    ["set", EVIL],
    ["set", f"rate={EVIL}"],
    ["set", f"threads={EVIL}"],
    ["run", EVIL],
    ["run", "./" + EVIL],
    ["run", f"https://youtube.com/{EVIL}"],
    ["run", ID, "-o", f"s3://{EVIL}"],
    ["run", ID, "-l", EVIL],
    ["run", ID, "-l", f"en,{EVIL}"],
    ["run", ID, "--translate", EVIL],
    ["run", ID, "--rate", EVIL],
    ["run", ID, "--max-bytes", EVIL],
    ["run", ID, "--max-duration", EVIL],
    ["run", ID, "--proxy", EVIL],
    ["run", ID, "--proxies", EVIL],
    ["run", ID, "--ca-bundle", EVIL],
    ["run", ID, "--notify", EVIL],
    ["run", ID, "--notify", f"ftp{EVIL}://x"],
    ["run", ID, "--profile", EVIL],
    ["run", ID, "-f", EVIL],
    ["run", ID, "-p", EVIL],
    ["run", ID, "--deadline", EVIL],
    ["run", ID, "--progress", EVIL],
    ["rehearse", "--scene", EVIL],
    ["rehearse", "--port", EVIL],
    ["plan", EVIL],
    ["plan", ID, "--price", EVIL],
    ["seed", "--dry-run", "--skip-known", EVIL, ID],
    ["seed", "--dry-run", "--keep-columns", EVIL, ID],
    ["seed", "--dry-run", "--keep-columns", f"a,{EVIL}", "list.csv"],
    ["seed", "--dry-run", "--column", EVIL, "list.csv"],
    ["seed", "--dry-run", "--sheet", EVIL, "list.csv"],
    ["seed", "--preview", "5", "list.csv"],
    ["seed", "--dry-run", EVIL],
    ["failures", "-q", "queue", "--kind", EVIL],
    ["failures", "-q", "queue", "--older-than", EVIL],
    ["retry", "-q", "queue", "--kind", EVIL],
    ["wait", "-q", "queue", "--timeout", EVIL],
    ["report", "-q", "queue", "--html", f"no/{EVIL}/x.html"],
    ["proxies", "check", "--proxy", EVIL],
    ["config", "show", "--profile", EVIL],
    *(
        [name, "-q", EVIL]
        for name in ("status", "failures", "retry", "verify", "wait", "stop", "pause", "resume")
    ),
    *([name, "-q", EVIL] for name in ("sync", "report", "plan", "doctor", "set", "run")),
    ["config", "show", "-q", EVIL],
    ["config", "show", "--json", "-q", EVIL],
]


@pytest.mark.parametrize("args", TYPED, ids=lambda args: " ".join(args).replace(EVIL, "EVIL"))
def test_typed(args: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text(
        f'url,"{EVIL}"\n{ID},"{EVIL}"\n"{EVIL}",x\n', encoding="utf-8", newline=""
    )
    if "queue" in args:
        worked(tmp_path, 4)
    invoke(args)
    captured = capfd.readouterr()
    check(captured.out)
    check(captured.err)
    assert captured.out or captured.err


def test_typed_into_any_option(capfd: pytest.CaptureFixture[str]) -> None:
    """Options that somebody adds later as well."""
    taken = socket.create_server(("127.0.0.1", 0))  # the page ends there, and does not serve
    page = ["--port", str(taken.getsockname()[1])]
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        for option in (
            param for param in command.params if isinstance(param, click.Option) and not param.is_flag
        ):
            if option.count or option.name == "progress":
                continue
            more = {
                "seed": ["--dry-run"],
                "retry": ["--dry-run"],
                "rehearse": ["--videos", "0"],
                "page": page,
            }.get(name, [])
            if option.name != "videos":
                invoke([name, *more, option.opts[-1], EVIL])
            captured = capfd.readouterr()
            check(captured.out)
            check(captured.err)
    taken.close()


@pytest.mark.parametrize(
    "variable", ["ENGINE_RATE", "ENGINE_OUTPUT", "ENGINE_LANGUAGES", "ENGINE_PROFILE", "ENGINE_THREADS"]
)
def test_in_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, EVIL)
    for args in (["config", "show"], ["config", "show", "--json"], ["run", "none.txt"]):
        invoke(args)
        captured = capfd.readouterr()
        check(captured.out)
        check(captured.err)


TOML = json.dumps(EVIL)  # whose escapes are TOML's as well


@pytest.mark.parametrize(
    "text",
    [
        f"{TOML} = 1",
        f"rate = {TOML}",
        f"output = {TOML}",
        f"proxy = {TOML}",
        f"languages = [{TOML}]",
        f"notify = {TOML}",
        f"format = [{TOML}]",
        f"threads = {TOML}",
        f"[profile.{TOML}]\nrate = 1\n[profile.x]\n{TOML} = 1",
        f"rate = {EVIL}",
        EVIL,
    ],
)
def test_in_a_settings_file(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "engine.toml").write_text(text, encoding="utf-8")
    for args in (
        ["config", "show", "-q", "q"],
        ["config", "show", "--json", "-q", "q"],
        ["run", "-q", "q", "none"],
    ):
        invoke(args)
        captured = capfd.readouterr()
        check(captured.out)
        check(captured.err)


def test_in_the_queues_own_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever can write there can write anything: rows, counts, events, listings, notes, what was frozen."""
    (tmp_path / EVIL[:20]).mkdir()
    queue = worked(tmp_path / EVIL[:20], 8, lambda _: Kind.PRIVATE)
    _spoil(queue)
    for args in (
        ["status"],
        ["failures"],
        ["failures", "--csv"],
        ["failures", "--json"],
        ["report"],
        ["report", "--json"],
        ["verify"],
        ["plan"],
        ["wait"],
        ["doctor"],
        ["run"],
        ["run", "-o", "elsewhere"],
        ["config", "show"],
        ["sync"],
        ["retry", "--dry-run"],
    ):
        invoke([*args, "-q", queue.root])
        captured = capfd.readouterr()
        check(captured.out)
        check(captured.err)
        assert captured.out or captured.err, args


def _spoil(queue: Queue) -> None:
    checkpoint = read_checkpoint(queue)
    assert checkpoint is not None
    row = dict.fromkeys(("video_id", "kind", "message", "title", "channel", "egress", "finished_at"), EVIL)
    line = json.dumps({**row, "status": "failed"}).encode() + b"\n"
    Path(queue.manifest).write_bytes(line)
    checkpoint.length = len(line)
    checkpoint.counts.kinds[EVIL] = 8
    write_checkpoint(queue, checkpoint)
    Path(queue.events).write_text(
        json.dumps({"at": "2026-11-22T09:06:08.268Z", "event": EVIL, "reason": EVIL}) + "\n"
    )
    listing: dict[str, Any] = {
        "number": 0,
        "source": EVIL,
        "kind": "channel",
        "state": "failed",
        "last_error": EVIL,
    }
    os.makedirs(queue.listings, exist_ok=True)
    Path(queue.listing(0)).write_text(json.dumps(listing))
    frozen = {"output": f"/{EVIL}", "languages": [EVIL], "formats": [EVIL], "captions": EVIL}
    queue.write_batch({**queue.read_batch(), "frozen": frozen})
