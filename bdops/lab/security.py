"""What the servers of a secured lab prove themselves by: an authority and certificates of the lab's own, and passwords.

All of it is made at the first `lab up --secure`, is in the lab's folder (0700, its files 0600), and goes with it.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.files import replacing
from bdops.lab.paths import private_folder

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

VALID_DAYS = 3650
CLIENT = "bdops"
"""Whose certificate clients show where a server asks for one."""

ADMIN, OPERATOR, READER = "admin", "operator", "reader"
"""Users of a secured lab: the servers' own, and the lab's, who may do all; bdops'; one who may do no more than read."""


@dataclass(frozen=True, slots=True)
class Pem:
    """A certificate with its key, as files: apart for clients and Elasticsearch, in one for Kafka and ZooKeeper."""

    certificate: Path
    key: Path
    both: Path


def ca_file(lab: Lab) -> Path:
    """The authority's certificate, which clients of the lab are to trust."""
    return lab.folder / "security" / "ca.crt"


def pem(lab: Lab, name: str) -> Pem:
    """The files of a host's certificate, or of CLIENT's."""
    return _pem(lab.folder / "security", name)


def password_file(lab: Lab, user: str) -> Path:
    """A user's password; made up where there is none yet."""
    file = private_folder(lab.folder / "security") / f"{user}.password"
    if not file.exists() or not file.read_text().strip():
        write_secret(file, secrets.token_urlsafe(18) + "\n")
    return file


def password(lab: Lab, user: str) -> str:
    return password_file(lab, user).read_text().strip()


def write_secret(file: Path, text: str | bytes) -> None:
    """Replace a file, which only its owner may read, in one step."""
    with replacing(file) as out:
        out.write(text.encode() if isinstance(text, str) else text)


def prepare(lab: Lab) -> None:
    """Make the authority, a certificate for each host, and one for clients; once."""
    folder = private_folder(lab.folder / "security")
    wanted = {host.name: (host.name, host.address) for host in lab.hosts} | {CLIENT: (CLIENT,)}
    if ca_file(lab).exists() and all(_pem(folder, name).both.exists() for name in wanted):
        return
    authority = Authority.make(f"bdops lab {lab.name}")
    for name, names in wanted.items():
        authority.issue(folder, name, names)
    # Last: while it is not there, a call that was killed is repeated as a whole.
    write_secret(ca_file(lab), authority.pem)


class Authority:
    """A certificate authority whose key is in no file: after its certificates are issued nobody can issue more."""

    def __init__(self, key: Any, certificate: Any) -> None:
        self._key, self._certificate = key, certificate

    @classmethod
    def make(cls, name: str) -> Authority:
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _signed(name, (), key.public_key(), name, key, ca=True))

    @property
    def pem(self) -> bytes:
        return _encoded(self._certificate)

    def issue(self, folder: Path, name: str, names: Sequence[str]) -> Pem:
        """Write a certificate for a server or client known by these names and IP addresses."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificate.subject.rfc4514_string().removeprefix("CN=")
        made = _encoded(_signed(name, names, key.public_key(), issuer, self._key, ca=False))
        # PKCS#8, the one form that the JDK reads.
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        secret = key.private_bytes(*form)
        files = _pem(folder, name)
        write_secret(files.certificate, made)
        write_secret(files.key, secret)
        write_secret(files.both, secret + made)
        return files


def _pem(folder: Path, name: str) -> Pem:
    return Pem(folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.pem")


def _encoded(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


def _signed(name: str, names: Sequence[str], public_key: Any, issuer: str, signing_key: Any, *, ca: bool) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        .add_extension(_usage(ca), critical=True)
    )
    if names:
        general = [_general_name(each) for each in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    if not ca:
        uses = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def _usage(ca: bool) -> Any:
    """What a key is for: Python's strict checks (3.13) want to see it of an authority."""
    from cryptography import x509

    usage = partial(
        x509.KeyUsage,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return usage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca)


def _general_name(text: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
