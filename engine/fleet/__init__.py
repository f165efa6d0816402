"""One batch on several machines: a ledger of plain files says which shares are done, and by which parts.

It owns the ledger (a directory, or a store by fsspec), the protocol by which machines hold shares, proxy groups and
one Dask driver. It fetches nothing: a share is a run of `engine.Batch` on a queue of its own. It does not decide
which machine works on what; Dask does, or Slurm, or Kubernetes, or a person.
"""
