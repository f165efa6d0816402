"""The rehearsal server: an embedded proxy on 127.0.0.1 that answers as www.youtube.com, with faults on demand.

    with start(RehearsalSettings(scenarios=("flaky=0.05",))) as rehearsal:
        ...  # an ordinary run with --proxy rehearsal.proxy_url --ca-bundle rehearsal.ca_bundle

It runs in a child process, which this package only starts. It owns all invented videos, answers and faults; nothing
outside `rehearse` and the tests depends on it.
"""

from engine.rehearsal.child_process import Rehearsal, start
from engine.rehearsal.generated_videos import Video, invent, invented_ids
from engine.rehearsal.recorded_responses import CAPTURES, Capture
from engine.rehearsal.scenarios import SCENARIOS, Scenario, parse_scenario
from engine.rehearsal.settings import Address, RehearsalSettings

__all__ = [
    "CAPTURES",
    "SCENARIOS",
    "Address",
    "Capture",
    "Rehearsal",
    "RehearsalSettings",
    "Scenario",
    "Video",
    "invent",
    "invented_ids",
    "parse_scenario",
    "start",
]
