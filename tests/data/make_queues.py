"""Makes the queues under `queues/` anew, by real commands of the engine in this tree: see `queues/README.md`.

    .venv/bin/python tests/data/make_queues.py [NAME…]

A queue that must be caught between two steps is made by a command in whose processes one call of
`engine.storage.disk` (or of what the recipe names) kills the process or hangs until all of it is killed. What a
recipe says of the queue is checked before it is packed, and how it ends is found out by finishing it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import recount
from commands import MONITOR, engine, kill, until, videos
from frozen import Recipe, finish, kinds, missing, pack, served, unpack
from workshop import DIE, STEPS, Workshop

LIST = "./videos.txt"
DEADLY = """
import os, time
_real = Fetcher.fetch
def _fetch(self, video_id, permit, **more):
    if video_id == {guilty!r}:
        time.sleep(0.05)
        os._exit(3)
    return _real(self, video_id, permit, **more)
Fetcher.fetch = _fetch
"""
RECIPES: dict[str, Callable[[Workshop], Recipe]] = {}


def queue(make: Callable[[Workshop], Recipe]) -> Callable[[Workshop], Recipe]:
    RECIPES[make.__name__.replace("_", "-")] = make
    return make


def rehearsed(about: str, *options: str, **more: Any) -> Recipe:
    return Recipe(about, finish=[["rehearse", LIST, *options]], **more)


# ---- seeded, and killed amid the first seeding -----------------------------------------------------------
@queue
def seeded(at: Workshop) -> Recipe:
    ids = at.list(20)
    rows = [f"{video_id},{number},ä;b" for number, video_id in enumerate(ids)] + ["no video,99,x"]
    (at.root / "list.csv").write_text("\n".join(["url,row,topic", *rows]) + "\n")
    at.queue.mkdir()
    (at.queue / "engine.toml").write_text('attempts = 4\nthreads = 3\n\n[profile.careful]\nrate = "0.1/s"\n')
    at.does("seed", "./list.csv")
    return Recipe(
        "seeded from a CSV with columns, one line of it rejected; engine.toml; never run",
        ["queue/pending/000000/*", "queue/rejects.csv", "queue/engine.toml"],
        finish=[["run", "./list.csv"]],
        serve=["--scene", "absent=.2"],
    )


def _dies_seeding(
    at: Workshop, about: str, tree: list[str], without: list[str], verb: str = "seed"
) -> Recipe:
    def reached() -> bool:
        return all(any(at.root.glob(text)) for text in tree) and not any(
            any(at.root.glob(text)) for text in without
        )

    at.dying(verb, LIST, reached=reached, ready=lambda: at.list(40))
    if verb == "rehearse":
        return rehearsed(about, tree=tree)
    return Recipe(about, tree, finish=[["seed", LIST], ["run", LIST]], serve=[])


@queue
def seeding_directories(at: Workshop) -> Recipe:
    about = "killed amid the first seeding: some directories, no batch.json"
    return _dies_seeding(at, about, ["queue/deferred"], ["queue/tmp", "queue/batch.json"])


@queue
def seeding_batch(at: Workshop) -> Recipe:
    about = "killed amid the first seeding: all directories and batch.json, no FORMAT"
    return _dies_seeding(at, about, ["queue/tmp", "queue/batch.json"], ["queue/FORMAT"])


@queue
def seeding_batch_rehearsal(at: Workshop) -> Recipe:
    about = "a first `rehearse` killed while it makes the queue: batch.json, FORMAT still under its temporary name"
    return _dies_seeding(
        at, about, ["queue/batch.json", "queue/tmp/.FORMAT*"], ["queue/FORMAT"], verb="rehearse"
    )


@queue
def seeding_no_segment(at: Workshop) -> Recipe:
    about = "killed amid the first seeding: FORMAT, the segment still under its temporary name"
    return _dies_seeding(at, about, ["queue/FORMAT", "queue/tmp/.000000*"], ["queue/segments/*"])


@queue
def seeding_segment(at: Workshop) -> Recipe:
    about = "killed amid the first seeding: the segment's file, none of its directories"
    return _dies_seeding(at, about, ["queue/segments/000000.jsonl"], ["queue/journal/000000"])


@queue
def seeding_tokens(at: Workshop) -> Recipe:
    about = "killed amid the first seeding: some of the tokens in tmp/, not published"
    return _dies_seeding(
        at, about, ["queue/tmp/000000/1.*"], ["queue/tmp/000000/2.*", "queue/pending/000000"]
    )


@queue
def seeding_published(at: Workshop) -> Recipe:
    about = "killed amid the first seeding: tokens published, no cache of ids"
    return _dies_seeding(at, about, ["queue/pending/000000/0.*"], ["queue/ids/*.odd"])


@queue
def seeding_second(at: Workshop) -> Recipe:
    ids: list[str] = []

    def ready() -> None:
        ids[:] = at.list(40)
        at.does("rehearse", LIST, "--limit", "6", code=4)
        at.list(56)

    def reached() -> bool:
        return any(at.queue.glob("segments/000001.jsonl")) and not (at.queue / "pending" / "000001").exists()

    for step in range(10, 60, 2):  # its first steps are known not to be there yet
        at.fresh()
        ready()
        env = at.env(engine__durable=DIE.format(step=step, names=STEPS))
        engine(*at.args("seed", LIST), **env)
        if reached():
            break
    other = videos(57, 1)[-1]  # with the same list again the segment would be written again
    return Recipe(
        "half done, then a second seeding killed between its segment's file and its tokens",
        ["queue/segments/000001.jsonl", "queue/pending/000000/*"],
        finish=[["seed", other], ["rehearse", other]],
    )


@queue
def segments_by_ones(at: Workshop) -> Recipe:
    ids = at.list(10)
    at.does("rehearse", ids[0])
    for name in ids[1:8]:
        at.does("seed", name)
    at.does("rehearse", ids[8], "--limit", "4", code=4)
    at.does("seed", ids[9])
    return rehearsed("ten segments of one job each, five of them done", tree=["queue/pending/000009/*"])


@queue
def takeout(at: Workshop) -> Recipe:
    for name in ("watch-history.json", "Watch later-videos.csv", "takeout-001.zip"):
        shutil.copy(Path(__file__).parent / name, at.root / name.replace(" ", "-"))
    sources = ["./watch-history.json", "./Watch-later-videos.csv", "./takeout-001.zip"]
    at.does("rehearse", sources[0], "--limit", "1", code=4)
    for source in sources[1:]:
        at.does("seed", source)
    return Recipe(
        "a Takeout's history and playlists: several segments, columns in `input`, one job done",
        ["queue/segments/000001.jsonl", "queue/pending/*/*"],
        finish=[["rehearse", *sources]],
    )


# ---- finished and put back -------------------------------------------------------------------------------
FAILING = ("--scene", "absent=.3", "--scene", "error500=.3", "--attempts", "1")


@queue
def finished(at: Workshop) -> Recipe:
    at.list(40)
    at.does("rehearse", LIST, *FAILING, code=3)
    about = "finished with ok, absent and failed rows"
    return rehearsed(about, *FAILING, tree=["queue/filed/000000/2.*"], lines=["final kind"], exit=3)


@queue
def retried(at: Workshop) -> Recipe:
    at.list(40)
    at.does("rehearse", LIST, *FAILING, code=3)
    at.does("retry")
    at.does("retry", "--absent", "--kind", "private")
    return rehearsed(
        "finished, then its failed and private jobs put back",
        tree=["queue/deferred/0000000000~*"],
        lines=["reopen"],
    )


@queue
def retried_twice(at: Workshop) -> Recipe:
    at.list(24)
    for _ in range(2):
        at.does("rehearse", LIST, "--scene", "error500=.5", "--attempts", "1", code=3)
        at.does("retry")
    at.does("rehearse", LIST, "--limit", "2", code=4)
    return rehearsed("put back twice, then half done again", tree=["queue/deferred/*"], lines=["reopen"])


def _dies_retrying(at: Workshop, about: str, reached: Callable[[], bool], *, tree: list[str]) -> Recipe:
    at.list(40)
    at.does("rehearse", LIST, *FAILING, code=3)
    kept = at.base / "kept"
    shutil.copytree(at.root, kept)
    at.dying("retry", reached=reached, ready=lambda: shutil.copytree(kept, at.root, dirs_exist_ok=True))
    return rehearsed(about, tree=["queue/retry.json", *tree], settled=False)


@queue
def retry_intent(at: Workshop) -> Recipe:
    def reached() -> bool:
        return (at.queue / "retry.json").exists()

    return _dies_retrying(at, "a retry killed when its intent was written", reached, tree=[])


@queue
def retry_manifest(at: Workshop) -> Recipe:
    def reached() -> bool:
        length = json.loads((at.queue / "checkpoint.json").read_bytes())["length"]
        return (at.queue / "manifest.jsonl").stat().st_size < length

    return _dies_retrying(
        at,
        "a retry killed between the new manifest and its checkpoint",
        reached,
        tree=["queue/filed/000000/*"],
    )


@queue
def retry_tokens(at: Workshop) -> Recipe:
    def reached() -> bool:
        return len(list(at.queue.glob("deferred/*"))) == 1

    about = "a retry killed when the first of its tokens was moved"
    return _dies_retrying(at, about, reached, tree=["queue/deferred/*", "queue/filed/000000/*"])


@queue
def poison(at: Workshop) -> Recipe:
    guilty = at.list(20)[5]
    env = at.env(engine__youtube=DEADLY.format(guilty=guilty))
    at.does("rehearse", LIST, "--latency", ".2", code=3, env=env)
    return rehearsed(
        "finished; one job killed its process three times and is poison", lines=["died alone"], exit=3
    )


@queue
def repair_cut(at: Workshop) -> Recipe:
    def ready() -> None:
        at.list(24)
        at.does("rehearse", LIST, "--scene", "absent=.2")
        next(at.root.glob("out/*/*.md")).unlink()
        (at.queue / "checkpoint.json").unlink()

    def reached() -> bool:
        return bool(at.lines("reopen"))

    ready()
    kept = at.base / "kept"
    shutil.copytree(at.root, kept)
    at.dying(
        "verify",
        "--repair",
        reached=reached,
        ready=lambda: shutil.copytree(kept, at.root, dirs_exist_ok=True),
    )
    return Recipe(
        "finished, then a transcript and the checkpoint lost, and the repair killed when it had reopened the job",
        lines=["reopen"],
        finish=[["verify", "--repair"], ["rehearse", LIST, "--scene", "absent=.2"]],
        settled=False,
    )


# ---- killed amid a run -----------------------------------------------------------------------------------
def _torn(at: Workshop) -> dict[str, str]:
    """A thread hangs with its output under temporary names, then another within its journal line."""
    tmp = at.hang("_rename", "args[1].endswith('.md') and _nth('md') == 5", "tmp")
    torn = at.hang(
        "_write",
        f"bytes(args[1][:6]) == b'final ' and os.path.exists({str(at.room / 'tmp')!r}) and _nth('final') == 2",
        "torn",
        first="real(args[0], bytes(args[1])[:60])",
    )
    return at.env(engine__durable=tmp + torn)


TORN = [
    "queue/workers/*/inflight",
    "queue/workers/*/000000.*",
    "out/.engine-tmp/*/owner",
    "out/.engine-tmp/*/*.tmp",
]


@queue
def killed(at: Workshop) -> Recipe:
    at.list(50)
    with at.start("rehearse", LIST, "--scene", "absent=.2", "--latency", ".1", env=_torn(at)) as run:
        at.marked("tmp", "torn")
        run.kill_all()
    assert any(not path.read_bytes().endswith(b"\n") for path in at.queue.glob("journal/*/*"))
    about = "kill -9 of the whole group: claims, inflight, temporary output, a torn journal line"
    return rehearsed(about, "--scene", "absent=.2", tree=TORN, lines=["final"])


@queue
def killed_run(at: Workshop) -> Recipe:
    at.list(30)
    (at.root / "list.csv").write_text(
        "id,topic\n"
        + "".join(f"{part},{part[:2]}\n" for part in (at.root / "videos.txt").read_text().split())
    )
    with served(["--latency", ".2"], **at.env()) as lead:
        url, authority = lead[1], lead[3]
        three = [word for name in "abc" for word in ("--proxy", re.sub(r"//([^@/]*@)?", f"//{name}:x@", url))]
        options = [*three, "--ca-bundle", authority, "--rate", "30/s", "--limit", "28"]
        with at.start("run", "./list.csv", *options) as run:
            at.wait(lambda: len(at.lines("final")) > 7, "for rows")
            run.kill_all()
    return Recipe(
        "a real run by three proxies, with a rate and --limit, killed: tickets, a budget of three egresses",
        ["queue/tickets", "queue/budget", "queue/workers/*/inflight"],
        ["final input"],
        finish=[["run", "./list.csv"]],
        serve=[],
    )


@queue
def died_note(at: Workshop) -> Recipe:
    at.list(40)
    with at.start("rehearse", LIST, "--latency", ".3", "-p", "1") as run:
        at.wait(lambda: len(at.lines("final")) > 3, "for rows")
        (pid,) = recount.workers(at.queue)
        kill(pid)
        until(lambda: any(at.queue.glob("workers/*/died")), 30.0, "for the supervisor's note", each_s=0.002)
        run.kill_all()
    return rehearsed(
        "a worker killed alone, then all: the supervisor's note `died`", tree=["queue/workers/*/died"]
    )


@queue
def died_lines(at: Workshop) -> Recipe:
    at.list(40)
    with at.start("rehearse", LIST, "--latency", ".3", "-p", "1") as run:
        at.wait(lambda: len(at.lines("final")) > 3, "for rows")
        (pid,) = recount.workers(at.queue)
        kill(pid)
        at.wait(lambda: at.lines("died"), "for lines of deaths")
        run.kill_all()
    return rehearsed("a worker was killed in company, its jobs blamed, then all killed", lines=["died"])


@queue
def manifest_behind(at: Workshop) -> Recipe:
    at.list(48)
    with at.start("rehearse", LIST, "--scene", "absent=.2", "-p", "1") as run:
        at.wait(lambda: len(at.lines("final")) > 2 and run.members(MONITOR), "for a monitor and rows")
        for pid in run.members(MONITOR):
            os.kill(pid, signal.SIGSTOP)
        at.wait(lambda: any(at.queue.glob("done/*/*")), "for a chunk that is done")
        run.kill_all()
    about = (
        "the monitor stood still: finished chunks not filed, journals ahead of the manifest; then all killed"
    )
    return rehearsed(about, "--scene", "absent=.2", tree=["queue/done/000000/*"], lines=["synced"])


@queue
def filing_cut(at: Workshop) -> Recipe:
    at.list(48)
    far = f"args[1].endswith('checkpoint.json') and os.path.getsize({str(at.queue / 'manifest.jsonl')!r}) > 2000"
    env = at.env(engine__durable=at.hang("_rename", far, "filing"))
    with at.start("rehearse", LIST, "--latency", ".1", env=env) as run:
        at.marked("filing")
        run.kill_all()
    about = "killed between the manifest's rows and their checkpoint: the manifest is longer than that says"
    return rehearsed(about, tree=["queue/manifest.jsonl", "queue/tmp/.checkpoint*"])


@queue
def steered(at: Workshop) -> Recipe:
    at.list(40)
    with at.start("rehearse", LIST, "--latency", ".4") as run:
        at.wait(lambda: at.lines("final"), "for rows")
        at.does("set", "threads=2", "rate=50/s")  # the workers begin another lap
        at.wait(
            lambda: any(path.name.endswith(".1") for path in at.queue.glob("workers/*")), "for a second lap"
        )
        at.does("pause")
        at.wait(lambda: not list(at.queue.glob("workers/*")), "for the pause")
        at.does("resume")
        at.wait(lambda: len(list(at.queue.glob("workers/*/inflight"))) == 2, "for the next laps")
        run.signal(signal.SIGSTOP)
        with at.start("set", "rate=9/s"), at.start("pause"), at.start("stop", "--now"):
            at.wait(lambda: len(list(at.queue.glob("asked/*"))) == 2, "for what is asked")
            at.wait((at.queue / "control.json").exists, "for a stop")
            run.kill_all()
    return rehearsed(
        "set, paused, resumed; a later lap of each worker; killed with asks and a stop that nobody has read",
        tree=["queue/asked/*.json", "queue/control.json", "queue/live.json", "queue/workers/*/inflight"],
    )


@queue
def paused(at: Workshop) -> Recipe:
    at.list(40)
    with at.start("rehearse", LIST, "--latency", ".2") as run:
        at.wait(lambda: at.lines("final"), "for rows")
        at.does("pause")
        at.wait(lambda: not list(at.queue.glob("workers/*")), "for the pause")
        run.kill_all()
    return rehearsed("killed in a pause", tree=["queue/live.json", "queue/deferred/*"])


# ---- stopped: what attempts left -------------------------------------------------------------------------
@queue
def stopped(at: Workshop) -> Recipe:
    at.list(40)
    with at.start("rehearse", LIST, "--scene", "error500=.5", "--scene", "garbled=.2") as run:
        at.wait(lambda: len(at.lines("try", "charged")) > 3, "for charged tries")
        at.does("stop")
        assert run.wait().code == 4
    about = "engine stop: deferred chunks with charged tries that wait"
    return rehearsed(about, tree=["queue/deferred/1*~*"], lines=["try charged"])


@queue
def interrupted(at: Workshop) -> Recipe:
    at.list(40)
    with at.start("rehearse", LIST, "--latency", "0", "--rate", ".2/s", "--grace", "2") as run:
        at.wait(lambda: at.lines("final"), "for a row")  # by then no request is given in advance
        at.wait(lambda: not any(map(recount.busy, at.queue.glob("workers/*"))), "for nobody to be at work")
        at.wait(lambda: any(map(recount.busy, at.queue.glob("workers/*"))), "for the next job")
        time.sleep(1.0)  # its first request is answered, its second may go five seconds after that
        run.signal(signal.SIGINT)
        run.wait()
    about = "^C: an attempt that waited for its second permit gave way"
    return rehearsed(about, tree=["queue/pending/000000"], lines=["try gave_way"])


@queue
def network(at: Workshop) -> Recipe:
    at.list(40)
    with at.start("rehearse", LIST, "--scene", "reset=.6") as run:
        at.wait(lambda: len(at.lines("try", "charged", "stamp")) > 2, "for stamped tries")
        run.kill_all()
    return rehearsed("connections lost: charged and stamped tries; then killed", lines=["try charged stamp"])


@queue
def blocked(at: Workshop) -> Recipe:
    at.list(40)
    options = ("--scene", "429@2-", "--latency", ".3", "-t", "8", "--rate", "10/s")
    with at.start("rehearse", LIST, *options) as run:
        at.wait(lambda: len(at.lines("try", "stamp")) > 3, "for refusals")
        at.does("stop")
        run.wait()
    about = "blocked in mid-run: stamped tries; stopped"
    return rehearsed(about, tree=["queue/deferred/*"], lines=["try stamp"])


@queue
def halted(at: Workshop) -> Recipe:
    at.list(40)
    options = ("--scene", "bot@1-", "--latency", ".4", "-t", "2", "--on-block", "stop")
    at.does("rehearse", LIST, *options, code=5)
    return rehearsed("--on-block stop: the run ended with its only egress blocked", lines=["try stamp"])


@queue
def held(at: Workshop) -> Recipe:
    at.list(24)
    options = ("--scene", "no_captions=.4", "--latency", ".6", "-p", "1", "-t", "3")
    with at.start("rehearse", LIST, *options) as run:
        at.wait(lambda: len(at.lines("final")) > 2, "for rows")
        at.does("stop")
        run.wait()
    about = "stopped while answers without captions were held back: `held` tries"
    return rehearsed(about, "--scene", "no_captions=.4", tree=["queue/captions"], lines=["try held"])


@queue
def doubted(at: Workshop) -> Recipe:
    at.list(20)
    env = {**at.env(), "ENGINE_BUDGET_PACE": "60"}  # or whoever packs it would have to wait for it, too
    with at.start("rehearse", LIST, "--scene", "no_captions", env=env) as run:
        at.wait(lambda: len(at.lines("try", "held", "doubted")) > 5, "for doubts")
        run.kill_all()
    about = "no video had captions: `doubted` tries, held, that wait a while; then killed"
    return rehearsed(about, "--scene", "no_captions=.5", tree=["queue/captions"], lines=["try held doubted"])


# ---- listings --------------------------------------------------------------------------------------------
SOURCES = ["@made-up-12", "PLnot-here-at-all", "search:made up 12", "PLmade-up-20"]


@queue
def listings(at: Workshop) -> Recipe:
    at.list(0)
    at.does("rehearse", *SOURCES, "--max-results", "8", code=3)
    at.does("sync")
    return Recipe(
        "a channel, a playlist and a search listed and fetched, one playlist that does not exist failed; then `sync`",
        ["queue/listings/000003.json"],
        finish=[["rehearse", "--uploads", "3"]],
        exit=3,
    )


@queue
def listings_seeded(at: Workshop) -> Recipe:
    at.does("rehearse", *SOURCES[:1], "--limit", "1", code=4)
    at.does("seed", *SOURCES[1:])
    about = "sources seeded beside a channel that is half done: open, none of their videos found yet"
    return Recipe(about, ["queue/listings/000003.json"], finish=[["rehearse"]], exit=3)


@queue
def listings_killed(at: Workshop) -> Recipe:
    with at.start("rehearse", SOURCES[1], "@made-up-90", "--latency", ".3", "-t", "1") as run:
        at.wait(lambda: _listed(at), "for videos to be found")
        run.kill_all()
    about = "killed while a channel was being listed; another source had failed"
    return Recipe(about, ["queue/listings/000001.json", "queue/lister.lock"], finish=[["rehearse"]], exit=3)


def _listed(at: Workshop) -> bool:
    found = [json.loads(path.read_bytes()) for path in sorted(at.queue.glob("listings/0*.json"))]
    return len(found) == 2 and 0 < found[1]["found"] < 90 and found[0]["state"] == "failed"


# ---- what is fetched -------------------------------------------------------------------------------------
def _half(at: Workshop, about: str, *options: str, end: tuple[str, ...] = (), code: int = 0) -> Recipe:
    at.list(12)
    at.does("rehearse", LIST, *options, *end, "--limit", "5", code=4)
    return rehearsed(f"half done: {about}", *end, tree=["queue/tickets"], exit=code)


@queue
def languages(at: Workshop) -> Recipe:
    scenes = ("--scene", "polyglot=.5", "--scene", "dubbed")
    options = ("-l", "orig,en", "--all-languages", "--metadata", "full", "-f", "md", "-f", "txt")
    return _half(at, "--all-languages, --metadata full, md and txt", *options, end=scenes)


@queue
def subtitles(at: Workshop) -> Recipe:
    return _half(at, "-f srt, vtt and txt; -l any, --generated-only", "-l", "any", "--generated-only", *(
        word for name in ("srt", "vtt", "txt") for word in ("-f", name)
    ))  # fmt: skip


@queue
def translated(at: Workshop) -> Recipe:
    end = ("--scene", "429_translated=.4", "--attempts", "1")
    return _half(
        at, "--translate ja, --fetch full, some translations refused", "--translate", "ja", end=end, code=3
    )


@queue
def manual(at: Workshop) -> Recipe:
    return _half(
        at, "--manual-only, -l en,de", "--manual-only", "-l", "en,de", end=("--scene", "polyglot=.6")
    )


# ---- mended by hand from one that a run left --------------------------------------------------------------
@queue
def older(at: Workshop) -> Recipe:
    at.list(40)
    at.does("rehearse", LIST, "--limit", "9", code=4)
    for name in ("listings", "captions", "tickets", "events.jsonl", "status.json", "ids/000000.u64"):
        path = at.queue / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    path = at.queue / "batch.json"
    batch = json.loads(path.read_bytes())
    del batch["crc32"]
    batch["frozen"] = {name: batch["frozen"][name] for name in ("output", "languages", "formats")}
    path.write_text(json.dumps(batch))
    about = "half done; without what the first engines did not write: listings/, captions, later frozen fields, a sum"
    return rehearsed(about, tree=["queue/pending/000000/*"])


@queue
def power_cut(at: Workshop) -> Recipe:
    at.list(60)
    with at.start("rehearse", LIST, "--latency", ".1", "-p", "1", env=_torn(at)) as run:
        at.marked("tmp", "torn")
        run.kill_all()
    tokens = sorted(at.queue.glob("pending/000000/*"))
    tokens[0].unlink()
    (at.queue / "deferred" / f"0000000000~000000.{tokens[1].name}").touch(mode=0o600)
    for worker in at.queue.glob("workers/*/lock"):
        worker.unlink()
    for name in ("ids/000000.u64.odd", "status.json"):
        size = (at.queue / name).stat().st_size
        (at.queue / name).write_bytes(bytes(size))
    with (at.queue / "manifest.jsonl").open("ab") as file:
        file.write(b'{"video_id": "torn')
    about = "killed, and as after a power cut: a token lost, one doubled, no worker's lock, blank caches, torn ends"
    return rehearsed(about, tree=["queue/deferred/0000000000~*", "queue/workers/*/inflight"])


# ---- format 2 --------------------------------------------------------------------------------------------
@queue
def shards(at: Workshop) -> Recipe:
    """One thread hangs between its frame and its row, another in the middle of a frame behind those of rows."""

    def named() -> list[tuple[int, int]]:
        files = [row["files"] for row in at.lines("final") if row["files"]]
        found = (map(int, each["json"].partition("#")[2].split("+")) for each in files)
        return sorted((offset, length) for offset, length in found)

    at.list(14)
    left = at.hang("ShardOutput.touch", "_nth('touch') == 2", "left")
    torn = at.hang(
        "_pwrite",
        "bytes(args[1][:4]) == b'\\x28\\xb5\\x2f\\xfd' and _nth('frame') == 7",
        "torn",
        "real(args[0], bytes(args[1])[:len(args[1]) // 2], args[2])",
    )
    env = at.env(engine__output__shard_output=left, engine__storage__disk=torn)
    options = ("--store", "shards", "--scene", "absent=.2", "--latency", ".1")
    with at.start("rehearse", LIST, *options, env=env) as run:
        at.marked("left", "torn")
        at.wait(lambda: len(named()) > 4, "for rows")
        run.kill_all()
    (shard,) = at.root.glob("out/shards/*.zst")
    places = named()
    gaps = sum(end < start for end, (start, _) in zip(map(sum, places), places[1:], strict=False))
    assert gaps == 1, f"no frame that no row names among those of rows: {places}"
    assert shard.stat().st_size > sum(places[-1]), "no torn frame at the end"
    return rehearsed(
        "format 2, --store shards: killed; a frame that no row names among those of rows, a torn one at the end",
        "--scene",
        "absent=.2",
        tree=["out/shards/*.zst", "queue/workers/*/inflight"],
        lines=["final files", "final kind"],
    )


# ----------------------------------------------------------------------------------------------------------
def made(name: str) -> str:
    """Make a queue, pack it, and find out how it ends."""
    with tempfile.TemporaryDirectory(prefix=f"queue-{name}-") as base:
        at = Workshop(Path(base) / "made")
        what = RECIPES[name](at)
        assert missing(at.root, what) == [], missing(at.root, what)
        pack(at.root, name, what)
        again = Path(base) / "again"
        unpack(name, again)
        ended = finish(again, what)
        assert ended.code == what.exit, ended
        audited = engine("verify", "-q", again / "queue")
        assert audited.code == 0, audited
        what.rows = kinds(again / "queue")
        pack(at.root, name, what)
        return f"{name}: {what.rows}"


def chosen(words: list[str]) -> Iterator[str]:
    yield from words or RECIPES


if __name__ == "__main__":
    failed = 0
    with ThreadPoolExecutor(3) as pool:
        for name, future in [(name, pool.submit(made, name)) for name in chosen(sys.argv[1:])]:
            try:
                print(future.result(), flush=True)
            except BaseException as exc:  # the others are made all the same
                failed += 1
                print(f"{name}: NOT MADE: {type(exc).__name__}: {str(exc)[:1500]}", flush=True)
    sys.exit(bool(failed))
