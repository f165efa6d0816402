"""What is written for a video: its record, the formats rendered from it, and how they are published, whole or not at
all. `formats` holds the one list of formats. It knows the output directory and nothing of the queue."""
