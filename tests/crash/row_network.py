"""Row 18: the network is gone for up to two minutes: connections refused, names not resolved, no route.

No job fails and no attempt is spent, whatever was in flight; within half a minute of its return requests are sent
again. Refusals are the stand-in's own scene. For the other two run and stand-in live in a network of their own, which
is made for one thread of this process and the children that it starts.
"""

from __future__ import annotations

import collections
import ctypes
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import recount
from commands import Batch, until, videos
from nights import Place
from scorecard import Told, row, share

FEW = ("-p", "2", "-t", "8")
GONE_S = {"quick": 8.0, "tenth": 30.0, "whole": 120.0}
BACK_S = 30.0
HOST = "proxy.test"
NEW_NET, NEW_FILES = 0x40000000, 0x00020000  # CLONE_NEWNET, CLONE_NEWNS


@dataclass
class Outage:
    """What is done to the network, and undone."""

    begin: Callable[[], object]
    end: Callable[[], object]


def _outage(
    batch: Batch, outage: Outage, seed: int, proxy: str | None = None, *, hears_nothing: bool = False
) -> str:
    """A run that meets it in its middle. `hears_nothing`: it may not even notice a short one."""
    site = batch.site
    assert site is not None
    dice, gone_s = random.Random(seed), GONE_S[share()]
    with batch.start(*FEW, "--rate", "20/s", proxy=proxy) as run:
        batch.seen(dice.randrange(10, 80), within_s=90.0)
        outage.begin()
        time.sleep(gone_s)
        back_s = time.monotonic()
        outage.end()
        until(
            lambda: any(arrival["t"] > back_s for arrival in site.arrivals()),
            BACK_S,
            "requests after it is back",
        )
        waited_s = min(arrival["t"] for arrival in site.arrivals() if arrival["t"] > back_s) - back_s
        ended = run.wait(120)
        batch.gone(run)
    assert ended.code == 0, ended.said
    rows = batch.rows().values()
    assert {value["status"] for value in rows} == {"ok"}
    spent = {value["video_id"]: value["attempts"] for value in rows if value["attempts"] != 1}
    assert not spent, f"attempts charged for the outage: {spent}"
    told = collections.Counter(event["event"] for event in recount.events(batch.queue))
    assert told["network_lost"] or hears_nothing, "nobody noticed"
    batch.clean()
    return f"gone for {gone_s:g} s, probed {told['probe']} times, requests {waited_s:.1f} s after it was back"


def _batch(place: Place, seed: int) -> Batch:
    return place.batch(videos(150, seed), place.stand_in(seed=seed))


@row(18, "network-refused", "connections are dropped and refused", trials=6)
def refused(place: Place, seed: int) -> str:
    batch = _batch(place, seed)
    assert batch.site is not None
    site = batch.site
    return _outage(batch, Outage(lambda: site.play("gone"), lambda: site.play(replace=True)), seed)


def _apart(play: Callable[[], str]) -> str | Told:
    """Call it in a thread with a network of its own, in which there is loopback alone, and its own mounts."""
    found: list[str | Told | BaseException] = []

    def thread() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(NEW_NET | NEW_FILES):
                why = os.strerror(ctypes.get_errno())
                found.append(Told(0, f"not played: no network of its own can be made here ({why})"))
                return
            _do("mount", "--make-rprivate", "/")
            _do("ip", "link", "set", "lo", "up")
            found.append(play())
        except BaseException as exc:  # its verdict goes to the thread that waits
            found.append(exc)

    item = threading.Thread(target=thread)
    item.start()
    item.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _do(*command: str | Path) -> None:
    subprocess.run(command, check=True)


@row(
    18, "network-no-route", "the interface goes down: no route, and what is under way hears nothing", trials=8
)
def no_route(place: Place, seed: int) -> str | Told:
    def play() -> str:
        link = ("ip", "link", "set", "lo")
        outage = Outage(lambda: _do(*link, "down"), lambda: _do(*link, "up"))
        return _outage(_batch(place, seed), outage, seed, hears_nothing=share() != "whole")

    return _apart(play)


@row(18, "network-no-names", "the proxy's name is not resolved: no answer, or none in time", trials=6)
def no_names(place: Place, seed: int) -> str | Told:
    """Connections are dropped as well, as open ones need no name."""

    def play() -> str:
        hosts, servers = place.root / "hosts", place.root / "resolv.conf"
        with_it, without = f"127.0.0.1 localhost {HOST}\n", "127.0.0.1 localhost\n"
        hosts.write_text(with_it)
        # On loopback nobody listens there: refused at once. To the other address packets go and none comes back.
        server = ("127.0.0.1", "127.7.7.7")[seed % 2]
        servers.write_text(f"nameserver {server}\noptions timeout:1 attempts:2\n")
        _do("mount", "--bind", hosts, "/etc/hosts")
        _do("mount", "--bind", servers, "/etc/resolv.conf")
        if seed % 2:
            _do("ip", "route", "add", "blackhole", "127.7.7.7/32", "table", "local")
        batch = _batch(place, seed)
        assert batch.site is not None
        site = batch.site

        def begin() -> None:
            hosts.write_text(without)
            site.play("gone@0-1")

        proxy = f"http://{HOST}:{site.address.port}"
        return _outage(batch, Outage(begin, lambda: hosts.write_text(with_it)), seed, proxy)

    return _apart(play)
