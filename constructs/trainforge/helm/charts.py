"""Sources of Helm charts: a chart repository, or a Git repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RepositoryChart:
    """A chart of a chart repository at a version; one in a container registry begins with `oci://`."""

    repository: str
    name: str
    version: str

    resource_type = "Custom::TrainforgeRepositoryChart"

    def properties(self) -> dict[str, Any]:
        """Return the chart's properties of the custom resource."""
        return {"Repository": self.repository, "Chart": self.name, "Version": self.version}


@dataclass(frozen=True, slots=True)
class SourceChart:
    """A chart in a GitHub repository at a commit.

    `digest` is that of its files at `path`, `archives` those of dependencies from chart repositories by file name. The
    dependencies `left_out` are removed before helm resolves them: it fetches disabled ones too.
    """

    repository: str
    commit: str
    path: str
    digest: str
    archives: Mapping[str, str]
    left_out: Sequence[str]

    resource_type = "Custom::TrainforgeHyperPodChart"

    def properties(self) -> dict[str, Any]:
        """Return the chart's properties of the custom resource."""
        return {
            "Repository": self.repository,
            "Commit": self.commit,
            "Chart": self.path,
            "Digest": self.digest,
            "Archives": dict(self.archives),
            "LeftOut": list(self.left_out),
        }
