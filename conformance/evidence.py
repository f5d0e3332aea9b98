"""Signed evidence: who vouches for a run folder, and whether it still is what was signed.

signature.json holds the SHA-256 of each evidence file and an Ed25519 signature (RFC 8032) over that list. A check
trusts nothing that can be computed again: it hashes the files, grades the evidence anew and compares, and only
then asks whose key it was. Without the signer's public key from elsewhere, a valid signature says that the folder
is unchanged since somebody signed it, not who did.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .files import write_whole
from .grade import grade
from .runfolder import CERTIFICATE, PLAN, RESULTS, RUN, WAIVERS, read_run

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["SIGNATURE", "Verification", "sign", "verify"]

SIGNATURE = "signature.json"
_FORMAT = 1
_EVIDENCE = (RUN, PLAN, RESULTS, CERTIFICATE)
# Said first in what is signed, so that the same key's signature over anything else never fits here.
_CONTEXT = b"conformance evidence, format 1\n"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found. ``problems``: one line each; none if the folder is what was signed. ``signer``: the
    fingerprint of the signing key (SHA-256 of its 32 raw bytes, hexadecimal). ``known``: whether the key was
    given from outside rather than taken from the signature itself. ``signed``: ISO time, as the signer says."""

    signer: str
    known: bool
    signed: str
    tier: int
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        if self.problems:
            return "\n".join(("NOT verified", *(f"  {problem}" for problem in self.problems)))
        lines = [f"verified: Tier {self.tier}, unchanged since {self.signed}, signed by key {self.signer[:16]}"]
        if not self.known:
            lines.append("  whose key that is was not checked: give the signer's public key with --key")
        return "\n".join(lines)


def sign(folder: Path | str, key: Path | str) -> Path:
    """Sign a graded run folder with an unencrypted Ed25519 private key (PEM); returns the path of signature.json.

    Raises `UsageError` if the folder is not a run folder, if certificate.json is not what its evidence gives (a
    signature must not vouch for that), or if the key cannot be used.
    """
    folder = Path(folder)
    private = _private_key(Path(key))
    if problem := _misgraded(folder)[1]:
        raise UsageError(f"{folder / CERTIFICATE}: {problem}; `conformance grade` writes it again")
    now = datetime.datetime.now(datetime.timezone.utc)
    statement = {
        "format": _FORMAT,
        "algorithm": "Ed25519",
        "files": {name: _sha256(folder / name) for name in _present(folder)},
        "public_key": base64.b64encode(private.public_key().public_bytes_raw()).decode(),
        "signed": now.isoformat(timespec="seconds"),
    }
    signature = private.sign(_message(statement))
    text = json.dumps({**statement, "signature": base64.b64encode(signature).decode()}, indent=1) + "\n"
    return write_whole(folder / SIGNATURE, text)


def verify(folder: Path | str, key: Path | str | None = None) -> Verification:
    """Check a signed run folder; ``key`` is the signer's public key (PEM), if it is known.

    Raises `UsageError` if there is nothing to check: no run folder, no readable signature, no usable key.
    """
    _need_library()
    from cryptography.exceptions import InvalidSignature

    folder = Path(folder)
    trusted = _public_key(Path(key)) if key is not None else None
    statement = _statement(folder / SIGNATURE)
    embedded, public = _embedded_key(folder / SIGNATURE, statement)
    problems = []
    if trusted is not None and trusted.public_bytes_raw() != embedded:
        problems.append(f"signed with another key ({hashlib.sha256(embedded).hexdigest()[:16]}) than {key}")
    try:
        signature = base64.b64decode(statement["signature"], validate=True)
        public.verify(signature, _message({k: v for k, v in statement.items() if k != "signature"}))
    except (InvalidSignature, ValueError):
        problems.append(f"the signature does not fit {SIGNATURE}")
    present = _present(folder)
    for name in sorted({*_EVIDENCE, *present, *statement["files"]}):
        if name not in present:
            problems.append(
                f"{name} is missing" if name in (*_EVIDENCE, WAIVERS) else f"{name!r} is no evidence file"
            )
        elif name not in statement["files"]:
            problems.append(f"{name} was not signed")
        elif _sha256(folder / name) != statement["files"][name]:
            problems.append(f"{name} has changed since it was signed")
    tier = 0
    try:
        tier, problem = _misgraded(folder)
        if problem:
            problems.append(f"{CERTIFICATE}: {problem}")
    except (
        UsageError
    ) as error:  # evidence that was tampered with may not even be readable: a finding, not a misuse
        problems.append(str(error))
    signer = hashlib.sha256(embedded).hexdigest()
    return Verification(signer, trusted is not None, str(statement["signed"]), tier, tuple(problems))


