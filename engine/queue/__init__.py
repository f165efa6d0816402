"""The queue on disk, as queue_dir/README.md defines it: directories, segments, claims, journals, the state derived
from them, the manifest, and the files that control a run. It owns every name in the queue directory except the
budget. It starts no process."""
