"""An import as a child process: `python -m engine import`, for `Batch.import_folder`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from typing import Literal, TypedDict

from engine.model import ImportResult
from engine.run.child_run import ENGINE, arguments, error_of, lines_of, own_environment, refuse_unknown


class ImportOptions(TypedDict, total=False):
    """The options of `engine import` by their long names; `engine import --help` says what each does."""

    format: str | Iterable[str]
    generated_only: bool
    languages: str | Iterable[str]
    manual_only: bool
    output: str | os.PathLike[str]
    store: Literal["files", "shards"]


def import_folder(root: str, folder: str, options: ImportOptions) -> ImportResult:
    """Import and wait for the end; see `Batch.import_folder`."""
    refuse_unknown("import_folder", options, ImportOptions)
    command = [*ENGINE, "import", f"--queue={root}", "--json", *arguments(options), "--", folder]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=own_environment(),
    ) as process:
        try:
            out, said = process.communicate()
        except BaseException:  # what it has done stays, and importing again goes on
            process.kill()
            raise
    if not out:
        raise error_of("the import", root, process.pid, process.returncode, lines_of(said))
    counts = json.loads(out)
    del counts["schema_version"]
    return ImportResult(**counts)
