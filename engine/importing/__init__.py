"""Takes transcripts that other programs left into a batch, as rows that are `ok`, without fetching anything.

`reading` turns files into records, `importing` writes them as a worker process would. Which files there are is found
by `engine.inputs.transcript_files`.
"""
