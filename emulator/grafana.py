"""Amazon Managed Grafana, which moto does not have: its workspaces, and in each as much of Grafana as can be filled.

The service's own requests are told by the scope of their signature, those of Grafana by their path. A workspace keeps
service accounts, tokens, data sources, folders and dashboards; it draws nothing.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

PATH = "/_emulator/grafana/"
VERSION = "12.4"
"""The version that the emulator says it is; from 12 on Grafana's own Prometheus data source does not sign."""

_SCOPE = re.compile(r"Credential=[^/]+/[0-9]+/[^/]+/grafana/aws4_request")
Answer = tuple[int, Any]


@dataclass
class Workspace:
    """A workspace with its accounts and tokens, and what its Grafana holds by uid."""

    id: str
    address: str
    request: dict[str, Any]
    accounts: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    held: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"datasources": {}, "folders": {}, "dashboards": {}}
    )

    def describe(self) -> dict[str, Any]:
        """Return it as the service describes it; its endpoint is a whole address, which of AWS's is a host."""
        said = self.request
        return {
            "id": self.id,
            "name": said.get("workspaceName", ""),
            "endpoint": self.address,
            "grafanaVersion": VERSION,
            "status": "ACTIVE",
            "created": 0,
            "modified": 0,
            "accountAccessType": said["accountAccessType"],
            "permissionType": said["permissionType"],
            "workspaceRoleArn": said.get("workspaceRoleArn", ""),
            "dataSources": said.get("workspaceDataSources", []),
            "authentication": {"providers": said["authenticationProviders"]},
            "tags": said.get("tags", {}),
        }


class GrafanaService:
    """The service of one account, below the address of the emulator."""

    def __init__(self) -> None:
        self.workspaces: dict[str, Workspace] = {}

    def takes(self, environ: dict[str, Any]) -> bool:
        """Return whether a request is for this service or for a Grafana of it."""
        signed = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        return bool(signed) or environ.get("PATH_INFO", "").startswith(PATH)

    def answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Answer a request."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = json.loads(text) if text else {}
        if path.startswith(PATH):
            status, value = self._grafana(method, path, body, environ.get("HTTP_AUTHORIZATION", ""))
        else:
            host = f"http://{environ['HTTP_HOST']}"
            status, value = self._service(method, path.strip("/").split("/"), body, host)
        content = json.dumps(value).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        if status >= 400:
            headers.append(("x-amzn-errortype", str(value.get("code", ""))))
        start_response(f"{status} Answer", headers)
        return [content]

    def _service(self, method: str, parts: list[str], body: dict[str, Any], host: str) -> Answer:
        if parts == ["workspaces"]:
            if method == "GET":
                return 200, {"workspaces": [one.describe() for one in self.workspaces.values()]}
            identifier = f"g-{secrets.token_hex(5)}"
            made = Workspace(identifier, f"{host}{PATH}{identifier}", body)
            self.workspaces[identifier] = made
            return 202, {"workspace": made.describe()}
        found = self.workspaces.get(parts[1])
        if found is None:
            return 404, _missing("workspace", parts[1])
        match method, parts[2:]:
            case "GET", []:
                return 200, {"workspace": found.describe()}
            case "PUT", []:
                found.request |= body
                return 202, {"workspace": found.describe()}
            case "DELETE", []:
                del self.workspaces[found.id]
                return 202, {"workspace": found.describe()}
            case "GET", ["serviceaccounts"]:
                accounts = [
                    {"id": one, "name": name, "isDisabled": "false", "grafanaRole": "ADMIN"}
                    for one, name in found.accounts.items()
                ]
                return 200, {"serviceAccounts": accounts, "workspaceId": found.id}
            case "POST", ["serviceaccounts"]:
                return 200, self._account(found, body)
            case "DELETE", ["serviceaccounts", account] if account in found.accounts:
                del found.accounts[account]
                found.tokens = {key: owner for key, owner in found.tokens.items() if owner != account}
                return 200, {"serviceAccountId": account, "workspaceId": found.id}
            case "POST", ["serviceaccounts", account, "tokens"] if account in found.accounts:
                key = f"glsa_{secrets.token_hex(16)}"
                found.tokens[key] = account
                token = {"id": "1", "name": body["name"], "key": key}
                return 200, {
                    "serviceAccountId": account,
                    "serviceAccountToken": token,
                    "workspaceId": found.id,
                }
        return 404, _missing("path", "/".join(parts))

    def _account(self, workspace: Workspace, body: dict[str, Any]) -> dict[str, Any]:
        account = str(len(workspace.accounts) + 1)
        workspace.accounts[account] = body["name"]
        return {
            "grafanaRole": body["grafanaRole"],
            "id": account,
            "name": body["name"],
            "workspaceId": workspace.id,
        }

    def _grafana(self, method: str, path: str, body: dict[str, Any], authorization: str) -> Answer:
        identifier, _, rest = path.removeprefix(PATH).partition("/")
        workspace = self.workspaces.get(identifier)
        if workspace is None:
            return 404, {"message": "no such workspace"}
        if authorization.removeprefix("Bearer ") not in workspace.tokens:
            return 401, {"message": "Unauthorized"}
        held = workspace.held
        match method, rest.split("/"):
            case "PUT", ["api", "datasources", "uid", uid]:
                return _replaced(held["datasources"], uid, body)
            case "POST", ["api", "datasources"]:
                return _created(held["datasources"], body)
            case "POST", ["api", "folders"]:
                return _created(held["folders"], body)
            case "POST", ["api", "dashboards", "db"]:
                uid = body["dashboard"]["uid"]
                if uid in held["dashboards"] and not body.get("overwrite"):
                    return 412, {"message": "a dashboard with the uid exists"}
                if body.get("folderUid") not in held["folders"]:
                    return 400, {"message": "folder not found"}
                held["dashboards"][uid] = body["dashboard"]
                return 200, {"uid": uid, "status": "success"}
            case "DELETE", ["api", "dashboards", "uid", uid]:
                return (200, {}) if held["dashboards"].pop(uid, None) else (404, {"message": "not found"})
            case "GET", ["api", kind] if kind in held:
                return 200, list(held[kind].values())
        return 404, {"message": f"the emulator has no '{method} /{rest}'"}


def _missing(what: str, name: str) -> dict[str, Any]:
    return {
        "code": "ResourceNotFoundException",
        "message": f"there is no {what} '{name}'",
        "resourceId": name,
        "resourceType": what,
    }


def _replaced(held: dict[str, Any], uid: str, body: dict[str, Any]) -> Answer:
    if uid not in held:
        return 404, {"message": "Data source not found"}
    held[uid] = body
    return 200, {}


def _created(held: dict[str, Any], body: dict[str, Any]) -> Answer:
    if body["uid"] in held:
        return 409, {"message": f"'{body['uid']}' exists"}
    held[body["uid"]] = body
    return 200, {}


SERVICE = GrafanaService()
"""The service of the emulator's process."""
