"""A proxy whose certificate needs a --ca-bundle: without it each view says so; the queue's own file gives it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
import recount
from commands import Command, engine, until, videos
from frozen import served

from engine.rehearsal.child_process import Rehearsal, start
from engine.rehearsal.settings import RehearsalSettings

UNTRUSTED = "the certificate shown for YouTube is not trusted; is --ca-bundle needed?"


@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0.0)) as rehearsal:
        yield rehearsal


def lost(queue: Path) -> bool:
    return (queue / "events.jsonl").exists() and any(
        event["event"] == "network_lost" for event in recount.events(queue)
    )


def test_the_cause_is_named_everywhere(site: Rehearsal, tmp_path: Path) -> None:
    queue = tmp_path / "q"
    args = ("run", *videos(6, 1), "-q", queue, "-o", tmp_path / "out", "--rate", "none", "-p", "1", "-t", "2")
    with Command(*args, "--proxy", site.proxy_url, "-v", "--progress", "plain") as run:
        until(lambda: lost(queue), 60, "the connection to be given up")
        status = engine("status", "-q", queue, "--json")
        words = engine("status", "-q", queue)
        report = engine("report", "-q", queue)
        assert engine("stop", "-q", queue).code == 0
        ended = run.wait(60)
    value = json.loads(status.out)
    assert value["state"] == "running"  # it waits for a reason
    assert [egress["cause"] for egress in value["egresses"]] == [UNTRUSTED]
    for said in (words.out, report.out):
        assert UNTRUSTED in " ".join(said.replace("│", " ").split())
    assert f"{UNTRUSTED}; tried again in" in ended.err


def test_the_queues_own_file_is_used_before_and_in_a_run(site: Rehearsal, tmp_path: Path) -> None:
    queue = tmp_path / "q"
    queue.mkdir()
    (queue / "ca.pem").write_bytes(Path(site.ca_bundle).read_bytes())
    (queue / "engine.toml").write_text(
        f'proxy = "{site.proxy_url}"\nca-bundle = "ca.pem"\nlanguages = "en"\n'
    )
    others = {"REQUESTS_CA_BUNDLE": certifi.where(), "SSL_CERT_FILE": certifi.where()}
    doctor = engine("doctor", "-q", queue, "-o", tmp_path / "out", **others)
    assert doctor.code == 0, doctor.said
    assert f"{queue / 'ca.pem'},1authorities" in "".join(doctor.out.split())  # a long path is wrapped
    assert "1 of 1 work" in doctor.out
    probe = engine("probe", "-q", queue, "--rate", "none", "--ways", "android", **others)
    assert probe.code == 0, probe.said
    assert "1 way by p001" in probe.err
    args = ("run", *videos(2, 1), "-q", queue, "-o", tmp_path / "out", "-p", "1", "-t", "1", "--rate", "none")
    assert engine(*args, **others).code == 0
    other = engine(
        "probe", "-q", queue, "--ways", "android", "--ca-bundle", certifi.where(), "--rate", "none"
    )
    assert other.code == 12, "what is typed wins"


def test_a_served_rehearsal_keeps_its_certificates_where_it_is_told(tmp_path: Path) -> None:
    with served(["--ca-dir", str(tmp_path / "ca")]) as options:
        assert options[2:] == ["--ca-bundle", str(tmp_path / "ca" / "ca.pem")]
        args = (
            "run",
            *videos(2, 1),
            "-q",
            tmp_path / "q",
            "-o",
            tmp_path / "out",
            "-p",
            "1",
            "--rate",
            "none",
        )
        assert engine(*args, *options).code == 0
    assert (tmp_path / "ca" / "ca.pem").exists()
