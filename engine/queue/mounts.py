"""Which file system a path lies on, and whether locks and fsync can be relied on there."""

from __future__ import annotations

import os

from engine.errors import UsageError

# flock and fsync guarantee less on these than on a local disk.
_REMOTE = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "gfs2",
        "ocfs2",
    ]
)


def file_system(path: str) -> str:
    """The type of the file system of a path (`ext4`, `nfs4`, …), `unknown` when the system does not say."""
    import psutil

    path = os.path.realpath(path)
    best, kind = "", "unknown"
    for part in psutil.disk_partitions(all=True):
        mount = part.mountpoint.rstrip("/") + "/"
        if (path + "/").startswith(mount) and len(mount) > len(best):
            best, kind = mount, part.fstype
    return kind


def refuse_remote(path: str, what: str) -> None:
    """Raise UsageError when a path lies on a remote file system."""
    kind = file_system(path)
    if kind.lower() in _REMOTE or (kind.startswith("fuse.") and "ssh" in kind):
        raise UsageError(f"the {what} {path} lies on {kind}, a remote file system: use a local disk")
