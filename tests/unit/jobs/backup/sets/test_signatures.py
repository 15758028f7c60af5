from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backup.errors import BackupError
from jobs.backup.sets.signatures import BadSignature, SigningKey, new_signing_key, parse_public_key, verify_signature
from tests.parts.examples import examples
from tests.parts.needs import needs

SPACE = "groundcrew-manifest"
MESSAGE = b'{"set": "20261129T020000Z-3f9a"}'
TEXT, LINE = new_signing_key("backups of production")
KEY, PUBLIC = SigningKey(TEXT), parse_public_key(LINE)
STRANGER = SigningKey(new_signing_key()[0])
SIGNATURE = KEY.sign(MESSAGE, SPACE)


def keygen(*arguments: str | Path, feed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *arguments], input=feed, capture_output=True, check=False)


def test_a_signature_names_the_trusted_key_that_made_it() -> None:
    other = parse_public_key(new_signing_key()[1])
    assert verify_signature(MESSAGE, SIGNATURE, [other, PUBLIC], SPACE) == PUBLIC
    assert KEY.public == PUBLIC
    assert str(PUBLIC) == f"{PUBLIC.fingerprint} (backups of production)"
    assert PUBLIC.line == LINE


@pytest.mark.parametrize(
    ("message", "signature", "fault"),
    [
        (MESSAGE + b" ", SIGNATURE, "it was changed after it was signed"),
        (MESSAGE, STRANGER.sign(MESSAGE, SPACE), "no line of trust allows this key"),
        (MESSAGE, KEY.sign(MESSAGE, "groundcrew-verification"), "not for the namespace groundcrew-manifest"),
        (MESSAGE, b"", "not in OpenSSH's format"),
        (MESSAGE, b"\xff", "not in OpenSSH's format"),
        (MESSAGE, SIGNATURE[:100], "not in OpenSSH's format"),
        (MESSAGE, SIGNATURE + b"more", "not in OpenSSH's format"),
        (MESSAGE, SIGNATURE * 2, "not in OpenSSH's format"),
    ],
    ids=["changed", "stranger", "namespace", "empty", "binary", "cut", "longer", "twice"],
)
def test_a_signature_that_proves_nothing_is_refused(message: bytes, signature: bytes, fault: str) -> None:
    with pytest.raises(BadSignature, match=fault):
        verify_signature(message, signature, [PUBLIC], SPACE)


def test_a_key_signs_only_for_the_namespaces_of_its_line() -> None:
    results_only = parse_public_key(f'namespaces="groundcrew-verification" {LINE}')
    with pytest.raises(BadSignature, match="no line of trust allows this key to sign groundcrew-manifest"):
        verify_signature(MESSAGE, SIGNATURE, [results_only], SPACE)
    assert verify_signature(MESSAGE, KEY.sign(MESSAGE, "groundcrew-verification"), [results_only],
                            "groundcrew-verification") == PUBLIC  # fmt: skip


@given(at=st.integers(0, len(SIGNATURE) - 1), value=st.binary(min_size=0, max_size=3))
@examples(300)
def test_only_line_breaks_of_a_signature_may_change(at: int, value: bytes) -> None:
    changed = SIGNATURE[:at] + value + SIGNATURE[at + 1 :]
    try:
        signer = verify_signature(MESSAGE, changed, [PUBLIC], SPACE)
    except BadSignature:
        return
    assert signer == PUBLIC
    assert b"".join(changed.split()) == b"".join(SIGNATURE.split())  # only line breaks differ


@given(body=st.binary(max_size=200))
@examples(300)
def test_any_encoded_bytes_give_our_own_error(body: bytes) -> None:
    armored = b"-----BEGIN SSH SIGNATURE-----\n%s\n-----END SSH SIGNATURE-----\n"
    for blob in (body, b"SSHSIG\0\0\0\1" + body):
        with pytest.raises(BadSignature):
            verify_signature(MESSAGE, armored % base64.b64encode(blob), [PUBLIC], SPACE)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        LINE.replace("ssh-ed25519", "ssh-rsa"),
        "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x03abc").decode(),
        LINE + "\n" + LINE,
        "cert-authority " + LINE,
    ],
    ids=["empty", "short", "no key", "rsa", "no 32 bytes", "two lines", "option"],
)
def test_a_line_without_an_ed25519_public_key_is_refused(line: str) -> None:
    with pytest.raises(BackupError, match="is not an Ed25519 public key"):
        parse_public_key(line)


@needs("ssh-keygen")
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("-t", "ed25519", "-N", "passphrase"), "has a passphrase"),
        (("-t", "ecdsa", "-N", ""), "is not an Ed25519 key"),
        (("-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"), "no private key in OpenSSH's format"),
    ],
)
def test_other_private_keys_are_refused(tmp_path: Path, options: tuple[str, ...], fault: str) -> None:
    keygen("-q", *options, "-f", tmp_path / "key")
    with pytest.raises(BackupError, match=fault):
        SigningKey((tmp_path / "key").read_text())


def test_an_age_key_does_not_sign() -> None:
    with pytest.raises(BackupError, match="no private key in OpenSSH's format; create one: ssh-keygen"):
        SigningKey("AGE-SECRET-KEY-1…")


@needs("ssh-keygen")
def test_ssh_keygen_accepts_our_signature_and_refuses_a_changed_message(tmp_path: Path) -> None:
    (tmp_path / "trusted").write_text(f"groundcrew {LINE}\n")
    (tmp_path / "sig").write_bytes(SIGNATURE)
    check = ("-Y", "verify", "-f", tmp_path / "trusted", "-I", "groundcrew", "-n", SPACE, "-s", tmp_path / "sig")
    assert b'Good "groundcrew-manifest" signature' in keygen(*check, feed=MESSAGE).stdout
    assert keygen(*check, feed=MESSAGE + b" ").returncode


@needs("ssh-keygen")
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_we_accept_a_signature_of_ssh_keygen(tmp_path: Path, hash_name: str) -> None:
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "by hand", "-f", tmp_path / "key")
    (tmp_path / "manifest").write_bytes(MESSAGE)
    keygen("-Y", "sign", "-O", f"hashalg={hash_name}", "-n", SPACE, "-f", tmp_path / "key", tmp_path / "manifest")
    public = parse_public_key((tmp_path / "key.pub").read_text())
    assert verify_signature(MESSAGE, (tmp_path / "manifest.sig").read_bytes(), [public], SPACE).comment == "by hand"
    assert SigningKey((tmp_path / "key").read_text()).public == public


@needs("ssh-keygen")
def test_ssh_keygen_reads_our_new_keys(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(TEXT)
    (tmp_path / "key").chmod(0o600)
    assert keygen("-y", "-f", tmp_path / "key").stdout.decode().split()[:2] == LINE.split()[:2]
    (tmp_path / "key.pub").write_text(LINE)
    assert PUBLIC.fingerprint in keygen("-l", "-f", tmp_path / "key.pub").stdout.decode()
