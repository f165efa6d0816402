"""What one transcript costs: requests, TLS handshakes, bytes and CPU a video, against other ways to get it.

All contenders fetch the same videos from the same stand-in with bodies of the site's own sizes, in the same run,
each in a process of its own with 8 threads; rounds are interleaved and the medians are shown. No queue, no files:
the fetch alone. Run by `scripts/bench cost [--videos N] [--rounds N] [--quick]`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

from engine.rehearsal import Settings, invented_ids, start

THREADS, WARM_UP = 8, 8
CONTENDERS = {
    "origin": "yt-dlp metadata + youtube-transcript-api, both new for each video",
    "yt-dlp": "yt-dlp, metadata alone, new for each video",
    "library": "youtube-transcript-api, one object a thread (no metadata)",
    "full": "engine's fetch, --fetch full",
    "lean": "engine's fetch, the default",
}


# ---- the contenders, each in a child process -------------------------------------------------------------
def _yt_dlp_options(proxy: str) -> dict[str, Any]:
    return {
        "quiet": True,
        "no_warnings": True,
        "skip_download": True,
        "proxy": proxy,
        "nocheckcertificate": True,
        "ignore_no_formats_error": True,
        "cachedir": False,
    }


def _origin(proxy: str, ca: str) -> Callable[[str], object]:
    import yt_dlp
    from youtube_transcript_api import YouTubeTranscriptApi
    from youtube_transcript_api.proxies import GenericProxyConfig

    def fetch(video_id: str) -> object:
        with yt_dlp.YoutubeDL(_yt_dlp_options(proxy)) as ydl:
            ydl.extract_info(f"https://www.youtube.com/watch?v={video_id}", download=False)
        return YouTubeTranscriptApi(proxy_config=GenericProxyConfig(proxy, proxy)).fetch(video_id)

    return fetch


def _yt_dlp(proxy: str, ca: str) -> Callable[[str], object]:
    import yt_dlp

    def fetch(video_id: str) -> object:
        with yt_dlp.YoutubeDL(_yt_dlp_options(proxy)) as ydl:
            return ydl.extract_info(f"https://www.youtube.com/watch?v={video_id}", download=False)

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
        from engine.model import EgressSpec, Fetched, Permit
        from engine.youtube import Door, Fetcher, FetchSettings

        def permit(egress: int) -> Permit:
            return Permit(0, 0, time.monotonic() + 60)

        door = Door((EgressSpec("p001", proxy),), take=permit, ca_bundle=ca)
        fetcher = Fetcher(door, FetchSettings(fetch_mode="full" if mode == "full" else "lean"))

        def fetch(video_id: str) -> object:
            got = fetcher.fetch(video_id, permit(0))
            assert isinstance(got, Fetched), got
            return got

        return fetch

    return make


MAKERS = {
    "origin": _origin,
    "yt-dlp": _yt_dlp,
    "library": _library,
    "full": _engine("full"),
    "lean": _engine("lean"),
}


def contend(name: str, proxy: str, ca: str, ids: list[str]) -> None:
    """Fetch these videos; print CPU seconds and peak memory. Two lines on stdin separate warm-up and work."""
    fetch = MAKERS[name](proxy, ca)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fetch, ids[:WARM_UP]))
        print("ready", flush=True)
        sys.stdin.readline()
        before, begun = time.process_time(), time.monotonic()
        list(pool.map(fetch, ids[WARM_UP:]))
        cpu_s, wall_s = time.process_time() - before, time.monotonic() - begun
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": peak_mb}), flush=True)


# ---- the run ---------------------------------------------------------------------------------------------
def measure(name: str, stand_in: Any, ids: list[str]) -> dict[str, float]:
    """One contender once: its figures a video."""
    environment = {
        **os.environ,
        "REQUESTS_CA_BUNDLE": stand_in.ca_bundle,
        "SSL_CERT_FILE": stand_in.ca_bundle,
    }
    child = subprocess.Popen(
        [sys.executable, __file__, "--contend", name, stand_in.proxy_url, stand_in.ca_bundle, *ids],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    if child.stdout.readline() != "ready\n":
        raise SystemExit(f"{name} did not get through its warm-up")
    before = stand_in.stats()
    child.stdin.write("go\n")
    child.stdin.flush()
    said = json.loads(child.stdout.readline())
    after = stand_in.stats()
    child.wait()
    videos = len(ids) - WARM_UP
    return {
        "requests": (sum(after["requests"].values()) - sum(before["requests"].values())) / videos,
        "tls": (after["tls_handshakes"] - before["tls_handshakes"]) / videos,
        "kb": (_bytes(after) - _bytes(before)) / videos / 1000,
        "cpu_ms": said["cpu_s"] * 1000 / videos,
        "wall_ms": said["wall_s"] * 1000 / videos,
        "peak_mb": said["peak_mb"],
    }


def _bytes(stats: dict[str, Any]) -> int:
    return sum(int(counts.get("bytes", 0)) for counts in stats["egresses"].values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench cost", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="10 videos, 2 rounds")
    wanted = parser.parse_args()
    videos, rounds = (10, 2) if wanted.quick else (wanted.videos, wanted.rounds)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with start(Settings(latency_s=0.0, real_sizes=True)) as stand_in:
        for turn in range(rounds):
            for name in CONTENDERS:
                found[name].append(measure(name, stand_in, list(invented_ids(videos + WARM_UP, seed=turn))))
    columns = ("requests", "tls", "kb", "cpu_ms", "wall_ms", "peak_mb")
    medians = {
        name: {its: statistics.median(one[its] for one in runs) for its in columns}
        for name, runs in found.items()
    }
    print(
        f"{videos} videos x {rounds} rounds, {THREADS} threads, latency 0; medians a video; x = origin's / this one's"
    )
    print(f"python {platform.python_version()}, youtube-transcript-api {version('youtube-transcript-api')}, "
          f"yt-dlp {version('yt-dlp')}, {os.cpu_count()} cores\n")  # fmt: skip
    print("| way | requests | x | TLS | KB | x | CPU ms | x | spread | wall ms | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    base = medians["origin"]
    for name, about in CONTENDERS.items():
        its, cpu = medians[name], [one["cpu_ms"] for one in found[name]]
        print(
            f"| {about} | {its['requests']:.2f} | {base['requests'] / its['requests']:.1f} | {its['tls']:.2f} "
            f"| {its['kb']:.1f} | {base['kb'] / its['kb']:.1f} | {its['cpu_ms']:.1f} "
            f"| {base['cpu_ms'] / its['cpu_ms']:.1f} | {min(cpu):.1f}-{max(cpu):.1f} | {its['wall_ms']:.1f} "
            f"| {its['peak_mb']:.0f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contend"]:
        contend(*sys.argv[2:5], sys.argv[5:])
    else:
        main()
