"""The certificate authorities that a client trusts. Who only checks them needs no HTTP client."""

from __future__ import annotations

import ssl

from engine.errors import UsageError


def trust(context: ssl.SSLContext, ca_bundle: str | None) -> None:
    """Load the authorities of a PEM file into a context; None means certifi's.

    Raises UsageError when the file cannot be read or holds no certificates.
    """
    if ca_bundle is None:
        import certifi

        ca_bundle = certifi.where()
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except OSError as exc:
        what = "holds no certificates" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise UsageError(f"CA bundle {ca_bundle}: {what}. Name a PEM file with --ca-bundle.") from None


def check(ca_bundle: str) -> None:
    """Raise UsageError when a file cannot be read or holds no certificates."""
    trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca_bundle)
