"""What YouTube says: how a video is asked for, and what its answers, refusals, captions and channel pages mean.
Nothing of a foreign library leaves this package. Requests leave by `network`."""
