# The short front door; meson and ninja do the work (docs/architecture.md, CONTRIBUTING.md).
#
#   make          build (installs the Debian packages that are missing)
#   make run      build, fetch the default model, serve it on 127.0.0.1:8080 (PORT=N)
#   make check    the tests one runs while editing, under half a minute
#   make test     everything: both compilers, sanitizers, end to end with the real clients
#   make sim      the cloud in SEEDS simulated worlds (default 1000), or that of SEED=n again
#   make bench    speed and quality beside the peers (QUICK=1: minutes; ONLY=, MODELS=, PEERS=: see bench/run.sh)
#   make bench-gateway    what the relay adds to a request and costs, beside other gateways (QUICK=1: two minutes, alone)
#   make screenshots    the pictures of the page in docs/, from the built server in Chromium
#   make soak     the server killed KILLS times under load and as often in streams (default 1000), then SEEDS simulated worlds
#   make asan | tsan | fuzz    one sanitizer build with its tests; fuzzing for FUZZ_SECONDS each
#   make install  into PREFIX (default /usr/local), DESTDIR respected
#   make deb      a Debian package in build/ (MAINTAINER=)
#   make format   clang-format over the sources
#   make clean    drop build/

BUILD ?= build/release
PREFIX ?= /usr/local
PORT ?= 8080
FUZZ_SECONDS ?= 60
SEEDS ?= 1000
export PORT FUZZ_SECONDS KILLS SEEDS

.PHONY: all setup run check test sim bench bench-gateway screenshots asan tsan fuzz soak install deb format clean
.NOTPARALLEL:

all: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(if $(V),-v,) all

setup:
	@tools/setup.sh build

$(BUILD)/build.ninja: | setup
	@mkdir -p build
	@meson setup $(BUILD) --prefix $(PREFIX) >build/setup.log 2>&1 || { cat build/setup.log; exit 1; }

run:
	@tools/run.sh

check:
	@tools/test.sh quick

test:
	@tools/test.sh full

asan tsan:
	@tools/test.sh $@

fuzz soak:
	@tools/test.sh $@

# The cloud, stored answers, contracts and their settlement, in a simulated world: SEEDS worlds, or the one of SEED again.
sim: all
	@$(BUILD)/tests/sim/sim_cloud $(or $(SEED),1) $(if $(SEED),1,$(SEEDS))
	@$(BUILD)/tests/sim/sim_stored $(or $(SEED),1) $(if $(SEED),1,$(SEEDS))
	@$(BUILD)/tests/sim/sim_contracts $(or $(SEED),1) $(if $(SEED),1,$(SEEDS))
	@$(BUILD)/tests/sim/sim_settlement $(or $(SEED),1) $(if $(SEED),1,$(SEEDS))

bench: all
	@bench/run.sh

# The peers are in a private folder the first time this is run (bench/gateway/peers.sh).
bench-gateway: all
	@QUICK=$(QUICK) bench/gateway/run.sh

screenshots: all
	@tools/setup.sh browser
	@tools/screenshots.sh

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD) --quiet $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)),)
	@echo "installed into $(DESTDIR)$(PREFIX)"

deb: all
	@tools/setup.sh deb
	@tools/deb.sh $(BUILD)/src/cmd/gaufre build

format:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

clean:
	rm -rf build
