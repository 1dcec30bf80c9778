"""The form of an answer, negotiated by the Accept header."""

from __future__ import annotations

from azuresandbox.kubernetes.model import errors

MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


ANY = ("*/*", "application/*")


def check_accept(accept: str, media: tuple[str, ...] = MEDIA) -> None:
    """Raise 406 unless the client accepts one of `media`, as the web framework before the built-in kinds does."""
    offers = [offer.partition(";")[0].strip() for offer in accept.split(",")]
    if accept and not any(offer in ANY or offer in media for offer in offers):
        message = "406: Not Acceptable\n\nAvailable representations: " + ", ".join(media)
        raise errors.StatusError(406, "NotAcceptable", message, {})


def wanted_form(accept: str) -> tuple[str, str]:
    """Return the `as=` ("", Table or PartialObjectMetadata) and its version, of the first media type that can be served."""
    if not accept or accept.startswith("*/*"):
        return "", ""
    for offer in accept.split(","):
        media, *parameters = [part.strip() for part in offer.split(";")]
        known = dict(part.partition("=")[::2] for part in parameters)
        if media not in (*ANY, "application/json", "application/yaml"):
            continue
        kind, version = known.get("as", ""), known.get("v", "v1")
        if not kind:
            return "", ""
        if known.get("g") == "meta.k8s.io" and version in ("v1", "v1beta1"):
            if kind == "Table":
                return "Table", version
            if kind in ("PartialObjectMetadata", "PartialObjectMetadataList"):
                return "PartialObjectMetadata", version
    raise _not_acceptable()


def _not_acceptable() -> errors.StatusError:
    return errors.StatusError(406, "NotAcceptable", "only the following media types are accepted: " + ", ".join(MEDIA))


def wants_aggregated(accept: str) -> bool:
    """Return whether the client prefers the aggregated form of discovery (v2) to the plain one."""
    for offer in accept.split(",") if accept else ():
        media, *parameters = [part.strip() for part in offer.split(";")]
        known = dict(part.partition("=")[::2] for part in parameters)
        if media in (*ANY, "application/json", "application/yaml"):
            if "as" not in known:
                return False
            if (known["as"], known.get("g"), known.get("v")) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2"):
                return True
    if accept:
        raise _not_acceptable()
    return False


def wants_yaml(accept: str) -> bool:
    """Return whether YAML comes first among the media types that the client accepts and the server has."""
    offers = (offer.partition(";")[0].strip() for offer in accept.split(","))
    return next((offer for offer in offers if offer in MEDIA or offer in ANY), "") == "application/yaml"
