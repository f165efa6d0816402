"""Text files, one a video, as the renderers of `engine.output.formats` make them, under names that one can read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from engine.export.columns import TableColumns, needs_record, table_row
from engine.export.file_names import NameTemplate
from engine.output.formats import from_json, render
from engine.storage import disk

if TYPE_CHECKING:
    from engine.export.slice_work import SliceSpec

_MODE = 0o644


class TextRenderer:
    """Renders records and stages the files for whoever gives them their names."""

    def __init__(self, spec: SliceSpec, columns: TableColumns) -> None:
        self._spec = spec
        self._columns = columns.without("text", "segments")
        self._template = NameTemplate(spec.name, columns.by_name, flat=spec.flat)

    def needs_record(self, row: dict[str, Any]) -> bool:
        """Whether the name needs something of the record."""
        return needs_record(row, self._template.fields)

    def stage(
        self, row: dict[str, Any], record: dict[str, Any] | None, data: bytes | None, staged: str
    ) -> tuple[str, str] | None:
        """(staged file, its name to be); None when there is no record of this video to read."""
        try:
            value = from_json(data) if data is not None else None
        except ValueError:
            return None
        if value is None or value.video_id != row["video_id"]:
            return None
        name = self._template.path(table_row(row, record, self._columns), self._spec.kind, self._spec.twins)
        path = os.path.join(self._spec.staging, staged)
        disk.create(path, render(value, self._spec.kind), mode=_MODE, sync=False)
        return path, name
