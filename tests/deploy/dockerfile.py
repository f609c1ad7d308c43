"""A Dockerfile built and run without an engine: each stage is an overlay of this machine, its steps run in a chroot.

The base image is played by this machine with another Python in /usr/local. What this shows is that the steps, as they
are written, make an install that runs from a read-only root as the user of the image; not that the base image has what
they need.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

BUILD_SECONDS = 900


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and argument of each, comments left out and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [
        (name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines()) if name
    ]


def context(root: Path, ignore: str) -> list[Path]:
    """The files that a build gets to see, by the rules of .dockerignore: the last pattern that matches decides."""
    rules = [line.strip() for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    patterns = [(rule.startswith("!"), _pattern(rule.removeprefix("!"))) for rule in rules]
    tracked = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "-z"], capture_output=True, text=True, check=True
    ).stdout
    files = [Path(name) for name in tracked.split("\0") if name and (root / name).is_file()]
    return [file for file in files if _is_seen(PurePosixPath(file), patterns)]


def _pattern(rule: str) -> re.Pattern[str]:
    rule = rule.strip("/")
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", rule)
    wild = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(wild.get(t, t if t.startswith("[") else re.escape(t)) for t in tokens))


def _is_seen(path: PurePosixPath, patterns: list[tuple[bool, re.Pattern[str]]]) -> bool:
    seen = True
    for includes, pattern in patterns:
        # a pattern that matches a directory matches what is in it
        if any(pattern.fullmatch(str(part)) for part in (path, *path.parents)):
            seen = includes
    return seen


class Namespace:
    """Mounts of our own, gone with it."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        self._holder.stdout.readline()
        self.run("mount", "-t", "tmpfs", "tmpfs", "/mnt")

    @property
    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-m", "--"]

    def run(self, *command: str) -> str:
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr[-3000:]}"
        return done.stdout

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


@dataclass
class Stage:
    """One stage under construction."""

    namespace: Namespace
    name: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    ports: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"/mnt/{self.name}/root"

    def begin(self, python: Path) -> None:
        """The base image: this machine, with a Python at /usr/local that cannot be written to."""
        above = f"/mnt/{self.name}"
        run = self.namespace.run
        run("mkdir", "-p", f"{above}/up", f"{above}/work", self.root)
        options = f"lowerdir=/,upperdir={above}/up,workdir={above}/work"
        run("mount", "-t", "overlay", "overlay", "-o", options, self.root)
        run("mount", "--rbind", "/dev", f"{self.root}/dev")
        run("mount", "-t", "proc", "proc", f"{self.root}/proc")
        run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{self.root}/tmp")
        run("mount", "-t", "tmpfs", "tmpfs", f"{self.root}/mnt")
        if str(python) not in ("/usr", "/usr/local"):
            run("mount", "--bind", str(python), f"{self.root}/usr/local")
            run("mount", "-o", "remount,bind,ro", f"{self.root}/usr/local")
            for parent in list(python.parents)[:-1]:  # its libraries are found at their old place as well
                run("chmod", "o+x", f"{self.root}{parent}")
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

    def freeze(self) -> None:
        """As `docker run --read-only --tmpfs /tmp`."""
        self.namespace.run("mount", "-o", "remount,ro", self.root)

    def argv(self, command: list[str], extra: dict[str, str] | None = None) -> list[str]:
        """What runs a command inside: as the user and in the directory of the image, without any privilege."""
        uid, _, gid = self.user.partition(":")
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid or uid}", "--clear-groups", "--no-new-privs"]
        if uid != "0":
            become += ["--bounding-set=-all", "--inh-caps=-all"]
        environment = [f"{name}={value}" for name, value in (self.environment | (extra or {})).items()]
        inside = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.directory, *command]
        return [*self.namespace.enter, "chroot", self.root, "env", "-i", *environment, *become, *inside]

    def shell(self, line: str, extra: dict[str, str]) -> None:
        done = subprocess.run(
            self.argv(["/bin/sh", "-c", line], extra),
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
        assert done.returncode == 0, f"RUN {line}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"

    # one for each instruction that is about this stage alone

    def do_env(self, rest: str) -> None:
        for name, _, value in (pair.partition("=") for pair in shlex.split(rest)):
            self.environment[name] = self.expand(value)

    def do_label(self, rest: str) -> None:
        self.labels |= {
            name: self.expand(value) for name, _, value in (pair.partition("=") for pair in shlex.split(rest))
        }

    def do_workdir(self, rest: str) -> None:
        self.directory = rest
        self.namespace.run("mkdir", "-p", self.root + rest)

    def do_run(self, rest: str) -> None:
        # with what the machine's pip needs to find its index
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        self.shell(self.expand(rest), pip | self.arguments)

    def do_user(self, rest: str) -> None:
        self.user = rest

    def do_entrypoint(self, rest: str) -> None:
        self.entrypoint = json.loads(rest)

    def do_cmd(self, rest: str) -> None:
        self.command = json.loads(rest)

    def do_healthcheck(self, rest: str) -> None:
        self.healthcheck = json.loads(rest.partition(" CMD ")[2])

    def do_stopsignal(self, rest: str) -> None:
        self.stop_signal = rest

    def do_expose(self, rest: str) -> None:
        self.ports = rest.split()

    def expand(self, text: str) -> str:
        known = self.arguments | self.environment
        return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda found: known[found[1] or found[2]], text)


