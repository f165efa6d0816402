"""Exit codes tell the truth, and who is refused has changed nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import recount
from commands import Batch, Command, Ended, command_line, engine, until, videos
from nights import Place, played

CANARY = "kanarienvogel-7f3a"


def test_no_queue(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for name in ("status", "verify", "failures", "retry", "stop", "run"):
        ended = engine(name, "-q", nowhere)
        assert ended.code == 10, (name, ended.said)
        assert "no queue" in ended.err
    assert not nowhere.exists()


def all_blocked(place: Place) -> tuple[Batch, Ended]:
    site = place.stand_in(seed=1, scenarios=("429",))
    batch = place.batch(videos(40, 1), site)
    return batch, batch.run("--on-block", "stop")


@played(all_blocked)
def test_halted_when_every_egress_is_blocked(night: tuple[Batch, Ended]) -> None:
    batch, ended = night
    assert ended.code == 5, ended.said
    assert "blocked" in ended.err
    status = batch.status()
    assert status["state"] == "halted"
    assert (status["ok"], status["failed"], status["in_flight"]) == (0, 0, 0)
    batch.clean(finished=False)


def bad_password(place: Place) -> tuple[Batch, Ended]:
    site = place.stand_in(seed=1, auth="anna:right")
    batch = place.batch(videos(20, 1), site)
    return batch, batch.run(proxy=site.proxy_url_as("anna", CANARY))


@played(bad_password)
def test_no_usable_proxy(night: tuple[Batch, Ended]) -> None:
    batch, ended = night
    assert ended.code == 12, ended.said
    assert "prox" in ended.err
    nobody_tells(batch, ended)
    batch.clean(finished=False)
    assert recount.counts(batch.queue)["failed"] == 0


def nobody_tells(batch: Batch, ended: Ended) -> None:
    """The password is in no output and in no file."""
    assert CANARY not in ended.said
    for command in (("status", "--json"), ("status",), ("failures",), ("verify",)):
        assert CANARY not in batch.does(*command).said
    for path in (*batch.queue.rglob("*"), *batch.out.rglob("*")):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def secret_password(place: Place) -> tuple[Batch, Ended, list[str]]:
    """A run by a proxy with a password from a file, and the command lines of its processes."""
    site = place.stand_in(seed=1, auth=f"anna:{CANARY}", latency_s=0.3)
    batch = place.batch(videos(60, 1), site)
    proxies = place.root / "proxies.txt"
    proxies.write_text(f"127.0.0.1:{site.address.port}:anna:{CANARY}\n")
    proxies.chmod(0o600)
    args = ["run", batch.file, "-q", batch.queue, "-o", batch.out, "--rate", "none", "-p", "2", "-t", "4"]
    with Command(
        *args, "--proxies", proxies, "--ca-bundle", site.ca_bundle, "-v", "--progress", "plain"
    ) as run:
        batch.pids.append(run.pid)
        batch.seen(10)
        lines = [command_line(pid) for pid in run.members()]
        ended = run.wait()
        batch.gone(run)
    return batch, ended, lines


@played(secret_password)
def test_a_proxy_password_is_told_to_nobody(night: tuple[Batch, Ended, list[str]]) -> None:
    batch, ended, lines = night
    assert ended.code == 0, ended.said
    assert len(lines) >= 4, "supervisor, monitor and two workers"
    assert not [line for line in lines if CANARY in line]
    nobody_tells(batch, ended)
    batch.clean()
    assert {row["egress"].split()[0] for row in batch.rows().values()} == {"p001"}


def some_failed(place: Place) -> tuple[Batch, list[tuple[str, Ended]]]:
    """A batch that fails, is put back and then works."""
    site = place.stand_in(seed=1, scenarios=("premiere=0.3", "unavailable=0.2"))
    batch = place.batch(videos(40, 1), site)
    said = [("first", batch.run()), ("again", batch.run())]
    said.append(("failures", batch.does("failures", "--kind", "not_yet")))
    site.play(replace=True)
    said.append(("retry", batch.does("retry")))
    said.append(("status", batch.does("status", "--json")))
    said.append(("after", batch.run()))
    return batch, said


@played(some_failed)
def test_failed_jobs_can_be_put_back(night: tuple[Batch, list[tuple[str, Ended]]]) -> None:
    batch, told = night
    said = dict(told)
    assert [said[name].code for name in ("first", "again", "retry", "after")] == [3, 3, 0, 0], told
    named = said["failures"].out.splitlines()
    assert 0 < len(named) < len(batch.ids)
    assert f"{len(named)} jobs put back" in said["retry"].err
    rows = batch.rows()
    assert {rows[line.split()[0]]["status"] for line in named} == {"ok"}
    assert {row["kind"] for row in rows.values()} == {None, "unavailable"}
    batch.clean()


def test_what_the_first_run_froze_stays(place: Place) -> None:
    batch = place.batch(videos(4, 1), place.stand_in(seed=1))
    assert batch.run("-l", "en,de").code == 0
    before = batch.rows()
    ended = batch.run("-l", "fr")
    assert ended.code == 2
    assert "en,de" in ended.err
    assert "fr" in ended.err
    other = place.root / "elsewhere"
    ended = batch.run("-o", other)
    assert ended.code == 2
    assert str(batch.out) in ended.err
    assert str(other) in ended.err
    assert batch.run("-f", "srt").code == 2
    assert batch.rows() == before
    ended = engine("rehearse", "-q", batch.queue, "-o", batch.out, "--videos", "2", "--progress", "none")
    assert ended.code == 2, "a real queue is not rehearsed in"
    assert recount.seeded(batch.queue) == batch.ids
    batch.clean()


def test_a_rehearsal_stays_one(place: Place) -> None:
    batch = place.batch([])
    asked = ("-q", batch.queue, "-o", batch.out, "--videos", "5", "-p", "1", "--progress", "none")
    assert engine("rehearse", *asked).code == 0
    assert len(batch.rows()) == 5
    ended = engine("run", "-q", batch.queue, "-o", batch.out)
    assert ended.code == 2
    assert "rehearsal" in ended.err
    ended = engine("run", "dQw4w9WgXcQ", "-q", batch.queue, "-o", batch.out)
    assert ended.code == 2
    assert len(recount.seeded(batch.queue)) == 5


def beside(place: Place) -> dict[str, object]:
    """A live run, and everything that may or may not be done beside it."""
    site = place.stand_in(seed=2)
    batch = place.batch(videos(40, 2), site)
    more = videos(70, 2)[40:]
    (place.root / "more.txt").write_text("\n".join(more))
    with batch.start("-p", "2", "-t", "4", "--rate", "1/s") as run:
        batch.seen(4)
        found: dict[str, object] = {"pid": run.pid, "live": batch.status()}
        second = engine(*batch.run_args(place.root / "more.txt"))
        found["second"], found["seeded"] = second, len(recount.seeded(batch.queue))
        for name in ("verify", "retry"):
            found[name] = batch.does(name)
        found["seed"] = batch.does("seed", place.root / "more.txt")
        found["still"] = run.live
        assert batch.does("set", "rate=none").code == 0
        found["ended"] = run.wait()
        batch.gone(run)
    batch.ids += more
    return {**found, "batch": batch}


@played(beside)
def test_beside_a_live_run(night: dict[str, object]) -> None:
    batch, live = night["batch"], night["live"]
    assert isinstance(batch, Batch)
    assert isinstance(live, dict)
    assert live["state"] == "running"
    assert len(live["workers"]) == 2
    for name in ("second", "verify", "retry"):
        ended = night[name]
        assert isinstance(ended, Ended)
        assert ended.code == 11, (name, ended.said)
        assert str(night["pid"]) in ended.err
    assert night["seeded"] == 40, "who is refused has seeded nothing"
    seed, ended = night["seed"], night["ended"]
    assert isinstance(seed, Ended)
    assert isinstance(ended, Ended)
    assert (seed.code, ended.code, night["still"]) == (0, 0, True), (seed.said, ended.said)
    assert "added 30" in seed.out
    assert len(batch.rows()) == 70, "what was added meanwhile was done as well"
    batch.clean()


def ten(place: Place) -> tuple[Batch, list[tuple[int, Ended]]]:
    """Ten runs at once, each with a video of its own."""
    site = place.stand_in(seed=2, scenarios=("429",))  # the one is still at it when the last begins
    batch = place.batch([], site)
    names = videos(10, 2)
    runs = [Command(*batch.run_args(name, "-p", "1")) for name in names]
    batch.pids += [run.pid for run in runs]
    until(lambda: sum(run.live for run in runs) <= 1, 60.0, "for nine to be refused")
    site.play(replace=True)
    ended = [(run.pid, run.wait()) for run in runs]
    for run in runs:
        batch.gone(run)
    return batch, ended


@pytest.mark.long  # row 14 of the scorecard plays such ten in every test run
@played(ten)
def test_of_ten_runs_at_once_one_works(night: tuple[Batch, list[tuple[int, Ended]]]) -> None:
    batch, runs = night
    won = [pid for pid, ended in runs if ended.code == 0]
    refused = [ended for _, ended in runs if ended.code == 11]
    assert (len(won), len(refused)) == (1, 9), [ended for _, ended in runs]
    assert all(str(won[0]) in ended.err for ended in refused), refused
    batch.ids = recount.seeded(batch.queue)
    assert len(batch.ids) == 1, "who was refused has seeded nothing"
    batch.clean()
