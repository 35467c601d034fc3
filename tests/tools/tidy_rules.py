#!/usr/bin/env python3
"""tools/tidy.py catches what it is there to catch: sources that break a rule, and their twins that
keep it. Prints TAP.

tidy_rules.py ROOT
"""
import importlib.util
import os
import sys

spec = importlib.util.spec_from_file_location("tidy", os.path.join(sys.argv[1], "tools/tidy.py"))
tidy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tidy)


def pure(*includes, **headers):
    """Breaches of a file of policy with these includes; headers: of job/NAME.h."""
    sources = {"src/policy/some.c": "".join(f"#include {i}\n" for i in includes)}
    sources.update({f"src/job/{n}.h": "".join(f"#include {i}\n" for i in v) for n, v in headers.items()})
    return tidy.check_pure(sources)


def rooms(room, *includes):
    return tidy.check_includes({f"src/{room}/some.c": "".join(f'#include "{i}"\n' for i in includes)})


def words(code):
    return len(tidy.check_words({"src/base/some.c": code}))


TESTS = [
    ("policy may count, compare and check",
     not pure("<stdint.h>", "<math.h>", "<string.h>", '"base/check.h"', '"policy/rota.h"')),
] + [
    (f"policy may not include {header}", len(pure("<stdint.h>", header)) == 1)
    for header in ("<pthread.h>", "<stdatomic.h>", "<time.h>", "<stdio.h>", "<stdlib.h>", "<unistd.h>",
                   "<sys/time.h>", "<threads.h>", "<errno.h>", '"base/clock.h"', '"base/log.h"',
                   '"base/ring.h"', '"base/mbox.h"', '"base/buf.h"', '"base/arena.h"', '"base/rand.h"')
] + [
    ("nor through a noun that it shares",
     len(pure('"job/load.h"', load=["<stdint.h>", "<stdatomic.h>"])) == 1),
    ("nor by a long way",
     len(pure('"job/load.h"', load=['"job/part.h"'], part=["<time.h>", '"job/load.h"'])) == 1),
    ("a pure noun is fine", not pure('"job/load.h"', load=["<stdint.h>", '"job/part.h"'], part=["<limits.h>"])),
    ("with blanks before and behind the hash too", len(pure("<stdint.h>\n  #  include  <time.h>")) == 1),
    ("other rooms may act", not tidy.check_pure({"src/serve/some.c": "#include <time.h>\n"})),
    ("a room may include what is below it", not rooms("policy", "base/check.h", "job/phase.h")),
    ("and not what is above", len(rooms("policy", "engine/engine.h")) == 1),
    ("a door only, where a door is what it may", len(rooms("engine", "text/vocab.h", "text/merge.h")) == 1),
    ("a retired word is found in a name", words("int etch_row, net_is_guest; int service;\n") == 3),
    ("and where it begins one", words("int probe_read(void); int front_request(void);\n") == 2),
    ("other words, comments and texts are not looked at",
     not words('int probes_health; int probe; char *front; /* etch */ char s[] = "service";\n')),
]


def main():
    print(f"1..{len(TESTS)}")
    for i, (what, good) in enumerate(TESTS, 1):
        print(f"{'ok' if good else 'not ok'} {i} - {what}")
    sys.exit(not all(good for _, good in TESTS))


main()
