"""`trainforge connect`: a shell on a Slurm cluster, SSH's configuration of it, or a port of it, by Session Manager."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from catalog.cluster_kinds import KINDS, LOGIN
from catalog.spelling import did_you_mean
from cli import completion

GRAFANA = "grafana"
"""The word for the deployment's Grafana, in place of a cluster."""

if TYPE_CHECKING:
    from catalog.cluster_info import ClusterInfo
    from catalog.finding import Finding
    from cli.nodes import Node
    from settings.deployment import Settings


def connect(
    cluster: Annotated[
        str,
        typer.Argument(
            metavar="CLUSTER",
            help=f"{' or '.join(LOGIN)}, as in the configuration; or grafana, that of the deployment.",
            autocompletion=completion.login_clusters,
        ),
    ],
    node: Annotated[
        str,
        typer.Option(
            "--node",
            metavar="NODE",
            help="login, controller or head, a pool, or an instance's id; by default a login node, or else "
            "the controller.",
            autocompletion=completion.nodes,
        ),
    ] = "",
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="Account on the node; by default the image's own.")
    ] = "",
    forward: Annotated[
        str,
        typer.Option(
            "--forward", metavar="[LOCAL:]PORT", help="Forward a port of this machine to one of the node."
        ),
    ] = "",
    notebook: Annotated[
        bool, typer.Option("--notebook", help="Short for '--forward 8888', Jupyter's.")
    ] = False,
    grafana: Annotated[
        bool, typer.Option("--grafana", help="Short for '--forward 3000', Grafana's.")
    ] = False,
    to: Annotated[
        str,
        typer.Option("--to", metavar="HOST", help="With a port: a host that the node reaches, in its place."),
    ] = "",
    ssh_config: Annotated[
        bool,
        typer.Option("--ssh-config", help="Write SSH's configuration of the cluster to a file of its own."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="With '--ssh-config': by default below ~/.ssh/trainforge."
        ),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the nodes and do nothing.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Configuration of the deployment; by default TRAINFORGE_CONFIG's, or config/default.yaml.",
        ),
    ] = None,
    info_file: Annotated[
        Path | None,
        typer.Option("--cluster-info", metavar="FILE", help="The cluster's info as JSON, in place of SSM's."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done and do nothing.")
    ] = False,
) -> None:
    """Open a shell, a port or Grafana of a deployment, or set up SSH.

    Shows the command before it runs. Everything goes through Session Manager: no port is open, and IAM decides who
    may log in. The cluster's name comes from the SSM parameter that its stack published.

    'grafana' prints the address of a managed Grafana; to one on a private instance it forwards port 3000, or that of
    '--forward', and prints the command that shows the password.

    Exit code: that of the session; 2 when there is nothing to connect to, with the reason.
    """
    from cli.nodes import NodesError, nodes_of
    from cli.sessions import GRAFANA_PORT, NOTEBOOK_PORT

    if cluster == GRAFANA:
        useless = {
            "node": node,
            "user": user,
            "notebook": notebook,
            "grafana": grafana,
            "to": to,
            "ssh-config": ssh_config,
            "output": output,
            "list": show_list,
            "cluster-info": info_file,
        }
        _open_grafana(config, forward, [name for name, given in useless.items() if given], dry_run=dry_run)
        return
    _check_cluster(cluster)
    short = {NOTEBOOK_PORT: notebook, GRAFANA_PORT: grafana}
    ports = [text for text in (forward, *(str(port) for port, given in short.items() if given)) if text]
    _check_options(ports, to, user, ssh_config=ssh_config, output=output)
    info = info_of(cluster, config, info_file)
    try:
        nodes = nodes_of(info)
    except NodesError as error:
        _stop(
            [_error("connect-cluster", "cluster", cluster, str(error), "check credentials and region")],
            cluster,
        )
    if show_list:
        _list(nodes)
    elif ssh_config:
        _configure_ssh(info, nodes, user, output, dry_run=dry_run)
    else:
        _start(info, nodes, node, user, ports[0] if ports else "", to, dry_run=dry_run)


