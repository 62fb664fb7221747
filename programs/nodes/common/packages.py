"""Extra Ubuntu packages: installed where missing, and nothing else touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .node import Node, StepError

# Another installer at boot (unattended-upgrades, the service's own) may hold the lock for minutes.
_LOCK_SECONDS = 300
_INSTALL_SECONDS = 1800
_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    # needrestart would restart services under running jobs; suspended, it does nothing at all.
    "NEEDRESTART_SUSPEND": "1",
}
_NEXT = (
    "check the package's name and that the node reaches the Ubuntu mirrors, then run the node set-up again"
)


def ensure_packages(node: Node, names: Sequence[str]) -> None:
    """Install what is missing of `names`.

    Raises:
        StepError: apt failed five times, a name is unknown, or a package is still missing afterwards.
    """
    missing = _missing(node, names)
    if not missing:
        node.log(f"nothing is missing of {', '.join(names)}")
        return
    node.log(f"missing: {', '.join(missing)}")
    node.retry(lambda: _install(node, missing))
    left = _missing(node, missing)
    if left:
        raise StepError(f"apt-get succeeded but '{', '.join(left)}' is not installed", _NEXT)
    for name in missing:
        node.changed(f"package '{name}' installed")


def _install(node: Node, names: Sequence[str]) -> None:
    # Together in one attempt: an update that lost a mirror exits 0, and only the install then fails.
    lock = f"DPkg::Lock::Timeout={_LOCK_SECONDS}"
    for arguments in (
        ("update",),
        # Nothing may leave for an extra package: drivers and Slurm of the image belong together.
        ("install", "--yes", "--no-remove", "-o", "Dpkg::Options::=--force-confold", *names),
    ):
        node.run(
            *("apt-get", "-o", lock, *arguments),
            next_step=_NEXT,
            environment=_ENVIRONMENT,
            timeout_seconds=_INSTALL_SECONDS,
            retryable_codes=None,
        )


def installed_version(node: Node, name: str) -> str | None:
    """Return the version of a package here, or None without it."""
    return _installed(node, (name,)).get(name)


def _missing(node: Node, names: Sequence[str]) -> list[str]:
    installed = _installed(node, sorted({name.split("=")[0] for name in names}))
    return [name for name in names if not _satisfied(name, installed)]


def _installed(node: Node, bare: Sequence[str]) -> Mapping[str, str]:
    """Return the versions of those of the packages that are installed."""
    form = "${db:Status-Abbrev} ${Package} ${Version}\n"
    result = node.query("dpkg-query", "--show", f"--showformat={form}", *bare)
    # dpkg-query exits 1 where it knows nothing of a name, and still shows the others.
    fields = [line.split() for line in result.stdout.splitlines()]
    return {field[1]: field[2] for field in fields if len(field) == 3 and field[0] in ("ii", "hi")}


def _satisfied(name: str, installed: Mapping[str, str]) -> bool:
    bare, _, version = name.partition("=")
    return bare in installed and version in ("", installed[bare])
