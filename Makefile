# dari: build, test, run, install. `make help` says what there is.
# A target is a few lines; what takes more is a script in tests/examples.

CARGO ?= cargo
CFLAGS ?= -O2 -g
CXXFLAGS ?= -O2 -g
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
# Where `make run` listens, where the C programs go, and what they run under.
ADDRESS ?= 127.0.0.1:9001
OUT ?= target/c
RUN ?=

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
# Cargo.toml is the one source of both versions.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
SONAME := libdari.so.$(word 1,$(subst ., ,$(VERSION))).$(word 2,$(subst ., ,$(VERSION)))
LIB := target/release/libdari.a
# What a program has to link besides libdari.a: rustc's own words, from the build.
NATIVE := target/native-static-libs

# FOLDER/NAME.c makes OUT/NAME, NAME.cpp makes OUT/NAME_cpp, and the chat is one program.
SOURCES := $(wildcard examples-c/*.c examples-c/*.cpp tests/c/*.c tests/c/*.cpp tests/examples/*.c)
PROGRAMS := $(addprefix $(OUT)/,chat $(notdir $(patsubst %.cpp,%_cpp,$(SOURCES:.c=))))

export CARGO_TARGET_DIR := $(CURDIR)/target
export CC CXX CARGO RUN
vpath %.c examples-c tests/c tests/examples
vpath %.cpp examples-c tests/c

.PHONY: help
help:
	@echo 'make run            build all, serve the chat on http://$(ADDRESS)'
	@echo 'make test           every test that needs nothing but Rust, cc, make and openssl'
	@echo 'make examples       the library, and every C program into $(OUT)/'
	@echo 'make header         write include/dari.h; check-header: is it up to date, do both compile'
	@echo 'make install        headers, libraries, dari.pc; PREFIX=$(PREFIX) LIBDIR= DESTDIR='
	@echo 'make uninstall      takes them away again'
	@echo 'make rust-test c-test examples-test docs-test   parts of `make test`'
	@echo 'make model              every order of what threads do to the queue between them (loom)'
	@echo 'make autobahn interop http browser differential suites that need more; each says what'
	@echo 'make autobahn-full                        all 517 cases in both roles, some 20 minutes'
	@echo 'make sanitize valgrind                    c-test and examples-test under them'
	@echo 'make bench                                dari beside raw TCP and its peers; BENCH=--quick, BENCH=--help'
	@echo 'make bench-peers                          installs who is measured beside it (see bench/peers/README.md)'
	@echo 'make bench-docs                           writes what `make bench` found into docs/performance.md'
	@echo 'make callgrind                            instructions of a message, C beside Rust'
	@echo 'make microbench                           the parts by themselves: frames, texts, topics, timers, ids (criterion)'
	@echo 'make clean          removes target/'

# ------------------------------------------------------------------ Building

.PHONY: need lib examples run clean FORCE
need:
	@sh tests/examples/need.sh '$(RUST_VERSION)'

lib: $(LIB)

# Cargo knows best what is out of date. It leaves the library alone if nothing
# is, and then make leaves alone what was built on it.
$(LIB): FORCE
	@mkdir -p target
	@{ $(CARGO) rustc --release --locked -p dari-ffi --lib -- --print native-static-libs; echo "status $$?"; } 2>&1 \
	    | tee target/cargo.log | grep -v -e '^note: link against the following' -e '^note: native-static-libs' -e '^status' -e '^$$' || true
	@grep -qx 'status 0' target/cargo.log
	@sed -n 's/^note: native-static-libs: //p' target/cargo.log >$(NATIVE)

examples: $(PROGRAMS)

$(OUT)/chat: $(wildcard examples-c/chat/*.c examples-c/chat/*.h) include/dari.h $(LIB) | $(OUT)
	$(CC) -std=c99 $(WARN) $(CFLAGS) -Iinclude examples-c/chat/*.c $(LIB) $$(cat $(NATIVE)) $(LDFLAGS) -o $@

$(OUT)/%: %.c $(LIB) | $(OUT)
	$(CC) -std=c99 $(WARN) $(CFLAGS) -Iinclude -MMD -MP -MF $(OUT)/.d/$(@F).d $< $(LIB) $$(cat $(NATIVE)) $(LDFLAGS) -o $@

$(OUT)/%_cpp: %.cpp $(LIB) | $(OUT)
	$(CXX) -std=c++17 $(WARN) $(CXXFLAGS) -Iinclude -MMD -MP -MF $(OUT)/.d/$(@F).d $< $(LIB) $$(cat $(NATIVE)) $(LDFLAGS) -o $@

$(OUT):
	mkdir -p $@/.d

-include $(wildcard $(OUT)/.d/*.d)

run: need $(OUT)/chat
	@exec $(OUT)/chat $(ADDRESS)

clean:
	rm -rf target tests/browser/node_modules

# ------------------------------------------------------------------- Testing

.PHONY: test rust-test header check-header c-test examples-test docs-test
.PHONY: autobahn autobahn-server autobahn-client autobahn-full interop http browser differential model format sanitize valgrind
test: need
	@MAKE='$(MAKE)' sh tests/examples/summary.sh rust-test check-header c-test examples-test docs-test

rust-test:
	$(CARGO) test --workspace --locked

header:
	$(CARGO) run -q -p header-gen --locked

check-header: $(LIB)
	@sh tests/examples/header.sh

c-test: $(PROGRAMS)
	@sh tests/examples/programs.sh $(filter $(OUT)/test_%,$(PROGRAMS))

examples-test: $(PROGRAMS)
	@sh tests/examples/run.sh $(OUT)

docs-test:
	@sh tests/docs/check.sh

interop http browser: $(PROGRAMS)
	tests/$@/run

differential:
	tests/$@/run

model:
	$(CARGO) test --release --locked --lib --manifest-path tests/model/Cargo.toml --target-dir target/model

format:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path tests/differential/Cargo.toml
	$(CARGO) fmt --check --manifest-path tests/model/Cargo.toml

# All but the slow half of the compressed cases, which is of longer messages.
AUTOBAHN := [1-7].*,9.*,10.*,12.[1-5].[1-6],12.[1-5].11,13.[1-7].[1-6],13.[1-7].11
autobahn: autobahn-server autobahn-client
autobahn-server autobahn-client: $(PROGRAMS)
	tests/autobahn/run $(@:autobahn-%=%) --cases '$(AUTOBAHN)'

autobahn-full: $(PROGRAMS)
	tests/autobahn/run server --cases '*' --timeout 3600
	tests/autobahn/run client --cases '*' --timeout 3600

SANITIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
sanitize:
	@MAKE='$(MAKE)' OUT=target/c-asan CFLAGS='$(SANITIZE)' CXXFLAGS='$(SANITIZE)' sh tests/examples/summary.sh c-test examples-test

valgrind: $(PROGRAMS)
	@MAKE='$(MAKE)' sh tests/examples/memcheck.sh

# ----------------------------------------------------------------- Measuring

.PHONY: bench bench-peers bench-docs bench-smoke callgrind microbench
# Options of the runner. dari is measured as a user builds it: in C, on the static library.
BENCH ?= --full
bench: $(OUT)/echo_server
	$(CARGO) build --release --locked -p dari-bench
	target/release/bench $(BENCH)

bench-peers:
	bench/peers/install target/peers

bench-docs:
	bench/publish target/bench

# Whether measuring works: what it finds without optimisation is nothing to go by.
bench-smoke: $(OUT)/echo_server
	$(CARGO) build --locked -p dari-bench
	target/debug/bench --quick --rounds 1 --servers raw,dari --out target/bench-smoke

callgrind: $(OUT)/echo_server
	$(CARGO) build --release --locked -p dari-bench
	bench/callgrind

# Short, since there are many: some 3 minutes. For figures to compare, MICRO=.
MICRO ?= --warm-up-time 0.2 --measurement-time 0.5 --sample-size 20
microbench:
	$(CARGO) bench -p dari-bench --locked -- $(MICRO)

# ---------------------------------------------------------------- Installing

define PC
prefix=$(PREFIX)
libdir=$(LIBDIR)
includedir=$${prefix}/include

Name: dari
Description: WebSocket servers and clients on one event loop
Version: $(VERSION)
Cflags: -I$${includedir}
Libs: -L$${libdir} -ldari
Libs.private: $(file <$(NATIVE))
endef

.PHONY: install uninstall
# As root there may be no cargo: then what is built is installed.
install:
	@if command -v $(CARGO) >/dev/null; then $(MAKE) --no-print-directory lib; fi
	@test -f $(LIB) || { echo 'make install: nothing is built yet; run make lib first'; exit 1; }
	@$(MAKE) --no-print-directory put

.PHONY: put
put: export PC := $(PC)
put:
	install -d '$(DESTDIR)$(PREFIX)/include' '$(DESTDIR)$(LIBDIR)/pkgconfig'
	install -m 644 include/dari.h include/dari.hpp '$(DESTDIR)$(PREFIX)/include'
	install -m 644 $(LIB) '$(DESTDIR)$(LIBDIR)/libdari.a'
	install -m 755 target/release/libdari.so '$(DESTDIR)$(LIBDIR)/libdari.so.$(VERSION)'
	ln -sf libdari.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/libdari.so'
	printenv PC >'$(DESTDIR)$(LIBDIR)/pkgconfig/dari.pc'

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/include/dari.h' '$(DESTDIR)$(PREFIX)/include/dari.hpp' '$(DESTDIR)$(LIBDIR)/libdari.a' '$(DESTDIR)$(LIBDIR)/pkgconfig/dari.pc'
	rm -f '$(DESTDIR)$(LIBDIR)/libdari.so' '$(DESTDIR)$(LIBDIR)/$(SONAME)' '$(DESTDIR)$(LIBDIR)/libdari.so.$(VERSION)'
