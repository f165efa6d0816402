"""One run: the supervisor with its worker processes and helper processes, signals, steering, and when to stop. The
only place that knows loky. It fetches and counts nothing itself."""
