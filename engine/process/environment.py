"""What the processes that a command starts find: their environment and their working directory.

Our own processes import only what is installed. No secret is in their environment: it travels by a pipe. A program of
the user's (`--notify`) gets the environment without the secrets, and the directory that we were started in.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
from collections.abc import Iterator

SECRETS = ("ENGINE_PROXY", "ENGINE_NOTIFY")  # and what ends with _PROXY and holds a user or a password
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_MODULES = ("PYTHONSAFEPATH", "PYTHONPATH")


class _Start:
    """How this process was started, noted by the first `prepare`."""

    directory: str | None = None
    variables: dict[str, str | None] | None = None


def prepare() -> None:
    """Have all children, also those that libraries start, import only what is installed."""
    if _Start.variables is not None:
        return
    _Start.variables = {name: os.environ.get(name) for name in _MODULES}
    _Start.directory = _here()
    os.environ.update(_import_variables())


def forget_secrets() -> None:
    """Take the secrets out of this process's environment, once they are read: libraries hand it on to children."""
    for name in _secrets():
        del os.environ[name]


def environment() -> dict[str, str]:
    """For a child of our own."""
    secrets = _secrets()
    return {name: value for name, value in os.environ.items() if name not in secrets} | _import_variables()


def changes() -> dict[str, str]:
    """The same, as what is to be laid over our environment: an empty secret is none."""
    return {**dict.fromkeys(_secrets(), ""), **_import_variables()}


def users_environment() -> dict[str, str]:
    """For a program of the user's."""
    secrets = _secrets()
    found = {name: value for name, value in os.environ.items() if name not in secrets}
    for name, value in (_Start.variables or {}).items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


def users_directory() -> str | None:
    """The directory in which the command was started; None when it is gone."""
    directory = _Start.directory or _here()
    return directory if directory and os.path.isdir(directory) else None


def shown(path: str) -> str:
    """A path as the user would type it in the directory where the command was started."""
    directory = users_directory()
    return os.path.relpath(path, directory) if directory else os.path.abspath(path)


@contextlib.contextmanager
def standing_in(directory: str) -> Iterator[None]:
    """Work in another directory within the block: the user's may be removed or unmounted.

    Raises OSError when that directory cannot be entered.
    """
    before, known = _here(), _Start.directory
    os.chdir(directory)
    _Start.directory = known or before
    try:
        yield
    finally:
        _Start.directory = known
        if before:
            with contextlib.suppress(OSError):
                os.chdir(before)


def _secrets() -> list[str]:
    return [
        name
        for name, value in os.environ.items()
        if name in SECRETS or (name.upper().endswith("_PROXY") and "@" in value)
    ]


def _import_variables() -> dict[str, str]:
    """PYTHONPATH without the working directory, which an empty entry means; with this package, if it needs that."""
    kept = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if _PACKAGES not in kept and _PACKAGES not in _installed():
        kept.insert(0, _PACKAGES)
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(kept)}


def _installed() -> list[str]:
    """Where any child finds packages by itself. In front of Python's own modules these must not come."""
    found = list(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return [os.path.abspath(path) for path in found] if not sys.flags.no_site else []


def _here() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None
