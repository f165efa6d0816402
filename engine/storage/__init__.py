"""The machine below the queue: files written so that a crash leaves them whole, locks that the kernel frees, who is
alive, clocks, and what a machine may refuse to give. It knows nothing of jobs, queues or YouTube."""
