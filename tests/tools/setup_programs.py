#!/usr/bin/env python3
"""tools/setup.sh installs what is missing and leaves alone what is there from elsewhere. Prints TAP.

setup_programs.py ROOT    runs it with a PATH of its own, in which apt-get only writes down what it was asked for
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# what it is asked for, Debian packages that are installed, programs on the PATH, packages that it installs
CASES = [("nothing is there", "js", [], [], ["nodejs", "npm"]),
         ("both are packages", "js", ["nodejs", "npm"], [], []),
         ("one package with both programs", "js", ["nodejs"], ["node", "npm"], []),
         ("both programs from elsewhere", "js", [], ["node", "npm"], []),
         ("node alone from elsewhere", "js", [], ["node"], ["npm"]),
         ("no browser", "browser", [], [], ["chromium"]),
         ("another browser", "browser", [], ["google-chrome"], []),
         ("no Slurm", "slurm", ["munge"], ["scontrol"], ["slurmctld", "slurmd"]),
         ("libraries have no programs", "deb", [], ["dpkg-dev"], ["dpkg-dev"])]


def write_program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def asked_for(root, what, packages, programs):
    """The packages that apt-get is asked for."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        asked = folder / "asked"
        bin = folder / "bin"
        bin.mkdir()
        for tool in ("sh", "sed", "env", "mktemp", "rm", "cat"):
            (bin / tool).symlink_to(shutil.which(tool))
        write_program(bin / "id", "echo 0")
        write_program(bin / "dpkg-query", "".join(f"echo {p} installed\n" for p in packages) + "true")
        write_program(bin / "apt-get", f'echo "$@" >> {asked}')
        for program in programs:
            write_program(bin / program, "true")
        subprocess.run(["sh", str(root / "tools/setup.sh"), what], check=True, capture_output=True,
                       env={**os.environ, "PATH": str(bin)})
        words = asked.read_text().split() if asked.exists() else []
        return [w for w in words if w != "install" and not w.startswith("-")]


def main():
    root = pathlib.Path(sys.argv[1])
    print(f"1..{len(CASES)}")
    failed = False
    for i, (name, what, packages, programs, wanted) in enumerate(CASES, 1):
        got = asked_for(root, what, packages, programs)
        if got != wanted:
            print(f"# asked for {got}, not for {wanted}")
        print(f"{'ok' if got == wanted else 'not ok'} {i} - {what}: {name}")
        failed |= got != wanted
    return failed


if __name__ == "__main__":
    sys.exit(main())
