"""`engine.Batch` against the rehearsal server, from wherever a program may call it."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click
import pandas
import pytest
from commands import command_line, environment, session_members
from patience import HANG_S, ends, until
from warm import start

import engine
from engine import Batch, BatchStatus, errors
from engine.cli.options.input import reading_options
from engine.cli.run import command as run_command
from engine.monitor import status
from engine.queue.directory import open_queue
from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids
from engine.run.child_run import RunOptions
from engine.run.supervisor import hold

IDS = list(invented_ids(6, 1))
MANY = list(invented_ids(400, 2))


@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0.01, auth="*:secret-word")) as found:
        yield found


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    return Batch(tmp_path / "queue")


def options(site: Rehearsal, **more: Any) -> Any:
    return {
        "proxy": site.proxy_url_as("someone", "secret-word"),
        "ca_bundle": site.ca_bundle,
        "output": "out",
        "rate": "none",
        "processes": 1,
        "threads": 4,
        **more,
    }


def test_a_status_that_no_row_has_is_an_error(batch: Batch) -> None:
    batch.seed(IDS[:1])
    for wrong in ("done", "OK", "pending", ""):
        with pytest.raises(errors.UsageError, match="choose from ok, absent, failed"):
            batch.rows(status=wrong)
    assert list(batch.rows(status="ok")) == []


# ---- the whole job ---------------------------------------------------------------------------------------
def test_a_batch_from_seed_to_report(batch: Batch, site: Rehearsal) -> None:
    assert batch.status().state == "empty"
    videos = [{"url": f"https://youtu.be/{video_id}", "row": n} for n, video_id in enumerate(IDS)]
    assert batch.seed(videos).added == len(IDS)
    assert batch.seed(IDS).duplicate == len(IDS)
    seen: list[BatchStatus] = []
    more = options(site, format=["md", "srt"], languages=("en", "de"), notify="touch told")
    result = batch.run(on_status=seen.append, **more)
    assert os.path.exists("told")
    assert (result.exit_code, result.finished, result.status.state) == (0, True, "finished")
    assert any("6 videos to do" in text for text in result.messages), result.messages
    rows = {row.video_id: row for row in batch.rows(status="ok")}
    assert {name: row.input["row"] for name, row in rows.items()} == {name: n for n, name in enumerate(IDS)}
    assert rows[IDS[0]].files.keys() == {"json", "md", "srt"}
    record = batch.record(IDS[0])
    assert (record.video_id, record.input, record.metadata.title) == (IDS[0], {"row": 0}, rows[IDS[0]].title)
    for name in ("dQw4w9WgXcQ", "../../queue/batch", ""):
        with pytest.raises(errors.NoRecordError):
            batch.record(name)
    assert list(batch.failures()) == []
    assert batch.verify().ok
    assert batch.repair().audit.ok
    assert batch.report().final == len(IDS)
    assert (batch.sync(), batch.retry(absent=True)) == (0, engine.RetryResult(0, 0))
    assert batch.wait().finished
    now, value = batch.status(), status.collect(batch.root)
    assert {**value, **now.to_json(), "updated_at": ""} == {**value, "updated_at": ""}
    assert seen == [] or seen[-1].total == len(IDS)


def test_from_another_thread(batch: Batch, site: Rehearsal) -> None:
    batch.seed(IDS)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(batch.run(**options(site)).exit_code))
    thread.start()
    ends(thread)
    assert codes == [0]


SCRIPT = """
import multiprocessing, os, sys
from engine import Batch
with open("began", "a") as file:
    file.write("x")

def work():
    batch = Batch("queue")
    batch.seed({ids})
    print(batch.run(**{options}).status.ok, flush=True)

