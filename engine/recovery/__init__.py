"""What brings a queue back into order: at the start of a run, by `engine retry`, and by `verify --repair`. The queue
must not be in use by anybody else."""
