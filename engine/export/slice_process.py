"""A process that works on slices: it reads what to do from its standard input and answers on its standard output.

It ends when its standard input does, so it does not outlive the process that started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback

from engine.errors import EngineError
from engine.export.slice_work import SliceWork


def main() -> None:
    """The specification first, then (method, arguments) again and again. Answers are (ok, result)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; our parent ends us
    with os.fdopen(os.dup(1), "wb") as answers, open(0, "rb", closefd=False) as questions:
        os.dup2(2, 1)  # nothing else may come between the answers
        work: SliceWork | None = None
        while True:
            try:
                method, arguments = pickle.load(questions)  # noqa: S301 - from the process that started us
            except EOFError:
                return
            answer: tuple[bool, object]
            try:
                if method == "begin":
                    work = SliceWork(*arguments)
                    answer = (True, None)
                else:
                    answer = (True, getattr(work, method)(*arguments))
            except (EngineError, OSError) as exc:
                answer = (False, exc)
            except Exception:  # noqa: BLE001 - the parent raises it
                answer = (False, RuntimeError(traceback.format_exc()))
            pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
