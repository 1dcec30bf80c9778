"""Programs for the images of a fleet's workloads: servers that become ready and run until they are stopped, and jobs."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from azuresandbox.machine import addons
from azuresandbox.machine.client import ApiError
from azuresandbox.machine.node.program import Pod, image

SERVERS = (
    "ghcr.io/stefanprodan/podinfo",
    "stefanprodan/podinfo",
    "registry.k8s.io/ingress-nginx/controller",
    "nginx",
    "bitnami/nginx",
    "bitnamilegacy/nginx",
    "redis",
    "bitnami/redis",
    "bitnamilegacy/redis",
    "registry.k8s.io/pause",
    "mcr.microsoft.com/oss/kubernetes/pause",
    "registry.k8s.io/defaultbackend-amd64",
    "ghcr.io/stefanprodan/podinfo/podinfo",
)
ONE_SHOT = ("busybox", "alpine", "bitnami/kubectl", "bitnami/os-shell", "bitnamilegacy/os-shell")


@image(*SERVERS, *addons.IMAGES)
async def serve(pod: Pod) -> None:
    """Become ready and run until the Pod is deleted."""
    pod.log(f"Starting {pod.container} ({pod.image})")
    pod.ready(True)
    await asyncio.Event().wait()


@image(*ONE_SHOT)
async def shell(pod: Pod) -> None:
    """Run `sleep`, `true`, `false`, `echo`, `env`, `cat` and `exit N`, also by `sh -c`; refuse other commands."""
    words = [*pod.command, *pod.args]
    if len(words) >= 3 and words[0].rpartition("/")[2] in ("sh", "bash", "ash") and words[1].endswith("c"):
        for line in words[2].replace("\n", ";").replace("&&", ";").split(";"):
            if line.strip():
                await _command(pod, line.split())
    elif words:
        await _command(pod, words)
    # Without a command, the image's shell reads the end of its input and exits.


async def _command(pod: Pod, words: list[str]) -> None:
    name, rest = words[0].rpartition("/")[2], [word.strip("'\"") for word in words[1:]]
    match name:
        case "sleep":
            pod.ready(True)
            if rest and rest[0] not in ("infinity", "inf"):
                await pod.clock.wait(_seconds(rest[0]))
            else:
                await asyncio.Event().wait()
        case "true" | ":":
            return
        case "echo":
            pod.log(" ".join(rest))
        case "env":
            pod.log("\n".join(f"{key}={value}" for key, value in sorted(pod.env.items())))
        case "cat":
            for path in rest:
                if path not in pod.files:
                    pod.log(f"cat: can't open '{path}': No such file or directory")
                    raise SystemExit(1)
                pod.log(pod.files[path].decode("utf-8", "replace"))
        case "false":
            raise SystemExit(1)
        case "exit":
            raise SystemExit(int(rest[0]) if rest else 0)
        case _:
            pod.log(f"the sandbox does not run {name!r}: it knows sleep, true, false, echo, env, cat and exit")
            raise SystemExit(127)


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


@image("registry.k8s.io/ingress-nginx/kube-webhook-certgen")
async def certgen(pod: Pod) -> None:
    """Run ingress-nginx's hook jobs: `create` makes the Secret with a certificate, `patch` sets its CA in the webhook."""
    words = [*pod.command, *pod.args]
    secret, namespace = pod.flag("secret-name"), pod.flag("namespace", pod.namespace)
    if "create" in words:
        await _create_certificate(pod, namespace, secret, pod.flag("host").split(","))
    elif "patch" in words:
        await _patch_webhook(pod, namespace, secret)
    else:
        pod.log("unknown command: expected create or patch")
        raise SystemExit(1)


async def _create_certificate(pod: Pod, namespace: str, secret: str, hosts: list[str]) -> None:
    if await pod.kube.find("v1", "Secret", secret, namespace) is not None:
        pod.log("secret already exists")
        return
    authority, certificate, key = _certificate(pod, hosts)
    data = {name: base64.b64encode(value).decode() for name, value in (("ca", authority), ("cert", certificate), ("key", key))}
    metadata = {"name": secret, "namespace": namespace}
    await pod.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data})
    pod.log("creating new secret")


async def _patch_webhook(pod: Pod, namespace: str, secret: str) -> None:
    found = await pod.kube.find("v1", "Secret", secret, namespace)
    if found is None:
        pod.log(f"no secret with '{secret}' in '{namespace}'")
        raise SystemExit(1)
    for flag, kind in (("patch-validating", "Validating"), ("patch-mutating", "Mutating")):
        if pod.flag(flag, "true") == "false":
            continue
        name = pod.flag("webhook-name")
        hook = await pod.kube.find("admissionregistration.k8s.io/v1", f"{kind}WebhookConfiguration", name)
        if hook is None:
            raise RuntimeError(f"failed getting {kind.lower()} webhook: {name}")
        for item in hook["webhooks"]:
            item["clientConfig"]["caBundle"] = found["data"]["ca"]
        try:
            await pod.kube.update(hook)
        except ApiError as error:
            raise RuntimeError(f"failed patching {kind.lower()} webhook: {error}") from error
    pod.log("Patched hook(s)")


def _certificate(pod: Pod, hosts: list[str]) -> tuple[bytes, bytes, bytes]:
    """Return (CA, certificate, key) in PEM, valid for a hundred years, as certgen makes them."""
    start, end = pod.clock.now() - timedelta(minutes=5), pod.clock.now() + timedelta(days=36500)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def build(subject: str, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("nil1"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(extension, critical=False)
        )
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority = build("nil1", ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts if host])
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return authority, build("nil2", key.public_key(), names), private
