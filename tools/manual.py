#!/usr/bin/env python3
"""Keep the option lists of the manual page equal to what --help says.

manual.py GAUFRE docs/gaufre.1           check, as TAP
manual.py GAUFRE docs/gaufre.1 --write   rewrite the lists

Each command has a block in the page, from the line `.\\" options NAME` to `.\\" end`.
"""
import re
import subprocess
import sys


def run(gaufre, *args):
    return subprocess.run([gaufre, *args], capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL).stdout


def commands(gaufre):
    text = run(gaufre, "--help").split("Commands:\n", 1)[1].split("\n\n", 1)[0]
    return [line.split()[0] for line in text.splitlines()]


def escape(s):
    return s.replace("\\", "\\e").replace("-", "\\-")


def block(gaufre, name):
    text = run(gaufre, name, "--help")
    usage = text.splitlines()[0].removeprefix(f"Usage: gaufre {name} [OPTIONS]").strip()
    lines = [f".SS gaufre {escape(name)} [OPTIONS]" + (f" {escape(usage)}" if usage else "")]
    about = text.split("\n\n", 2)[1]
    lines.append(escape(about))
    options = text.split("Options:\n", 1)[1].split("\n\n", 1)[0]
    # Help goes on in the next lines, at its column; a long option's begins there.
    options = re.sub(r"\n {30}", " ", re.sub(r"^(  .{4}--.*)\n {30}(?=\S)",
                                            lambda m: m[1] + ("  " if "  " not in m[1][6:] else " "),
                                            options, flags=re.M))
    for line in options.splitlines():
        left, _, right = line.strip().partition("  ")
        lines += [".TP", f".B {escape(left)}", escape(right.strip())]
    return "\n".join(lines)


def main():
    gaufre, path = sys.argv[1:3]
    with open(path, encoding="utf-8") as f:
        page = f.read()
    names = commands(gaufre)
    bad = []
    for name in names:
        pattern = re.compile(rf'^\.\\" options {re.escape(name)}\n(.*?)^\.\\" end\n', re.M | re.S)
        wanted = block(gaufre, name) + "\n"
        m = pattern.search(page)
        if not m and "--write" in sys.argv:  # a new command: before the files section
            page = page.replace(".SH FILES\n", f'.\\" options {name}\n{wanted}.\\" end\n.SH FILES\n')
        elif not m or m.group(1) != wanted:
            bad.append(name)
            if m:
                page = page[:m.start(1)] + wanted + page[m.end(1):]
    known = re.findall(r'^\.\\" options (\S+)', page, re.M)
    gone = [name for name in known if name not in names]
    if "--write" in sys.argv:
        with open(path, "w", encoding="utf-8") as f:
            f.write(page)
        return
    print(f"1..{len(names) + 1}")
    for i, name in enumerate(names, 1):
        print(f"{'not ok' if name in bad else 'ok'} {i} - the page has the options of {name}")
    print(f"{'not ok' if gone else 'ok'} {len(names) + 1} - no command that is gone")
    if bad or gone:
        print(f"# write them: tools/manual.py {gaufre} {path} --write")
    sys.exit(bool(bad or gone))


main()
