"""`kustomize build` over files in memory.

The order of work is kustomize's: resources, generators, components, then the transformers in their fixed order, layer by
layer; hashes and references once, at the end. Errors are worded and nested as kustomize's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from azuresandbox.machine.kustomize import generators, names, patches, transformers
from azuresandbox.machine.kustomize.documents import DuplicateKey, MalformedYAML, flattened, parse, parse_one, problem
from azuresandbox.machine.kustomize.errors import KustomizeError, Unsupported
from azuresandbox.machine.kustomize.fields import BUILD_METADATA, FIELDS, FILE_NAMES, REMOTE, UNSUPPORTED
from azuresandbox.machine.kustomize.resource import Id, Resource, append, find
from azuresandbox.machine.kustomize.source import Source
from azuresandbox.machine.types import Object, Objects

_GENERATOR = "merging from generator &{0xc000010000 <nil>}"
"""kustomize prints the address of its generator in this place of its messages."""


def build(root: Mapping[str, bytes], path: str = ".", *, top: str = "/work") -> Objects:
    """Return the objects that the kustomization in folder `path` of `root` (path -> contents) builds.

    `top`: the name of the root in error messages. Raises `KustomizeError`, worded as kustomize words it.
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


class _Target:
    """One kustomization. `visited`: the folders that led to it; `references`: the name references of `configurations`."""

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
            if option not in BUILD_METADATA:
                raise Unsupported(f"buildMetadata {option!r}", "leave it out, or use originAnnotations")
        return fields

    def _read(self, path: str) -> bytes:
        return self.source.read(self.folder, path)

    @property
    def is_component(self) -> bool:
        return self.fields.get("kind") == "Component"

    # --- accumulation --------------------------------------------------------------------------------------------

    def accumulate(self, resources: list[Resource]) -> list[Resource]:
        """Add this layer's resources to `resources` and return them transformed. A component is given those of its parent."""
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
        if path.lower().startswith(REMOTE):
            raise Unsupported(f"the remote resource {path!r}", "keep a copy of it in the repository")
        try:
            content = self._read(path)
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
        for obj in flattened(documents):
            if why := problem(obj):
                raise KustomizeError(f"accumulating resources from '{path}': {why}")
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
        """Add the name references of `configurations`, which hold for the whole build."""
        for path in self.fields.get("configurations") or ():
            for name, entries in (parse_one(self._read(path)) or {}).items():
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
                    new = generators.generate(kind, spec, options, self._read)
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
            patches.apply_strategic(resources, patch, self._read)
        for patch in fields.get("patches") or ():
            patches.apply_patch(resources, patch, self._read)
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
            patches.apply_json(resources, patch, self._read)
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
                content = parse_one(self._read(entry["path"]))
                yield from content if isinstance(content, list) else [content]
            else:
                yield entry


class _Panic(KustomizeError):
    """An error at which kustomize panics, so that it prints the cause alone."""


def _nested(error: KustomizeError, text: str) -> KustomizeError:
    """Return an error with `text`; a panic, or a field that is not supported, is returned as it is."""
    return error if isinstance(error, (Unsupported, _Panic)) else KustomizeError(text)


def _go(identity: Id) -> str:
    """Return an id as Go's `%#v` prints it."""
    gvk = f'resid.Gvk{{Group:"{identity.group}", Version:"{identity.version}", Kind:"{identity.kind}", isClusterScoped:false}}'
    return f'resid.ResId{{Gvk:{gvk}, Name:"{identity.name}", Namespace:"{identity.namespace}"}}'
