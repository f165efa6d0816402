"""Hostile input through real runs: a named outcome or a clear error for each, and no other job suffers.

What is checked where it happens, by name:

| input | test |
|---|---|
| ids that are paths | inputs/test_inputs_ids.py `test_any_text_gets_an_id_or_a_reason`, test_e2e_input.py |
| titles: escapes, NUL, surrogates, bidi, 10,000 characters, YAML, formulas | here; render/*, test_failures.py |
| texts made to be slow, lists and messages without an end | youtube/test_youtube_growth.py |
| large bodies at once, cookies, encodings, answers 1xx | test_turns.py, youtube/test_youtube_ways.py, _cookies.py |
| XML bombs, DOCTYPE, deep nesting; gzip bombs; redirects to other hosts | here; youtube/test_youtube_egress.py |
| `youtube.com@127.0.0.1` as input | test_e2e_input.py; as a redirect: here |
| symbolic links in the output directory | here; test_output.py |
| proxy passwords in files, words, process list, environment | here; test_proxies.py, youtube/test_youtube_egress.py |
| world-readable proxy files | here; test_proxies.py |
| lines of 10 MB, directory as input, empty file, BOM, CRLF | test_e2e_input.py; inputs/test_inputs_readers.py |
| wrong encodings | inputs/test_inputs_readers.py |
| private modes whatever the umask | here |
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import recount
import yaml
from commands import Batch, Command, Ended, command_line, session_members, until, videos
from nights import Place, played

from engine.rehearsal import invent, parse_scenario
from engine.rehearsal.malicious_responses import TITLES

SEED = 11
CANARY = "canary-9f2c-p4ss"
SCENES = ("hostile=0.45", "xml_bomb=0.3", "astray=0.4", "huge=0.25")
OUTCOME = {"hostile": None, "xml_bomb": "garbled", "astray": "garbled", "huge": "too_large"}
CONTROL = [*map(chr, range(32)), "\x7f", "\x9b", "\u202e", "\u2066"]


def fate(video_id: str) -> str | None:
    """The first scene that touches a video, as the stand-in plays them."""
    scenes = [parse_scenario(text) for text in SCENES]
    return next((scene.name for scene in scenes if scene.touches(SEED, video_id)), None)


@dataclass
class Hostile:
    batch: Batch
    ended: Ended
    command_lines: list[str]
    environments: list[bytes]


def hostile(place: Place) -> Hostile:
    """One run over hostile and ordinary videos, by a proxy with a password, with umask 000."""
    site = place.stand_in(seed=SEED, scenarios=SCENES, auth=f"*:{CANARY}")
    batch = place.batch(videos(60, SEED), site)
    proxies = place.root / "proxies.txt"
    proxies.write_text(site.proxy_url_as("user", CANARY) + "\n")
    proxies.chmod(0o644)
    args = [
        "run",
        batch.file,
        "-q",
        batch.queue,
        "-o",
        batch.out,
        "--rate",
        "none",
        "--progress",
        "plain",
        "-v",
    ]
    args += ["-p", "2", "-t", "4", "--attempts", "2", "--deadline", "300", "--proxies", proxies]
    args += ["--ca-bundle", site.ca_bundle, "-f", "md", "-f", "txt", "-f", "srt", "-f", "vtt"]
    lines, environments = [], []
    with Command(*args, umask=0) as run:
        batch.pids.append(run.pid)
        until(lambda: recount.workers(batch.queue), 60.0, "workers")
        for pid in session_members(run.pid):
            lines.append(command_line(pid))
            environments.append(_environment(pid))
        ended = run.wait(110.0)
        batch.gone(run)
    return Hostile(batch, ended, lines, environments)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@played(hostile)
def test_each_hostile_answer_has_its_named_outcome(night: Hostile) -> None:
    """XML bombs, DOCTYPE, gzip bombs, redirects to other hosts; the others end as ever."""
    assert night.ended.code == 3, night.ended.said
    assert "Traceback" not in night.ended.said
    rows = night.batch.rows()
    fates = {video_id: fate(video_id) for video_id in night.batch.ids}
    assert {*OUTCOME, None} == set(fates.values()), "each is there"
    for video_id, text in fates.items():
        wanted = OUTCOME[text] if text else None
        assert rows[video_id]["kind"] == wanted, (text, rows[video_id])
    assert "leads away" in str([rows[v]["message"] for v, text in fates.items() if text == "astray"])
    night.batch.clean()


@played(hostile)
def test_titles_arrive_whole_and_break_nothing(night: Hostile) -> None:
    """Escapes, NUL, surrogates, bidi controls, 10,000 characters, YAML, formulas: data in the files, no more."""
    names = [name for name in night.batch.ids if fate(name) == "hostile"]
    met = {invent(SEED, name).view_count % len(TITLES) for name in names}
    assert len(met) >= 7, met
    for name in names:
        title = TITLES[invent(SEED, name).view_count % len(TITLES)].encode("utf-8", "replace")
        files = {
            item: night.batch.out / name[:2] / f"{name}.{item}"
            for item in ("json", "md", "txt", "srt", "vtt")
        }
        record = json.loads(files["json"].read_bytes())
        assert record["metadata"]["title"].replace("\ufffd", "?").encode() == title
        front = yaml.safe_load(files["md"].read_text(encoding="utf-8").split("\n---\n")[0])
        assert front["title"] == record["metadata"]["title"]
        assert front["description"] == record["metadata"]["description"]
        assert set(front) >= {"video_id", "title"}
        assert "admin" not in front
        assert "next" not in front
        for item, path in files.items():
            text = path.read_bytes().decode("utf-8")
            assert "\x1b" not in text, (item, name)
            assert "\x00" not in text, (item, name)


@played(hostile)
def test_nothing_said_steers_a_terminal(night: Hostile) -> None:
    told = [night.ended.said]
    for args in (("failures",), ("failures", "--csv"), ("failures", "--json"), ("status",), ("verify",)):
        told.append(night.batch.does(*args).said)
    for text in told:
        assert not [char for char in CONTROL if char in text and char not in "\n\r\t"]


@played(hostile)
def test_the_password_of_a_proxy_is_nowhere(night: Hostile) -> None:
    """A canary: in no file of the run, no word it says, no process's arguments or environment."""
    assert len(night.command_lines) >= 3
    assert CANARY not in "".join(night.command_lines)
    assert CANARY.encode() not in b"".join(night.environments)
    assert CANARY not in night.ended.said
    looked = 0
    for path in _files(night.batch.queue, night.batch.out):
        looked += 1
        assert CANARY.encode() not in path.read_bytes(), path
    assert looked > 100
    for args in (("status", "--json"), ("failures", "--json"), ("verify", "--json"), ("plan",)):
        assert CANARY not in night.batch.does(*args).said


