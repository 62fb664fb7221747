"""The pictures of the code: imports between layers, and the data flow."""

from __future__ import annotations

from docs.pictures.drawing import Picture


def layers() -> Picture:
    """Return the picture of the layers; an arrow means `imports`."""
    picture = Picture(
        name="layers",
        title="The layers of trainforge",
        description=(
            "app.py imports stacks and settings. stacks import the construct library trainforge, settings and "
            "workloads and observability. cli imports settings and workloads. settings import workloads. All but "
            "app.py import catalog. programs, workloads/runtime and emulator import no other layer."
        ),
        width=900,
        height=592,
    )
    app = picture.box(16, 16, 590, 62, "app.py", ["reads settings and creates stacks; no resources"], "ours")
    cli = picture.box(640, 16, 244, 62, "cli/", ["commands; boto3, never aws_cdk"], "ours")
    stacks = picture.box(
        16, 116, 440, 62, "stacks/", ["one stack per file; composes constructs, no resources"], "ours"
    )
    settings = picture.box(
        500,
        216,
        330,
        79,
        "settings/",
        ["reads YAML into frozen models;", "rules return findings"],
        "ours",
    )
    library = picture.box(
        16,
        216,
        360,
        79,
        "constructs/trainforge/",
        ["construct library: network, storage, cluster;", "keyword-only, no context, no clock"],
        "ours",
    )
    workloads = picture.box(
        400, 330, 430, 62, "workloads/", ["workloads, and pure renderers of manifests"], "ours"
    )
    observability = picture.box(16, 330, 350, 62, "observability/", ["alerts and dashboards as code"], "ours")
    picture.box(
        16,
        420,
        868,
        62,
        "catalog/",
        [
            "facts (instances, versions, EFA, storage, regions), Pool, ClusterInfo, Finding; "
            "imported by all above but app.py",
        ],
        "data",
    )
    picture.box(
        16,
        498,
        426,
        79,
        "programs/, workloads/runtime/",
        ["programs in AWS and in jobs;", "import no other layer"],
        "ours",
    )
    picture.box(
        458,
        498,
        426,
        79,
        "emulator/",
        ["AWS on this machine, for the demo and tests;", "imports no other layer"],
        "outside",
    )
    picture.arrow(app.at("bottom", 0.3), (app.at("bottom", 0.3)[0], stacks.y))
    picture.arrow((560, app.y + app.height), (560, settings.y))
    picture.arrow(stacks.at("bottom", 0.3), (stacks.at("bottom", 0.3)[0], library.y))
    picture.arrow((388, stacks.y + stacks.height), (388, 361), observability.at("right"))
    picture.arrow((388 + 34, stacks.y + stacks.height), (388 + 34, workloads.y))
    picture.arrow(stacks.at("right"), (520, stacks.at("right")[1]), (520, settings.y))
    picture.arrow(settings.at("bottom"), (settings.at("bottom")[0], workloads.y))
    picture.arrow((700, cli.y + cli.height), (700, settings.y))
    picture.arrow((858, cli.y + cli.height), (858, workloads.at("right")[1]), workloads.at("right"))
    return picture


def data() -> Picture:
    """Return the picture of the data flow, from a YAML file to the commands that use a cluster."""
    picture = Picture(
        name="data",
        title="Data flow through trainforge",
        description=(
            "A YAML file is read into frozen settings and checked. All mistakes are reported as findings at once. "
            "Settings have data types of the catalog, which stacks pass to constructs. Constructs create templates, "
            "CloudFormation creates resources. A cluster stack publishes cluster info, which commands and users read."
        ),
        width=900,
        height=406,
    )
    width, height, top, below, last = 200, 96, 16, 155, 294
    columns = [16, 239, 462, 684]
    yaml = picture.box(
        columns[0],
        top,
        width,
        height,
        "config/team.yaml",
        ["what a user chooses:", "pools, storage, clusters"],
        "data",
    )
    read = picture.box(
        columns[1],
        top,
        width,
        height,
        "settings",
        ["frozen models with limits;", "unknown keys refused,", "every key described"],
        "ours",
    )
    check = picture.box(
        columns[2],
        top,
        width,
        height,
        "checks",
        ["one function per rule,", "the same in validate,", "synth and tests"],
        "ours",
    )
    findings = picture.box(
        columns[3],
        top,
        width,
        height,
        "findings",
        ["all at once, with the", "next step; errors end", "with exit code 2"],
        "outside",
    )
    types = picture.box(
        columns[2],
        below,
        width,
        height,
        "data types",
        ["Pool, Capacity, Mount:", "frozen dataclasses of", "catalog/"],
        "data",
    )
    constructs = picture.box(
        columns[1],
        below,
        width,
        height,
        "constructs",
        ["stacks compose them;", "they read facts from", "the catalog"],
        "ours",
    )
    templates = picture.box(
        columns[0],
        below,
        width,
        height,
        "templates",
        ["cdk.out, checked by", "CloudFormation's rules", "and cdk-nag"],
        "data",
    )
    cloud = picture.box(
        columns[0],
        last,
        width,
        height,
        "CloudFormation",
        ["cdk deploy: resources", "in an AWS account"],
        "aws",
    )
    info = picture.box(
        columns[1],
        last,
        width,
        height,
        "cluster info",
        ["JSON in an SSM", "parameter: the only", "deploy-time values"],
        "data",
    )
    commands = picture.box(
        columns[2],
        last,
        width,
        height,
        "commands",
        ["trainforge reads this,", "never stacks"],
        "ours",
    )
    users = picture.box(
        columns[3],
        last,
        width,
        height,
        "users and jobs",
        ["log in, launch, watch;", "data in and out"],
        "outside",
    )
    for one, other in (
        (yaml, read),
        (read, check),
        (check, findings),
        (cloud, info),
        (info, commands),
        (commands, users),
    ):
        picture.arrow(one.at("right"), other.at("left"))
    picture.arrow(check.at("bottom"), types.at("top"))
    picture.arrow(types.at("left"), constructs.at("right"))
    picture.arrow(constructs.at("left"), templates.at("right"))
    picture.arrow(templates.at("bottom"), cloud.at("top"))
    return picture
