"""`trainforge versions`: the pinned versions with their sources, and the installed software compared with them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.mistakes import fail

if TYPE_CHECKING:
    from software.report import Report


def versions(
    host: Annotated[
        bool, typer.Option("--host", help="Compare what is installed on this machine with the lock.")
    ] = False,
    container: Annotated[
        str | None,
        typer.Option(
            "--container",
            metavar="IMAGE",
            help="The same inside a container image; a file of enroot's (.sqsh) too.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="The same below a folder: the root of an image's files."),
    ] = None,
    sbom: Annotated[
        bool,
        typer.Option(
            "--sbom",
            help="Print a bill of materials (CycloneDX) of '--image', or of all that is installed on '--host', in "
            "'--container' or below '--root'.",
        ),
    ] = False,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="NAME",
            help="With '--sbom': a base image, a workload's or a machine's, by its pins.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print pinned versions, or compare installed software with them.

    Each pin has the source that it was read from. Compared are the EFA installer, libfabric, NCCL and its OFI plugin,
    CUDA, driver, torch and Neuron's packages: each with its pin, and all with the combinations that a source names.
    '--container' needs docker, podman or enroot; it mounts our code into the container and runs it with the image's
    python3, without a network.

    Exit codes: 0 as the lock has it, 1 a mismatch, 2 a mistake, 3 nothing of the lock is installed.
    """
    for option, value in (("--container", container), ("--image", image)):
        if value is not None and (not value.strip() or value.startswith("-")):
            # A container program would take a hyphen for an option of its own.
            fail(f"'{option}' names no image: its value is '{value}'")
    chosen = sum((host, container is not None, root is not None, image is not None))
    if chosen > 1:
        fail("'--host', '--container', '--root' and '--image' exclude each other; give one of them")
    if image and not sbom:
        fail("'--image' is for '--sbom'; '--container IMAGE' compares what is installed in an image")
    if sbom and not chosen:
        fail("'--sbom' needs '--image NAME', '--host', '--container IMAGE' or '--root DIR'")
    if sbom:
        _print_sbom(container or "", root or Path("/"), image or "")
    elif host or container or root is not None:
        _compare(container or "", root or Path("/"), as_json)
    elif as_json:
        typer.echo(json.dumps(_lock(), indent=2))
    else:
        _print_lock()


def _compare(container: str, root: Path, as_json: bool) -> None:
    """Print the report and end with its exit code."""
    # The modules are those of jobs, whose folder is on mypy's path: by its name here Python would load them twice.
    if TYPE_CHECKING:
        from software import command, report
    else:
        from workloads.runtime.software import command, report

    if container:
        from cli.container_software import ContainerError, examine

        try:
            found: Report = examine(container)
        except ContainerError as error:
            fail(error)
    else:
        _require_folder(root)
        try:
            found = report.examine(root)
        except ValueError as error:
            fail(error)
    typer.echo(json.dumps(found.to_json(), indent=2) if as_json else command.text(found), nl=as_json)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _print_sbom(container: str, root: Path, image: str) -> None:
    if TYPE_CHECKING:
        from software.inventory import inventory
    else:
        from workloads.runtime.software.inventory import inventory

    from cli import container_software
    from cli.sbom import of_image, of_inventory

    try:
        if image:
            found = of_image(image)
        elif container:
            found = of_inventory(container_software.inventory(container), container=container)
        else:
            _require_folder(root)
            found = of_inventory(inventory(root))
    except (ValueError, container_software.ContainerError) as error:
        fail(error)
    typer.echo(json.dumps(found, indent=2))


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        fail(f"'--root {root}' is not a folder; name the root of a file system, such as an unpacked image's")


def _lock() -> dict[str, Any]:
    """Return the lock as JSON values."""
    from catalog.versions import BOUNDS, COMBINATIONS, PINS

    return {
        "pins": [
            {"name": pin.name, "version": str(pin), "source": pin.source}
            | ({"digest": pin.digest} if pin.is_image else {})
            for pin in PINS
        ],
        "combinations": [
            {
                "group": row.group,
                "versions": dict(row.versions),
                "built_against": {part: dict(others) for part, others in row.built_against.items()},
                "source": row.source,
            }
            for row in COMBINATIONS
        ],
        "bounds": [asdict(bound) for bound in BOUNDS],
        "findings": _findings(),
    }


def _findings() -> list[str]:
    """Return a sentence for each image without a digest, add-on without a version, unverified download."""
    from catalog.machine_images import unrecorded
    from catalog.versions import PINS, UNKNOWN, UNPINNED_ADD_ONS

    add_ons = [
        f"EKS add-on {name} on Kubernetes {kubernetes}: version {UNKNOWN}, {reason}; EKS selects it"
        for kubernetes, reasons in UNPINNED_ADD_ONS.items()
        for name, reason in reasons.items()
    ]
    tags = [
        f"{pin.name}: digest {UNKNOWN}, '{pin}' is pinned by its tag, which its owner can move"
        for pin in PINS
        if pin.is_image and pin.digest == UNKNOWN
    ]
    return [*tags, *add_ons, *unrecorded()]


def _print_lock() -> None:
    from catalog.machine_images import unrecorded
    from catalog.versions import COMBINATIONS, PINS, UNPINNED_ADD_ONS
    from cli.table import print_table

    print_table(("Software", "Version", "Source"), [(pin.name, str(pin), pin.source) for pin in PINS])
    rows = []
    for row in COMBINATIONS:
        listed = [f"{part} {version}" for part, version in row.versions.items()]
        for part, others in row.built_against.items():
            listed += [f"{part} built against {other} {version}" for other, version in others.items()]
        rows.append((row.group, ", ".join(listed), row.source))
    print_table(("Work together", "Versions", "Source"), rows)
    downloads, add_ons = len(unrecorded()), sum(len(reasons) for reasons in UNPINNED_ADD_ONS.values())
    typer.echo(
        f"{len(_findings()) - downloads - add_ons} images are pinned by tag, with an unknown digest, {add_ons} EKS "
        f"add-ons have no version, and {downloads} downloads of machine images have no recorded digest and are "
        "refused; '--json' lists them",
        err=True,
    )
