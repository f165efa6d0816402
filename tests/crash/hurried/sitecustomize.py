"""On the path of a recorded run: its workers sync and retry sooner, so that a short run has all sorts of steps."""

import sys

if any("popen_loky" in word for word in sys.orig_argv):
    from engine import verdict, worker

    worker.SYNC_S = 0.3
    verdict.WAITS_S = (0.2, 0.4, 0.6)
    verdict.LONG_WAIT_S = 1.0
