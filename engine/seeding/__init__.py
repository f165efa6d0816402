"""From lines of input to segments of jobs, each id once. It reads no input files; that is for `inputs`."""
