"""The videos that `engine probe` asks for, beside a control video. Each is public and has been so for years.

no_captions  plays and has no captions: youtube-transcript-api's own test of that, captured in 2025 and 2026
kids         made for kids (Baby Shark): ytm-player's pull request 72 of 2026-04 tells of clients that refuse it
removed      gone: one of yt-dlp's own tests, skipped there as "Video unavailable" (2026.10.26)

Any of them can change. `engine probe` takes others by options, and no state rests on one of these alone.
"""

from __future__ import annotations

NO_CAPTIONS = "dsMFmonKDD4"
KIDS = "XqZsoesa55w"
REMOVED = "DJztXj2GPfk"
