"""The first that runs in a worker process: loky's own module, which here prints no traceback on stdout.

It would where too little memory is left to read what the process is to do. The supervisor says that in a sentence.
"""

import sys

if __name__ == "__main__":
    import runpy

    sys.stdout = None  # as in a program without one: what is printed goes nowhere
    runpy.run_module("loky.backend.popen_loky_posix", run_name="__main__", alter_sys=True)
