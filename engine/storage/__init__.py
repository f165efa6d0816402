"""The machine below the queue: files written so that a crash leaves them intact, locks that the kernel frees, which
processes live, and times as files write them. It knows nothing of jobs, queues or YouTube."""