def _error(rule: str, path: str, value: str, message: str, hint: str) -> Finding:
    from catalog.finding import Finding, Severity

    return Finding(rule, Severity.ERROR, path, value, message, hint)


def _stop(findings: Sequence[Finding], cluster: str) -> NoReturn:
    from settings.report import report

    typer.echo(report(findings, f"connect {cluster}"), err=True)
    raise typer.Exit(2)


def _check_cluster(cluster: str) -> None:
    if cluster in LOGIN:
        return
    known = f"it is for {' and '.join(LOGIN)}"
    if cluster in KINDS:
        message = f"'{cluster}' has no node that people log in to; {known}"
        hint = KINDS[cluster].instead_of_login
        _stop([_error("connect-cluster", "cluster", cluster, message, hint)], cluster)
    hint = "clusters are named by the configuration's sections"
    _stop(
        [
            _error(
                "connect-cluster",
                "cluster",
                cluster,
                f"there is no cluster '{cluster}'{did_you_mean(cluster, KINDS)}; {known}",
                hint,
            )
        ],
        cluster,
    )


def _check_options(
    ports: Sequence[str], to: str, user: str, *, ssh_config: bool, output: Path | None
) -> None:
    """End the command where options contradict each other, with all of it at once."""
    found = []
    if len(ports) > 1:
        message = "a session forwards one port; --forward, --notebook and --grafana exclude each other"
        found.append(("forward", ", ".join(ports), message, "run the command once for each port"))
    if to and not ports:
        found.append(("to", to, "--to needs a port to forward, and none is given", "add --forward PORT"))
    if ssh_config and ports:
        message = "--ssh-config writes a file and forwards nothing"
        found.append(
            ("ssh-config", "true", message, "leave one of them out; SSH itself forwards by 'ssh -L'")
        )
    if user and not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
        message = f"'{user}' is not the name of an account: lower case letters, digits, '_' and '-'"
        found.append(("user", user, message, "give the name that you have on the nodes"))
    if output and not ssh_config:
        message = "--output is the file of --ssh-config, which is not given"
        found.append(("output", str(output), message, "add --ssh-config"))
    if found:
        _stop([_error("connect-options", *words) for words in found], "options")


def _settings(config: Path | None) -> Settings:
    from settings.configuration_file import configuration_file
    from settings.loaded_config import read_file
    from settings.report import report

    file = configuration_file(config, "-c FILE")
    loaded = read_file(file)
    if loaded.settings is None:
        typer.echo(report(loaded.findings, file.path), err=True)
        raise typer.Exit(2)
    if not config:
        # Standard error: programs read what '--list' prints.
        typer.echo(f"configuration {file}", err=True)
    return loaded.settings


def _open_grafana(config: Path | None, forward: str, useless: Sequence[str], *, dry_run: bool) -> None:
    """Show the address of a managed Grafana, or forward a port to the one on a private instance."""
    if useless:
        options = ", ".join(f"--{name}" for name in useless)
        message = f"{options}: of no use with 'grafana', which takes --config, --forward and --dry-run"
        _stop([_error("connect-options", useless[0], "", message, "leave them out")], GRAFANA)
    from cli.grafana import GrafanaError, grafana_access
    from cli.sessions import GRAFANA_PORT, Forwarding, forwarding, missing_programs

    port = forwarding(forward or str(GRAFANA_PORT), "")
    if not isinstance(port, Forwarding):
        _stop([port], GRAFANA)
    try:
        access = grafana_access(_settings(config), port.local)
    except GrafanaError as error:
        _stop([_error("connect-grafana", "cluster", GRAFANA, str(error), "")], GRAFANA)
    if not access.session:
        typer.echo(f"Grafana is at {access.url}, through IAM Identity Center")
        return
    if not dry_run and (missing := missing_programs()):
        _stop(missing, GRAFANA)
    typer.echo(f"the password of the user admin:\n  {shlex.join(access.password)}")
    typer.echo(f"Grafana is at {access.url} until Ctrl-C\n  {shlex.join(access.session)}")
    if dry_run:
        typer.echo("dry run: nothing was started")
        return
    sys.stdout.flush()
    os.execvp(access.session[0], access.session)  # noqa: S606 - a list, never a shell


