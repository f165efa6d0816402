"""What one transcript costs: requests, TLS handshakes, bytes and CPU a video, against other ways to get it.

All contenders fetch from the same stand-in with bodies of the site's own sizes, in the same run, each in a
process of its own with 8 threads that lives to the end: what starting costs is not counted. They work by turns, one
at a time, and a turn's videos are so many that each contender works for about a second (a cheap one needs more of
them for the clock to say anything). Ratios are taken within a turn, so that a machine that slows down slows
both sides, and the medians of the turns are shown. No queue, no files: the fetch alone.
Run by `scripts/bench cost [--turns N] [--quick]`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from engine.rehearsal import RehearsalSettings, invented_ids, start

THREADS = 8
WARM_UP = 3 * THREADS  # each thread has its connection, and the interpreter has specialised its code


# ---- the contenders, each in a child process -------------------------------------------------------------
def _yt_dlp_options(proxy: str) -> dict[str, Any]:
    return {
        "quiet": True,
        "no_warnings": True,
        "skip_download": True,
        "proxy": proxy,
        "compat_opts": {"no-certifi"},  # else it trusts certifi's list alone, and not SSL_CERT_FILE
        "ignore_no_formats_error": True,
        "cachedir": False,
        # Else it writes its progress among the figures on stdout, `quiet` or not: the bench takes that for a
        # contender that failed, closes the pipe, and a "Broken pipe" is all that is seen of it.
        "noprogress": True,
    }


def _origin(proxy: str, ca: str) -> Callable[[str], object]:
    import yt_dlp
    from youtube_transcript_api import YouTubeTranscriptApi
    from youtube_transcript_api.proxies import GenericProxyConfig

    def fetch(video_id: str) -> object:
        with yt_dlp.YoutubeDL(_yt_dlp_options(proxy)) as ydl:
            about = ydl.extract_info(f"https://www.youtube.com/watch?v={video_id}", download=False)
        return about, YouTubeTranscriptApi(proxy_config=GenericProxyConfig(proxy, proxy)).fetch(video_id)

    return fetch


def _yt_dlp(proxy: str, ca: str) -> Callable[[str], object]:
    import yt_dlp

    def fetch(video_id: str) -> object:
        with yt_dlp.YoutubeDL(_yt_dlp_options(proxy)) as ydl:
            return ydl.extract_info(f"https://www.youtube.com/watch?v={video_id}", download=False)

    return fetch


def _yt_dlp_captions(proxy: str, ca: str) -> Callable[[str], object]:
    import yt_dlp

    directory = tempfile.mkdtemp(dir=os.environ["BENCH_DIR"])
    options = {
        **_yt_dlp_options(proxy),
        "writesubtitles": True,
        "writeautomaticsub": True,
        "subtitleslangs": ["en"],
        "subtitlesformat": "json3",
        "outtmpl": os.path.join(directory, "%(id)s.%(ext)s"),
    }

    def fetch(video_id: str) -> object:
        with yt_dlp.YoutubeDL(options) as ydl:
            got = ydl.extract_info(f"https://www.youtube.com/watch?v={video_id}", download=True)
        os.unlink(got["requested_subtitles"]["en"]["filepath"])
        return got

    return fetch


def _library(proxy: str, ca: str) -> Callable[[str], object]:
    from youtube_transcript_api import YouTubeTranscriptApi
    from youtube_transcript_api.proxies import GenericProxyConfig

    mine = threading.local()

    def fetch(video_id: str) -> object:
        if not hasattr(mine, "api"):
            mine.api = YouTubeTranscriptApi(proxy_config=GenericProxyConfig(proxy, proxy))
        return mine.api.fetch(video_id)

    return fetch


def _engine(mode: str) -> Callable[[str, str], Callable[[str], object]]:
    def make(proxy: str, ca: str) -> Callable[[str], object]:
        from engine.model import WAYS, EgressSpec, Fetched, Permit
        from engine.youtube.fetcher import Client, Fetcher, FetchSettings

        def permit(egress: int) -> Permit:
            return Permit(0, 0, time.monotonic() + 60)

        door = Client((EgressSpec("p001", proxy),), acquire=permit, ca_bundle=ca)
        settings = FetchSettings(
            ways=("page",) if mode == "full" else WAYS, mask="off" if mode == "full" else mode
        )
        fetcher = Fetcher(door, settings)

        def fetch(video_id: str) -> object:
            got = fetcher.fetch(video_id, permit(0))
            assert isinstance(got, Fetched), got
            return got

        return fetch

    return make


@dataclass(frozen=True)
class Contender:
    """A way to get a video; `videos` of it are a turn, times a number of threads."""

    about: str
    make: Callable[[str, str], Callable[[str], object]]
    videos: int


CONTENDERS = {
    "origin": Contender("yt-dlp metadata + youtube-transcript-api, both new for each video", _origin, 1),
    "yt-dlp": Contender("yt-dlp, metadata alone, new for each video", _yt_dlp, 1),
    "yt-dlp captions": Contender(
        "yt-dlp, metadata and captions (json3), new for each video", _yt_dlp_captions, 1
    ),
    "library": Contender("youtube-transcript-api, one object a thread, no metadata", _library, 10),
    "full": Contender("`engine`'s fetch, `--fetch full`", _engine("full"), 10),
    "no mask": Contender("`engine`'s fetch, `--mask off`", _engine("off"), 30),
    "auto": Contender("`engine`'s fetch, the default (`--mask auto`)", _engine("auto"), 30),
    "mask": Contender("`engine`'s fetch, `--mask on`", _engine("on"), 30),
}


def contend(name: str, proxy: str, ca: str) -> None:
    """Fetch the videos that a line on stdin names; answer each line with what they took, until stdin ends."""
    fetch = CONTENDERS[name].make(proxy, ca)

    def drop(video_id: str) -> None:
        fetch(video_id)  # nobody keeps what hundreds of videos said in memory

    with ThreadPoolExecutor(THREADS) as pool:
        for line in sys.stdin:
            cpu_s, begun_s = time.process_time(), time.monotonic()
            list(pool.map(drop, line.split()))
            figures = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.monotonic() - begun_s}
            figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps(figures), flush=True)


# ---- the run ---------------------------------------------------------------------------------------------
class Child:
    """One contender at work. Stops the bench when the contender fails."""

    def __init__(self, name: str, stand_in: Any, directory: str) -> None:
        self.name = name
        self._stand_in = stand_in
        trust = {"REQUESTS_CA_BUNDLE": stand_in.ca_bundle, "SSL_CERT_FILE": stand_in.ca_bundle}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--contend", name, stand_in.proxy_url, stand_in.ca_bundle],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **trust, "BENCH_DIR": directory},
            text=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def measure(self, ids: Sequence[str]) -> dict[str, float]:
        """What these videos take: figures a video, and `peak_mb` so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = self._stand_in.stats()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(" ".join(ids) + "\n")
            self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said.startswith("{"):
            raise SystemExit(f"the contender {self.name!r} failed")
        took, after = json.loads(said), self._stand_in.stats()
        return {
            "requests": (_requests(after) - _requests(before)) / len(ids),
            "tls": (after["tls_handshakes"] - before["tls_handshakes"]) / len(ids),
            "kb": (_bytes(after) - _bytes(before)) / len(ids) / 1000,
            "cpu_ms": took["cpu_s"] * 1000 / len(ids),
            "wall_ms": took["wall_s"] * 1000 / len(ids),
            "peak_mb": took["peak_mb"],
        }


