"""How a rehearsal server is set up: plain values that are sent to a child process as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.model import CONTROL_VIDEOS


@dataclass(frozen=True, slots=True)
class RehearsalSettings:
    """What a rehearsal server is started with. An egress is the user name that a client gives the proxy.

    port           0 takes a free one
    latency_s      how long each answer takes; connecting costs nothing extra
    scenarios      texts for `parse_scenario`
    limit_rate     hidden limit of each egress in requests per second, None: no limit
    limit_burst    so many requests may come at once before the limit counts
    limit_block_s  how long an egress is refused that exceeds the limit
    limit_window_s instead of a burst: the limit counts in any stretch of so many seconds; 0: it does not
    limit_doubling each block takes twice as long as the one before
    limit_spurious_s  a request in so many seconds on average is refused for no reason; 0: none
    seed           decides everything invented
    arrivals       a file that gets one JSON line for each request
    real_sizes     make bodies as large as the site's own
    auth           `user:password` that clients must give (user `*`: any)
    ca_dir         where `ca.pem` is kept from one start to the next; None makes a new one each time
    control_videos ids that have captions whatever the scenarios say of videos
    uploads        how many videos each made-up channel and playlist has beyond the number in its name
    """

    port: int = 0
    latency_s: float = 0.05
    scenarios: tuple[str, ...] = ()
    limit_rate: float | None = None
    limit_burst: float = 5.0
    limit_block_s: float = 30.0
    limit_window_s: float = 0.0
    limit_doubling: bool = False
    limit_spurious_s: float = 0.0
    seed: int = 1
    arrivals: str | None = None
    real_sizes: bool = False
    auth: str | None = field(default=None, repr=False)
    ca_dir: str | None = None
    uploads: int = 0
    control_videos: tuple[str, ...] = CONTROL_VIDEOS


@dataclass(frozen=True, slots=True)
class Address:
    """Where a rehearsal server listens: the proxy's port, the control port, and the CA file to trust."""

    port: int
    control_port: int
    ca: str

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