def _misgraded(folder: Path) -> tuple[int, str | None]:
    """The tier that the evidence gives, and how certificate.json differs from its grade, if it does."""
    certificate = grade(read_run(folder))
    try:
        written = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return certificate.tier, "is missing"
    except (OSError, ValueError) as error:
        return certificate.tier, f"cannot be read: {error}"
    expected = json.loads(json.dumps(certificate.as_json()))
    if written == expected:
        return certificate.tier, None
    fields = written if isinstance(written, dict) else {}
    wrong = next((k for k in expected if fields.get(k) != expected[k]), None) or "another field"
    return certificate.tier, f"{wrong!r} is not what the evidence gives"


def _present(folder: Path) -> tuple[str, ...]:
    return tuple(name for name in (*_EVIDENCE, WAIVERS) if (folder / name).is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        state = hashlib.sha256()
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def _message(statement: dict[str, Any]) -> bytes:
    """What is signed: the statement without its signature, as JSON with sorted keys and no spaces."""
    return _CONTEXT + json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _statement(path: Path) -> dict[str, Any]:
    try:
        statement = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is not signed: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if not isinstance(statement, dict) or statement.get("format") != _FORMAT:
        raise UsageError(f"{path}: not a signature of format {_FORMAT}")
    texts = all(isinstance(statement.get(k), str) for k in ("algorithm", "public_key", "signed", "signature"))
    if not texts or not isinstance(statement.get("files"), dict):
        raise UsageError(f"{path}: incomplete; files, algorithm, public_key, signed and signature are needed")
    if statement["algorithm"] != "Ed25519":
        raise UsageError(f"{path}: algorithm {statement['algorithm']!r} is not Ed25519")
    try:
        datetime.datetime.fromisoformat(statement["signed"])
    except ValueError:
        raise UsageError(f"{path}: signed at {statement['signed']!r}, which is no time") from None
    return statement


def _need_library() -> None:
    try:
        import cryptography  # noqa: F401  (only whether it is there)
    except ImportError:
        raise UsageError("signatures need the cryptography package: pip install 'conformance[sign]'") from None


def _embedded_key(path: Path, statement: dict[str, Any]) -> tuple[bytes, Ed25519PublicKey]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(statement["public_key"], validate=True)
        return raw, Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise UsageError(f"{path}: public_key is not an Ed25519 key: {error}") from None


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the key cannot be read: {error.strerror}") from None


def _private_key(path: Path) -> Ed25519PrivateKey:
    _need_library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _pem(path)
    if b"PUBLIC KEY" in data:
        raise UsageError(f"{path}: a public key; signing needs the private one")
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise UsageError(f"{path}: the key is encrypted; decrypt it with `openssl pkey` first") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path}: not an Ed25519 private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: not an Ed25519 key; `openssl genpkey -algorithm ed25519` makes one")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _pem(path)
    if b"PRIVATE KEY" in data:
        raise UsageError(f"{path}: a private key; verifying takes the signer's public one")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path}: not an Ed25519 public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: not an Ed25519 public key")
    return key
