"""Fake vendors on the loopback address: signed repositories, archives, source trees and a lock that names them.

What they serve has the names and versions of the real lock and no content of the vendors: roles can show that they
verify, install and repeat, and nothing about the software.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import http.server
import io
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine_images.lock import lock as real_lock

OTHER_DRIVER = "999.1.1"
"""A newer driver in the fake repository, which the pin must leave out."""

_EFA_SCRIPT = """\
#!/bin/sh
mkdir -p /opt/amazon/ofi-nccl/lib
echo "# EFA installer version: {version}" > /opt/amazon/efa_installed_packages
echo "$@" > /opt/amazon/efa_options
echo "NET/OFI Initializing aws-ofi-nccl {plugin}" > /opt/amazon/ofi-nccl/lib/libnccl-net.so
"""
_CLI_SCRIPT = """\
#!/bin/sh
mkdir -p /usr/local/aws-cli/v2/{version}/bin
printf '#!/bin/sh\\necho aws-cli/{version}\\n' > /usr/local/aws-cli/v2/{version}/bin/aws
chmod 755 /usr/local/aws-cli/v2/{version}/bin/aws
ln -sf /usr/local/aws-cli/v2/{version}/bin/aws /usr/local/bin/aws
"""
_TOOLKIT_SCRIPT = """\
#!/usr/bin/python3
import json, pathlib
file = pathlib.Path("/etc/docker/daemon.json")
settings = json.loads(file.read_text())
settings["runtimes"] = {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}
file.write_text(json.dumps(settings))
"""
_DKMS_SCRIPT = """\
#!/bin/bash
# dkms VERB MODULE/VERSION: keeps a link to the source, and runs the command of its dkms.conf in a copy of it.
set -eu
tree=/var/lib/dkms/$2
if [ "$1" = add ]; then
  mkdir -p "$tree"
  ln -s "/usr/src/${2/\\//-}" "$tree/source"
elif [ "$1" = build ]; then
  cp -rL "$tree/source" "$tree/build"
  cd "$tree/build"
  dkms_tree=/var/lib/dkms kernelver=fake-kernel
  . ./dkms.conf
  [ "$PACKAGE_NAME/$PACKAGE_VERSION" = "$2" ]
  eval "${MAKE[0]}"
else
  cp "$tree/build/${BUILT_MODULE_NAME:-gdrdrv}.ko" "$tree/installed.ko"
fi
"""
# Makefiles have the targets that roles name and the assignments that decide what a caller may give, as upstream has at
# the commits of the lock: what `:=` assigns is lost where the command line of make has a variable of the same name.
SOURCES = {
    "pyxis": {
        "plugin.c": (
            "#include <slurm/spank.h>\n#ifndef _GNU_SOURCE\n#error\n#endif\n"
            "SPANK_PLUGIN(fake, 1)\nconst char *version = PYXIS_VERSION;\n"
        ),
        "Makefile": (
            "prefix ?= /usr/local\nlibdir ?= $(prefix)/lib\nVERSION ?= fake\n"
            'CPPFLAGS := -D_GNU_SOURCE -DPYXIS_VERSION=\\"$(VERSION)\\" $(CPPFLAGS)\n'
            "CFLAGS := -fpic $(CFLAGS)\nLDFLAGS := -Wl,-znow $(LDFLAGS)\n"
            "all:\n\t$(CC) $(CFLAGS) $(CPPFLAGS) -shared $(LDFLAGS) -o spank_pyxis.so plugin.c\n"
            "clean:\n\trm -f spank_pyxis.so\n"
            "install: all\n\tinstall -D -m 644 spank_pyxis.so $(libdir)/slurm/spank_pyxis.so\n"
            "\tinstall -d $(prefix)/share/pyxis\n"
        ),
    },
    "gdrcopy": {
        "Makefile": (
            "prefix ?= /usr/local\nCUDA ?= /usr/local/cuda\nDESTDIR := $(abspath $(DESTDIR))\n"
            "driver:\n\t$(MAKE) -C src/gdrdrv\nlib exes:\n\ttrue\n"
            "lib_install:\n\tinstall -d $(prefix)/lib\n\techo $(CUDA) > $(prefix)/lib/libgdrapi.so\n"
            "exes_install:\n\tinstall -d $(prefix)/bin\ninstall: lib_install exes_install\n"
            "drv_install: driver\n\t$(MAKE) -C src/gdrdrv install\n"
        ),
        "packages/dkms.conf": (
            'PACKAGE_NAME="gdrdrv"\nPACKAGE_VERSION="@FULL_VERSION@"\nDEST_MODULE_LOCATION[0]="@MODULE_LOCATION@"\n'
            'MAKE[0]="make -C $dkms_tree/gdrdrv/@VERSION@/build CONF_SCRIPT_DIR=scripts KVER=$kernelver"\n'
        ),
        "scripts/test_gdrdrv_HAVE_PROC_OPS.sh": "#!/bin/sh\necho y\n",
        "src/gdrdrv/Makefile": (
            "KVER ?= $(shell uname -r)\nCONF_SCRIPT_DIR ?= ../../scripts\n"
            "build:\n\techo $(KVER) `$(CONF_SCRIPT_DIR)/test_gdrdrv_HAVE_PROC_OPS.sh` > gdrdrv.ko\n"
            "install: build\n\ttrue\n"
        ),
    },
    "nccl_tests": {
        "Makefile": (
            "default: all\nall:\n\tmkdir -p build\n"
            "\techo $(MPI) $(MPI_HOME) $(CUDA_HOME) > build/all_reduce_perf\nclean:\n\trm -rf build\n"
        )
    },
}


@dataclass(frozen=True)
class Package:
    """A fake package of Debian's form: its files by path, which are executable below bin."""

    name: str
    version: str
    files: Mapping[str, str]


