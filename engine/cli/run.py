"""`engine run`, and what `engine rehearse` and `engine plan --sample` share with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from engine.budget import describe, memory, snapshot
from engine.cli import say
from engine.cli.display.closings import waiting
from engine.cli.display.live_progress import LONG_S
from engine.cli.options.captions import cost_notices
from engine.cli.options.commands import IdCommand
from engine.cli.options.common import inputs, queue_option
from engine.cli.options.config_files import memory_file
from engine.cli.options.input import reading_options
from engine.cli.options.network import check_authorities, proxy_urls, through_environment, warn_if_typed
from engine.cli.options.run_options import RunRequest, read_options, run_options
from engine.cli.run_exports import check_exports, run_exports, say_what_next
from engine.cli.run_news import RunNews, end_words, news_words
from engine.cli.run_notices import RunNotices
from engine.cli.run_output import open_output, say_whose
from engine.cli.seed import seeded_sentence
from engine.errors import Exit, NoQueueError, UsageError
from engine.inputs import Line
from engine.network.proxies import egresses
from engine.output import destination
from engine.output.placement import refuse_output_place
from engine.process import environment
from engine.process.threads import start_thread
from engine.queue import events, listings
from engine.queue.control import clear_requests
from engine.queue.directory import Queue, exists, open_queue, refuse_foreign
from engine.queue.id_index import IdSet
from engine.queue.making import make_queue
from engine.queue.mounts import refuse_remote
from engine.run import notify
from engine.seeding.reading import seed_streams
from engine.settings import Settings, check_rehearsal, freeze, frozen_or

if TYPE_CHECKING:
    from engine.export import ExportKind

STDIN = 0


@click.command("run", cls=IdCommand)
@inputs(required=False)
@queue_option()
@reading_options
@run_options(output="transcripts", rate="0.5/s")
def command(inputs: tuple[str, ...], root: str, **values: Any) -> int:
    """Seed what is given, then work until every job is final. Always resumes: run it again after any crash.

    INPUT is what `engine seed --help` says: files of many kinds, URLs, ids, or - for stdin. An option wins over its
    environment variable ENGINE_<OPTION>. The first run of a queue fixes the output directory, the formats, and
    whatever else decides the content of a record.
    """
    return run(inputs, root, read_options(values), rehearsal=False)


def run(sources: Sequence[str], root: str, request: RunRequest, *, rehearsal: bool) -> int:
    """One run from its options to its exit code. All that was given is checked before anything is made."""
    target = _notify_target(request)
    # The notice of the end is sent after the lock is free: who receives it may start the next command.
    with RunNotices(Queue(os.path.abspath(root)), target, _absolute(request.ca_bundle)) as notices:
        queue, exports = _run(sources, root, request, notices, rehearsal=rehearsal)
    say_what_next(queue.root, notices.code, exported=bool(exports))
    return run_exports(queue.root, exports, notices.code)


def _run(
    sources: Sequence[str], root: str, request: RunRequest, notices: RunNotices, *, rehearsal: bool
) -> tuple[Queue, list[tuple[ExportKind, str]]]:
    """The run itself; returns its queue, and the exports that are to follow."""
    if request.until_stdin_ends:
        _stop_when_stdin_ends(sources)
    refuse_foreign(root)
    proxies = proxy_urls(request.proxy, request.proxies)
    if request.rotating and not proxies:
        raise UsageError("--rotating: give the gateway with --proxy or --proxies")
    if not rehearsal:  # which has just made its own
        check_authorities(request.ca_bundle)
    budget, caps, wanted = request.budget(), request.caps(), request.frozen()
    ways, ytdlp = request.chosen_ways(), request.ytdlp()
    exports = check_exports(root, request.exports)
    shared_budget = _shared_budget(request.budget_file)
    errors: list[str] = []
    known = request.reading.known_elsewhere(say)
    streams = request.reading.open(sources, errors, say)
    if errors:
        raise UsageError(*errors)
    queue = _open(sources, root, wanted.output, rehearsal=rehearsal)
    from engine.run.supervisor import hold
    from engine.youtube.clients import installed_clients

    with hold(queue):
        notices.begun = True
        queue.use_budget(shared_budget)
        clear_requests(queue)  # made to a run that is gone; what comes from here on is for this one
        # Before anything is seeded or frozen: a slip in --output must not stay with the queue.
        output = frozen_or(queue, wanted, request.given)
        open_output(queue, output, lost=request.output_lost)
        if not request.replace:
            say_whose(queue, output)
        _seed(queue, sources, streams, known, request)
        batch_id = destination.claim(queue, frozen_or(queue, wanted, request.given).output)
        settings = Settings(
            queue=os.path.abspath(queue.root),
            frozen=freeze(queue, wanted, request.given, relative=not os.path.isabs(request.output)),
            batch=batch_id,
            replace=request.replace,
            egresses=egresses(proxies, rotating=request.rotating),
            budget=budget,
            processes=1 if request.sequential else request.processes,
            threads=1 if request.sequential else request.threads,
            attempts=request.attempts,
            deadline_s=request.deadline,
            grace_s=request.grace,
            ca_bundle=_absolute(request.ca_bundle),
            ways=ways,
            clients=installed_clients(),
            mask=request.mask,
            ytdlp=ytdlp,
            on_block=request.on_block,
            limit=request.limit,
            control_videos=request.control_videos,
            caps=caps,
        )
        # All paths are absolute by now, and the directory the user started from may be removed.
        with environment.standing_in(settings.queue):
            queue = Queue(settings.queue)
            notices.code = _work(queue, settings, request, notices)
    return queue, exports


def _stop_when_stdin_ends(sources: Sequence[str]) -> None:
    """End this run as by TERM when standard input ends. Raises UsageError when that is the input."""
    if "-" in sources:
        raise UsageError("--until-stdin-ends: standard input cannot be the INPUT (-) as well")

    def watch() -> None:
        try:
            while os.read(STDIN, 4096):
                pass
        except OSError:  # closed: the same
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    start_thread(watch, name="stdin")


def _shared_budget(path: str | None) -> str | None:
    """The absolute path of `--budget`. Raises UsageError where no such file can be or be made."""
    if path is None:
        return None
    path = os.path.abspath(path)
    if not os.path.isdir(os.path.dirname(path)):
        raise UsageError(f"--budget {path}: there is no directory {os.path.dirname(path)}", path=path)
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise UsageError(f"--budget {path}: it is no regular file: give another place", path=path)
    refuse_remote(os.path.dirname(path), "budget file")
    return path


def _notify_target(request: RunRequest) -> notify.Target | None:
    target = notify.parse(request.notify) if request.notify else None
    if target is not None and target.holds_password:
        warn_if_typed("notify", "put the address into ENGINE_NOTIFY")
    return target


def _open(sources: Sequence[str], root: str, output: str, *, rehearsal: bool) -> Queue:
    """The queue, made if there is something to put into it. Raises NoQueueError, UsageError."""
    if not sources and not exists(root):
        raise NoQueueError(
            f"no queue in {root}: name the videos, as in `engine run videos.txt`. `engine rehearse` tries it without "
            "YouTube",
            path=root,
        )
    refuse_output_place(root, output)
    queue = make_queue(root, rehearsal=rehearsal) if sources else open_queue(root)
    check_rehearsal(queue, rehearsal)
    refuse_remote(queue.root, "queue")
    return queue


def _seed(
    queue: Queue,
    sources: Sequence[str],
    streams: list[Iterator[Line]],
    known: IdSet | None,
    request: RunRequest,
) -> None:
    """Seed what was given. Raises UsageError when some of it cannot be read, or none of it names a video."""
    if not sources and known is None:
        return
    errors: list[str] = []
    result = seed_streams(
        queue,
        streams,
        errors,
        say,
        known_elsewhere=known,
        max_results=request.max_results,
        newest=request.newest,
        since=request.since,
    )
    if sources:
        say(seeded_sentence(result, queue.rejects))
    if not errors and result.read and result.read == result.rejected:
        errors = ["nothing that was given names a video"]
    if errors:
        raise UsageError(*errors)


def _absolute(path: str | None) -> str | None:
    return os.path.abspath(path) if path else None


def _work(queue: Queue, settings: Settings, request: RunRequest, notices: RunNotices) -> int:
    """Recover the queue and run the supervisor over it."""
    from engine.cli.display.live_progress import Progress
    from engine.queue.claims import run_id
    from engine.run.supervisor import Supervisor

    path = None if request.no_memory or queue.read_batch().get("rehearsal") else memory_file()
    _recover(queue, settings, path)
    for notice in cost_notices(settings):
        say(notice)
    progress = Progress(queue, request.progress, verbose=bool(request.verbose))

    def tick() -> None:
        if supervisor.stopping:
            progress.say_stopping(settings.grace_s, by_signal=supervisor.by_signal)
        progress()
        notices.tick()

    run_news = RunNews(queue)
    supervisor = Supervisor(queue, settings, run_id(), tick)
    try:
        code = supervisor.run()
    finally:
        progress.close()
        if path:
            memory.remember(path, queue.budget, time.time())
    has_sources = run_news.has_sources
    notices.news = run_news.read() if has_sources or notices.told else None
    notices.reason = supervisor.message or end_words(code, notices.news)
    if supervisor.message:
        say(f"engine: {supervisor.message}")
    if has_sources and notices.news:
        say(news_words(notices.news))
    if code == Exit.SOME_FAILED:
        say(f"finished, some failed: `engine failures -q {environment.shown(queue.root)}` lists them")
    elif code not in (Exit.OK, Exit.BUG):
        say("work remains: run the same command again, it continues where it stopped")
    return code


def _recover(queue: Queue, settings: Settings, memory_path: str | None) -> None:
    """Repair what the last run left, and print how much there is to do and how long it takes."""
    from engine.cli.sync import noun
    from engine.monitor.recount import recount
    from engine.recovery.lost_output import put_kept_back
    from engine.recovery.startup import recover
    from engine.run.worker_process import sweep_semaphores
    from engine.seeding.seed import SEED_WAIT_S
    from engine.storage.locks import take_or_say_who

    if settings.replace and (again := put_kept_back(queue)):
        say(f"--replace: put back {again:,} video{'s' * (again != 1)} that had ended as `kept`")
    with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
        for sentence in recover(queue):
            say(sentence)
        left = queue.total() - recount(queue, time.time()).counts.final
        to_list = len(listings.open_listings(queue))
    sweep_semaphores(events.past_runs(queue))
    pace = describe(settings.budget.rate, len(settings.egresses), settings.requests_per_video, videos=left)
    sources = f" and {to_list:,} {noun(to_list)} to list" if to_list else ""
    through = through_environment()
    say(f"{left:,} video{'s' * (left != 1)} to do{sources}{', ' * bool(through)}{through}. {pace}")
    if memory_path and (limits := memory.recall(memory_path, settings.egresses)):
        say(memory.outlook(limits, len(settings.egresses), settings.requests_per_video, left or None))
    for sentence in waiting(snapshot(queue.budget), LONG_S, time.time()):
        say(sentence)
