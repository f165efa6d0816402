"""The options for captions and metadata through the real command, on the rehearsal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from patience import HANG_S

QUICK = ("--latency", "0", "-p", "1", "-t", "4", "--progress", "none")


def engine(where: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ENGINE_")}
    return subprocess.run(
        [sys.executable, "-m", "engine", *args, "-q", str(where / "q")],
        env={
            **kept,
            "ENGINE_OUTPUT": str(where / "out"),
            "ENGINE_MASK": "off",  # its own checks would add requests
            "PYTHONPATH": os.getcwd(),
            **env,
        },
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def rows(where: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (where / "q" / "manifest.jsonl").read_text().splitlines()]


def test_all_tracks_and_full_metadata_to_the_files(tmp_path: Path) -> None:
    options = (
        "-l",
        "orig,en",
        "--all-languages",
        "--metadata",
        "full",
        "--no-mask",
    )  # it is checked by more requests
    scenes = ("--scene", "polyglot=0.5", "--scene", "dubbed")
    done = engine(tmp_path, "rehearse", "--videos", "12", *QUICK, *options, *scenes)
    assert done.returncode == 0, done.stderr
    assert "--metadata full: up to 4 requests a video" in done.stderr
    assert "--all-languages: each further track" in done.stderr
    tracks = set()
    for row in rows(tmp_path):
        record = json.loads((tmp_path / "out" / row["files"]["json"]).read_text())
        assert row["requests"] == 3 + len(record["transcripts"])
        assert record["transcript"] == record["transcripts"][0]
        assert record["metadata"]["upload_date"]
        assert record["metadata"]["available_countries"]
        assert "upload_date" not in row
        assert set(row["files"]) == {"json", "md"}
        front = (tmp_path / "out" / row["files"]["md"]).read_text().split("---\n")[1]
        assert f'upload_date: "{record["metadata"]["upload_date"]}"' in front
        tracks.add((row["language"], len(record["transcripts"])))
    assert tracks == {("en-GB", 8), ("de", 2)}
    assert engine(tmp_path, "verify").returncode == 0
    frozen = json.loads((tmp_path / "q" / "batch.json").read_text())["frozen"]
    assert (frozen["all_languages"], frozen["metadata"], frozen["translate"]) == (True, "full", None)
    other = engine(tmp_path, "rehearse", "--videos", "12", *QUICK, "--metadata", "basic")
    assert other.returncode == 2
    assert "--metadata: this queue was begun with full, not basic" in other.stderr
    again = engine(tmp_path, "rehearse", "--videos", "12", *QUICK)
    assert again.returncode == 0, again.stderr
    assert "0 videos to do" in again.stderr
    assert "--metadata full" in again.stderr, "what was frozen holds, and is said"


def test_refused_translations_leave_the_egress_open(tmp_path: Path) -> None:
    done = engine(
        tmp_path, "rehearse", "--videos", "24", *QUICK, "--translate", "ja", "--mask",
        "--scene", "429_translated=0.7",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "warning: --translate ja: YouTube refuses nearly all translated captions (429)" in done.stderr
    assert "warning: --mask on: nothing checks whether it changes the answers" in done.stderr
    found = rows(tmp_path)
    kinds = {row["kind"] for row in found}
    assert kinds == {None, "translation_refused"}
    for row in found:
        if row["kind"] is None:
            assert (row["language"], row["is_generated"], row["requests"]) == ("ja", True, 2)
        else:
            assert row["message"] == "YouTube refuses the translation into ja (429)"
            assert (row["attempts"], row["requests"]) == (1, 2)
    events = [json.loads(line) for line in (tmp_path / "q" / "events.jsonl").read_text().splitlines()]
    assert "block" not in {event.get("event") for event in events}
    status = json.loads(engine(tmp_path, "status", "--json").stdout)
    assert [egress["blocked"] for egress in status["egresses"]] == [0]


def test_the_environment_names_them_too(tmp_path: Path) -> None:
    env = {"ENGINE_GENERATED_ONLY": "1", "ENGINE_LANGUAGES": "orig", "ENGINE_METADATA": "full"}
    env |= {"ENGINE_MASK": "1", "ENGINE_RATE": "1000/s"}
    done = engine(tmp_path, "rehearse", "--videos", "3", *QUICK, "--scene", "polyglot", **env)
    assert done.returncode == 0, done.stderr
    assert [(row["language"], row["requests"]) for row in rows(tmp_path)] == [("en", 4)] * 3
    assert "--mask on: nothing checks" in done.stderr
    assert "at 4 requests a video is" in done.stderr
    done = engine(tmp_path, "rehearse", "--videos", "3", *QUICK, "--manual-only")
    assert done.returncode == 2
    assert "begun with generated, not manual" in done.stderr
