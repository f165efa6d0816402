"""The queue on disk. Its contract is the page in `queue_dir/README.md`."""
