"""The first that runs in a worker process: loky's own module, which here prints no traceback on stdout.

It would where too little memory is left to read what the process is to do. The supervisor says that in a sentence.
"""

import io
import sys


class _Nowhere(io.TextIOBase):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


if __name__ == "__main__":
    import runpy

    sys.stdout = _Nowhere()
    runpy.run_module("loky.backend.popen_loky_posix", run_name="__main__", alter_sys=True)
