"""`kustomize build` over files in memory.

The order of work is kustomize's: resources, generators, components, then the transformers in their fixed order, layer by
layer; hashes and references once, at the end. Errors are worded and nested as kustomize's. May import this package only.
"""

from __future__ import annotations

import copy
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.machine.kustomize import generators, names, transformers
from azuresandbox.machine.kustomize.documents import DuplicateKey, MalformedYAML, Object, Objects, dump, parse, parse_one
from azuresandbox.machine.kustomize.errors import KustomizeError, Unsupported
from azuresandbox.machine.kustomize.patch import json6902, strategic
from azuresandbox.machine.kustomize.resource import Id, Resource, append, find

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
FIELDS = frozenset(
    {
        "apiVersion",
        "kind",
        "metadata",
        "resources",
        "bases",
        "components",
        "namespace",
        "namePrefix",
        "nameSuffix",
        "labels",
        "commonLabels",
        "commonAnnotations",
        "patches",
        "patchesStrategicMerge",
        "patchesJson6902",
        "configMapGenerator",
        "secretGenerator",
        "generatorOptions",
        "images",
        "replicas",
        "replacements",
        "buildMetadata",
        "sortOptions",
        "configurations",
    }
)
UNSUPPORTED = {
    "helmCharts": "use a HelmRelease",
    "helmGlobals": "use a HelmRelease",
    "helmChartInflationGenerator": "use a HelmRelease",
    "generators": "write the objects as resources",
    "transformers": "use the transformers' own fields",
    "validators": "validate the manifests in CI",
    "crds": "name the references with replacements",
    "openapi": "use JSON 6902 patches for custom resources",
    "vars": "use replacements",
    "imageTags": "use images",
}
_REMOTE = ("git::", "gh:", "ssh://", "https://", "http://", "git@", "github.com:", "github.com/")
_BUILD_METADATA = ("originAnnotations",)
_GENERATOR = "merging from generator &{0xc000010000 <nil>}"
"""kustomize prints the address of its generator here."""


def build(root: Mapping[str, bytes], path: str = ".", *, top: str = "/work") -> Objects:
    """The objects that the kustomization in folder `path` of `root` (path -> contents) makes.

    `top` is how error messages call the root. Raises `KustomizeError`, worded as kustomize words it.
    """
    source = Source(root, top)
    folder = source.folder(path)
    references: names.References = []
    resources = _Target(source, folder, (folder,), references).accumulate([])
    for resource in resources:
        if resource.hashed:
            resource.rename(f"{resource.metadata['name']}-{generators.content_hash(resource.obj)}")
    names.fix_references(resources, references)
    for resource in resources:
        if not resource.metadata.get("annotations", True):
            del resource.metadata["annotations"]
    return [r.obj for r in resources if r.annotations().get("config.kubernetes.io/local-config") != "true"]


@dataclass
class Source:
    """The files, and how they are called in messages."""

    root: Mapping[str, bytes]
    top: str
    _folders: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        folders = {""}
        for path in self.root:
            parts = path.split("/")[:-1]
            folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
        self._folders = frozenset(folders)

    def resolve(self, folder: str, path: str) -> str:
        """The normal form of `path` as seen from `folder`, without a leading slash."""
        joined = posixpath.normpath(posixpath.join("/" + folder, path))
        if posixpath.normpath(posixpath.join("./", folder, path)).startswith("../"):
            raise KustomizeError(f"file '{path}' is not in or below '{self.top}'")
        return joined.lstrip("/")

    def folder(self, path: str, base: str = "") -> str:
        folder = self.resolve(base, path.lstrip("/") if not base else path)
        if folder in self.root:
            raise KustomizeError(f"must build at directory: '{self.name(folder)}': file is not directory")
        if folder not in self._folders:
            steps = folder.split("/")
            parts = ["/".join(steps[: depth + 1]) for depth in range(len(steps))]
            missing = next(part for part in parts if part not in self._folders)
            raise KustomizeError(
                f"must build at directory: not a valid directory: evalsymlink failure on '{self.name(folder)}' : "
                f"lstat {self.name(missing)}: no such file or directory"
            )
        return folder

    def name(self, path: str) -> str:
        return posixpath.join(self.top, path) if path else self.top

    def read(self, folder: str, path: str) -> bytes:
        resolved = self.resolve(folder, path)
        if resolved in self.root:
            return self.root[resolved]
        if resolved in self._folders:
            raise KustomizeError(f"read {self.name(resolved)}: is a directory")
        raise KustomizeError(f"open {self.name(resolved)}: no such file or directory")

    def kustomization_file(self, folder: str) -> str | None:
        """The path of the kustomization file of a folder."""
        found = [path for name in FILE_NAMES if (path := posixpath.join(folder, name)) in self.root]
        if len(found) > 1:
            raise KustomizeError(f"Found multiple kustomization files: {' '.join(self.name(path) for path in found)}")
        return found[0] if found else None


