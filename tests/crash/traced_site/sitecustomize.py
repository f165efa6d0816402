"""Found first on the path of a traced run (see traced.py): the process that is meant goes on under strace.

Every Python process of the run imports this when it starts. The first one whose command line holds TRACED_WHAT
becomes strace, which starts it again as what it was, with the same process number: strace goes on as a detached
process beside it (-DDD), so that parents, pipes and signals are as ever.
"""

import json
import os
import sys

_what, _args = os.environ.get("TRACED_WHAT"), os.environ.get("TRACED_ARGS")
if _what and _args and _what in " ".join(sys.orig_argv):
    try:
        os.close(os.open(os.environ["TRACED_ONCE"], os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    else:
        for _name in ("TRACED_WHAT", "TRACED_ARGS", "TRACED_ONCE"):
            del os.environ[_name]
        os.execvp("strace", ["strace", "-DDD", *json.loads(_args), sys.executable, *sys.orig_argv[1:]])
