"""Trials of the ways to YouTube: real runs against the rehearsal server, at any size, each by one seed.

A trial plays a run and says what it came to: figures, and whatever did not hold. `scripts/bench ways` plays them at
full size; the suite plays small shares of the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import recount
from commands import Batch, Ended, videos

from engine.rehearsal import Rehearsal
from engine.rehearsal.generated_videos import invent

OLD = "400:android-21"  # all versions but that of youtube-transcript-api, which `page` asks as
WITHIN = 60  # videos in which a mask that drops something is off
NEEDED = ("title", "channel", "channel_id", "duration_s", "description")


class Place(Protocol):
    """Where a trial works: see `nights.Place`."""

    @property
    def root(self) -> Path: ...
    def stand_in(self, **settings: Any) -> Rehearsal: ...
    def batch(self, ids: list[str], site: Rehearsal | None = None, name: str = "batch") -> Batch: ...


@dataclass(frozen=True)
class Night:
    """A run that is over, and what the site saw of it. `in_flight`: how many requests may be under way at once."""

    seed: int
    batch: Batch
    ended: Ended
    arrivals: list[dict[str, Any]]
    in_flight: int
    rows: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", list(self.batch.rows().values()))

    @property
    def ways(self) -> Counter[str]:
        return Counter(str(row["way"]) for row in self.rows)

    @property
    def events(self) -> list[dict[str, Any]]:
        return recount.events(self.batch.queue)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == event]

    @property
    def requests(self) -> float:
        """A video."""
        return sum(row["requests"] for row in self.rows) / max(1, len(self.rows))

    @property
    def kb(self) -> float:
        """A video."""
        return sum(row["bytes"] for row in self.rows) / max(1, len(self.rows)) / 1000

    def records(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            if row["files"]:
                yield json.loads((self.batch.out / row["files"]["json"]).read_text())

    def not_all(self, **wanted: Any) -> Iterator[str]:
        """What is wrong unless the run ended well and every row has these values."""
        if self.ended.code != 0:
            yield f"exit code {self.ended.code}: {self.ended.said[-300:]}"
        if len(self.rows) != len(self.batch.ids):
            yield f"{len(self.rows)} rows of {len(self.batch.ids)} videos"
        found = Counter(tuple(row[name] for name in wanted) for row in self.rows)
        others = {values: n for values, n in found.items() if values != tuple(wanted.values())}
        if others:
            yield f"{', '.join(wanted)}: {others}"


def night_of(
    place: Place,
    count: int,
    scenes: Sequence[str] = (),
    options: str = "",
    *,
    seed: int = 5,
    pace: str = "60",
    mask: str = "off",
    real_sizes: bool = False,
    name: str = "batch",
    processes: int = 2,
    threads: int = 4,
    egresses: int = 1,
    timeout_s: float = 300.0,
) -> Night:
    """A run of so many videos to its end. `pace` says how many times shorter an hour is."""
    site = place.stand_in(seed=seed, latency_s=0, scenarios=tuple(scenes), real_sizes=real_sizes)
    batch = place.batch(videos(count, seed), site, name)
    given = options.split()
    for number in range(1, egresses):
        given += ["--proxy", site.proxy_url_as(f"u{number}")]
    ended = batch.run(
        "-p", str(processes), "-t", str(threads), "--mask", mask, *given,
        timeout_s=timeout_s, ENGINE_BUDGET_PACE=pace,
    )  # fmt: skip
    return Night(seed, batch, ended, site.arrivals(), processes * threads * egresses)


@dataclass(frozen=True)
class Came:
    """What a trial came to. `saw` is one line; `wrong` is empty when all of it held."""

    videos: int
    requests: float
    kb: float
    saw: str
    wrong: list[str]


def came(night: Night, saw: str, *wrong: str) -> Came:
    return Came(len(night.rows), night.requests, night.kb, saw, list(wrong))


# ---- a client dies -------------------------------------------------------------------------------------------


def noon(place: Place, seed: int, count: int, *, hour_s: float | None = None, threads: int = 8) -> Came:
    """ANDROID answers 400 from the middle of the run on, for 30 % of it, and is back later.

    The rate follows the size: the last fifth takes an hour and a half, so that it is tried again in it. A trial
    counts as lost after a thirtieth of the hour, so a short hour has more of them than one at a time.
    """
    first, last = count // 2, count // 2 + 3 * count // 10
    hour_s = hour_s or max(5.0, count / 500)
    rate = 2 * count / 5 / (1.5 * hour_s)
    night = night_of(
        place, count, (f"400:android#{first}-{last}",), f"--rate {rate:g}/s", seed=seed, mask="auto", threads=threads,
        pace=f"{3600 / hour_s:g}", timeout_s=1800.0,
    )  # fmt: skip
    wrong = [*night.not_all(status="ok", attempts=1)]
    lost = [at for at, each in enumerate(night.arrivals) if each["scene"] == "400"]
    off, on = night.named("way_off"), night.named("way_on")
    if not (off and on) or {each["way"] for each in off} != {"android"}:
        wrong.append(f"events: {[each['event'] for each in night.events]}")
    # What comes after a pause is a trial: one request, or two, once in an hour.
    burst = _before_a_pause(night.arrivals, lost, hour_s / 2)
    beside = len(burst) - night.in_flight
    if beside > 20:
        wrong.append(f"{len(burst)} requests were lost, {night.in_flight} of them in flight")
    took_s = night.arrivals[burst[-1]]["t"] - night.arrivals[burst[0]]["t"] if burst else 0.0
    after = night.arrivals[burst[-1] + 1 :] if burst else []
    settled = [each for each in after if each["t"] > night.arrivals[burst[-1]]["t"] + hour_s / 60]
    each_video = Counter(each["video_id"] for each in settled if each["scene"] != "400")
    # A video that was under way at the cut has fewer, one that is a trial or checks the mask has more.
    a_video = sum(each_video.values()) / max(1, len(each_video))
    if (
        a_video > 2 + 1 / WITHIN + 8 / max(1, len(each_video)) or took_s > 60
    ):  # each process proves the mask anew
        wrong.append(f"{a_video:.3f} requests a video, {took_s:.1f} s after it died")
    finished = sorted(night.rows, key=lambda row: str(row["finished_at"]))
    if finished[-1]["way"] != "android":
        wrong.append("android is not used at the end")
    saw = (
        f"{len(burst)} requests lost, of them up to {night.in_flight} in flight, within {took_s:.1f} s; then "
        f"{a_video:.3f} a video; {len(lost) - len(burst)} in trials; {dict(night.ways)}"
    )
    return came(night, saw, *wrong)


def _before_a_pause(arrivals: list[dict[str, Any]], which: list[int], pause_s: float) -> list[int]:
    for number, at in enumerate(which[1:], 1):
        if arrivals[at]["t"] - arrivals[which[number - 1]]["t"] > pause_s:
            return which[:number]
    return which


def two_at_noon(place: Place, seed: int, count: int) -> Came:
    """ANDROID and visionOS die together, a third into the run, for good: soon IOS takes two requests a video."""
    night = night_of(
        place, count, (f"400:android,visionos#{count // 3}-",), seed=seed, mask="off", timeout_s=900.0
    )
    wrong = [*night.not_all(status="ok", attempts=1)]
    if night.named("ways_dead"):
        wrong.append("it says that no way works")
    lost = [at for at, each in enumerate(night.arrivals) if each["scene"] == "400"]
    if len(lost) > 2 * (20 + night.in_flight):
        wrong.append(f"{len(lost)} requests were lost")
    after = night.arrivals[lost[-1] + 1 :]
    if len(after) > 2 * len({each["video_id"] for each in after}):
        wrong.append(
            f"{len(after)} requests for {len({each['video_id'] for each in after})} videos after that"
        )
    return came(night, f"{len(lost)} requests lost; {dict(night.ways)}", *wrong)


def one_egress(place: Place, seed: int, count: int) -> Came:
    """ANDROID is refused by one of three egresses: it is off for that one only."""
    night = night_of(
        place, count, ("400:android/u1",), "--on-block wait", seed=seed, egresses=3, processes=1, pace="1"
    )
    wrong = [*night.not_all(status="ok", attempts=1)]
    off = night.named("way_off")
    if [(each["way"], bool(each.get("egress"))) for each in off] != [("android", True)]:
        wrong.append(f"way_off: {off}")
    by = Counter((row["egress"].split()[0], row["way"]) for row in night.rows)
    others = {pair: n for pair, n in by.items() if pair[1] != "android"}
    if len({egress for egress, _ in others}) != 1:
        wrong.append(f"by egress: {by}")
    return came(night, f"off for {off[0].get('egress') if off else None}; {dict(by)}", *wrong)


# ---- each way alone, and none --------------------------------------------------------------------------------

# What else is dead, and the options. Each run finds out by itself which ways are left, but `yt-dlp` is asked for.
ALONE: dict[str, tuple[tuple[str, ...], str]] = {
    "android": ((), ""),
    "visionos": (("400:android",), ""),
    "ios": (("400:android,visionos",), ""),
    "page": ((f"{OLD},visionos,ios",), ""),
    "yt-dlp": ((), "--ways yt-dlp"),
    "yt-dlp by itself": (("400:android,visionos,ios",), "--ytdlp-options"),
}
USUAL = {"page": 3, "yt-dlp": 3}


def alone(place: Place, seed: int, count: int, way: str, mask: str = "auto", processes: int = 2) -> Came:
    """One way serves everything, because the others are refused."""
    scenes, options = ALONE[way]
    name = way.split()[0]
    if options == "--ytdlp-options":  # without it yt-dlp asks as visionOS as well
        file = place.root / "ytdlp.conf"
        file.write_text("--extractor-args youtube:player_client=mweb\n")
        options += f" {file}"
    night = night_of(
        place, count, scenes, options, seed=seed, mask=mask, real_sizes=True, name=f"{way} {mask}".replace(" ", "-"),
        timeout_s=3600.0, pace="1", processes=processes,
    )  # fmt: skip
    wrong = [*night.not_all(status="ok", attempts=1, way=name)]
    off = Counter(each["way"] for each in night.named("way_off"))
    if any(n > 1 for n in off.values()) or name in off:
        wrong.append(f"way_off: {off}")
    late = sorted(night.rows, key=lambda row: str(row["finished_at"]))[len(night.rows) // 2 :]
    usual = sum(row["requests"] for row in late) / max(1, len(late))
    if usual > USUAL.get(name, 2) + 0.03 and count >= 300 and name != "yt-dlp":
        wrong.append(f"{usual:.3f} requests a video in the second half")
    verified = night.batch.does("verify")
    if verified.code:
        wrong.append(f"verify: {verified.said}")
    return came(
        night,
        f"mask {mask}; off: {', '.join(off) or 'none'}; in the second half {usual:.2f} requests",
        *wrong,
    )


# How the first two ways may die together, each told apart by what it answers. `page` asks as an older ANDROID.
TOGETHER = ("400", "xpe", "xpv", "gated", "not_available", "other_video", "reshaped", "soft_block")


def two_dead(place: Place, seed: int, count: int, scene: str) -> Came:
    """ANDROID and visionOS fail for every video in one manner: IOS serves all."""
    night = night_of(
        place, count, (f"{scene}:android-21,visionos",), "--on-block stop", seed=seed, mask="auto", name=scene,
        processes=1, pace="1",
    )  # fmt: skip
    wrong = [*night.not_all(status="ok", attempts=1, way="ios")]
    off = sorted(each["way"] for each in night.named("way_off"))
    if off != ["android", "visionos"]:
        wrong.append(f"way_off: {off}")
    late = sorted(night.rows, key=lambda row: str(row["finished_at"]))[-count // 4 :]
    if scene != "soft_block" and max((row["requests"] for row in late), default=9) > 3:
        wrong.append(f"requests at the end: {Counter(row['requests'] for row in late)}")
    return came(night, "all by ios", *wrong)


def dead(place: Place, seed: int, count: int) -> Came:
    """No way works: the run says so and halts; when they work again, the next run loses nothing."""
    site = place.stand_in(seed=seed, latency_s=0, scenarios=("400:all",))
    batch = place.batch(videos(count, seed), site)
    options = ("-p", "1", "-t", "4")
    ended = batch.run(*options, "--on-block", "stop", ENGINE_BUDGET_PACE="60")
    wrong = []
    if ended.code != 5:
        wrong.append(f"exit code {ended.code}: {ended.said[-300:]}")
    asked = {each["video_id"] for each in site.arrivals()}
    said = [each for each in recount.events(batch.queue) if each["event"] == "ways_dead"]
    if len(said) != 1 or "android: YouTube answers 400" not in said[0]["reason"]:
        wrong.append(f"ways_dead: {said}")
    if len(asked) > 10 + 4:
        wrong.append(f"{len(asked)} videos were asked for")
    status = batch.status()
    if (status["failed"], status["absent"], status["ok"]) != (0, 0, 0):
        wrong.append(f"status: {status}")
    before = len(site.arrivals())
    site.play(replace=True)
    ended = batch.run(*options, ENGINE_BUDGET_PACE="60")
    night = Night(seed, batch, ended, site.arrivals()[before:], 4)
    wrong += night.not_all(status="ok", attempts=1)
    return came(night, f"said and halted after {len(asked)} videos, {before} requests; then all ok", *wrong)


# ---- the mask ------------------------------------------------------------------------------------------------


def mask(place: Place, seed: int, count: int) -> Came:
    """What a video costs when the mask changes nothing."""
    night = night_of(place, count, (), seed=seed, mask="auto", real_sizes=True, timeout_s=900.0)
    wrong = [*night.not_all(status="ok", attempts=1, way="android")]
    if night.requests > 2.02 and night.requests * count > 2.0 * count + count / WITHIN + 4:
        wrong.append(f"{night.requests:.3f} requests a video")
    if night.kb > 5:
        wrong.append(f"{night.kb:.1f} KB a video")
    if night.named("mask_off"):
        wrong.append(f"mask_off: {night.named('mask_off')}")
    return came(night, "the mask stayed on", *wrong)


def lost_field(place: Place, seed: int, count: int) -> Came:
    """From the middle on, masked answers lack a field that the record needs, a different one for each video."""
    half = count // 2
    night = night_of(
        place, count, (f"mask_field#{half}-",), seed=seed, mask="auto", timeout_s=900.0, pace="1"
    )
    wrong = [*night.not_all(status="ok", attempts=1, way="android")]
    spoilt = {each["video_id"] for each in night.arrivals if each["scene"] == "mask_field"}
    if not night.named("mask_off") or len(spoilt) > WITHIN:
        wrong.append(f"{len(spoilt)} videos; {[each['event'] for each in night.events]}")
    bare = [record["video_id"] for record in night.records() if _lacks(record)]
    fewer = [
        record["video_id"]
        for record in night.records()
        if record["metadata"]["keywords"] != list(invent(seed, record["video_id"]).keywords)
    ]
    if bare or fewer:
        wrong.append(f"{len(bare)} records without a needed field, {len(fewer)} without keywords")
    return came(
        night, f"off after {len(spoilt)} videos; {len(bare) + len(fewer)} records that lack something", *wrong
    )


def _lacks(record: dict[str, Any]) -> bool:
    return any(record["metadata"][name] is None for name in NEEDED)


# ---- what turns no way off -----------------------------------------------------------------------------------


def without_captions(place: Place, seed: int, count: int) -> Came:
    """A channel of videos without captions: two requests each, and no way is off."""
    night = night_of(place, count, ("no_captions",), seed=seed, mask="auto")
    wrong = [*night.not_all(status="absent", kind="no_captions", attempts=1)]
    told = [each["event"] for each in night.events if each["event"].startswith(("way", "mask"))]
    if told:
        wrong.append(f"events: {told}")
    if night.requests > 2.02 and night.requests * count > 2 * count + 4:
        wrong.append(f"{night.requests:.3f} requests a video")
    return came(night, "no way and no mask is off", *wrong)


def kids(place: Place, seed: int, count: int) -> Came:
    """Half of the videos are made for kids, half have no captions: each is what it is, and no way is off."""
    night = night_of(place, count, ("kids=0.5", "no_captions=0.5"), seed=seed, mask="auto", pace="1")
    wrong = [f"exit code {night.ended.code}"] if night.ended.code else []
    found = Counter((row["status"], row["kind"]) for row in night.rows)
    if set(found) != {("ok", None), ("absent", "no_captions")}:
        wrong.append(f"{dict(found)}")
    if night.named("way_off"):
        wrong.append(f"way_off: {night.named('way_off')}")
    return came(night, f"{dict(found)}", *wrong)


# ---- two clients that say different things -------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What a site does to a batch, and what its rows must be: (status, kind, way), and the fewest requests of one."""

    scenes: str
    rows: tuple[tuple[str, str | None, str | None], ...]
    requests: int
    options: str = ""
    attempts: int = 1


