# The front door. `make iso` and `make test` install what they need (Debian or Ubuntu, as root
# or through sudo); a Rust toolchain must be there.

FLAVOR ?= net
OUT    ?= out
CACHE  ?= cache
# For FLAVOR=full: addons and CNIs that are in the image too, and a mirror of the artifacts.
WITH   ?=
FROM   ?=
# Seconds for each target of the fuzzer.
FUZZ_SECONDS ?= 600
FUZZ_SHORT_SECONDS ?= 5
# Arguments for qemu-tests: names of scenarios, none for all.
SCENARIOS ?=

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

BUILD_PACKAGES := build-essential mmdebstrap debian-archive-keyring squashfs-tools xorriso zstd e2fsprogs
TEST_PACKAGES  := $(BUILD_PACKAGES) qemu-system-x86 qemu-utils ovmf gdisk fdisk dosfstools mtools cryptsetup-bin \
                  openssh-client openssl util-linux python3-venv docker-registry containerd iproute2 iputils-arping \
                  grub-common grub-emu

# Kubernetes' published schemas, for the tests of rendered manifests.
SCHEMAS := target/kubernetes-validate
SCHEMAS_LIST := installer/tests/kubernetes-validate.txt

# Two at once would both call apt.
.NOTPARALLEL:

FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
# What cargo-fuzz sets for coverage, all of it known to stable Rust; sanitizers would need nightly.
# With --target they do not reach build scripts.
FUZZ_RUSTFLAGS := --cfg fuzzing -Cpasses=sancov-module \
                  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
                  -Ccodegen-units=1
RUST_HOST = $(shell rustc -vV | sed -n 's/^host: //p')

# What the scenarios of the cluster payload boot, which are these.
DOUBLE := $(OUT)/double
DOUBLE_SCENARIOS := full-offline net-mirror upgrade

.PHONY: help iso doubles run test check fuzz fuzz-short bench bless clean build-deps test-deps programs

help:
	@echo 'make iso     build the ISO into $(OUT)/; FLAVOR=full has the cluster payload inside'
	@echo 'make run     boot the newest ISO in QEMU, in this terminal (Ctrl-a x ends it)'
	@echo 'make test    check, build the ISO, boot it in QEMU, install, and check the nodes'
	@echo 'make check   format, clippy and unit tests'
	@echo 'make fuzz    feed strange input to the readers of configs, $(FUZZ_SECONDS) s each'
	@echo 'make bench   how fast images are checked and written'
	@echo 'make bless   rewrite the golden files of the tests'
	@echo 'make clean   remove target/, $(OUT)/ and $(CACHE)/'

# $(call need,PACKAGES): installs those that are missing, and says so.
define need
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer (https://rustup.rs)' >&2; exit 1; }
	@missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    echo "installing Debian packages:" $$missing; \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

build-deps:
	$(call need,$(BUILD_PACKAGES))

test-deps: test-packages $(SCHEMAS)/installed

.PHONY: test-packages
test-packages:
	$(call need,$(TEST_PACKAGES))

$(SCHEMAS)/installed: $(SCHEMAS_LIST) | test-packages
	python3 -m venv $(SCHEMAS)
	$(SCHEMAS)/bin/pip install -q --disable-pip-version-check -r $(SCHEMAS_LIST)
	touch $@

programs: build-deps
	cargo build --release --locked -p harrow -p harrow-build

HARROW_BUILD := $(SUDO) env HARROW_DEBIAN_MIRROR="$(HARROW_DEBIAN_MIRROR)" \
    HARROW_DEBIAN_SECURITY_MIRROR="$(HARROW_DEBIAN_SECURITY_MIRROR)" SOURCE_DATE_EPOCH="$(SOURCE_DATE_EPOCH)" \
    target/release/harrow-build

# The folders are this user's, whoever writes into them.
iso: programs
	mkdir -p $(OUT)/qemu-tests $(CACHE)
	$(HARROW_BUILD) iso --flavor $(FLAVOR) $(addprefix --with ,$(WITH)) $(addprefix --from ,$(FROM)) \
	    --out $(OUT) --cache $(CACHE)

# Both flavors with doubles of all artifacts, over the same base. Nobody reads the image set of
# `full`, so it is not kept.
doubles: programs
	cargo build --locked -p qemu-tests
	mkdir -p $(DOUBLE)/full $(DOUBLE)/net $(CACHE)
	target/debug/qemu-tests double --out $(DOUBLE)
	$(HARROW_BUILD) iso --flavor full --bundle $(DOUBLE)/bundle.toml --from $(DOUBLE)/mirror \
	    --out $(DOUBLE)/full --cache $(CACHE)
	$(SUDO) rm -rf $(DOUBLE)/full/image
	$(HARROW_BUILD) iso --flavor net --bundle $(DOUBLE)/bundle.toml --out $(DOUBLE)/net --cache $(CACHE)

run: test-deps
	cargo run --locked -p qemu-tests -- boot --out $(OUT)

check: test-deps
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --no-fail-fast

# The short run begins the same each time: `make test` is for what a change did, not a lottery.
fuzz fuzz-short: test-deps
	cd fuzz && RUSTFLAGS="$(FUZZ_RUSTFLAGS)" cargo build --locked --target $(RUST_HOST)
	@for target in $(FUZZ_TARGETS); do \
	    echo "fuzzing $$target"; \
	    fuzz/run $$target $(RUST_HOST) $(if $(filter fuzz,$@),$(FUZZ_SECONDS),$(FUZZ_SHORT_SECONDS) -seed=1) || exit 1; \
	done

# The ISO comes last: the cache keeps the slot image of the last build.
test: check fuzz-short $(if $(SCENARIOS),$(if $(filter $(DOUBLE_SCENARIOS),$(SCENARIOS)),doubles),doubles) iso
	cargo run --locked -p qemu-tests -- run --out $(OUT) $(SCENARIOS)

bench: test-deps
	cargo bench --locked -p harrow

bless: test-deps
	BLESS=1 cargo test --locked --workspace --no-fail-fast

clean:
	cargo clean
	rm -rf fuzz/target
	$(SUDO) rm -rf $(OUT) $(CACHE)
