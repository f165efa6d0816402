"""How a stand-in is set up: plain values that can travel to a child process as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.model import CONTROL_VIDEOS


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stand-in is started with.

    `port` 0 takes a free one. `latency_s` is the time each answer takes; connecting costs nothing extra.
    `scenes` are texts for `parse_scene`. `limit_rate` is the hidden rate limit of each egress in requests per
    second (None: no limit); `limit_burst` requests pass at once before it counts, and who goes over it is
    refused for `limit_block_s`. An egress is the user name a client gives the proxy. `seed` decides
    everything invented. `arrivals` is a file that gets one JSON line for each request. `real_sizes` makes
    the bodies as big as the site's own. `auth` is `user:password` (user `*`: any) that clients must give.
    `uploads` is how many videos each made-up channel and playlist has beyond the number in its name.
    `control_videos` are ids that have captions whatever scenes say of videos.
    `ca_dir` keeps the authority's `ca.pem` from one start to the next; None makes a new one each time.
    """

    port: int = 0
    latency_s: float = 0.05
    scenes: tuple[str, ...] = ()
    limit_rate: float | None = None
    limit_burst: float = 5.0
    limit_block_s: float = 30.0
    seed: int = 1
    arrivals: str | None = None
    real_sizes: bool = False
    auth: str | None = field(default=None, repr=False)
    ca_dir: str | None = None
    uploads: int = 0
    control_videos: tuple[str, ...] = CONTROL_VIDEOS


@dataclass(frozen=True, slots=True)
class Address:
    """Where a stand-in can be reached: the proxy's port, the control port, and the CA file to trust."""

    port: int
    control_port: int
    ca: str

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
