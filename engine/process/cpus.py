"""How many CPUs this process may use: those of its affinity, and as many as the quotas of its cgroups leave it.

A quota is a time on all CPUs in each period: 150 ms in 100 ms are one and a half, which counts as two. Quotas of
groups above count, too, as far as they can be seen: a container sees its own and what is below.
"""

from __future__ import annotations

import math
import os
import re

_ESCAPED = re.compile(r"\\([0-7]{3})")


def usable(root: str = "/") -> int:
    """The number of CPUs, at least 1. `root` is where /proc and the mounts are looked for."""
    return max(1, math.ceil(min(_by_affinity(), quota(root))))


def _by_affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not Linux
        return os.cpu_count() or 1


def quota(root: str = "/") -> float:
    """The smallest quota of this process's cgroups and those above, in CPUs; infinite without one."""
    groups = _groups(_read(root, "proc/self/cgroup"))
    smallest = math.inf
    for kind, top, mounted in _mounts(_read(root, "proc/self/mountinfo")):
        path = groups.get(kind)
        if path is None:
            continue
        for directory in _upwards(path, top, mounted):
            smallest = min(smallest, _limit(root, kind, directory))
    return smallest


def _groups(text: str) -> dict[str, str]:
    """Our cgroup in the unified hierarchy (`cgroup2`) and in that of the controller `cpu` (`cgroup`)."""
    found = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            found["cgroup"] = path
    return found


def _mounts(text: str) -> list[tuple[str, str, str]]:
    """(kind, which cgroup is mounted, where) of each mount that holds CPU quotas."""
    found = []
    for line in text.splitlines():
        mount, _, source = line.partition(" - ")
        fields, kind = mount.split(), source.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2" or (kind[0] == "cgroup" and "cpu" in kind[2].split(",")):
            found.append((kind[0], _unescaped(fields[3]), _unescaped(fields[4])))
    return found


def _upwards(path: str, top: str, mounted: str) -> list[str]:
    """The directories of a cgroup and of all above, as far as they are mounted."""
    inside = os.path.relpath(path, top) if path.startswith("/") and top.startswith("/") else "."
    parts = [part for part in inside.split("/") if part != "."]
    if ".." in parts:  # a group outside of what is mounted, as that of a process that came from outside
        parts = []
    return [os.path.join(mounted, *parts[:count]) for count in range(len(parts), -1, -1)]


def _limit(root: str, kind: str, directory: str) -> float:
    if kind == "cgroup2":
        fields = _read(root, directory, "cpu.max").split()
    else:
        fields = [
            text.strip()
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            if (text := _read(root, directory, name))
        ]
    try:
        used_us, period_us = (float(field) for field in fields)
    except ValueError:  # `max`, or no such file
        return math.inf
    return used_us / period_us if used_us > 0 and period_us > 0 else math.inf


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def _read(root: str, *parts: str) -> str:
    try:
        with open(os.path.join(root, *(part.lstrip("/") for part in parts)), encoding="utf-8") as file:
            return file.read(1 << 20)
    except (OSError, UnicodeDecodeError):
        return ""
