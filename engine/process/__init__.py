"""This process and its children: how it starts and what its children inherit, threads, suspends, heartbeats, the
helper's side of a pipe, and the failures that mean "this machine has run out of something". It knows nothing of jobs
or queues."""
