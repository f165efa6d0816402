"""What brings a queue back into order: at the start of a run, by `engine retry`, and by `verify --repair`. No
run, seeding or monitor may use the queue meanwhile. What dead workers left is freed by `queue.claims`."""
