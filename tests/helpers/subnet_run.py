"""A budget of three proxies of one subnet and one of another, in a file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from engine.budget import Budget, BudgetSettings, Outcome, parse_rate
from engine.budget.state import TOGETHER, EgressState
from engine.budget.subnets import subnet_key
from engine.model import EgressSpec, Permit

SUBNET = "203.0.113.0/24"
KEY = subnet_key(SUBNET)
RUN = BudgetSettings(parse_rate("auto"))
RATES = (5.0, 8.0, 6.0)


def specs(count: int = 3) -> list[EgressSpec]:
    proxies = [EgressSpec(f"p{n:03}", f"http://203.0.113.{n}:80") for n in range(1, count + 1)]
    return [*proxies, EgressSpec("p099", "http://198.51.100.1:80")]


class SubnetRun:
    """A budget of four proxies, three of them in one subnet, that have been served lately."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / "budget")
        self.events: list[tuple[str, str, float]] = []
        self.budget = self.open(new_run=True)
        self.stop = threading.Event()
        for egress, rate in enumerate((*RATES, 5.0)):
            with self.budget._store.transaction(egress) as record:
                record.state = record.state._replace(
                    interval=1 / rate, top=rate, base=rate, tat=record.now, ok_at=record.now
                )

    def open(self, *, new_run: bool = False, settings: BudgetSettings = RUN, count: int = 3) -> Budget:
        def note(*event: object) -> None:
            self.events.append(event)  # type: ignore[arg-type]

        return Budget.open(self.path, specs(count), settings, new_run=new_run, on_event=note)

    def permit(self, egress: int) -> Permit:
        """A permit of this egress, as soon as its cool-down is over."""
        permit = self.budget.take(egress=egress, stop=self.stop)
        assert permit is not None
        return permit

    def refuse(self, egress: int, job: str = "") -> None:
        """A video is refused, and the control video after it."""
        for attempt in ("video", "control"):
            self.budget.report(self.permit(egress), Outcome.BLOCKED, job=f"{job}{egress} {attempt}")

    def join(self) -> None:
        for egress in (0, 1):
            self.refuse(egress)
        assert self.shared() is not None

    def over(self) -> None:
        """Let the block be as long ago as it lasts."""
        self.change(0, open_until=time.monotonic())

    def change(self, egress: int, **fields: object) -> None:
        with self.budget._store.transaction(egress) as record:
            assert record.subnet is not None
            record.subnet = record.subnet._replace(**fields)

    def resume(self) -> None:
        """The block is over, and all have their probes behind them."""
        self.over()
        self.budget.report(self.permit(2), Outcome.OK, job="a control video")
        for egress in (0, 1):
            with self.budget._store.transaction(egress) as record:
                record.state = record.state._replace(open_until=record.now)
            self.budget.report(self.permit(egress), Outcome.OK, job="a control video")

    def own(self, egress: int) -> EgressState:
        state = self.budget._store.own_states()[egress]
        assert state is not None
        return state

    def shared(self) -> EgressState | None:
        return self.budget._store.peek_subnet(KEY)

    def together(self) -> list[bool]:
        return [bool(self.own(egress).flags & TOGETHER) for egress in range(4)]