class Vendors:
    """Everything that the roles fetch, below one folder, at one address; `lock` names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        self.site.mkdir(parents=True)
        self._home = folder / "gnupg"
        self._home.mkdir(mode=0o700)
        self._key("trainforge-fake-vendor")
        self.fingerprint = self._fingerprints()[0]
        (self.site / "key.asc").write_bytes(self._gpg("--armor", "--export", self.fingerprint))
        handler = functools.partial(Quiet, directory=str(self.site))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.lock = self._lock()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=False)

    def sign(self, file: Path) -> None:
        """Write FILE.sig, the vendor's detached signature."""
        file.with_name(f"{file.name}.sig").unlink(missing_ok=True)
        self._gpg("--output", f"{file}.sig", "--detach-sign", str(file))

    def _lock(self) -> dict[str, Any]:
        lock = copy.deepcopy(real_lock())
        versions = lock["versions"]
        for name, content in self._files(lock["downloads"]).items():
            entry = lock["downloads"][name]
            file = self.site / Path(entry["url"]).name
            file.write_bytes(content)
            entry["url"] = f"{self.url}/{file.name}"
            # Verified by its signature, where a program can fetch the vendor's key.
            if entry["key_url"]:
                self.sign(file)
                entry.update(sha256="", key=self.fingerprint, key_url=f"{self.url}/key.asc")
            else:
                entry["sha256"] = hashlib.sha256(content).hexdigest()
        for name, packages in _packages(versions).items():
            entry = lock["repositories"][name]
            words = entry["apt"].split()[1:]
            self._repository(self.site / name, list(packages), flat=words == ["/"])
            entry.update(apt=" ".join((f"{self.url}/{name}", *words)), key=self.fingerprint)
            entry["key_url"] = f"{self.url}/key.asc"
        for name, files in SOURCES.items():
            commit = self._source(name, files)
            lock["sources"][name].update(url=f"{self.url}/{name}.git", commit=commit)
        return lock

    def _files(self, downloads: Mapping[str, Mapping[str, str]]) -> dict[str, bytes]:
        version = {name: entry["version"] for name, entry in downloads.items()}
        script = _EFA_SCRIPT.format(
            version=version["efa_installer"], plugin=real_lock()["versions"]["aws_ofi_nccl"]
        )
        return {
            "aws_cli": _zip({"aws/install": _CLI_SCRIPT.format(version=version["aws_cli"])}),
            "efa_installer": _tar({"aws-efa-installer/efa_installer.sh": script}),
            "ssm_agent": self.deb(
                Package("amazon-ssm-agent", version["ssm_agent"], _program("amazon-ssm-agent"))
            ),
            "enroot": self.deb(
                Package("enroot", f"{version['enroot']}-1", _program("enroot", f"echo {version['enroot']}"))
            ),
            "enroot_caps": self.deb(Package("enroot+caps", f"{version['enroot']}-1", {})),
            **{
                name: _tar(
                    {f"{Path(downloads[name]['url']).name.removesuffix('.tar.gz')}/{name}": "#!/bin/sh\n"}
                )
                for name in ("node_exporter", "prometheus")
            },
        }

    def deb(self, package: Package) -> bytes:
        """Return a package's file."""
        tree = self.folder / "packages" / f"{package.name}_{package.version}"
        control = tree / "DEBIAN" / "control"
        control.parent.mkdir(parents=True, exist_ok=True)
        control.write_text(
            f"Package: {package.name}\nVersion: {package.version}\nArchitecture: amd64\n"
            "Maintainer: a fake vendor of trainforge's tests <nobody@example.com>\nDescription: fake\n"
        )
        for path, text in package.files.items():
            file = tree / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if "/bin/" in path else 0o644)
        output = tree.with_suffix(".deb")
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(output)]
        subprocess.run(command, check=True, capture_output=True)
        return output.read_bytes()

    def _repository(self, folder: Path, packages: list[Package], *, flat: bool) -> None:
        """Write a repository that apt reads."""
        folder.mkdir()
        paragraphs = []
        for package in packages:
            content = self.deb(package)
            name = f"{package.name}_{package.version}.deb"
            (folder / name).write_bytes(content)
            paragraphs.append(
                f"Package: {package.name}\nVersion: {package.version}\nArchitecture: amd64\nFilename: {name}\n"
                f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\nDescription: fake\n"
            )
        top = folder if flat else folder / "dists" / "noble"
        index = "Packages" if flat else "main/binary-amd64/Packages"
        self.index(top, index, "\n".join(paragraphs), "noble")

    def index(self, top: Path, index: str, listing: str, suite: str) -> None:
        """Write a list of packages, as the file `index` below a folder, and a file with its digest, signed."""
        content = listing.encode()
        (top / index).parent.mkdir(parents=True, exist_ok=True)
        (top / index).write_bytes(content)
        release = (
            f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
            "Date: Sat, 28 Nov 2026 00:00:00 UTC\n"
            f"SHA256:\n {hashlib.sha256(content).hexdigest()} {len(content)} {index}\n"
        )
        (top / "Release").write_text(release)
        self._gpg("--output", str(top / "InRelease"), "--clearsign", str(top / "Release"))

    def _source(self, name: str, files: Mapping[str, str]) -> str:
        """Write a repository of git that HTTP serves as files, and return its commit."""
        tree, bare = self.folder / "sources" / name, self.site / f"{name}.git"
        tree.mkdir(parents=True)
        for path, text in files.items():
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if path.endswith(".sh") else 0o644)
        who = ("-c", "user.name=fake", "-c", "user.email=nobody@example.com")
        for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "fake")):
            subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True)
        subprocess.run(["git", "clone", "--quiet", "--bare", str(tree), str(bare)], check=True)
        subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True)
        done = subprocess.run(
            ["git", "-C", str(tree), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def _key(self, name: str) -> None:
        self._gpg("--quick-generate-key", f"{name} <nobody@example.com>", "ed25519", "sign", "never")

    def _fingerprints(self) -> list[str]:
        lines = self._gpg("--list-keys", "--with-colons").decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("fpr:")]

    def _gpg(self, *words: str) -> bytes:
        command = [
            "gpg",
            "--homedir",
            str(self._home),
            "--batch",
            "--yes",
            "--quiet",
            "--passphrase",
            "",
            *words,
        ]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder, and writes no log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name in the library
        """Write nothing."""


def _packages(versions: Mapping[str, str]) -> dict[str, Iterable[Package]]:
    """Return the packages of each repository, with newer ones beside those that the lock names."""
    driver, toolkit = versions["nvidia_driver"], versions["nvidia_container_toolkit"]
    unit = {
        "/usr/lib/systemd/system/nvidia-fabricmanager.service": "[Service]\nExecStart=/bin/true\n"
        "[Install]\nWantedBy=multi-user.target\n"
    }
    exporter = {
        "/usr/lib/systemd/system/nvidia-dcgm-exporter.service": "[Service]\nExecStart=/bin/true\n"
        "[Install]\nWantedBy=multi-user.target\n"
    }
    toolkits = (
        ("nvidia-container-toolkit", {}),
        ("nvidia-container-toolkit-base", {"/usr/bin/nvidia-ctk": _TOOLKIT_SCRIPT}),
        ("libnvidia-container-tools", {}),
        ("libnvidia-container1", {}),
    )
    return {
        "cuda": (
            # The driver's packages depend on dkms.
            *(
                Package("nvidia-open", f"{number}-1ubuntu1", {"/usr/bin/dkms": _DKMS_SCRIPT})
                for number in (driver, OTHER_DRIVER)
            ),
            *(Package("nvlsm", f"{number}-1", {}) for number in (versions["nvlsm"], "9999.1.1")),
            *(
                Package("nvidia-fabricmanager", f"{number}-1ubuntu1", unit)
                for number in (driver, OTHER_DRIVER)
            ),
            Package(f"cuda-toolkit-{'-'.join(versions['cuda'].split('.')[:2])}", f"{versions['cuda']}-1", {}),
            Package(*versions["dcgm_exporter_package"].split("="), exporter),
            Package("libnccl2", versions["nccl_package"], {}),
            Package("libnccl-dev", versions["nccl_package"], {}),
        ),
        "nvidia_container_toolkit": (
            *(Package(name, f"{toolkit}-1", files) for name, files in toolkits),
            *(Package(name, "999.0-1", files) for name, files in toolkits),
        ),
        # Of no version of the lock: the repository has clients for the kernels of Ubuntu.
        "lustre": (Package("lustre-client-utils", "1.0", {}),),
        "neuron": (
            Package("aws-neuronx-collectives", f"{versions['neuron_collectives']}-fake", {}),
            Package("aws-neuronx-runtime-lib", f"{versions['neuron_runtime']}-fake", {}),
            Package("aws-neuronx-tools", f"{versions['neuron_tools']}-fake", {}),
        ),
    }


def _program(name: str, line: str = "exit 0") -> dict[str, str]:
    return {f"/usr/bin/{name}": f"#!/bin/sh\n{line}\n"}


def _tar(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


def _zip(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o100755 << 16
            archive.writestr(member, text)
    return content.getvalue()
