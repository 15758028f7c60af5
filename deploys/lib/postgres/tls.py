"""The server's own TLS certificate: checked before anything changes, and loaded without a restart."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State
from pyinfra.context import ctx_state

from deploys.lib import operations, passwords
from deploys.lib.facts import HostFacts, command_output, operation_with_facts, paths
from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER
from deploys.lib.messages import log_message
from deploys.lib.operations import Steps, run_silently
from deploys.lib.postgres.pitr import data_folder
from deploys.lib.preflight import DeployError
from inventories import Secret

PUBLIC_FILES = ("certificate", "ca", "client_ca")
OWN_SETTINGS = ("ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file")
SHORTEST_RSA_KEY = 2048  # bits; OpenSSL of Debian and Ubuntu refuses shorter ones, and signatures with these hashes
WEAK_HASHES = {"md5", "sha1"}
WARN_BEFORE = timedelta(days=30)
LOAD_SECONDS = 15


@dataclass(frozen=True)
class Tls:
    """A certificate that was checked."""

    bundle: Secret  # key and chain in one file: replaced together, so that they always match
    fingerprint: str
    expires: datetime
    client_ca: str = field(default="", repr=False)


def reference_faults(given: Any, settings: Mapping[str, object]) -> Iterator[str]:
    """Yield each fault in the shape of `postgres_tls`, and each key of `postgres_settings` that it sets itself."""
    if not isinstance(given, Mapping):
        yield "postgres_tls: write a dictionary with certificate, key and names"
        return
    yield from unknown_keys("postgres_tls", given, {*PUBLIC_FILES, "key", "names"})
    for key in PUBLIC_FILES:
        if (key in given or key == "certificate") and not (isinstance(given.get(key), str) and given[key]):
            yield f'postgres_tls: {key}: write the path of a file on this machine, such as "~/certificates/db.pem"'
    yield from passwords.faults("postgres_tls: key", given.get("key"))
    names = given.get("names")
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) and name for name in names):
        yield 'postgres_tls: names: list the names or addresses that clients connect to, such as ["db.internal"]'
    for key in OWN_SETTINGS:
        if key in settings:
            yield f"postgres_settings: {key}: postgres_tls sets it; remove it"


def tls_of_group_data(given: Mapping[str, Any], now: datetime) -> tuple[Tls | None, list[str]]:
    """Return the certificate, or why it can't be used; `reference_faults` found none."""
    texts, faults = dict.fromkeys(PUBLIC_FILES, ""), list[str]()
    for key in (key for key in PUBLIC_FILES if key in given):
        try:
            texts[key] = Path(given[key]).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"postgres_tls: {key}: {given[key]} can't be read: {error}")
    try:
        texts["key"] = passwords.reveal("postgres_tls: key", given["key"])
    except DeployError as missing:
        faults.append(str(missing))
    if faults:
        return None, faults
    chain, chain_faults = _certificates("certificate", texts["certificate"])
    roots, root_faults = _certificates("ca", texts["ca"]) if texts["ca"] else ([], [])
    clients, client_faults = _certificates("client_ca", texts["client_ca"]) if texts["client_ca"] else ([], [])
    faults = [*chain_faults, *root_faults, *client_faults]
    if chain:
        faults += [*_key_faults(texts["key"], chain[0]), *chain_problems(chain, roots, now)]
        faults += name_faults(chain[0], given["names"])
    faults += [
        f"client_ca: {problem}"
        for client in clients
        for problem in (*_issuer_faults(client), *_date_faults(client, now))
    ]
    if faults:
        return None, [f"postgres_tls: {fault}" for fault in faults]
    bundle = Secret(literal="\n".join(texts[key].strip() for key in ("key", "certificate")) + "\n")
    return (
        Tls(
            bundle,
            chain[0].fingerprint(SHA256()).hex(),
            min(each.not_valid_after_utc for each in chain),
            texts["client_ca"],
        ),
        [],
    )


