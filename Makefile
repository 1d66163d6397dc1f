# The front door. `make iso` and `make test` install what they need (Debian or Ubuntu, as root
# or through sudo); a Rust toolchain must be there.

FLAVOR ?= net
OUT    ?= out
CACHE  ?= cache
# Arguments for qemu-tests: names of scenarios, none for all.
SCENARIOS ?=

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

BUILD_PACKAGES := build-essential mmdebstrap debian-archive-keyring squashfs-tools xorriso zstd e2fsprogs
TEST_PACKAGES  := $(BUILD_PACKAGES) qemu-system-x86 qemu-utils ovmf gdisk dosfstools mtools cryptsetup-bin \
                  openssh-client openssl util-linux

# Two at once would both call apt.
.NOTPARALLEL:

.PHONY: help iso run test check bench bless clean build-deps test-deps programs

help:
	@echo 'make iso     build the ISO into $(OUT)/'
	@echo 'make run     boot the newest ISO in QEMU, in this terminal (Ctrl-a x ends it)'
	@echo 'make test    check, build the ISO, boot it in QEMU, install, and check the nodes'
	@echo 'make check   format, clippy and unit tests'
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

test-deps:
	$(call need,$(TEST_PACKAGES))

programs: build-deps
	cargo build --release --locked -p harrow -p harrow-build

# The folders are this user's, whoever writes into them.
iso: programs
	mkdir -p $(OUT)/qemu-tests $(CACHE)
	$(SUDO) env HARROW_DEBIAN_MIRROR="$(HARROW_DEBIAN_MIRROR)" \
	    HARROW_DEBIAN_SECURITY_MIRROR="$(HARROW_DEBIAN_SECURITY_MIRROR)" SOURCE_DATE_EPOCH="$(SOURCE_DATE_EPOCH)" \
	    target/release/harrow-build iso --flavor $(FLAVOR) --out $(OUT) --cache $(CACHE)

run: test-deps
	cargo run --locked -p qemu-tests -- boot --out $(OUT)

check: test-deps
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --no-fail-fast

test: check iso
	cargo run --locked -p qemu-tests -- run --out $(OUT) $(SCENARIOS)

bench: test-deps
	cargo bench --locked -p harrow

bless: test-deps
	BLESS=1 cargo test --locked --workspace --no-fail-fast

clean:
	cargo clean
	$(SUDO) rm -rf $(OUT) $(CACHE)
