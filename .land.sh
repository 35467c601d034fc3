#!/bin/bash
# rebase, build, ff main
set -e
git fetch -q . && git rebase -q main
ninja -C build 2>&1 | tail -4
git -C /work/main merge --ff-only serve 2>&1 | tail -1
