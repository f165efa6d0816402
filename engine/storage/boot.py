"""Which boot of the machine this is: monotonic times of another one mean nothing."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def boot_id() -> bytes:
    """16 bytes that change with each boot of this machine."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        import psutil  # not on Linux; the boot time is computed there and may be a second off

        text = str(round(psutil.boot_time() / 10))
    return hashlib.blake2b(text.strip().encode(), digest_size=16).digest()
