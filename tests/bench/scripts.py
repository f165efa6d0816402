"""The same job as people script it: one process, a thread pool, what is done kept in memory, two files a video.

The fetches are those of `scripts/bench cost`. The files are written and closed, no more: what the page cache holds is
lost with the power, a file can be half written, and nothing says after a kill what was done.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from cost import CONTENDERS

ABOUT = ("title", "channel", "channel_id", "duration", "upload_date", "view_count", "description")


def keep(out: Path, video_id: str, got: Any) -> None:
    """A JSON file and a text file."""
    about, transcript = got if isinstance(got, tuple) else ({}, got)
    record = {
        "id": video_id,
        **{name: about[name] for name in ABOUT if name in about},
        "language": transcript.language_code,
        "transcript": transcript.to_raw_data(),
    }
    (out / f"{video_id}.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    (out / f"{video_id}.txt").write_text("\n".join(cue.text for cue in transcript), encoding="utf-8")


def main(name: str, proxy: str, ca: str, out: str, names: str, threads: str) -> None:
    fetch = CONTENDERS[name].make(proxy, ca)

    def one(video_id: str) -> None:
        keep(Path(out), video_id, fetch(video_id))

    results: dict[str, str] = {}
    with ThreadPoolExecutor(int(threads)) as pool:
        futures = {pool.submit(one, video_id): video_id for video_id in Path(names).read_text().split()}
        for future in as_completed(futures):
            results[futures[future]] = repr(future.exception() or "ok")
    failed = {video_id: said for video_id, said in results.items() if said != "'ok'"}
    if failed:
        raise SystemExit(f"{len(failed)} videos failed: {next(iter(failed.items()))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
