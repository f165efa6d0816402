"""How a companion ends, and what it does not hear."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterator

import pytest

from engine.errors import EngineError, Exit, HeldError
from engine.process.child_side import carried_out
from engine.storage.processes import SIGNALS


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _raises(exc: Exception) -> Callable[[], None]:
    def work() -> None:
        raise exc

    return work


def test_it_works_deaf_to_signals(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[object] = []

    def work() -> None:
        heard.extend(signal.getsignal(number) for number in SIGNALS)
        heard.append(SIGNALS & signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # as it is born
    try:
        assert carried_out(work, "working") == Exit.OK
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    assert heard == [signal.SIG_IGN] * 3 + [set()]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("exc", "code", "said"),
    [
        (HeldError("another has it"), Exit.HELD, "another has it"),
        (EngineError("odd"), Exit.BUG, "odd"),
        (OSError(errno.ENOSPC, "No space left on device"), Exit.DISK, "working in q"),
    ],
)
def test_it_says_why_it_ends(
    capsys: pytest.CaptureFixture[str], exc: Exception, code: Exit, said: str
) -> None:
    assert carried_out(_raises(exc), "working in q") == code
    assert said in capsys.readouterr().err


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        carried_out(_raises(ZeroDivisionError()), "working")
