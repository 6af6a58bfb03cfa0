"""The accepted API keys: read once from a file, kept only as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from .settings import SettingsError


class ApiKeys:
    """Which keys open the API. Without a file every request may pass."""

    def __init__(self, keys: list[bytes] | None) -> None:
        self.required = keys is not None
        # Digests have one length, so a comparison cannot tell how long a key is; and a core dump holds no key.
        self._digests = [hashlib.sha256(key).digest() for key in keys or []]

    @classmethod
    def load(cls, path: Path | None) -> ApiKeys:
        """Read one key per line. No path: no key is asked for. A path without a key is an error, not an open door."""
        if path is None:
            return cls(None)
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise SettingsError(
                [f"API_KEYS_FILE: cannot read {path} ({error.strerror}); expected a file with one key per line"]
            ) from None
        keys = [line.strip() for line in lines if line.strip()]
        if not keys:
            raise SettingsError(
                [
                    f"API_KEYS_FILE: {path} holds no key; expected one per line "
                    "(leave the variable out to serve without keys)"
                ]
            )
        return cls(keys)

    def __len__(self) -> int:
        return len(self._digests)

    def accepts(self, candidate: bytes) -> bool:
        digest = hashlib.sha256(candidate).digest()
        accepted = False
        for known in self._digests:
            # No early exit: the time taken must not tell which key matched, or that none did.
            accepted |= hmac.compare_digest(known, digest)
        return accepted
