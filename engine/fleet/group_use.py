"""A proxy group in use: a thread renews its lease, and the budget file's lease says up to when it may be used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from engine.budget import lease
from engine.errors import DiskError, UsageError
from engine.fleet.groups import GroupHolder
from engine.fleet.ledger import Fleet, Ledger
from engine.fleet.machine import MachineDirectory
from engine.fleet.objects import UnavailableError
from engine.fleet.own_proxies import egress_hash
from engine.fleet.steps import perform
from engine.network.proxies import egresses, read_proxies
from engine.process.threads import start_thread
from engine.storage import disk
from engine.storage.processes import SignalEvent


def hashes(urls: list[str]) -> list[str]:
    """What the ledger knows of these proxies."""
    return [egress_hash(spec) for spec in egresses(urls)]


def dealt(urls: list[str], groups: int) -> list[list[str]]:
    """The proxies of each group: by turns, so that neighbours in the list are in different ones."""
    return [urls[at::groups] for at in range(groups)]


class GroupUse:
    """A machine's proxy group, held from `take` until `end`, or until it is lost (`lost` is set then)."""

    def __init__(
        self, ledger: Ledger, fleet: Fleet, machine: MachineDirectory, me: dict[str, Any], pool: str | None
    ) -> None:
        if pool is None:
            raise UsageError(
                "this fleet's proxies are in groups: give the file they were planned with, with --proxies FILE"
            )
        urls, self._warnings = read_proxies(pool)
        self._urls = dealt(list(dict.fromkeys(urls)), len(fleet.groups))
        for number, (mine, known) in enumerate(zip(self._urls, fleet.groups, strict=True)):
            if tuple(hashes(mine)) != known:
                raise UsageError(
                    f"--proxies {pool}: it is not the file that the fleet was planned with (group {number} differs)"
                )
        self._ledger, self._machine = ledger, machine
        self._holder = GroupHolder(
            len(fleet.groups), me, lease.now_s, ledger.timing, sum(machine.name.encode()) % len(fleet.groups)
        )
        self.lost, self.ready, self._leaving = SignalEvent(), SignalEvent(), SignalEvent()
        self.group: int | None = None
        self.error = ""

    def take(self, stop: SignalEvent, say: Callable[[str], None]) -> bool:
        """Take a group and wait until it may be used; False when `stop` was set first."""
        for warning in self._warnings:
            say(f"warning: {warning}")
        thread = start_thread(self._keep, name="group")
        told = False
        while not self.ready.wait(0.2):
            if self.lost.is_set():
                raise DiskError(self.error or "the proxy group was lost before it could be used")
            if stop.is_set():
                self._leaving.set()
                thread.join(5.0)
                return False
            if not told:
                told = True
                say("every proxy group is another machine's: waiting for one")
        say(f"this machine uses proxy group {self.group}")
        return True

    @property
    def proxies(self) -> str:
        """The file with the group's proxies."""
        return self._machine.proxies(self.group or 0)

    def end(self) -> None:
        """Give the group up. No request is sent any more when this is called."""
        self._leaving.set()
        if self.group is not None and not self.lost.is_set():
            lease.renew(self._machine.budget(self.group), 0.0)
            try:
                perform(self._ledger.objects, self._holder.leave(), time.sleep)
            except UnavailableError:
                return  # another machine takes it when it has waited long enough

    def _keep(self) -> None:
        try:
            why = perform(
                self._ledger.objects, self._holder.keep(self._valid, self._leaving.is_set), self._leaving.wait
            )
        except (UnavailableError, UsageError, OSError) as exc:
            why, self.error = "lost", str(exc)
        if why == "lost":
            self.lost.set()

    def _valid(self, until_s: float) -> None:
        """The lease holds until then: tell the budget, and the first time whoever waits for the group."""
        held = self._holder.lease
        if held is None:
            return
        lease.renew(self._machine.budget(held.group), until_s)
        if self.group is None and until_s > lease.now_s():
            self.group = held.group
            data = "".join(f"{url}\n" for url in self._urls[held.group]).encode()
            disk.publish(self._machine.proxies(held.group), data)
            self.ready.set()