@played(hostile)
def test_a_proxy_list_that_others_can_read_is_warned_of(night: Hostile) -> None:
    assert "proxies.txt can be read by others" in night.ended.err


@played(hostile)
def test_the_queue_is_private_whatever_the_umask(night: Hostile) -> None:
    """Files 0600, directories 0700, from a run with umask 000; output may be read, and written by its owner alone."""
    queue = night.batch.queue
    wrong = []
    for path in [queue, *queue.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode != (0o700 if path.is_dir() else 0o600):
            wrong.append((str(path.relative_to(queue.parent)), oct(mode)))
    assert wrong == []
    written = [path for path in night.batch.out.rglob("*") if path.stat().st_mode & 0o022]
    assert written == []


def _files(*roots: Path) -> Iterator[Path]:
    for root in roots:
        yield from (path for path in root.rglob("*") if path.is_file())


def linked(place: Place) -> tuple[Batch, list[Path], Ended, Ended, Ended]:
    """Symbolic links wait in the output directory: for a file, for the temporary files, for a directory."""
    site = place.stand_in(seed=SEED)
    batch = place.batch(videos(20, SEED), site)
    victim, other, third = (place.root / name for name in ("victim", "other", "third"))
    victim.write_text("mine")
    other.mkdir()
    third.mkdir()
    first, last = batch.ids[0], batch.ids[-1]
    (batch.out / first[:2]).mkdir(parents=True)
    (batch.out / first[:2] / f"{first}.json").symlink_to(victim)
    (batch.out / ".engine-tmp").symlink_to(other)
    tmp = batch.run("-p", "1", "-t", "4")
    (batch.out / ".engine-tmp").unlink()
    (batch.out / last[:2]).symlink_to(third)
    directory = batch.run("-p", "1", "-t", "4")
    (batch.out / last[:2]).unlink()
    return batch, [victim, other, third], tmp, directory, batch.run("-p", "1", "-t", "4")


@played(linked)
def test_symbolic_links_in_the_output_directory_are_never_followed(night: Any) -> None:
    batch, (victim, other, third), tmp, directory, last = night
    for ended, name in ((tmp, ".engine-tmp"), (directory, batch.ids[-1][:2])):
        assert ended.code == 2, ended.said
        assert f"{batch.out / name} is a symbolic link" in ended.err
    assert last.code == 3, last.said
    assert victim.read_text() == "mine"
    assert list(other.iterdir()) == list(third.iterdir()) == []
    # One in a file's place is somebody's: it stays, and nothing is written through it.
    assert [path.name for path in batch.out.rglob("*") if path.is_symlink()] == [f"{batch.ids[0]}.json"]
    assert [name for name, row in batch.rows().items() if row["kind"] == "kept"] == [batch.ids[0]]
    (batch.out / batch.ids[0][:2] / f"{batch.ids[0]}.json").unlink()
    batch.clean()


def test_links_in_the_queue_directory_are_not_written_through(place: Place) -> None:
    """Whoever could put one there owns the queue already; still it is an error by name and the victim is whole."""
    victim = place.root / "victim"
    victim.write_text("mine")
    batch = place.batch(videos(1, SEED), place.stand_in(seed=SEED))
    assert batch.does("seed", *batch.ids).code == 0
    for name in ("events.jsonl", "manifest.jsonl"):
        (batch.queue / name).symlink_to(victim)
    ended = batch.run("-p", "1", "-t", "1")
    assert ended.code == 13, ended.said
    assert "manifest" in ended.err
    assert victim.read_text() == "mine"