OK_FIRST, OK_SECOND = ("ok", None, "android"), ("ok", None, "visionos")


def _no(
    kind: str, way: str | None = "android", status: str = "absent"
) -> tuple[tuple[str, str | None, str | None], ...]:
    return ((status, kind, way),)


CASES: dict[str, Case] = {
    "too old": Case("400:android", (OK_SECOND,), 2),
    "xpe": Case("xpe:android", (OK_SECOND,), 2),
    "xpv": Case("xpv:android", (OK_SECOND,), 2),
    "xpe for all": Case("xpe:android,visionos,ios", _no("po_token", status="failed"), 3),
    "an empty text": Case("gated:android", (OK_SECOND,), 2),
    "not available": Case("not_available:android", (OK_SECOND,), 2),
    "not available to all": Case("not_available:android,visionos,ios", _no("unavailable"), 3),
    "another video": Case("other_video:android", (OK_SECOND,), 2),
    "an odd shape": Case("reshaped:android", (OK_SECOND,), 2),
    "odd names": Case("odd_names", (OK_FIRST,), 2),
    "hidden captions": Case("hidden", (OK_SECOND,), 2),
    "made for kids": Case("kids", (OK_FIRST,), 2),
    "made for kids, no captions": Case("no_captions:android,ios kids", _no("no_captions"), 3),
    "made for kids, too old": Case("400:android kids", (("ok", None, "ios"),), 3),
    "no captions": Case("no_captions", _no("no_captions"), 2),
    "private": Case("private", _no("private"), 1),
    "removed": Case("unavailable", _no("unavailable"), 1),
    "live": Case("live", _no("not_yet", status="failed"), 1),
    "hidden hand-made": Case("hidden_manual", (OK_SECOND,), 3, "--manual-only"),
    "generated only": Case("no_language:ios", (OK_FIRST,), 2),
    "two hand-made": Case("twins", (OK_FIRST,), 2),
    "a refused translation": Case(
        "429_translated", _no("translation_refused", status="failed"), 2, "-l en --translate fr"
    ),
}  # fmt: skip