def _requests(stats: dict[str, Any]) -> int:
    return sum(stats["requests"].values())


def _bytes(stats: dict[str, Any]) -> int:
    return sum(int(counts.get("bytes", 0)) for counts in stats["egresses"].values())


def videos(name: str, scale: float) -> int:
    """How many a contender fetches in a turn."""
    return max(1, round(CONTENDERS[name].videos * scale)) * THREADS


def play(turns: int, scale: float) -> dict[str, list[dict[str, float]]]:
    """The figures of each contender, turn by turn."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with contextlib.ExitStack() as stack:
        stand_in = stack.enter_context(start(RehearsalSettings(latency_s=0.0, real_sizes=True)))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        children = [stack.enter_context(Child(name, stand_in, directory)) for name in CONTENDERS]
        for child in children:
            child.measure(list(invented_ids(WARM_UP, seed=0)))
        for turn in range(1, turns + 1):
            for child in children if turn % 2 else reversed(children):
                names = list(invented_ids(videos(child.name, scale), seed=turn))
                found[child.name].append(child.measure(names))
    return found


def ratios(found: dict[str, list[dict[str, float]]], name: str, what: str) -> list[float]:
    """How many times less than the origin's way, turn by turn."""
    return [a[what] / b[what] for a, b in zip(found["origin"], found[name], strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench cost", description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="3 turns of few videos: does it work at all?")
    wanted = parser.parse_args()
    turns, scale = (3, 0.2) if wanted.quick else (max(3, wanted.turns), 1.0)
    found = play(turns, scale)
    print(
        f"{turns} turns, {THREADS} threads each, no latency; medians a video; x: the origin's way divided by this "
        "one, the median of the turns; in brackets the middle half of them"
    )
    print(f"python {platform.python_version()}, youtube-transcript-api {version('youtube-transcript-api')}, "
          f"yt-dlp {version('yt-dlp')}, {os.cpu_count()} cores\n")  # fmt: skip
    print("| way | videos | requests | TLS | KB | x | CPU ms | x | | wall ms | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, contender in CONTENDERS.items():
        values = {what: statistics.median(one[what] for one in found[name]) for what in found[name][0]}
        cpu = ratios(found, name, "cpu_ms")
        low, _, high = statistics.quantiles(cpu, n=4)
        print(
            f"| {contender.about} | {videos(name, scale) * turns} "
            f"| {values['requests']:.2f} | {values['tls']:.2f} "
            f"| {values['kb']:.1f} | {statistics.median(ratios(found, name, 'kb')):.1f} "
            f"| {values['cpu_ms']:.1f} | {statistics.median(cpu):.1f} | ({low:.1f}-{high:.1f}) "
            f"| {values['wall_ms']:.1f} | {max(one['peak_mb'] for one in found[name]):.0f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contend"]:
        contend(*sys.argv[2:5])
    else:
        main()
