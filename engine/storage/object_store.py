"""Object stores that fsspec knows: a file that is made only if there is none, and which of their errors last.

The libraries behind fsspec are the user's to install, and each has errors of its own.
"""

from __future__ import annotations

from typing import Any

_CONFLICTS = ("ConditionalRequestConflict", "OperationAborted")  # another is writing it: neither yes nor no
_REFUSED = ("PreconditionFailed", "conditionNotMet", "BlobAlreadyExists", "412")
_LASTING = (
    "NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound",
    "DefaultCredentialsError", "LocalTokenNotFoundError", "NoSuchBucket", "InvalidBucketName",
)  # fmt: skip
_LASTING_CODES = frozenset({400, 401, 403, 404})


def create(fs: Any, path: str, data: bytes) -> bool:
    """Write a file whole if there is none of that name; False when there is one."""
    try:
        fs.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    except Exception as exc:
        said = f"{exc} {exc.__cause__}"
        if any(word in said for word in _REFUSED) and not any(word in said for word in _CONFLICTS):
            return False
        raise
    return True


def lasts(exc: Exception) -> bool:
    """Whether asking again is of no use: no such bucket, not allowed, no credentials. The unknown does not."""
    if isinstance(exc, FileNotFoundError | PermissionError | NotImplementedError | TypeError):
        return True
    code = getattr(getattr(exc, "response", None), "status_code", None) or getattr(exc, "status_code", None)
    code = code or getattr(exc, "code", None)  # gcsfs
    said = f"{type(exc).__name__} {exc}"
    return code in _LASTING_CODES or any(word in said for word in _LASTING)


def words(exc: Exception) -> str:
    """What it says, on one line."""
    return " ".join(str(exc).split())[:300]
