"""How a status, a run's progress and a preview look on a terminal. Nothing here changes a queue."""
