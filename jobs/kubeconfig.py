"""A short-lived kubeconfig for a person, with a client certificate that the cluster signs.

The rights of a person are those of the RoleBindings that name them, such as those that deploys/k3s.py makes for the
`users` of a namespace. The private key is made here, is in the kubeconfig only, and is kept nowhere.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from inventories import CrewError
from inventories.printable import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

SIGNER = "kubernetes.io/kube-apiserver-client"
PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}")  # no colon: names such as system:admin belong to Kubernetes
SIGNED_WITHIN, KUBECTL_TIMEOUT = 30, 60  # seconds
BINDINGS = ("get", "rolebindings,clusterrolebindings", "--all-namespaces", "--output=json")
CLUSTER = ("config", "view", "--raw", "--minify", "--flatten", "--output=json")

Kubectl: TypeAlias = Callable[[Sequence[str], str], str]
"""Runs kubectl with these arguments and this stdin, and returns its output; raises NoAccess if it fails."""


class NoAccess(CrewError):
    """A person gets no kubeconfig; the message says why."""


@dataclass(frozen=True)
class Rights:
    """What the bindings of a cluster give to a person."""

    roles: Mapping[str, tuple[str, ...]]  # by namespace; "" is the whole cluster

    @property
    def namespaces(self) -> list[str]:
        return sorted(name for name in self.roles if name)

    def sentences(self) -> Iterator[str]:
        for namespace, roles in sorted(self.roles.items()):
            yield f"{', '.join(roles)} in {f'namespace {namespace}' if namespace else 'the whole cluster'}"


@dataclass(frozen=True)
class PersonalKubeconfig:
    """A kubeconfig with a private key, and when its certificate expires."""

    text: str = field(repr=False)
    expires: datetime


def kubectl_through(environment: str, *, kubeconfig: Path | None, ssh: str | None) -> Kubectl:
    """Return kubectl with the operator's kubeconfig, or that of a K3s server over SSH."""
    command = ssh_kubectl(ssh) if ssh else local_kubectl(environment, kubeconfig, Path.home(), os.environ)
    where = f"{ssh} over ssh" if ssh else " ".join(command[1:])

    def run(words: Sequence[str], stdin: str) -> str:
        full = [*command[:-1], f"{command[-1]} {shlex.join(words)}"] if ssh else [*command, *words]
        try:
            done = subprocess.run(
                full, input=stdin, capture_output=True, text=True, check=False, timeout=KUBECTL_TIMEOUT
            )
        except FileNotFoundError:
            raise NoAccess(f"{command[0]} is not installed; install it, or use --ssh with a K3s server") from None
        except subprocess.TimeoutExpired:
            raise NoAccess(f"kubectl {words[0]} did not answer within {KUBECTL_TIMEOUT} s ({where})") from None
        if done.returncode:
            reason = printable("; ".join(done.stderr.strip().splitlines()[-2:]) or "it printed no reason")
            raise NoAccess(f"kubectl {' '.join(words[:2])} failed ({where}): {reason}")
        return done.stdout

    return run


def local_kubectl(environment: str, given: Path | None, home: Path, variables: Mapping[str, str]) -> list[str]:
    """Return the command with the operator's kubeconfig. Its context is that of the environment, never another one."""
    own = home / ".kube" / f"{environment}.yaml"  # deploys/k3s.py writes it
    if given is None and not own.exists() and not variables.get("KUBECONFIG"):
        raise NoAccess(
            f"there is no kubeconfig for {environment}: {own} does not exist. Run deploys/k3s.py, which writes it, or "
            "use --kubeconfig FILE, KUBECONFIG, or --ssh root@SERVER"
        )
    file = given or (own if own.exists() else None)
    return ["kubectl", *([f"--kubeconfig={file}"] if file else []), f"--context={environment}"]


def ssh_kubectl(host: str) -> list[str]:
    """Return the command that runs the kubectl of a K3s server, with a login that is root or has sudo."""
    if host.startswith("-"):
        raise NoAccess(f"--ssh {host} is not a login; use one such as root@server-1.acme.example")
    sudo = '$(test "$(id -u)" = 0 || echo sudo -n)'
    return ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host, f"{sudo} k3s kubectl"]


def rights_of(person: str, bindings: Mapping[str, Any]) -> Rights:
    """Return the rights of a person, from the list of all bindings."""
    roles: dict[str, list[str]] = {}
    for binding in bindings["items"]:
        subjects = binding.get("subjects") or []
        if any(each.get("kind") == "User" and each.get("name") == person for each in subjects):
            namespace = binding["metadata"].get("namespace", "")
            roles.setdefault(namespace, []).append(str(binding["roleRef"]["name"]))
    return Rights({namespace: tuple(sorted(names)) for namespace, names in roles.items()})


