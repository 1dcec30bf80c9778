"""cert-manager's keys, requests and certificates: real X.509, made from a Certificate's spec."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
CURVES: dict[int, ec.EllipticCurve] = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
DURATION = 90 * 24 * 3600.0
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

NAMES = {
    "organizations": NameOID.ORGANIZATION_NAME,
    "countries": NameOID.COUNTRY_NAME,
    "organizationalUnits": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "localities": NameOID.LOCALITY_NAME,
    "provinces": NameOID.STATE_OR_PROVINCE_NAME,
    "streetAddresses": NameOID.STREET_ADDRESS,
    "postalCodes": NameOID.POSTAL_CODE,
}
KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
EXTENDED_USAGES = {
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
DEFAULT_USAGES = ("digital signature", "key encipherment")


@dataclass(frozen=True)
class Issued:
    """The certificate, and its issuer's, in PEM."""

    certificate: bytes
    ca: bytes


def seconds(duration: str) -> float:
    """Return the seconds of a Go duration of hours, minutes, seconds and milliseconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d*)?)(h|ms|m|s)", duration))


def new_key(spec: Mapping[str, Any]) -> bytes:
    """Return a new private key in PEM as `spec.privateKey` says, by default RSA 2048. Raises `ValueError`."""
    wanted = spec.get("privateKey") or {}
    algorithm, size = wanted.get("algorithm", "RSA"), wanted.get("size")
    key: Key
    if algorithm == "RSA":
        key = rsa.generate_private_key(65537, size or 2048)
    elif algorithm == "ECDSA":
        if (size or 256) not in CURVES:
            raise ValueError(f"unsupported ecdsa key size specified: {size}. allowed sizes are 256, 384, 521")
        key = ec.generate_private_key(CURVES[size or 256])
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    pkcs8 = wanted.get("encoding", "PKCS1") == "PKCS8" or algorithm == "Ed25519"
    form = serialization.PrivateFormat.PKCS8 if pkcs8 else serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def request(spec: Mapping[str, Any], key: bytes) -> bytes:
    """Return a certificate signing request in PEM. Raises `ValueError`."""
    private = load_key(key)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(spec))
    names = _alternative_names(spec)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not _subject(spec).rdns)
    return builder.sign(private, _hash(private)).public_bytes(serialization.Encoding.PEM)


def sign(
    csr: bytes, *, key: bytes, ca: bytes | None, duration: float, is_ca: bool, usages: tuple[str, ...], now: datetime
) -> Issued:
    """Return the certificate for a request: signed by `ca`, or self-signed with the request's own key. Raises `ValueError`."""
    asked, private = x509.load_pem_x509_csr(csr), load_key(key)
    parent = None if ca is None else x509.load_pem_x509_certificate(ca)
    builder = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(asked.subject if parent is None else parent.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(seconds=duration))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(_key_usage(usages or DEFAULT_USAGES, is_ca), critical=True)
    )
    extended = [EXTENDED_USAGES[usage] for usage in usages if usage in EXTENDED_USAGES]
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    for extension in asked.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    certificate = builder.sign(private, _hash(private)).public_bytes(serialization.Encoding.PEM)
    return Issued(certificate, certificate if ca is None else ca)


def load_key(pem: bytes) -> Key:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise ValueError("unsupported private key type")
    return key


def same_key(certificate: bytes, key: bytes) -> bool:
    """Return whether the certificate is for that private key. Raises `ValueError`."""
    return x509.load_pem_x509_certificate(certificate).public_key() == load_key(key).public_key()


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """Return the start and the end of the validity. Raises `ValueError`."""
    loaded = x509.load_pem_x509_certificate(certificate)
    return loaded.not_valid_before_utc, loaded.not_valid_after_utc


def differences(certificate: bytes, spec: Mapping[str, Any]) -> list[str]:
    """Return the members of a spec from which an issued certificate differs. Raises `ValueError`."""
    loaded = x509.load_pem_x509_certificate(certificate)
    found = []
    if spec.get("commonName") and loaded.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[:1] != [
        x509.NameAttribute(NameOID.COMMON_NAME, spec["commonName"])
    ]:
        found.append("spec.commonName")
    try:
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        present = set(names)
    except x509.ExtensionNotFound:
        present = set()
    for member, kind in (("dnsNames", x509.DNSName), ("ipAddresses", x509.IPAddress), ("uris", x509.UniformResourceIdentifier)):
        if {name for name in present if isinstance(name, kind)} != {n for n in _alternative_names(spec) if isinstance(n, kind)}:
            found.append(f"spec.{member}")
    return found


def _subject(spec: Mapping[str, Any]) -> x509.Name:
    subject = spec.get("subject") or {}
    parts = [x509.NameAttribute(oid, value) for member, oid in NAMES.items() for value in subject.get(member) or ()]
    if subject.get("serialNumber"):
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, subject["serialNumber"]))
    if spec.get("commonName"):
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, spec["commonName"]))
    return x509.Name(parts)


def _alternative_names(spec: Mapping[str, Any]) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(name) for name in spec.get("dnsNames") or ()),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in spec.get("ipAddresses") or ()),
        *(x509.UniformResourceIdentifier(uri) for uri in spec.get("uris") or ()),
        *(x509.RFC822Name(address) for address in spec.get("emailAddresses") or ()),
    ]


def _key_usage(usages: tuple[str, ...], is_ca: bool) -> x509.KeyUsage:
    wanted = {KEY_USAGES[usage] for usage in usages if usage in KEY_USAGES} | ({"key_cert_sign"} if is_ca else set())
    agreement = "key_agreement" in wanted
    only = {name: agreement and name in wanted for name in ("encipher_only", "decipher_only")}
    flags = {name: name in wanted for name in set(KEY_USAGES.values()) - set(only)}
    return x509.KeyUsage(**flags, **only)


def _hash(key: Key) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