def case(place: Place, seed: int, count: int, name: str) -> Came:
    """One of CASES: every row has the right status, kind and way, in one attempt."""
    item = CASES[name]
    night = night_of(
        place, count, item.scenes.split(), item.options, seed=seed, name=name.replace(" ", "-"), processes=1,
    )  # fmt: skip
    wrong = []
    if night.ended.code not in (0, 3):
        wrong.append(f"exit code {night.ended.code}: {night.ended.said[-300:]}")
    found = Counter((row["status"], row["kind"], row["way"]) for row in night.rows)
    if set(found) != set(item.rows) or sum(found.values()) != count:
        wrong.append(f"{dict(found)}")
    if {row["attempts"] for row in night.rows} != {item.attempts}:
        wrong.append(f"attempts: {Counter(row['attempts'] for row in night.rows)}")
    if min((row["requests"] for row in night.rows), default=0) != item.requests:
        wrong.append(f"requests: {Counter(row['requests'] for row in night.rows)}")
    if any(each.startswith("ways_dead") for each in (e["event"] for e in night.events)):
        wrong.append("it says that no way works")
    (status, kind, way), *_ = item.rows
    return came(night, f"{kind or status} by {way}", *wrong)


@dataclass(frozen=True)
class Trial:
    """A trial by name. `size` is its full size, `least` what it needs; `play(place, seed, videos)` plays it."""

    name: str
    size: int
    play: Callable[[Place, int, int], Came]
    least: int = 20


def trials() -> Iterator[Trial]:
    yield Trial("noon", 5000, noon)
    yield Trial("two at noon", 1000, two_at_noon)
    for way in ALONE:
        masks = ("auto", "off") if way in ("android", "visionos", "ios") else ("auto",)
        for each in masks:
            name = f"alone {way}" + (f" mask {each}" if len(masks) > 1 else "")
            yield Trial(
                name, 1000, lambda place, seed, n, way=way, each=each: alone(place, seed, n, way, each)
            )
    for scene in TOGETHER:
        yield Trial(
            f"two-dead {scene}",
            60,
            lambda place, seed, n, scene=scene: two_dead(place, seed, n, scene),
            least=60,  # after fewer it is not known yet that the second is dead
        )
    yield Trial("dead", 100, dead)
    yield Trial("mask", 1000, mask)
    yield Trial("lost-field", 1000, lost_field)
    yield Trial("without-captions", 300, without_captions)
    yield Trial("kids", 300, kids)
    yield Trial("one-egress", 300, one_egress)
    for name in CASES:
        yield Trial(f"case {name}", 20, lambda place, seed, n, name=name: case(place, seed, n, name))
