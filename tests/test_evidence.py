"""Signatures: whatever is changed after signing is found, and unusable keys are one clear line."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import evidence_factory as factory
import pytest
from evidence_factory import plan

from conformance.errors import UsageError
from conformance.evidence import sign, verify
from conformance.grade import grade
from conformance.runfolder import read_run

pytest.importorskip("cryptography")

TINY = plan(operators=2, core=1, common=2, models=1, quantised=0)


def keys(folder: Path, stem: str, kind: str = "ed25519", password: bytes | None = None) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    protection = s.BestAvailableEncryption(password) if password else s.NoEncryption()
    private, public = folder / f"{stem}.pem", folder / f"{stem}.pub.pem"
    private.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, protection))
    public.write_bytes(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def graded(folder: Path) -> Path:
    factory.write(folder, TINY, factory.results(TINY, {"model000/n0": "wrong"}))
    (folder / "certificate.json").write_text(json.dumps(grade(read_run(folder)).as_json()))
    return folder


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    """A signed folder and the signer's public key."""
    private, public = keys(tmp_path, "signer")
    folder = graded(tmp_path / "run")
    assert sign(folder, private) == folder / "signature.json"
    return folder, public


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_an_untouched_folder_verifies_with_and_without_the_key(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    checked = verify(folder, public)
    assert checked.ok
    assert checked.known
    assert str(checked).startswith("verified: Tier 0, unchanged since 20")
    without = verify(folder)
    assert without.ok
    assert "was not checked" in str(without)


@pytest.mark.parametrize("file", ["run.json", "plan.json", "results.jsonl", "certificate.json"])
def test_one_changed_byte_is_found(signed: tuple[Path, Path], file: str) -> None:
    folder, public = signed
    (folder / file).write_text((folder / file).read_text() + "\n")
    checked = verify(folder, public)
    assert checked.problems == (f"{file} has changed since it was signed",)
    assert "NOT verified" in str(checked)


def test_a_better_verdict_is_found_even_if_the_hash_is_put_right(signed: tuple[Path, Path]) -> None:
    import hashlib

    folder, public = signed
    journal = folder / "results.jsonl"
    journal.write_text(journal.read_text().replace('"wrong"', '"pass"'))
    files = json.loads((folder / "signature.json").read_text())["files"]
    digest = hashlib.sha256(journal.read_bytes()).hexdigest()
    change(folder / "signature.json", files={**files, "results.jsonl": digest})
    problems = verify(folder, public).problems
    assert "the signature does not fit signature.json" in problems
    assert any(p.startswith("certificate.json: ") and "not what the evidence gives" in p for p in problems)


def test_a_certificate_better_than_its_evidence_is_never_signed(tmp_path: Path) -> None:
    private, _ = keys(tmp_path, "signer")
    folder = graded(tmp_path / "run")
    change(folder / "certificate.json", tier=3)
    with pytest.raises(UsageError, match="'tier' is not what the evidence gives"):
        sign(folder, private)
    (folder / "certificate.json").unlink()
    with pytest.raises(UsageError, match="is missing; `conformance grade` writes it again"):
        sign(folder, private)


def test_signing_again_with_another_key_is_found(signed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, public = signed
    other, _ = keys(tmp_path, "other")
    sign(folder, other)
    assert verify(folder).ok
    (problem,) = verify(folder, public).problems
    assert problem.startswith("signed with another key")


@pytest.mark.parametrize("field", ["signed", "public_key", "signature"])
def test_every_field_of_the_signature_is_covered(signed: tuple[Path, Path], field: str) -> None:
    folder, public = signed
    other = base64.b64encode(bytes(64 if field == "signature" else 32)).decode()
    change(folder / "signature.json", **{field: "2020-01-01T00:00:00+00:00" if field == "signed" else other})
    assert "the signature does not fit signature.json" in verify(folder, public).problems


def test_waivers_added_after_signing_are_found(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    (folder / "waivers.toml").write_text("")
    assert "waivers.toml was not signed" in verify(folder, public).problems


def test_a_file_that_went_missing_and_one_that_is_unreadable_are_found(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    (folder / "results.jsonl").write_text("{\n")
    assert any("results.jsonl:1: not JSON" in p for p in verify(folder, public).problems)
    (folder / "plan.json").unlink()
    assert "plan.json is missing" in verify(folder, public).problems


def test_names_in_a_hostile_signature_open_no_file_and_print_no_control_character(
    signed: tuple[Path, Path],
) -> None:
    folder, public = signed
    change(folder / "signature.json", files={"../../etc/\x1b[31mpasswd": "0"})
    checked = verify(folder, public)
    assert not checked.ok
    assert "\x1b" not in str(checked)


def test_unusable_keys_are_one_clear_line(signed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, public = signed
    private, _ = keys(tmp_path, "mine")
    curve, curve_public = keys(tmp_path, "curve", kind="ec")
    locked, _ = keys(tmp_path, "locked", password=b"x")
    junk = tmp_path / "junk.pem"
    junk.write_text("no key")
    for path, reason in (
        (public, "a public key; signing needs the private one"),
        (curve, "not an Ed25519 key"),
        (locked, "the key is encrypted"),
        (junk, "not an Ed25519 private key in PEM"),
        (tmp_path / "none.pem", "the key cannot be read"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            sign(folder, path)
        assert "\n" not in str(caught.value)
    for path, reason in (
        (private, "a private key; verifying takes the signer's public one"),
        (curve_public, "not an Ed25519 public key"),
        (junk, "not an Ed25519 public key in PEM"),
    ):
        with pytest.raises(UsageError, match=reason):
            verify(folder, path)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"format": 9}, "not a signature of format 1"),
        ({"algorithm": "none"}, "algorithm 'none' is not Ed25519"),
        ({"files": []}, "incomplete"),
        ({"public_key": "AA=="}, "public_key is not an Ed25519 key"),
        ({"signed": "yesterday"}, "signed at 'yesterday', which is no time"),
    ],
)
def test_an_unreadable_signature_is_one_clear_line(
    signed: tuple[Path, Path], fields: dict[str, Any], reason: str
) -> None:
    folder, _ = signed
    change(folder / "signature.json", **fields)
    with pytest.raises(UsageError, match=reason):
        verify(folder)


def test_a_folder_without_signature_is_not_signed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not signed: signature\.json is missing"):
        verify(graded(tmp_path / "run"))
