"""What brings a queue back into order: at the start of a run, by `engine retry`, and by `verify --repair`. It needs
the queue to itself."""
