"""The cluster's own certificates, made anew for every start."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = dt.timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs whatever the programs of one cluster show each other.

    Parameters
    ----------
    folder
        Where certificates and keys are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "media-gateway-machine-ca")])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=False, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        certificate = (
            self._begun(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def identity(self, name: str, groups: Sequence[str] = (), addresses: Sequence[str] = ()) -> Identity:
        """Issue a certificate good for a server and for a client.

        Parameters
        ----------
        name
            The user Kubernetes sees.
        groups
            Its groups.
        addresses
            Names and IP addresses it serves on.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        begun = self._begun(x509.Name(subject), key.public_key()).add_extension(
            x509.ExtendedKeyUsage(usages), critical=False
        )
        if addresses:
            names = x509.SubjectAlternativeName([_general(address) for address in addresses])
            begun = begun.add_extension(names, critical=False)
        certificate = begun.sign(self._key, hashes.SHA256())
        stem = name.replace(":", "-")
        written = Identity(self._folder / f"{stem}.crt", self._folder / f"{stem}.key")
        written.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(written.key, key)
        return written

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + LIFE)
        )


def token_keys(folder: Path) -> Identity:
    """The pair that signs and checks tokens of service accounts (here the certificate is a public key)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pair = Identity(folder / "service-accounts.pub", folder / "service-accounts.key")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pair.certificate.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    _write_key(pair.key, key)
    return pair


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def _general(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