{call}
"""
PLAIN = "work()"
DAEMONIC = """
process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
process.start()
process.join()
"""


@pytest.mark.parametrize(("call", "by_stdin"), [(PLAIN, False), (PLAIN, True), (DAEMONIC, False)])
def test_from_a_script_without_a_guard(
    batch: Batch, site: Rehearsal, tmp_path: Path, call: str, by_stdin: bool
) -> None:
    """No process of the run imports the script again."""
    text = SCRIPT.format(ids=IDS, options=options(site), call=call)
    (tmp_path / "script.py").write_text(text)
    args = [sys.executable, *([] if by_stdin else ["script.py"])]
    done = subprocess.run(
        args, check=False, input=text if by_stdin else None, capture_output=True, text=True, timeout=HANG_S
    )
    assert (done.stdout.strip(), done.returncode) == (str(len(IDS)), 0), done.stderr
    assert (tmp_path / "began").read_text() == "x"


# ---- a live run ------------------------------------------------------------------------------------------
def test_steering_and_stopping(batch: Batch, site: Rehearsal) -> None:
    for request in (batch.pause, batch.resume, batch.set, batch.stop):
        with pytest.raises(errors.NoQueueError) as none:
            request()
        assert none.value.path == batch.root
    batch.seed(MANY)
    for request in (batch.pause, batch.resume, batch.set, batch.stop):
        with pytest.raises(errors.NoRunError):
            request()
    assert (batch.live_pid(), batch.live_settings()) == (None, None)
    with batch.start(**options(site, rate="3/s")) as run:
        until(batch.live_settings, HANG_S, "for the run to begin")
        assert (run.running, batch.live_pid()) == (True, run.pid)
        batch.pause()
        assert batch.status().state == run.status().state == "paused"
        assert batch.set(rate=4, threads=2) == engine.LiveSettings("4/s", 2, 1, paused=True)
        with pytest.raises(errors.UsageError):
            batch.set(threads=0)
        batch.resume()
        with pytest.raises(TimeoutError):
            run.wait(0.01)
        with pytest.raises(errors.HeldError) as held:
            batch.run(**options(site))
        assert (held.value.pid, held.value.path, held.value.exit_code) == (run.pid, batch.root, 11)
        batch.stop()
        result = run.wait(HANG_S)
    assert (result.exit_code, result.finished) == (4, False)
    assert run.wait() == result
    assert not batch.wait().live
    assert batch.verify().ok


@pytest.mark.parametrize("now", [False, True])
def test_the_handle_stops_its_run(batch: Batch, site: Rehearsal, now: bool) -> None:
    batch.seed(MANY)
    run = batch.start(**options(site, rate="3/s"))
    until(batch.live_settings, HANG_S, "for the run to begin")
    run.stop(now=now)
    assert run.wait(HANG_S).exit_code in ((130, 143) if now else (143,))
    assert batch.status().state == "stopped"


def test_an_exception_in_the_callers_thread_stops_the_run(batch: Batch, site: Rehearsal) -> None:
    batch.seed(MANY)

    def interrupt(found: BatchStatus) -> None:
        if found.live:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch.run(on_status=interrupt, **options(site, rate="3/s"))
    assert batch.status().state == "stopped"
    assert batch.live_pid() is None


STARTING = """
import os, signal, sys, time
from engine import Batch
batch = Batch("queue")
run = batch.start(detached={detached}, **{options})
while batch.live_settings() is None:
    time.sleep(0.05)
forked = os.fork() if {fork} else None
if forked != 0:
    print(run.pid, forked or "", flush=True)
