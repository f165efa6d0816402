"""How many CPUs this process may use: affinity and the quotas of cgroups, as /proc and the mounts show them."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.process.cpus import quota, usable

V2 = "29 22 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "33 25 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = (
    "34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n1 1 8:1 / / rw - ext4 /dev/sda1 rw\nx\n"
)


def tree(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> str:
    texts = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts, **files}
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8", errors="replace")
    return str(root)


CASES = {
    "no quota": ("0::/\n", V2, "/", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
    "one and a half": ("0::/\n", V2, "/", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
    "a tenth": ("0::/\n", V2, "/", {"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 0.1),
    "the root group has no file": ("0::/\n", V2, "/", {}, math.inf),
    "a group above is tighter": (
        "0::/system.slice/engine.service\n",
        V2,
        "/",
        {
            "sys/fs/cgroup/system.slice/engine.service/cpu.max": "400000 100000",
            "sys/fs/cgroup/system.slice/cpu.max": "200000 100000",
        },
        2.0,
    ),
    "our own is tighter": (
        "0::/system.slice/engine.service\n",
        V2,
        "/",
        {
            "sys/fs/cgroup/system.slice/engine.service/cpu.max": "50000 100000",
            "sys/fs/cgroup/system.slice/cpu.max": "max 100000",
        },
        0.5,
    ),
    "a container that sees its own group as the top": (
        "0::/docker/abc\n", V2, "/docker/abc", {"sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0
    ),
    "a group outside of the mount": ("0::/../other\n", V2, "/", {"sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0),
    "version 1": (
        "4:cpu,cpuacct:/docker/abc\n3:memory:/x\n",
        V1,
        "/docker/abc",
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        2.5,
    ),
    "version 1 without a quota": (
        "4:cpu,cpuacct:/\n",
        V1,
        "/",
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        math.inf,
    ),
    "nonsense": ("0::/\n", V2, "/", {"sys/fs/cgroup/cpu.max": "a lot\n"}, math.inf),
    "a period of nothing": ("0::/\n", V2, "/", {"sys/fs/cgroup/cpu.max": "5 0\n"}, math.inf),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_quotas(case: str, tmp_path: Path) -> None:
    cgroup, mount, top, files, expected = CASES[case]
    root = tree(tmp_path, cgroup, OTHER + mount.format(top=top), files)
    assert quota(root) == expected
    have = len(os.sched_getaffinity(0))
    assert usable(root) == max(1, min(have, have if expected == math.inf else math.ceil(expected)))


def test_affinity_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable(str(tmp_path)) == 1
    finally:
        os.sched_setaffinity(0, before)
    assert usable(str(tmp_path)) == len(before)


@given(st.text(), st.text(), st.text())
def test_any_text_gives_a_number(cgroup: str, mounts: str, limit: str) -> None:
    files = {"sys/fs/cgroup/cpu.max": limit}
    with tempfile.TemporaryDirectory() as directory:
        root = tree(Path(directory), f"0::/a\n{cgroup}", V2.format(top="/") + mounts, files)
        assert usable(root) >= 1
