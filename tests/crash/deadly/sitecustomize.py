"""For runs with this directory on PYTHONPATH: fetching certain videos kills the process that does it.

`ENGINE_TEST_DEADLY` names them: `<how>:<video id>[,<video id>…]`, where how is `segv` or `exit`. Python imports
this module by itself when it starts, in the workers too, so the engine needs no way in for it.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

how, _, names = os.environ.get("ENGINE_TEST_DEADLY", "").partition(":")
if names:
    from engine.youtube import Fetcher

    real = Fetcher.fetch

    def fetch(self: Fetcher, video_id: str, permit: Any) -> Any:
        """The real one, but for the videos named."""
        if video_id in names.split(","):
            time.sleep(0.05)  # as long as it takes to get into trouble
            if how == "segv":
                ctypes.string_at(0)
            os._exit(3)
        return real(self, video_id, permit)

    Fetcher.fetch = fetch  # type: ignore[method-assign]