def build(dockerfile: Path, root: Path, seen: list[Path], python: Path, **arguments: str) -> Stage:
    """Every instruction in turn; the last stage.

    Parameters
    ----------
    dockerfile, root : Path
    seen : list of Path
        What `context` lets through.
    python : Path
        Prefix of the Python of the base image.
    **arguments
        As ``--build-arg``.
    """
    namespace = Namespace()
    try:
        return _build(instructions(dockerfile.read_text()), root, seen, python, arguments, namespace)
    except BaseException:
        namespace.close()
        raise


def _build(
    steps: list[tuple[str, str]],
    root: Path,
    seen: list[Path],
    python: Path,
    given: dict[str, str],
    namespace: Namespace,
) -> Stage:
    stages: dict[str, Stage] = {}
    stage = Stage(namespace, "")  # for what stands in front of the first FROM
    for name, rest in steps:
        if name == "FROM":
            stage = Stage(namespace, rest.partition(" AS ")[2] or "final")
            stages[stage.name] = stage
            stage.begin(python)
        elif name == "ARG":
            key, _, default = rest.partition("=")
            stage.arguments[key] = given.get(key, default)
        elif name == "COPY":
            _copy(stage, stages, rest, root, seen)
        else:
            getattr(stage, f"do_{name.lower()}")(rest)
    return stage


def _copy(stage: Stage, stages: dict[str, Stage], rest: str, root: Path, seen: list[Path]) -> None:
    *sources, target = rest.split()
    run = stage.namespace.run
    if sources[0].startswith("--from="):
        origin = stages[sources.pop(0).removeprefix("--from=")]
        (source,) = sources
        run("mkdir", "-p", str(Path(stage.root + target).parent))
        run("cp", "-a", origin.root + source, stage.root + target)
        return
    into = Path(target if target.startswith("/") else f"{stage.directory}/{target}")
    for source in sources:
        files = [file for file in seen if file == Path(source) or Path(source) in file.parents]
        assert files, f"COPY {source}: nothing of it is in the context"
        for file in files:
            inner = Path(file.name) if file == Path(source) else file.relative_to(source)
            one_to_one = file == Path(source) and not target.endswith("/")
            where = into if one_to_one and target not in (".", "./") else into / inner
            run("mkdir", "-p", stage.root + str(where.parent))
            run("cp", "-p", str(root / file), stage.root + str(where))
            run("chown", "0:0", stage.root + str(where))


def python_prefix(version: str) -> Path:
    """Of an installed Python of this version; of the one that runs this where there is none."""
    finder = [f"python{version}", "-c", "import sys; print(sys.base_prefix)"]
    # where several are installed side by side, this variable chooses
    environment = os.environ | {"PYENV_VERSION": version}
    try:
        found = subprocess.run(finder, capture_output=True, text=True, check=True, env=environment).stdout
    except (OSError, subprocess.CalledProcessError):
        return Path(sys.base_prefix)
    return Path(found.strip())