def require_person(environment: str, person: str, kubectl: Kubectl) -> Rights:
    """Return the rights of a person; raise NoAccess if the cluster gives them none."""
    if not PERSON.fullmatch(person):
        raise NoAccess(f"{person!r} is not a name of a person; use letters, digits and . _ @ + -")
    rights = rights_of(person, json.loads(kubectl(BINDINGS, "")))
    if not rights.roles:
        raise NoAccess(
            f"{environment}: no binding names the user {person}, so a certificate would give no access. Add them to "
            "users or viewers of a namespace in k3s_namespaces, or to k3s_admins, and run deploys/k3s.py"
        )
    return rights


def signing_request(name: str, request: bytes, lasts: timedelta) -> dict[str, Any]:
    """Return the CertificateSigningRequest object for a request in PEM."""
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "groundcrew"}},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": SIGNER,
            "expirationSeconds": int(lasts.total_seconds()),
            "usages": ["client auth"],
        },
    }


def issue(
    person: str, rights: Rights, lasts: timedelta, kubectl: Kubectl, *, environment: str, server: str | None
) -> PersonalKubeconfig:
    """Have the cluster sign a certificate for a new key, and return the kubeconfig. The request is deleted again."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    cluster = cluster_entry(json.loads(kubectl(CLUSTER, "")), server)
    name = f"groundcrew-{re.sub('[^a-z0-9]+', '-', person.lower()).strip('-')}-{os.urandom(4).hex()}"
    request = signing_request(name, request_pem(key, person), lasts)
    kubectl(("create", "--filename=-"), json.dumps(request))
    try:
        kubectl(("certificate", "approve", name), "")
        pem = _signed(name, kubectl)
    finally:
        kubectl(("delete", "csr", name), "")
    certificate = checked_certificate(pem, person, key)
    text = kubeconfig_text(environment, person, cluster, rights.namespaces, credentials_of(key, pem))
    return PersonalKubeconfig(text, certificate.not_valid_after_utc)


def _signed(name: str, kubectl: Kubectl) -> bytes:
    """Return the certificate of a request when the cluster has signed it."""
    end = time.monotonic() + SIGNED_WITHIN
    while time.monotonic() < end:
        status = json.loads(kubectl(("get", "csr", name, "--output=json"), "")).get("status") or {}
        if status.get("certificate"):
            return base64.b64decode(status["certificate"])
        for condition in status.get("conditions") or []:
            if condition["type"] in ("Failed", "Denied"):
                reason = printable(str(condition.get("message") or "it gives no reason"))
                raise NoAccess(f"the cluster did not sign the certificate ({condition['type']}): {reason}")
        time.sleep(0.2)
    raise NoAccess(f"the cluster did not sign the certificate within {SIGNED_WITHIN} s; is its controller manager up?")


def request_pem(key: EllipticCurvePrivateKey, person: str) -> bytes:
    """Return a request for a person. It names no group, since groups could give more rights than the bindings."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, person)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def checked_certificate(pem: bytes, person: str, key: EllipticCurvePrivateKey) -> Certificate:
    """Return the certificate; raise NoAccess unless it is for this person alone and for this key."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise NoAccess(f"the cluster returned no certificate: {error}") from None
    if [(each.oid, each.value) for each in certificate.subject] != [(NameOID.COMMON_NAME, person)]:
        raise NoAccess(f"the cluster signed a certificate for {certificate.subject.rfc4514_string()}, not for {person}")
    if certificate.public_key() != key.public_key():
        raise NoAccess("the cluster signed a certificate for another key")
    return certificate


def cluster_entry(config: Mapping[str, Any], server: str | None) -> dict[str, Any]:
    """Return address and authority of the cluster in an operator's kubeconfig; `server` is another address."""
    found = dict(config["clusters"][0]["cluster"])
    if server:
        found["server"] = server if "://" in server else f"https://{server}:6443"
    if re.match(r"https://(127\.|localhost|\[::1\])", str(found.get("server"))):
        raise NoAccess(
            f"the kubeconfig of the server has the address {found['server']}, which is the server itself; add --server "
            "with the address that people use, such as --server k3s.acme.example"
        )
    return {key: found[key] for key in ("server", "certificate-authority-data", "tls-server-name") if key in found}


def credentials_of(key: EllipticCurvePrivateKey, certificate: bytes) -> dict[str, str]:
    """Return certificate and key as a kubeconfig has them."""
    from cryptography.hazmat.primitives import serialization

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pairs = (("client-certificate-data", certificate), ("client-key-data", private))
    return {name: base64.b64encode(value).decode() for name, value in pairs}


def kubeconfig_text(
    environment: str, person: str, cluster: Mapping[str, Any], namespaces: Sequence[str], credentials: Mapping[str, str]
) -> str:
    """Return the kubeconfig as JSON, which is YAML too. Commands use the first namespace by default."""
    user = f"{person}@{environment}"
    context = {"cluster": environment, "user": user, **({"namespace": namespaces[0]} if namespaces else {})}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": environment, "cluster": dict(cluster)}],
            "users": [{"name": user, "user": dict(credentials)}],
            "contexts": [{"name": environment, "context": context}],
            "current-context": environment,
        },
        indent=2,
    )
