"""Sends every request of the engine: proxies, sockets, sessions pooled per egress, and the rules that each request
obeys (hosts, permits, deadlines, size caps). It does not know what an answer means; `youtube` does."""
