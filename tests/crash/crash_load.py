"""Clients that write all the time, note the acknowledged writes, and survive the server's end.

A request without an answer is in doubt: it may have been carried out or not. Every acknowledged write must exist afterwards.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from azuresandbox.lifecycle import Endpoint

GROUPS = "2021-04-01"
GONE = (OSError, http.client.HTTPException)


class Lost(Exception):
    """The server ended before it answered."""


class Http:
    """One connection, opened again when it is lost."""

    def __init__(self, where: Endpoint, token: str = "") -> None:
        self.host = urlsplit(where.base).netloc
        self.context = ssl.create_default_context(cafile=str(where.ca_file))
        self.headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        self._connection: http.client.HTTPSConnection | None = None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Return status, headers (lower case) and decoded body. Raises `Lost`."""
        data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(self.host, context=self.context, timeout=30)
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            self._connection.request(method, path, data, self.headers | names)
            answer = self._connection.getresponse()
            text = answer.read()
        except GONE as error:
            self.close()
            raise Lost from error
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(text) if text else None

    def again(self, method: str, path: str) -> tuple[int, dict[str, str], Any]:
        """Send like `send`; repeat the request once if the connection belongs to a server that has ended."""
        try:
            return self.send(method, path)
        except Lost:
            return self.send(method, path)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def arm_token(where: Endpoint) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": where.client_id,
        "client_secret": where.client_secret,
        "scope": "https://management.core.windows.net//.default",
    }
    client = Http(where)
    sent = {"content_type": "application/x-www-form-urlencoded"}
    status, _, document = client.send("POST", f"/{where.tenant_id}/oauth2/v2.0/token", urlencode(form), **sent)
    client.close()
    assert status == 200, document
    return str(document["access_token"])


@dataclass
class Load:
    """The state that all clients share: writers write while `go` is set, watches run until `stop` is."""

    where: Endpoint
    go: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    failed: threading.Event = field(default_factory=threading.Event)
    problems: list[str] = field(default_factory=list)

    def fail(self, text: str) -> None:
        self.problems.append(text)
        self.failed.set()

    def end(self) -> None:
        self.stop.set()
        self.go.set()


