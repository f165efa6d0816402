"""The report: what became of a batch, from its manifest, events and status, as text, page or JSON.

`make` reads; `words`, `page` and `Report.to_json` write. Nothing here changes the queue or takes a lock.
"""

from engine.report.build import make
from engine.report.html import page
from engine.report.model import Report
from engine.report.text import words

__all__ = ["Report", "make", "page", "words"]