class _Target:
    """One kustomization: its folder, its fields, the folders it was reached through, the references it knows of."""

    def __init__(self, source: Source, folder: str, visited: tuple[str, ...], references: names.References) -> None:
        self.source = source
        self.folder = folder
        self.visited = visited
        self.references = references
        self.fields = self._load()

    def _load(self) -> Object:
        path = self.source.kustomization_file(self.folder)
        if path is None:
            known = "'kustomization.yaml', 'kustomization.yml' or 'Kustomization'"
            raise KustomizeError(f"unable to find one of {known} in directory '{self.source.name(self.folder)}'")
        try:
            fields = parse_one(self.source.root[path])
        except MalformedYAML as error:
            text = str(error).replace("yaml:", "error converting YAML to JSON: yaml:", 1)
            raise KustomizeError(f"invalid Kustomization: {text}") from error
        if not isinstance(fields, dict) or not set(fields) - {"apiVersion", "kind", "metadata"}:
            raise KustomizeError("kustomization.yaml is empty")
        for name in fields:
            if name in UNSUPPORTED and fields[name]:
                raise Unsupported(f"the field {name!r} of {self.source.name(path)}", UNSUPPORTED[name])
            if name not in FIELDS and name not in UNSUPPORTED:
                raise KustomizeError(f'invalid Kustomization: json: unknown field "{name}"')
        for option in fields.get("buildMetadata") or ():
            if option not in _BUILD_METADATA:
                raise Unsupported(f"buildMetadata {option!r}", "leave it out, or use originAnnotations")
        return fields

    @property
    def is_component(self) -> bool:
        return self.fields.get("kind") == "Component"

    # --- accumulation --------------------------------------------------------------------------------------------

    def accumulate(self, resources: list[Resource]) -> list[Resource]:
        """Add this layer's resources to `resources` and transform them; a component is given those of its parent."""
        for path in [*(self.fields.get("resources") or ()), *(self.fields.get("bases") or ())]:
            try:
                self._add_resource(resources, path)
            except KustomizeError as error:
                raise _nested(error, f"accumulating resources: {error}") from error
        self._configure()
        self._generate(resources)
        for path in self.fields.get("components") or ():
            try:
                resources = self._directory(path, component=True).accumulate(resources)
            except KustomizeError as error:
                raise _nested(error, f'accumulating components: loader.New "{error}"') from error
        return self._transform(resources)

    def _add_resource(self, resources: list[Resource], path: str) -> None:
        if path.lower().startswith(_REMOTE):
            raise Unsupported(f"the remote resource {path!r}", "keep a copy of it in the repository")
        try:
            content = self.source.read(self.folder, path)
        except KustomizeError as error:
            self._add_directory(resources, path, f"accumulating resources from '{path}': {error}")
            return
        try:
            self._add_file(resources, content, path)
        except MalformedYAML as error:
            text = f"MalformedYAMLError: {error} in File: {path}"
            raise KustomizeError(f"accumulating resources from '{path}': {text}") from error
        except KustomizeError as error:
            where = self.source.name(self.source.resolve(self.folder, path))
            text = f"accumulation err='{error}': must build at directory: '{where}': file is not directory"
            raise _nested(error, text) from error

    def _add_file(self, resources: list[Resource], content: bytes, path: str) -> None:
        try:
            documents = parse(content)
        except DuplicateKey as error:
            raise _Panic(f"map[string]interface {{}}(nil): {error}") from error
        origin = {"path": self.source.resolve(self.folder, path)}
        for obj in _flattened(documents):
            if problem := _problem(obj):
                raise KustomizeError(f"accumulating resources from '{path}': {problem}")
            try:
                append(resources, Resource(obj, origin=origin))
            except KustomizeError as error:
                raise KustomizeError(f"merging resources from '{path}': {error}") from error

    def _add_directory(self, resources: list[Resource], path: str, why_not_file: str) -> None:
        try:
            target = self._directory(path, component=False)
            where = self.source.name(target.folder)
            try:
                added = target.accumulate([])
            except KustomizeError as error:
                raise _nested(error, f"recursed accumulation of path '{where}': {error}") from error
            for resource in added:
                append(resources, resource)
        except KustomizeError as error:
            raise _nested(error, f"accumulation err='{why_not_file}': {error}") from error

    def _directory(self, path: str, component: bool) -> _Target:
        folder = self.source.folder(path, self.folder)
        name = self.source.name(folder)
        if any(visited == folder or visited.startswith(folder + "/") or not folder for visited in self.visited):
            inner = self.source.name(self.folder)
            raise KustomizeError(f"cycle detected: candidate root '{name}' contains visited root '{inner}'")
        try:
            target = _Target(self.source, folder, (*self.visited, folder), self.references)
        except KustomizeError as error:
            raise _nested(error, f"couldn't make target for path '{name}': {error}") from error
        if component and not target.is_component:
            kind = target.fields.get("kind", "Kustomization")
            raise KustomizeError(f"expected kind 'Component' for path '{name}' but got '{kind}'")
        if target.is_component and not component:
            raise KustomizeError(f"expected kind != 'Component' for path '{name}'")
        return target

    def _configure(self) -> None:
        """Take in the name references of `configurations`; they hold for the whole build."""
        for path in self.fields.get("configurations") or ():
            for name, entries in (parse_one(self.source.read(self.folder, path)) or {}).items():
                if name != "nameReference":
                    where = self.source.name(self.source.resolve(self.folder, path))
                    raise Unsupported(f"{name!r} of the configuration {where}", "use labels.fields or replacements")
                for entry in entries or ():
                    for spec in entry.get("fieldSpecs") or ():
                        self.references.append((entry["kind"], spec.get("kind", ""), tuple(spec["path"].split("/"))))

    # --- generators ----------------------------------------------------------------------------------------------

    def _generate(self, resources: list[Resource]) -> None:
        options = self.fields.get("generatorOptions") or {}
        for field_name, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
            for spec in self.fields.get(field_name) or ():
                try:
                    new = generators.generate(kind, spec, options, lambda path: self.source.read(self.folder, path))
                except KustomizeError as error:
                    raise KustomizeError(f"loading KV pairs: {error}") from error
                new.origin = {
                    "configuredIn": posixpath.join(self.folder, FILE_NAMES[0]),
                    "configuredBy": {"apiVersion": "builtin", "kind": f"{kind}Generator"},
                }
                self._absorb(resources, new)

    def _absorb(self, resources: list[Resource], new: Resource) -> None:
        matches = find(resources, new.id)
        if len(matches) > 1:
            raise KustomizeError(f"found multiple objects {matches[0].id} that could accept merge of {new.id}")
        overlays = new.behavior in ("merge", "replace")
        if not matches:
            if overlays:
                raise KustomizeError(f"{_GENERATOR}: id {_go(new.id)} does not exist; cannot merge or replace")
            resources.append(new)
        elif overlays:
            generators.combine(matches[0], new, new.behavior)
        else:
            raise KustomizeError(
                f"{_GENERATOR}: id {_go(new.id)} exists; can not use behavior: "
                f"'{new.behavior if new.behavior == 'create' else 'unspecified'}', behavior must be merge or replace"
            )

    # --- transformers --------------------------------------------------------------------------------------------

    def _transform(self, resources: list[Resource]) -> list[Resource]:
        fields = self.fields
        for patch in fields.get("patchesStrategicMerge") or ():
            self._strategic_file(resources, patch)
        for patch in fields.get("patches") or ():
            self._patch(resources, patch)
        if fields.get("namespace"):
            transformers.set_namespace(resources, fields["namespace"])
        if fields.get("namePrefix"):
            transformers.add_prefix(resources, fields["namePrefix"])
        if fields.get("nameSuffix"):
            transformers.add_suffix(resources, fields["nameSuffix"])
        if fields.get("commonLabels"):
            transformers.set_common_labels(resources, fields["commonLabels"])
        for entry in fields.get("labels") or ():
            transformers.set_labels(resources, entry)
        if fields.get("commonAnnotations"):
            transformers.set_annotations(resources, fields["commonAnnotations"])
        for patch in fields.get("patchesJson6902") or ():
            self._json_patch(resources, patch)
        for entry in fields.get("replicas") or ():
            transformers.set_replicas(resources, entry)
        for image in fields.get("images") or ():
            transformers.set_image(resources, image)
        for replacement in self._replacements():
            transformers.replace(resources, replacement)
        if "originAnnotations" in (fields.get("buildMetadata") or ()):
            transformers.set_origin(resources)
        return resources

    def _replacements(self) -> Iterable[Mapping[str, Any]]:
        for entry in self.fields.get("replacements") or ():
            if "path" in entry:
                content = parse_one(self.source.read(self.folder, entry["path"]))
                yield from content if isinstance(content, list) else [content]
            else:
                yield entry

    def _strategic_file(self, resources: list[Resource], patch: str) -> None:
        text: str | bytes = patch
        if "\n" not in patch:
            text = self.source.read(self.folder, patch)
        for document in parse(text):
            _apply_by_id(resources, document)

    def _patch(self, resources: list[Resource], patch: Mapping[str, Any]) -> None:
        if bool(patch.get("path")) == bool(patch.get("patch")):
            raise KustomizeError("must specify one of patch and path in\n" + dump(dict(patch)).strip())
        where = f"[{'path' if patch.get('path') else 'patch'}: {json.dumps(patch.get('path') or patch['patch'])}]"
        try:
            documents = _patch_documents(self._patch_text(patch), where)
        except KustomizeError as error:
            config = "trouble configuring builtin PatchTransformer with config: `\n"
            config += dump({k: v for k, v in patch.items() if v})
            raise KustomizeError(f"{config.rstrip()}\n`: {error}") from error
        target = patch.get("target")
        if isinstance(documents[0], list) or _is_operation(documents[0]):
            if not target:
                raise KustomizeError(f"must specify a target for JSON patch {where}")
            operations = [op for document in documents for op in (document if isinstance(document, list) else [document])]
            for resource in [r for r in resources if transformers.selected(r, target)]:
                _renamed(resource, json6902(resource.obj, operations))
        elif not target:
            for document in documents:
                _apply_by_id(resources, document, patch.get("options") or {})
        elif len(documents) > 1:
            raise KustomizeError(
                "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: " + where
            )
        else:
            for resource in [r for r in resources if transformers.selected(r, target)]:
                _merge(resources, resource, documents[0], patch.get("options") or {})

    def _patch_text(self, patch: Mapping[str, Any]) -> str | bytes:
        if not patch.get("path"):
            return str(patch["patch"])
        try:
            return self.source.read(self.folder, patch["path"])
        except KustomizeError as error:
            raise KustomizeError(f"failed to get the patch file from path({patch['path']}): {error}") from error

    def _json_patch(self, resources: list[Resource], patch: Mapping[str, Any]) -> None:
        target = patch.get("target") or {}
        wanted = Id(*(str(target.get(part, "")) for part in ("group", "version", "kind", "name", "namespace")))
        found = _one(resources, wanted)
        text = self.source.read(self.folder, patch["path"]) if patch.get("path") else patch.get("patch", "")
        operations = parse_one(text)
        _renamed(found, json6902(found.obj, operations if isinstance(operations, list) else [operations]))


