"""A worker process: claiming chunks, fetching their jobs on threads, deciding what becomes of each attempt. It
starts no process and knows nothing of the command line."""