def _certificates(key: str, text: str) -> tuple[list[x509.Certificate], list[str]]:
    try:
        return x509.load_pem_x509_certificates(text.encode()), []
    except ValueError:
        return [], [f"{key}: it has no readable certificate; write PEM, which starts with -----BEGIN CERTIFICATE-----"]


def _key_faults(text: str, leaf: x509.Certificate) -> Iterator[str]:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        yield "key: it is encrypted with a passphrase, which a server can't enter; store it without one"
        return
    except (ValueError, UnsupportedAlgorithm):
        yield "key: it has no readable private key; write PEM, whose first line ends with PRIVATE KEY-----"
        return
    if key.public_key() != leaf.public_key():
        yield "key: it does not belong to the certificate; the server's certificate must be the first in its file"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < SHORTEST_RSA_KEY:
        yield f"key: it has {key.key_size} bits; OpenSSL needs {SHORTEST_RSA_KEY} at least"


def chain_problems(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> Iterator[str]:
    """Yield each reason why clients would not accept the chain; the server's certificate is its first."""
    for number, certificate in enumerate(chain, 1):
        where = f"certificate {number} ({certificate.subject.rfc4514_string()})"
        yield from (f"{where}: {fault}" for fault in _date_faults(certificate, now))
        hashed = certificate.signature_hash_algorithm
        if hashed and hashed.name in WEAK_HASHES and certificate.issuer != certificate.subject:
            yield f"{where}: it is signed with {hashed.name}, which OpenSSL refuses; get a new one"
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        if not _is_issued_by(certificate, issuer):
            yield (
                f"certificate {number + 1} did not issue certificate {number}; write the server's certificate first, "
                "then each issuer"
            )
        yield from (f"certificate {number + 1}: {fault}" for fault in _issuer_faults(issuer))
    if roots and not any(root == chain[-1] or _is_issued_by(chain[-1], root) for root in roots):
        yield (f"certificate: ca did not issue certificate {len(chain)}; add the missing issuers after the certificate")
    for root in roots:
        yield from (f"ca ({root.subject.rfc4514_string()}): {fault}" for fault in _date_faults(root, now))
    usage = _extension(chain[0], x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usage:
        yield "certificate: it is not for servers (extended key usage has no serverAuth); get one that is"


def _date_faults(certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    if certificate.not_valid_after_utc <= now:
        yield f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; renew it"
    if certificate.not_valid_before_utc > now:
        yield f"it is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; check the clocks"


def _issuer_faults(certificate: x509.Certificate) -> Iterator[str]:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield "it is not a certificate authority, so it can't issue certificates"


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def name_faults(leaf: x509.Certificate, names: Sequence[str]) -> Iterator[str]:
    """Yield each name for which clients with sslmode=verify-full would refuse the certificate."""
    alternative = _extension(leaf, x509.SubjectAlternativeName)
    covered = alternative.get_values_for_type(x509.DNSName) if alternative else []
    addresses = set(map(str, alternative.get_values_for_type(x509.IPAddress))) if alternative else set()
    for name in names:
        if not _covers(name, covered, addresses):
            has = ", ".join(sorted([*covered, *addresses])) or "none"
            yield f"names: the certificate is not for {name} (its subject alternative names: {has}); get one that is"


def _covers(name: str, covered: Sequence[str], addresses: set[str]) -> bool:
    try:
        return str(ipaddress.ip_address(name)) in addresses
    except ValueError:
        wildcard = f"*.{name.partition('.')[2]}" if "." in name else name
        return bool({name.lower(), wildcard.lower()} & {each.lower() for each in covered})


def bundle_path(folder: str) -> str:
    """Return the file with the key and the chain, in the server's folder of configuration."""
    return f"{folder}/groundcrew-tls.pem"


def client_ca_path(folder: str) -> str:
    return f"{folder}/groundcrew-client-ca.pem"


def settings_path(folder: str) -> str:
    """Return a settings file of its own: a reload is enough for these, the other settings need a restart."""
    return f"{folder}/conf.d/groundcrew-tls.conf"


def tls_settings(tls: Tls, folder: str) -> str:
    """Return the text of the settings file."""
    values = {"ssl": "on", "ssl_cert_file": bundle_path(folder), "ssl_key_file": bundle_path(folder)}
    if tls.client_ca:
        values["ssl_ca_file"] = client_ca_path(folder)
    return HEADER + "".join(f"{name} = '{value}'\n" for name, value in values.items())


def write_files(tls: Tls, folder: str) -> None:
    """Write the certificate with its key, and the settings that name them."""
    owner = "postgres:postgres"
    operations.write_secret_file(name="Certificate and key", dest=bundle_path(folder), text=tls.bundle, owner=owner)
    if tls.client_ca:
        operations.write_file(name="CA of clients", dest=client_ca_path(folder), text=tls.client_ca)
    operations.write_file(name="TLS settings", dest=settings_path(folder), text=tls_settings(tls, folder))


def served_command(version: int) -> str:
    """Return a command that prints the fingerprint of the certificate that the running server shows.

    It prints "none" if the server listens on no TCP address.
    """
    # PostgreSQL writes its port and first address there; "*" must not become file names.
    return (
        f"set -f; set -- $(sed -n '4p;6p' {data_folder(version)}/postmaster.pid); "
        'case "$2" in "") echo none; exit ;; "*") set -- "$1" 127.0.0.1 ;; *:*) set -- "$1" "[$2]" ;; esac; '
        'timeout 5 openssl s_client -connect "$2:$1" -starttls postgres </dev/null 2>/dev/null '
        "| openssl x509 -noout -fingerprint -sha256 2>/dev/null | sed 's/.*=//; s/://g' | tr A-F a-f"
    )


@operation_with_facts(
    lambda unit, version, folder, **_: (
        operations.unit_and_files(unit, [settings_path(folder), client_ca_path(folder)])
        | command_output(served_command(version))
    )
)
def load_certificate(facts: HostFacts, tls: Tls, unit: str, version: int, folder: str) -> Steps:
    """Reload the server if it shows another certificate, and wait until it shows this one."""
    if ctx_state.get().is_executing and tls.expires - datetime.now(UTC) < WARN_BEFORE:
        log_message(host, f"postgres_tls: the certificate expires on {tls.expires:%Y-%m-%d %H:%M} UTC; renew it")
    files = [settings_path(folder), client_ca_path(folder)]
    shows_another = facts.output[served_command(version)] not in ([tls.fingerprint], ["none"])
    if shows_another or operations.is_outdated(facts, unit, files):
        yield f"systemctl reload {unit}"
        yield FunctionCommand(_wait_for_certificate, (tls.fingerprint, version), {})
        yield operations.stamp_command(unit)


def _wait_for_certificate(state: State, host: Host, fingerprint: str, version: int) -> bool:
    tries = (
        f'for _ in $(seq {LOAD_SECONDS}); do shown=$({served_command(version)}); case "$shown" in {fingerprint}|none) '
        "exit 0 ;; esac; sleep 1; done; exit 1"
    )
    ok, _ = run_silently(host, f"sh -c {shlex.quote(tries)}")
    if not ok:
        log = f"/var/log/postgresql/postgresql-{version}-main.log"
        _, lines = run_silently(host, f"grep -iE 'ssl|certificate|private key' {log} | tail -n 3")
        log_message(host, "\n".join(["the server does not show the new certificate; its log says:", *lines]))
    return ok


@operation_with_facts(lambda folder, **_: paths(settings_path(folder), bundle_path(folder), client_ca_path(folder)))
def remove_certificate(facts: HostFacts, unit: str, folder: str) -> Steps:
    """Go back to the certificate that the system made at the installation. Others would need the key's file."""
    ours = [settings_path(folder), bundle_path(folder), client_ca_path(folder)]
    if existing := [file for file in ours if file in facts.paths]:
        yield f"rm --force {shlex.join(existing[:1])} && systemctl reload {unit} && rm --force {shlex.join(existing)}"
