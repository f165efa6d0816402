"""The only way to the network: proxies and sockets, sessions pooled per egress, and the rules for every request
(hosts, permits, deadlines, caps). It does not know what an answer means; that is for `youtube`."""
