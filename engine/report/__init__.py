"""What became of the batch, for the morning after: from manifest, events and status, as text, page or JSON.

`make` reads; `words`, `page` and `Report.to_json` write. Nothing here changes the queue or takes a lock.
"""

from engine.report.made import make
from engine.report.page import page
from engine.report.value import Report
from engine.report.words import words

__all__ = ["Report", "make", "page", "words"]
