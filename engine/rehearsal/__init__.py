"""The embedded stand-in for YouTube: a forward proxy on 127.0.0.1 that answers as www.youtube.com.

    with start(Settings(scenes=("flaky=0.05",))) as rehearsal:
        ...  # an ordinary run with --proxy rehearsal.proxy_url --ca-bundle rehearsal.ca_bundle

Nothing here imports the server: it runs in a child process.
"""

from engine.rehearsal.child_process import Rehearsal, start
from engine.rehearsal.generated_videos import Video, invent, invented_ids
from engine.rehearsal.recorded_responses import CAPTURES, Capture, captured_ids
from engine.rehearsal.scenarios import SCENES, Scene, parse_scene
from engine.rehearsal.settings import Address, Settings

__all__ = [
    "CAPTURES",
    "SCENES",
    "Address",
    "Capture",
    "Rehearsal",
    "Scene",
    "Settings",
    "Video",
    "captured_ids",
    "invent",
    "invented_ids",
    "parse_scene",
    "start",
]