time.sleep(10000)
"""


@pytest.mark.parametrize(("detached", "fork"), [(False, False), (False, True), (True, False)])
def test_when_the_program_dies(batch: Batch, site: Rehearsal, detached: bool, fork: bool) -> None:
    """Its run ends in good order, also when another process was forked meanwhile; a detached one goes on."""
    batch.seed(MANY)
    text = STARTING.format(detached=detached, fork=fork, options=options(site, rate="3/s"))
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run, *forked = map(int, process.stdout.readline().split())
    process.stdout.close()
    try:
        assert batch.live_pid() == run
        process.kill()
        process.wait()
        if detached:
            assert until(lambda: batch.status().final > 3, HANG_S, "for the run to go on")
            batch.stop()
        assert not batch.wait(HANG_S).live
        assert batch.status().state == "stopped"
        until(lambda: not command_line(run), HANG_S, "for its process to go")
        reasons = [json.loads(line) for line in Path(batch.root, "events.jsonl").read_text().splitlines()]
        assert reasons[-1]["exit_code"] == (4 if detached else 143)
        assert batch.verify().ok
    finally:
        for pid in forked:
            os.kill(pid, signal.SIGKILL)


def test_a_password_is_in_no_command_line_and_no_environment(batch: Batch, site: Rehearsal) -> None:
    batch.seed(MANY)
    given = [site.proxy_url_as(f"u{n}", "secret-word") for n in range(2)]
    with batch.start(**options(site, proxy=given, rate="3/s")) as run:
        until(lambda: batch.status().workers, HANG_S, "for a worker")
        for pid in session_members(run.pid):
            for name in ("cmdline", "environ"):
                assert b"secret-word" not in Path(f"/proc/{pid}/{name}").read_bytes()
        names = [each.name for each in batch.status().egresses]
        assert names == [f"p00{n} 127.0.0.1:{site.address.port}" for n in (1, 2)]


# ---- errors ----------------------------------------------------------------------------------------------
def test_how_a_run_may_fail(batch: Batch, site: Rehearsal, tmp_path: Path) -> None:
    with pytest.raises(errors.NoQueueError, match="no queue in"):
        batch.run(**options(site))
    with pytest.raises(errors.NoQueueError) as none:
        batch.run(**options(site))
    with pytest.raises(errors.NoQueueError) as also_none:
        batch.verify()
    assert "`" not in f"{none.value}{also_none.value}", "no shell for a program"
    for wrong_option, says in (
        ("colour", r"Batch\.run has no option 'colour'$"),
        ("langauges", "did you mean 'languages'"),
        ("since", r"give it to Batch\.seed"),
        ("progress", "give on_status"),
    ):
        with pytest.raises(TypeError, match=says):
            batch.start(**{wrong_option: "red"})  # type: ignore[misc]
    with pytest.raises(errors.UsageError, match=r"^proxy 1: not a proxy"):
        batch.start(proxy="host:port:user:secret-word:")
    batch.seed(IDS)
    with pytest.raises(
        errors.UsageError, match=r"^Invalid value for '-t' / '--threads': 0 is not in"
    ) as wrong:
        batch.run(**options(site, threads=0))
    assert (wrong.value.exit_code, wrong.value.path) == (2, batch.root)
    with hold(open_queue(batch.root)):
        with pytest.raises(errors.HeldError) as held:
            batch.run(**options(site))
        assert held.value.pid == os.getpid()
        with pytest.raises(errors.HeldError) as here:
            batch.verify()
        assert here.value.pid == os.getpid()
    again = pickle.loads(pickle.dumps(held.value))
    assert (str(again), again.pid, again.path) == (str(held.value), os.getpid(), batch.root)
    with batch.start(**options(site, rate="1/h")) as run:
        assert run.status().state == "starting", "and not what the last one was"
        os.kill(run.pid, signal.SIGKILL)
        with pytest.raises(errors.RunDiedError, match="SIGKILL") as died:
            run.wait()
        assert (died.value.code, died.value.pid) == (-9, run.pid)
        with pytest.raises(errors.RunDiedError):
            run.wait()


# ---- seeding ---------------------------------------------------------------------------------------------
def test_what_can_be_seeded(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"video,topic\n{IDS[0]},music\n")
    (tmp_path / "known.txt").write_text(f"{IDS[4]}\n")
    assert batch.seed("list.csv", dry_run=True).added == 1
    assert batch.status().state == "empty", "nothing was made"
    assert batch.seed(tmp_path / "list.csv").added == 1
    assert batch.seed(IDS[1]).added == 1
    row = {"video_id": IDS[2], "share": float("nan"), "path": tmp_path, "n": 3, "deep": {"a": [1]}}
    found = batch.seed(iter([row, f"https://youtu.be/{IDS[3]}", "@TED", IDS[4]]), skip_known=["known.txt"])
    assert (found.read, found.added, found.listed, found.known) == (4, 2, 1, 1)
    assert row["n"] == 3 and "video_id" in row, "what is given stays as it is"
    # Channels and playlists as in a table; a video in the mapping goes first.
    playlist = "PLrAXtmErZgOeiKm4sgNOknGvNjby9efdf"
    found = batch.seed(
        [{"url": "@veritasium", "topic": "x"}, {"id": playlist}, {"video_id": "dQw4w9WgXcQ", "url": "@NASA"}]
    )
    assert (found.added, found.listed, found.rejected) == (1, 2, 0)
    assert {source.source for source in batch.sources()} == {"@ted", "@veritasium", playlist}
    # An item is never taken for a file, and a bad one does not stop the others.
    found = batch.seed(["list.csv", None, {"colour": 1}, IDS[5]])  # type: ignore[list-item]
    assert (found.added, found.rejected) == (1, 3)
    assert "Batch.seed,1,list.csv" in Path(found.rejects).read_text()
    lines = [
        json.loads(line) for line in Path(batch.root, "segments", "000000.jsonl").read_text().splitlines()
    ]
    segments = sorted(Path(batch.root, "segments").iterdir())
    text = "".join(path.read_text() for path in segments)
    assert '"share": null' in text or '"share":null' in text, lines
    with pytest.raises(errors.UsageError, match="none names a video"):
        batch.seed(["nothing", "at all"])
    with pytest.raises(errors.UsageError, match=r"no-such-file\.csv"):
        batch.seed("no-such-file.csv")
    assert batch.seed([]).read == 0
    for given, says in (
        (pandas.DataFrame({"id": IDS}), r"give \.to_dict\('records'\)"),
        ({"id": IDS[0]}, "a list of mappings, not one dict"),
        (5, "not int"),
    ):
        with pytest.raises(TypeError, match=f"videos must be .*{says}"):
            batch.seed(given)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match="since must be a text such as '2026-01-31', not date: give '2026-01-02'"
    ):
        batch.seed("@TED", since=date(2026, 1, 2))  # type: ignore[arg-type]
    for option, value in (("where", 5), ("words", "9"), ("new", 1)):
        with pytest.raises(TypeError, match=f"{option} must be"):
            batch.export("passages", **{option: value})  # type: ignore[misc]
    with pytest.raises(TypeError, match="did you mean 'where'"):
        batch.export("csv", wher="1")  # type: ignore[call-arg]
    with pytest.raises(errors.UsageError, match="did you mean no_captions"):
        batch.failures(["no_caption"])


# ---- the surface -----------------------------------------------------------------------------------------
def test_the_options_are_those_of_the_command() -> None:
    @reading_options
    def reading() -> None:
        pass

    others = {"--progress", "--verbose", "--until-stdin-ends", "--queue", "--no-mask"}
    others |= {param.opts[-1] for param in reading.__click_params__}  # type: ignore[attr-defined]
    there = {param.opts[-1] for param in run_command.params if isinstance(param, click.Option)} - others
    assert {f"--{name.replace('_', '-')}" for name in RunOptions.__annotations__} == there


def test_every_public_name_is_there() -> None:
    assert {name for name in engine.__all__ if getattr(engine, name).__name__ == name} == set(engine.__all__)
    assert set(engine.__all__) <= set(dir(engine))
    with pytest.raises(AttributeError):
        engine.Batches  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import engine", ("engine.",)),
        (
            "from engine import Batch",
            ("loky", "numpy", "requests", "click", "rich", "yt_dlp", "engine.worker"),
        ),
        ("import engine.cli.status", ("engine.batch", "engine.run", "loky", "numpy", "rich")),
    ],
)
def test_an_import_brings_no_more_than_it_needs(code: str, absent: tuple[str, ...]) -> None:
    text = textwrap.dedent(f"""
        import sys
        {code}
        print([name for name in sys.modules if name.startswith({absent!r})])
    """)
    out = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_until_stdin_ends_is_not_the_input(batch: Batch) -> None:
    from engine.cli import invoke

    assert invoke(["run", "-", "-q", "q", "--until-stdin-ends"]) == 2
    assert multiprocessing.active_children() == []