class _Panic(KustomizeError):
    """Where kustomize panics and shows the bare cause."""


def _nested(error: KustomizeError, text: str) -> KustomizeError:
    """What wraps `error`; a panic, and what is not supported, is said without the way to it."""
    return error if isinstance(error, (Unsupported, _Panic)) else KustomizeError(text)


def _go(identity: Id) -> str:
    """`%#v` of an id."""
    gvk = f'resid.Gvk{{Group:"{identity.group}", Version:"{identity.version}", Kind:"{identity.kind}", isClusterScoped:false}}'
    return f'resid.ResId{{Gvk:{gvk}, Name:"{identity.name}", Namespace:"{identity.namespace}"}}'


def _flattened(documents: Iterable[Any]) -> Iterable[Any]:
    for document in documents:
        items = document.get("items") if isinstance(document, dict) else None
        if isinstance(items, list) and str(document.get("kind", "")).endswith("List"):
            yield from _flattened(items)
        else:
            yield document


def _problem(obj: Any) -> str:
    """What makes `obj` no Kubernetes object, or ""."""
    if not isinstance(obj, dict):
        return "not an object: " + json.dumps(obj)[:80]
    metadata = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
    name, namespace = (str((metadata or {}).get(part) or "") for part in ("name", "namespace"))
    described = f"{{{{{obj.get('apiVersion', '')} {obj.get('kind', '')}}} {{{{{name} {namespace}}} map[] map[]}}}}"
    if not obj.get("kind"):
        return f"missing kind in object {described}"
    return "" if name else f"missing metadata.name in object {described}"