class Writer(threading.Thread):
    """Runs `step` until the load stops. `idle` is set while `load.go` is not, and at the end."""

    def __init__(self, load: Load, client: Http, seed: int) -> None:
        super().__init__(daemon=True)
        self.load, self.client, self.random = load, client, random.Random(seed)
        self.idle = threading.Event()
        self.writes = 0

    def run(self) -> None:
        try:
            while not self.load.stop.is_set():
                if not self.load.go.is_set():
                    self.idle.set()
                    self.load.go.wait()
                    self.idle.clear()
                    continue
                with contextlib.suppress(Lost):
                    self.step()
        except Exception as error:  # a failing writer must fail the test
            self.load.fail(f"{type(self).__name__}: {error!r}")
        finally:
            self.client.close()
        self.idle.set()

    def step(self) -> None:
        raise NotImplementedError

    def good(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        status, _, document = self.client.send(method, path, body, **headers)
        assert status < 300, f"{method} {path}: {status} {document}"
        self.writes += 1
        return document


class ConfigMaps(Writer):
    """Creates, patches and deletes ConfigMaps of its own. `known`: name -> (resourceVersion, counter), as acknowledged."""

    def __init__(self, load: Load, client: Http, seed: int, api: str) -> None:
        super().__init__(load, client, seed)
        self.path = f"{api}/api/v1/namespaces/default/configmaps"
        self.prefix = f"w{seed}-"
        self.known: dict[str, tuple[int, str]] = {}
        self.doubt: dict[str, list[str]] = {}  # name -> the wishes of requests without an answer
        self.acknowledged: list[tuple[str, int]] = []
        self._count = 0

    def step(self) -> None:
        self._count += 1
        chosen = self.random.choice(sorted(self.known)) if self.known else ""
        action = self.random.random()
        if len(self.known) < 8 or action < 0.2:
            self._write("POST", f"{self.prefix}{self._count}", "")
        elif action < 0.8 and len(self.known) < 40:
            self._write("PATCH", chosen, f"/{chosen}", content_type="application/merge-patch+json")
        else:
            self._remove(chosen)

    def _write(self, method: str, name: str, suffix: str, **headers: str) -> None:
        counter = str(self._count)
        self.doubt.setdefault(name, []).append(counter)
        found = self.good(method, self.path + suffix, {"metadata": {"name": name}, "data": {"n": counter}}, **headers)
        assert found["data"]["n"] == counter
        self._note(name, int(found["metadata"]["resourceVersion"]), counter)

    def _remove(self, name: str) -> None:
        self.doubt.setdefault(name, []).append("deleted")
        self.good("DELETE", f"{self.path}/{name}")
        self._forget(name)

    def _note(self, name: str, revision: int, counter: str) -> None:
        self.known[name] = (revision, counter)
        self.acknowledged.append((name, revision))
        self.doubt.pop(name, None)

    def _forget(self, name: str) -> None:
        self.known.pop(name, None)
        self.doubt.pop(name, None)

    def settle(self, found: dict[str, tuple[int, str]]) -> list[str]:
        """Compare with the server's objects while the writer is idle, and note how the requests in doubt ended."""
        problems = []
        for name, wanted in list(self.doubt.items()):
            now, before = found.get(name), self.known.get(name)
            if "deleted" in wanted and now is None:
                self._forget(name)
            elif now is not None and now[1] in wanted:
                self._note(name, *now)
            elif now != before:
                problems.append(f"{name}: {before} became {now} by a request for {wanted}")
        self.doubt.clear()
        mine = {name: value for name, value in found.items() if name.startswith(self.prefix)}
        lost = {name: value for name, value in self.known.items() if mine.get(name) != value}
        extra = sorted(mine.keys() - self.known.keys())
        return [
            *problems,
            *(f"{name} {value} acknowledged, found {mine.get(name)}" for name, value in lost.items()),
            *(f"{name} was deleted" for name in extra),
        ]


class Groups(Writer):
    """Creates resource groups with tags and deletes them by long-running operations, several at a time."""

    def __init__(self, load: Load, client: Http, seed: int) -> None:
        super().__init__(load, client, seed)
        self.path = f"/subscriptions/{load.where.subscription_id}/resourcegroups"
        self.known: dict[str, str] = {}
        self.doubt: dict[str, list[str]] = {}  # name -> the wishes of requests without an answer
        self.operations: dict[str, str] = {}  # name -> the URL at which its deletion is polled
        self.finished = 0
        self._count = 0

    def step(self) -> None:
        self._count += 1
        if self.operations and self.random.random() < 0.5:
            self.poll(self.random.choice(sorted(self.operations)))
        elif len(self.known) < 6:
            self._put(f"crash-{self._count}", str(self._count))
        elif len(self.operations) < 3:
            self._remove(self.random.choice(sorted(self.known)))
        else:
            self._put(self.random.choice(sorted(self.known)), str(self._count))

    def _put(self, name: str, counter: str) -> None:
        self.doubt.setdefault(name, []).append(counter)
        body = {"location": "eastus2", "tags": {"n": counter}}
        found = self.good("PUT", f"{self.path}/{name}?api-version={GROUPS}", body)
        assert found["tags"]["n"] == counter
        self.known[name] = counter
        self.doubt.pop(name)

    def _remove(self, name: str) -> None:
        self.doubt.setdefault(name, []).append("deleted")
        status, headers, document = self.client.send("DELETE", f"{self.path}/{name}?api-version={GROUPS}")
        assert status == 202, document
        self.writes += 1
        where = urlsplit(headers["location"])
        self.operations[name] = f"{where.path}?{where.query}"
        self.known.pop(name)
        self.doubt.pop(name)

    def poll(self, name: str) -> None:
        status, _, document = self.client.again("GET", self.operations[name])
        assert status in (200, 202, 204), f"{name}: {status} {document}"
        if status != 202:
            self.operations.pop(name)
            self.finished += 1

    def settle(self, found: dict[str, tuple[str, str]]) -> list[str]:
        """Return the lost writes. `found`: the groups that exist, name -> (provisioningState, tag)."""
        for name, wanted in list(self.doubt.items()):
            now = found.get(name)
            if "deleted" in wanted and (now is None or now[0] == "Deleting"):
                self.known.pop(name, None)  # the deletion has begun, but the answer with its URL was lost
            elif now is not None and now[1] in wanted:
                self.known[name] = now[1]
        self.doubt.clear()
        return [
            f"group {name} n={tag} acknowledged, found {found.get(name)}"
            for name, tag in self.known.items()
            if found.get(name) != ("Succeeded", tag)
        ]


class Watcher(threading.Thread):
    """Watches the ConfigMaps from the last revision seen; a 410 makes it list again. `seen`: (name, resourceVersion)."""

    def __init__(self, load: Load, token: str, api: str, since: int) -> None:
        super().__init__(daemon=True)
        self.load, self.token, self.path = load, token, f"{api}/api/v1/namespaces/default/configmaps"
        self.since, self.seen, self.resumed, self.expired = since, set[tuple[str, int]](), 0, 0

    def run(self) -> None:
        try:
            while not self.load.stop.is_set():
                with contextlib.suppress(*GONE, Lost):
                    self._watch()
        except Exception as error:
            self.load.fail(f"Watcher: {error!r}")

    def _watch(self) -> None:
        client = Http(self.load.where, self.token)
        connection = http.client.HTTPSConnection(client.host, context=client.context, timeout=30)
        try:
            query = urlencode(
                {"watch": "1", "resourceVersion": self.since, "allowWatchBookmarks": "true", "timeoutSeconds": 20}
            )
            connection.request("GET", f"{self.path}?{query}", headers=client.headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            self.resumed += 1
            while line := answer.readline():
                if line.endswith(b"\n"):
                    self._take(json.loads(line), client)
        finally:
            connection.close()
            client.close()

    def _take(self, event: dict[str, Any], client: Http) -> None:
        if event["type"] == "ERROR":
            assert event["object"]["code"] == 410, event
            self.expired += 1
            self.since = int(client.send("GET", self.path)[2]["metadata"]["resourceVersion"])
            return
        metadata = event["object"]["metadata"]
        revision = int(metadata["resourceVersion"])
        assert revision > self.since or event["type"] == "BOOKMARK", f"went back from {self.since}: {event}"
        self.since = max(self.since, revision)
        if event["type"] != "BOOKMARK":
            self.seen.add((metadata["name"], revision))
