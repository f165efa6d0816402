"""The web page of a batch: start it, watch it, steer it.

It owns what a browser gets and may ask for: who is let in, the index of the manifest's rows, the HTML. It keeps no
state of the batch: whatever it shows is read from the queue's files, and whatever it does `engine.Batch` does. A run
that it starts is a process of its own, which does not notice when the page ends.
"""