def _patch_documents(text: str | bytes, where: str) -> list[Any]:
    try:
        documents = parse(text)
    except MalformedYAML as error:
        raise KustomizeError(f"unable to parse SM or JSON patch from {where}") from error
    first = documents[0] if documents else None
    if not isinstance(first, list) and not _is_operation(first) and (not isinstance(first, dict) or "kind" not in first):
        raise KustomizeError(f"unable to parse SM or JSON patch from {where}")
    return documents


def _is_operation(document: Any) -> bool:
    return isinstance(document, dict) and "op" in document and "kind" not in document


def _apply_by_id(resources: list[Resource], patch: Object, options: Mapping[str, Any] | None = None) -> None:
    wanted = Resource(patch).id
    try:
        target = _one(resources, wanted)
    except KustomizeError as error:
        text = f"{error}; failed to find unique target for patch {wanted}"
        raise KustomizeError(f'no resource matches strategic merge patch "{wanted}": {text}') from error
    _merge(resources, target, patch, options or {})


def _one(resources: list[Resource], wanted: Id) -> Resource:
    found = find(resources, wanted)
    if len(found) == 1:
        return found[0]
    raise KustomizeError(f"{'multiple' if found else 'no'} matches for Id {wanted}")


def _merge(resources: list[Resource], target: Resource, patch: Object, options: Mapping[str, Any]) -> None:
    identity = target.id
    merged = strategic(target.obj, copy.deepcopy(patch), identity.group, identity.kind)
    if merged is None:
        resources.remove(target)
        return
    name, kind = merged.get("metadata", {}).get("name"), merged.get("kind")
    if name != identity.name and not options.get("allowNameChange"):
        merged["metadata"]["name"] = identity.name
    if kind != identity.kind and not options.get("allowKindChange"):
        merged["kind"] = identity.kind
    _renamed(target, merged)


def _renamed(resource: Resource, obj: Object) -> None:
    """Give the resource its new object; a changed identity is remembered."""
    before = resource.id
    metadata = obj.get("metadata") or {}
    if (metadata.get("name"), metadata.get("namespace") or "") != (before.name, before.namespace):
        resource.remember()
    resource.obj = obj
