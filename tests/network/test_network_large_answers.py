"""Turns: one thread at a time, given back however the scope is left, and waited for with a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.network.large_answers import LargeAnswerSlot


def elsewhere(act: Callable[[], object]) -> None:
    """Run it in another thread, and wait."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def test_one_thread_at_a_time() -> None:
    large_slot = LargeAnswerSlot()
    inside = most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with large_slot.scope():
                assert large_slot.take()
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not large_slot.mine


def test_the_outermost_scope_gives_it_back_and_an_error_does_not_change_that() -> None:
    large_slot = LargeAnswerSlot()

    def free() -> bool:
        found = []

        def look() -> None:
            with large_slot.scope():
                found.append(large_slot.take(lambda: True))

        elsewhere(look)
        return found[0]

    with pytest.raises(KeyError), large_slot.scope():
        with pytest.raises(ValueError, match="inner"), large_slot.scope():
            assert large_slot.take()
            assert large_slot.take(), "a thread that has it need not wait"
            raise ValueError("inner")
        assert large_slot.mine
        assert not free()
        raise KeyError
    assert not large_slot.mine
    assert free()


def test_a_wait_ends_when_asked_or_after_its_limit() -> None:
    large_slot = LargeAnswerSlot()
    asked = 0

    def give_up() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    def wait() -> None:
        with large_slot.scope():
            assert not large_slot.take(give_up)
            assert not large_slot.take(wait_max_s=0.5)
            assert not large_slot.mine

    with large_slot.scope():
        large_slot.take()
        elsewhere(wait)
    assert asked == 2


def test_a_turn_can_only_be_taken_inside_a_scope() -> None:
    with pytest.raises(RuntimeError, match="inside a scope"):
        LargeAnswerSlot().take()
