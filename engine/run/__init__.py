"""One run: the supervisor with its worker processes and helper processes, signals, control requests, and when it
ends. The only place that knows loky. It fetches and counts nothing itself."""
