"""This process and its children: how it starts and what its children inherit, the helper's side of a pipe,
heartbeats, and the failures that mean "this machine has run out of something". It knows nothing of jobs or queues."""
