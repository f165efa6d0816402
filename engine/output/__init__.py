"""What is written for a video: its record, the formats rendered from it, and how they are published, all or none.

`formats` holds the one list of formats. The package owns the output directory: whose it is, what lies in it before it
has its name, which files this queue wrote. What is fetched and when, and the queue's own files, are not its business.
"""
