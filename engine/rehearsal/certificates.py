"""The rehearsal server's certificate authority."""

from __future__ import annotations

import os
import ssl

import trustme

from engine.errors import UsageError
from engine.rehearsal.connection import HOSTS
from engine.storage import disk


def authority(directory: str) -> tuple[ssl.SSLContext, str]:
    """A TLS context for the site's hosts, and the path of the `ca.pem` to trust.

    Uses the authority kept in the directory, or makes one and keeps it there.
    """
    ca_path, key_path = os.path.join(directory, "ca.pem"), os.path.join(directory, "ca.key")
    try:
        os.makedirs(directory, exist_ok=True)
        if os.path.exists(ca_path) and os.path.exists(key_path):
            with open(ca_path, "rb") as cert, open(key_path, "rb") as key:
                ca = trustme.CA.from_pem(cert.read(), key.read())
        else:
            ca = trustme.CA(organization_name="engine rehearsal")
            disk.publish(key_path, ca.private_key_pem.bytes())
            disk.publish(ca_path, ca.cert_pem.bytes(), mode=0o644)
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"The certificate authority cannot be kept in {directory}: {exc}. Remove ca.pem and ca.key there, "
            "or choose another directory."
        ) from exc
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    ca.issue_cert(*HOSTS).configure_cert(context)
    return context, ca_path
