"""The queue on disk, by the page queue_dir/README.md: directories, segments, claims, journals, the state folded from
them, manifest and the files of steering. It owns every name in the queue directory but the budget. It starts
nothing."""
