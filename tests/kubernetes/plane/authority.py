"""The certificate authority of the control planes and webhooks of one machine."""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATES = Path("/tmp/k8s-webhook-server/serving-certs")
"""Folder of the controllers' webhook certificates; the training operator takes no other folder."""

LOCK = CERTIFICATES.parent.with_suffix(".lock")
"""Locked (`SharedUse`) by all who use the folder."""

NAME = "training-operator-ca"
"""The training operator takes an authority of this name for its own (training-operator 1.9, pkg/cert)."""

_YEARS = 10
_BITS = 2048


class Authority:
    """An authority in a folder of this machine, made once: controllers of several planes read one certificate."""

    def __init__(self, folder: Path = CERTIFICATES.parent / "authority") -> None:
        """Make it, unless it is there.

        Raises:
            PermissionError: another user of this machine owns the folder.
        """
        self.folder = folder
        self.certificate, self.key = folder / "ca.crt", folder / "ca.key"
        folder.mkdir(parents=True, exist_ok=True)
        CERTIFICATES.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / "ready").exists():
                return
            key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
            name = _name(NAME)
            made = _builder(name, name, key.public_key()).add_extension(
                x509.BasicConstraints(ca=True, path_length=None), critical=True
            )
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
            _write(self.key, _private(key))
            self.certificate.write_bytes(
                made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            )
            names = ("127.0.0.1", "localhost", "training-operator.kubeflow.svc")
            self.issue(CERTIFICATES / "tls", "webhook", names=names)
            (CERTIFICATES / "ca.crt").write_bytes(self.certificate.read_bytes())
            (folder / "ready").touch()

    def issue(
        self,
        path: Path,
        name: str,
        *,
        names: Sequence[str] = (),
        organization: str = "",
        client: bool = False,
    ) -> None:
        """Write PATH.crt and PATH.key: a server's certificate for `names`, or a client's of a user and its group."""
        authority = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        signing = serialization.load_pem_private_key(self.key.read_bytes(), password=None)
        assert isinstance(signing, rsa.RSAPrivateKey)
        key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        made = _builder(_name(name, organization), authority.subject, key.public_key())
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            made = made.add_extension(
                x509.SubjectAlternativeName([_alternative(one) for one in names]), critical=False
            )
        _write(path.with_suffix(".key"), _private(key))
        signed = made.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        path.with_suffix(".crt").write_bytes(signed)


def write_signing_keys(private: Path, public: Path) -> None:
    """Write the keys by which tokens of service accounts are signed and checked."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    _write(private, _private(key))
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=365 * _YEARS))
    )


def _name(name: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: rsa.RSAPrivateKey) -> bytes:
    # PKCS 1, as the training operator reads it.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _write(path: Path, text: bytes) -> None:
    """Write a private key, for its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(text)