def info_of(cluster: str, config: Path | None, info_file: Path | None) -> ClusterInfo:
    from cli.cluster_info import NoClusterInfoError, info_from_file, published_info

    try:
        if info_file is not None:
            return info_from_file(info_file, cluster)
        settings = _settings(config)
        return published_info(settings.name, settings.region, cluster)
    except NoClusterInfoError as error:
        _stop([_error("connect-cluster-info", "cluster-info", cluster, str(error), "")], cluster)


def _list(nodes: Sequence[Node]) -> None:
    from cli.table import print_table

    rows = [(node.kind, node.group, node.instance_id, node.status, node.target) for node in nodes]
    print_table(("Kind", "Group", "Instance", "State", "Target"), rows, empty="the cluster has no nodes")


def _configure_ssh(
    info: ClusterInfo, nodes: Sequence[Node], user: str, output: Path | None, *, dry_run: bool
) -> None:
    from cli.nodes import select_node
    from cli.ssh_configuration import (
        INCLUDE,
        FileError,
        configuration,
        default_file,
        host_names,
        is_included,
        write,
    )

    entrance = select_node(nodes, "", info)
    if not hasattr(entrance, "target"):
        _stop([entrance], info.cluster)
    path = output or default_file(info)
    text = configuration(info, nodes, user)
    typer.echo(f"{'would write' if dry_run else 'writing'} {path}:")
    typer.echo("")
    for line in text.splitlines():
        typer.echo(f"    {line}" if line else "")
    typer.echo("")
    if dry_run:
        typer.echo("dry run: nothing was written")
        return
    try:
        changed = write(path, text)
    except FileError as error:
        _stop([_error("connect-file", "output", str(path), str(error), "")], info.cluster)
    typer.echo("written" if changed else "the file exists already with the same content")
    name = next(iter(host_names(info, nodes)))
    if output:
        typer.echo(f"log in with\n  ssh -F {shlex.quote(str(output))} {name}")
        return
    if not is_included(path):
        typer.echo(f"put this line at the head of ~/.ssh/config, once for all clusters:\n  {INCLUDE}")
    typer.echo(f"log in with\n  ssh {name}")


def _start(
    info: ClusterInfo, nodes: Sequence[Node], asked: str, user: str, port: str, to: str, *, dry_run: bool
) -> None:
    from cli.nodes import Node, select_node
    from cli.sessions import Forwarding, forwarding, missing_programs, port_forwarding, shell

    node = select_node(nodes, asked, info)
    forward = forwarding(port, to) if port else None
    problems: list[Finding] = [
        item for item in (node, forward) if item and not isinstance(item, Node | Forwarding)
    ]
    if not dry_run:
        problems += missing_programs()
    if problems:
        _stop(problems, info.cluster)
    assert isinstance(node, Node)
    command = (
        port_forwarding(info, node, forward) if isinstance(forward, Forwarding) else shell(info, node, user)
    )
    typer.echo(
        f"{node.kind} node {node.instance_id} of {info.cluster} '{info.cluster_name}' in {info.region}"
    )
    typer.echo(f"  {shlex.join(command)}")
    if isinstance(forward, Forwarding):
        leads = f"port {forward.remote} of {forward.host or 'the node'}"
        typer.echo(f"http://localhost:{forward.local} is forwarded to {leads}, until Ctrl-C")
    if dry_run:
        typer.echo("dry run: nothing was started")
        return
    sys.stdout.flush()
    # In our place: signals and the terminal belong to the session, and its exit code is ours.
    os.execvp(command[0], command)  # noqa: S606 - a list, never a shell
