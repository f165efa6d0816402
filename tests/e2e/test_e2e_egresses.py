"""Nights with several egresses of which some fail: the others carry on, and not one job fails for it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from egress_runs import (
    PASSWORD,
    ROOT,
    Done,
    Rates,
    closed_port,
    engine_command,
    environment,
    run,
    run_command,
)
from patience import HANG_S, until
from support import states
from warm import start

from engine.errors import Exit
from engine.queue.directory import Queue
from engine.rehearsal import Rehearsal, RehearsalSettings

SLOTS = ("p001", "p002", "p003", "p004")


def urls_of(stand_in: Rehearsal, names: str) -> list[str]:
    return [stand_in.proxy_url_as(name, PASSWORD) for name in names]


def no_secret(done: Done) -> None:
    """The password is in none of the files and in nothing that was said."""
    assert PASSWORD not in done.said
    for root in (done.queue, done.output):
        for path in root.rglob("*"):
            if path.is_file():
                assert PASSWORD.encode() not in path.read_bytes(), path


def good_at(stand_in: Rehearsal) -> dict[str, list[float]]:
    """When answers of worth came, by egress, in monotonic seconds; under "" when the first request came."""
    arrivals = stand_in.arrivals()
    found: dict[str, list[float]] = defaultdict(list)
    found[""].append(min(arrival["t"] for arrival in arrivals))
    for arrival in arrivals:
        if arrival["status"] == 200 and arrival["scene"] is None:
            found[arrival["egress"]].append(arrival["t"])
    return found


def test_a_dead_proxy_a_dead_password_and_a_good_one(tmp_path: Path) -> None:
    with start(RehearsalSettings(latency_s=0.01, scenarios=("proxy407/stranger",))) as stand_in:
        dead = f"http://user:{PASSWORD}@127.0.0.1:{closed_port()}"
        urls = [dead, stand_in.proxy_url_as("stranger", PASSWORD), stand_in.proxy_url_as("good", PASSWORD)]
        done = run(tmp_path, stand_in, urls, 80, "-p 2 -t 4 --rate 60 --attempts 2", pace=60)
    assert done.code == Exit.OK, done.said
    assert done.kinds == {"ok": 80}
    assert {row["attempts"] for row in done.rows} == {1}
    assert {row["egress"].partition(" ")[0] for row in done.rows} == {"p003"}
    assert done.told("egress_retired") >= {"p001", "p002"}
    no_secret(done)


def test_no_proxy_left(tmp_path: Path) -> None:
    with start(RehearsalSettings(latency_s=0.01, auth="user:other")) as stand_in:
        done = run(tmp_path, stand_in, urls_of(stand_in, "ab"), 5, "-p 1 -t 2")
    assert done.code == Exit.NO_PROXY, done.said
    assert "p001 127.0.0.1:" in done.said
    assert "p002 127.0.0.1:" in done.said
    assert "407" in done.said
    no_secret(done)


@pytest.mark.long
def test_one_hangs(tmp_path: Path) -> None:
    """Every answer by the third trickles: it closes, its jobs go by the others, and no attempt is spent."""
    with start(RehearsalSettings(latency_s=0.01, scenarios=("trickle/c",))) as stand_in:
        options = "-p 1 -t 12 --rate 12 --deadline 1"
        done = run(tmp_path, stand_in, urls_of(stand_in, "abc"), 60, options, pace=60)
    assert done.code == Exit.OK, done.said
    assert done.kinds == {"ok": 60}
    assert {row["attempts"] for row in done.rows} == {1}
    assert "p003" in done.told("network_lost")


@pytest.mark.long
def test_what_failed_by_one_egress_is_tried_by_another(tmp_path: Path) -> None:
    with start(RehearsalSettings(latency_s=0.01, scenarios=("reset=0.5/a",))) as stand_in:
        done = run(tmp_path, stand_in, urls_of(stand_in, "ab"), 120, "-p 1 -t 8 --rate 20", pace=60)
    assert done.code == Exit.OK, done.said
    jobs = [job for state in states(Queue(str(done.queue))).values() for job in state.jobs.values()]
    moved = [job.final["egress"] != job.failed_by for job in jobs if job.final and job.tries]
    assert len(moved) >= 15
    # Not all: when only jobs that failed there are left for a permit that was given already, it is used.
    assert sum(moved) >= 0.8 * len(moved)


def test_a_rotating_gateway(tmp_path: Path) -> None:
    """Each request by a new connection; exits that break cost no attempt and do not close the gateway."""
    with start(RehearsalSettings(latency_s=0.01, scenarios=("reset=0.3",))) as stand_in:
        done = run(
            tmp_path,
            stand_in,
            urls_of(stand_in, "g"),
            40,
            "-p 1 -t 8 --rate 80 --attempts 1 --rotating",
            pace=60,
        )
        stats = stand_in.stats()
    assert done.code == Exit.OK, done.said
    assert {row["attempts"] for row in done.rows} == {1}
    assert stats["scenes_played"]["reset"] >= 3
    assert not done.told("network_lost")
    asked = sum(stats["requests"].values())
    assert asked > 80
    assert stats["connections"]["total"] == stats["tls_handshakes"] == asked


def test_rotating_without_a_gateway_is_wrong_usage(tmp_path: Path) -> None:
    item = subprocess.run(
        engine_command("run", "dQw4w9WgXcQ", "-q", str(tmp_path / "q"), "--rotating"),
        cwd=ROOT,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert item.returncode == Exit.USAGE
    assert "--proxy" in item.stderr


def test_a_thousand_egresses(tmp_path: Path) -> None:
    count = 1024
    with start(RehearsalSettings(latency_s=0.0)) as stand_in:
        urls = [stand_in.proxy_url_as(f"u{number}", PASSWORD) for number in range(count)]
        done = run(tmp_path, stand_in, urls, 100, "-p 2 -t 4 --rate 50")
        egresses = stand_in.stats()["egresses"]
    assert done.code == Exit.OK, done.said
    assert done.kinds == {"ok": 100}
    assert len(egresses) >= 50  # processes do not ask each other whose turn it is
    assert max(egress["requests"] for egress in egresses.values()) <= 8
    assert (done.queue / "budget").stat().st_size == 512 * (count + 1)
    no_secret(done)


@contextmanager
def tinyproxy(tmp_path: Path, stand_in: Rehearsal) -> Iterator[str]:
    """tinyproxy with basic auth, which hands on to the stand-in."""
    port = closed_port()
    config = tmp_path / "tinyproxy.conf"
    config.write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Critical\nAllow 127.0.0.1\n"
        f"BasicAuth user {PASSWORD}\nUpstream http 127.0.0.1:{stand_in.address.port}\n"
    )
    process = subprocess.Popen(["tinyproxy", "-d", "-c", str(config)], stdout=subprocess.DEVNULL)
    try:
        _until_it_listens(port)
        yield f"http://user:{PASSWORD}@127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _until_it_listens(port: int) -> None:
    import socket

    def listens() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=HANG_S).close()
            return True
        return False

    until(listens, 10.0, "for tinyproxy")  # another program's start has no event to wait for


def command_lines() -> dict[int, bytes]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found[int(name)] = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
    return found


@pytest.mark.parametrize("by", ["stand-in", "tinyproxy"])
def test_a_password_is_used_and_shown_nowhere(tmp_path: Path, by: str) -> None:
    """Work with basic auth, and through a refusal of the password, leave no trace of it anywhere."""
    if by == "tinyproxy" and shutil.which("tinyproxy") is None:
        pytest.skip("tinyproxy is not installed")
    auth = f"user:{PASSWORD}" if by == "stand-in" else None
    with start(RehearsalSettings(latency_s=0.05, auth=auth, scenarios=("flaky=0.2",))) as stand_in:
        config = tmp_path / "config"
        config.mkdir()
        good = stand_in.proxy_url_as("user", PASSWORD)
        with tinyproxy(config, stand_in) if by == "tinyproxy" else _as_it_is(good) as url:
            wrong = url.replace("user:", "stranger:")
            options = "-p 2 -t 4 --deadline 1 --attempts 2 -v"
            command = run_command(tmp_path, stand_in, [url, wrong], 60, options + " --rate 40")
            with open(tmp_path / "said", "w+") as said:
                process = subprocess.Popen(command, cwd=ROOT, env=environment(60), stdout=said, stderr=said)
                seen = 0
                while process.poll() is None:
                    lines = command_lines()
                    seen = max(seen, sum(b"loky" in line or b"engine" in line for line in lines.values()))
                    assert not [line for line in lines.values() if PASSWORD.encode() in line]
                    time.sleep(0.05)
                said.seek(0)
                done = Done(process.returncode, said.read(), tmp_path / "q", tmp_path / "o")
    assert done.code in (Exit.OK, Exit.SOME_FAILED), done.said
    assert done.kinds["ok"] > 40
    assert seen >= 3  # the run, its monitor, its workers
    assert done.told("egress_retired") == {"p002"}
    no_secret(done)


@contextmanager
def _as_it_is(url: str) -> Iterator[str]:
    yield url


@pytest.mark.long
def test_one_of_four_dies_one_is_blocked_one_trickles(tmp_path: Path) -> None:
    """The healthy one and the recovered ones carry at least 90 % of what they can, and no job fails for it.

    What an egress can carry is what the budget would let it send: its rate in the budget file, summed over the
    time from when it is closed again for good (for the healthy one: from the start). A block cuts the rate on
    purpose, and it climbs back to 93 % of what was refused: so the one that was blocked is measured by the rate
    it has, and besides that rate must be back there by the end. Whatever a lane, a slot or a thread wastes by
    waiting for one egress while another is free is missing from what is carried. What a busy machine has no
    processor for can be carried by nobody: the same run without any trouble, at the same time, says how much.
    """
    rate = 6.0
    scenes = ("gone@4-14/b", "429@4-6/c", "trickle@4-16/d")

    def night(place: str, *scenes: str) -> tuple[Done, dict[str, list[float]], Rates]:
        root = tmp_path / place
        root.mkdir()
        with (
            start(RehearsalSettings(latency_s=0.05, scenarios=scenes)) as stand_in,
            Rates(root / "q" / "budget") as rates,
        ):
            options = f"-p 2 -t 8 --deadline 4 --rate {rate}/s"
            done = run(root, stand_in, urls_of(stand_in, "abcd"), 440, options, pace=30)
            return done, good_at(stand_in), rates

    with ThreadPoolExecutor(2) as side_by_side:
        calm = side_by_side.submit(night, "calm")
        done, good, rates = side_by_side.submit(night, "troubled", *scenes).result()
        calm_done, calm_good, calm_rates = calm.result()
    assert calm_done.kinds == {"ok": 440}
    assert done.code == Exit.OK, done.said
    assert done.kinds == {"ok": 440}
    assert {row["attempts"] for row in done.rows} == {1}
    assert done.told("egress_retired") == {"p002"}
    assert {"p002", "p004"} <= done.told("network_back")
    assert "p003" in done.told("resume")
    (began,) = good.pop("")
    (calm_began,) = calm_good.pop("")
    calm_last = max(map(max, calm_good.values())) - 2
    granted = sum(calm_rates.granted(slot, calm_began + 1, calm_last) for slot in SLOTS)
    carried = sum(calm_began + 1 <= at < calm_last for at in itertools.chain(*calm_good.values()))
    machine = min(1.0, carried / granted)
    last = max(map(max, good.values())) - 2  # the end of the batch is nobody's capacity
    assert last - began > 28

    def share(name: str, slot: str, start_s: float, end_s: float) -> float:
        return sum(start_s <= at < end_s for at in good[name]) / rates.granted(slot, start_s, end_s)

    shares = {
        "a": share("a", "p001", began + 1, last),
        "a, amid the trouble": share("a", "p001", began + 4, began + 16),
    }
    for name, slot, over_s in (("b", "p002", 14), ("c", "p003", 9), ("d", "p004", 16)):
        since = rates.back_at(slot, began + over_s)
        assert last - since > 8, (name, since - began, last - began)
        shares[name] = share(name, slot, since, last)
    ends = {slot: rates.rate_per_s(slot, last) for slot in SLOTS}
    print(
        {name: round(number, 3) for name, number in shares.items()},
        "without trouble",
        round(machine, 3),
        ends,
    )
    assert min(shares.values()) >= 0.9 * machine, (shares, machine)
    assert ends["p001"] == ends["p002"] == ends["p004"] == pytest.approx(rate)
    assert ends["p003"] >= 0.92 * rate
    assert json.loads((done.queue / "status.json").read_text())["failed"] == 0
