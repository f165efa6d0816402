"""What brings a queue back into order: at the start of a run, by `engine retry`, and by `verify --repair`. No
run, seeding or monitor may use the queue meanwhile. What a dead worker process left is not repaired here: others take
it over, by `queue.dead_workers`."""
