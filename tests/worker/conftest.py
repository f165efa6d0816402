"""The fixtures of `worker_rig`."""

from worker_rig import quick, stage, stand_in  # noqa: F401 - fixtures
