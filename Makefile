# Cora: asyncio for C. `make help` explains the targets; every one does its own set-up.
#
# Everything is built below build/; a build with a sanitizer or another compiler has a folder of its
# own there (OUT). Sources are found by their place: <folder>/*.c is the library, a header whose first
# paragraph says "(private)" is not installed, test/<folder>/test_*.c are tests.

VERSION   := 0.1.0
SOVERSION := 0
BUILD     ?= build
PREFIX    ?= /usr/local
SHARED    ?= ../shared
ifeq ($(origin CC),default)
CC        := gcc
endif
ifeq ($(origin CXX),default)
CXX       := g++
endif

# A host that embeds a libev of its own passes its flags here.
EV_CFLAGS ?=
EV_LIBS   ?= -lev
READELF   ?= readelf
OBJCOPY   ?= objcopy

# SAN=address,undefined or SAN=thread; WERROR=1 makes warnings errors, as CI does.
SAN       ?=
WERROR    ?=
comma     := ,
FLAVOUR   := $(subst $(comma),-,$(SAN))$(if $(filter-out gcc,$(notdir $(CC))),$(if $(SAN),-)$(notdir $(CC)))
OUT       := $(BUILD)$(if $(FLAVOUR),/$(FLAVOUR))
SANFLAGS  := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)

WARNINGS  := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Wvla -Wformat=2 -Wcast-qual \
             -Wswitch-enum -Wimplicit-fallthrough
C_ONLY    := -Wstrict-prototypes -Wmissing-prototypes
CFLAGS    ?= -O2 -g
# What does not run all the time is made small. Nowhere are jumps and functions padded (it saves no time,
# measured), nor are there tables for unwinding: C++ exceptions do not go through Cora (docs/limits.md).
COLD      := $(addprefix reactor/,child connector context error error_details exception_handler fork fork_server loop outcome \
               pipe_transport process_manager process_pool process_transport resolver server signal spawn thread_future \
               thread_pool value_codec watcher) \
             $(addprefix futures/,as_completed call_graph connection generator process run_in_executor runner shield sock \
               staggered \
               stream task_group task_inspect timeout wait wait_for with) \
             $(addprefix sync/,barrier condition event semaphore) \
             $(addprefix queue/,lifo_queue priority_queue)
SMALL     := $(if $(SAN),,-fno-asynchronous-unwind-tables -falign-functions=8 \
               $(if $(findstring clang,$(CC)),,-fno-align-jumps))
COMPILE    = $(CC) -std=c11 -D_GNU_SOURCE $(CFLAGS) $(SMALL) $(WARNINGS) $(C_ONLY) $(if $(WERROR),-Werror) \
             $(SANFLAGS) -fPIC -fno-semantic-interposition -fvisibility=hidden -MMD -MP -I$(OUT)/include -I. -Itest/harness -Itest/virtual_clock $(EV_CFLAGS)
LINK       = $(CC) $(CFLAGS) $(SANFLAGS)
LIBS       = $(EV_LIBS) -pthread

FOLDERS   := reactor futures sync queue
SOURCES   := $(wildcard $(FOLDERS:=/*.c))
OBJECTS   := $(SOURCES:%.c=$(OUT)/obj/%.o)
HEADERS   := $(shell grep -L '(private)' $(wildcard $(FOLDERS:=/*.h)))
INSTALLED := $(addprefix $(OUT)/include/cora/,$(notdir $(HEADERS)) virtual_clock.h)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help demo check check-long oracle rosetta fuzz reliability bench size catalogue tidy \
        install uninstall setup setup-core setup-test setup-bench clean format

all: setup-core library

help:
	@echo 'make               builds $(BUILD)/libcora.a and $(BUILD)/libcora.so'
	@echo 'make demo          crawls pages of a server in the same loop: the main job;'
	@echo '                   STYLE=steps the same job told in steps, on streams'
	@echo 'make check         runs all tests; T=name one of them; SAN=address,undefined or thread;'
	@echo '                   BACKEND=select|poll|epoll; WRAPPER="valgrind -q" runs each under it'
	@echo 'make reliability   the reliability checks alone (part of check)'
	@echo 'make rosetta       the Python programs told in C, compared with their output'
	@echo 'make fuzz FOR=60   random public calls under ASan and UBSan for so many seconds'
	@echo 'make check-long    check, a hundred megabytes in pieces, two thousand killed workers, then'
	@echo '                   ten million fuzzed calls'
	@echo 'make bench         compares with the peers that are installed; W=W1a one workload'
	@echo 'make size          sizes of objects and lines of code against their limits'
	@echo 'make catalogue     how many behaviours of CPython'"'"'s tests the last make check covered; PIECE=loop one piece'
	@echo 'make oracle        traces of random programs against those of CPython 3.14'
	@echo 'make install       into PREFIX ($(PREFIX)) below DESTDIR; make uninstall removes it'
	@echo 'make setup         installs every package that a target needs'
	@echo 'make tidy, format  clang-tidy; clang-format over the sources'

# ---- packages: installed where that is possible, else the one command is printed ----

define need # $(1) packages: installs those that are missing
	@missing=; for p in $(1); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -z "$$missing" ] || ! command -v apt-get >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null; then sudo=sudo; \
	else echo "please run: apt-get install -y$$missing" >&2; exit 1; fi; \
	echo "installing$$missing"; \
	{ $$sudo apt-get update -q && \
	  DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends $$missing; \
	} >$(BUILD)/setup.log 2>&1 || { cat $(BUILD)/setup.log >&2; exit 1; }
endef

$(BUILD)/.made:
	@mkdir -p $(BUILD) && touch $@

setup-core: $(BUILD)/.made
	$(call need,gcc libc6-dev libev-dev)
setup-test: setup-core
	$(call need,g++ pkg-config procps)
# Peers that are only measured where the distribution has them.
BENCH_OTHERS := wrk strace valgrind libglib2.0-dev nodejs golang-go cargo rustc librust-tokio-dev librust-futures-util-dev
setup-bench: setup-test
	$(call need,libuv1-dev libevent-dev libtevent-dev libtalloc-dev python3 python3-uvloop gnuplot-nox)
	-$(call need,$$(for p in $(BENCH_OTHERS); do apt-cache show $$p >/dev/null 2>&1 && echo $$p; done))
setup: setup-bench
	$(call need,clang libclang-rt-14-dev llvm valgrind faketime clang-tidy clang-format)
	$(call need,curl nginx-light wrk)

# ---- the library ----

library: $(OUT)/libcora.a $(OUT)/libcora.so $(OUT)/libcora_virtual_clock.a $(OUT)/cora.pc

$(if $(SAN),,$(COLD:%=$(OUT)/obj/%.o)): SMALL += -Os
$(OUT)/obj/%.o: %.c | $(INSTALLED) $(OUT)/include/cora.h
	@mkdir -p $(@D)
	$(COMPILE) -c $< -o $@

# In the static library the library's own names get a prefix, so that a program may use them, too.
$(OUT)/libcora.a: $(OBJECTS)
	@rm -rf $@ $(OUT)/archive && mkdir -p $(OUT)/archive
	@$(READELF) -sW $^ | awk '$$5 == "GLOBAL" && $$6 == "HIDDEN" { print $$8, "cora_private_" $$8 }' | \
	  sort -u >$(OUT)/archive/names
	@for o in $^; do $(OBJCOPY) --redefine-syms=$(OUT)/archive/names $$o $(OUT)/archive/$$(basename $$o); done
	$(AR) rcs $@ $(OUT)/archive/*.o

$(OUT)/libcora.so.$(SOVERSION): $(OBJECTS)
	$(LINK) -shared -Wl,-soname,libcora.so.$(SOVERSION),-Bsymbolic-functions,-z,pack-relative-relocs $(if $(SAN),,-Wl,-z,defs) -o $@ $^ $(LIBS)

$(OUT)/libcora.so: $(OUT)/libcora.so.$(SOVERSION)
	ln -sf libcora.so.$(SOVERSION) $@

$(OUT)/libcora_virtual_clock.a: $(OUT)/obj/test/virtual_clock/virtual_clock.o
	@rm -f $@
	$(AR) rcs $@ $^

define copy_header
$(OUT)/include/cora/$(notdir $(1)): $(1)
	@mkdir -p $$(@D)
	@cp $$< $$@
endef
$(foreach header,$(HEADERS) test/virtual_clock/virtual_clock.h,$(eval $(call copy_header,$(header))))

$(OUT)/include/cora.h: Makefile $(HEADERS)
	@mkdir -p $(@D)
	@{ echo '/* cora.h: all of Cora. Generated; each header is readable on its own. */'; \
	   echo '#ifndef CORA_H'; echo '#define CORA_H'; echo; \
	   for h in $(notdir $(HEADERS)); do echo "#include <cora/$$h>"; done; \
	   echo; echo '#endif'; } >$@

FORCE:
.PHONY: FORCE
$(OUT)/cora.pc: FORCE # holds PREFIX, which may be another one each time
	@mkdir -p $(@D)
	@{ echo 'prefix=$(PREFIX)'; echo 'libdir=$${prefix}/lib'; echo 'includedir=$${prefix}/include'; \
	   echo; echo 'Name: cora'; echo 'Description: asyncio for C, on libev'; echo 'Version: $(VERSION)'; \
	   echo 'Libs: -L$${libdir} -lcora'; echo 'Libs.private: $(EV_LIBS) -pthread'; \
	   echo 'Cflags: -I$${includedir}'; } >$@

install: library
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/cora
	install -m 644 $(INSTALLED) $(DESTDIR)$(PREFIX)/include/cora
	install -m 644 $(OUT)/include/cora.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(OUT)/libcora.a $(OUT)/libcora_virtual_clock.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(OUT)/libcora.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib
	ln -sf libcora.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libcora.so
	install -m 644 $(OUT)/cora.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/include/cora $(DESTDIR)$(PREFIX)/include/cora.h
	rm -f $(DESTDIR)$(PREFIX)/lib/libcora* $(DESTDIR)$(PREFIX)/lib/pkgconfig/cora.pc

# ---- examples and rosetta: programs on the installed headers ----

EXAMPLES := $(patsubst docs/examples/%.c,$(OUT)/examples/%,$(wildcard docs/examples/*.c docs/examples/*/*.c))
ROSETTA  := $(patsubst test/rosetta/%.c,$(OUT)/rosetta/%,$(wildcard test/rosetta/[0-9]*.c))

$(OUT)/examples/% $(OUT)/rosetta/%: LIBS += -ldl
$(OUT)/examples/%: $(OUT)/obj/docs/examples/%.o $(OUT)/libcora.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)

$(OUT)/rosetta/%: $(OUT)/obj/test/rosetta/%.o $(OUT)/libcora.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(LIBS)

# The main job is an example of several files.
DEMO := $(wildcard docs/examples/callbacks/demo/*.c)
$(OUT)/demo: $(DEMO:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

# Told in steps it shares most of them.
DEMO_STEPS := $(filter-out %/crawl.c %/fetch.c,$(DEMO)) $(wildcard docs/examples/steps/crawler/*.c)
$(OUT)/demo_steps: $(DEMO_STEPS:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

demo: setup-core $(OUT)/demo$(STYLE:%=_%)
	@$(OUT)/demo$(STYLE:%=_%)

rosetta: setup-core $(ROSETTA)
	@test/rosetta/test_rosetta.sh $(OUT)

# ---- tests ----

# A folder's tests link against it and the folders before it: an upward call is a link error.
$(foreach folder,$(FOLDERS),$(eval \
  $(OUT)/lib/$(folder).a: $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard $(folder)/*.c))))
$(OUT)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(OUT)/test/%: LIBS += -lm # the library needs none: loading it is a tenth of a small program's start
HARNESS := $(OUT)/obj/test/harness/harness.o $(OUT)/obj/test/virtual_clock/virtual_clock.o
LIVE    := $(OUT)/obj/test/harness/live.o
UPTO_reactor := reactor
UPTO_futures := futures reactor
UPTO_sync    := sync futures reactor
UPTO_queue   := queue sync futures reactor

# $(1) folder of tests, $(2) folders of the library
define test_rule
$(OUT)/test/$(1)/%: $(OUT)/obj/test/$(1)/%.o $(HARNESS) $(if $(2),$(LIVE)) $(patsubst %,$(OUT)/lib/%.a,$(2))
	@mkdir -p $$(@D)
	$$(LINK) -o $$@ $$< $(HARNESS) $(if $(2),$(LIVE)) $(patsubst %,$(OUT)/lib/%.a,$(2)) $$(LIBS)
endef
$(foreach folder,$(FOLDERS),$(eval $(call test_rule,$(folder),$(UPTO_$(folder)))))
$(eval $(call test_rule,harness,))
$(eval $(call test_rule,virtual_clock,))
$(eval $(call test_rule,reliability,$(UPTO_queue)))
$(eval $(call test_rule,examples,$(UPTO_queue)))
$(eval $(call test_rule,fault,$(UPTO_queue)))
$(OUT)/test/fault/%: LIBS += -Wl,--wrap=malloc,--wrap=realloc,--wrap=mmap

programs = $(patsubst test/%.c,$(OUT)/test/%,$(wildcard $(1)))
UNIT_TESTS  := $(call programs,test/harness/test_*.c test/virtual_clock/test_*.c test/fault/test_*.c $(FOLDERS:%=test/%/test_*.c))
RELIABILITY := $(call programs,test/reliability/[0-9]*.c)
EXAMPLE_TESTS := $(call programs,test/examples/test_*.c)
SCRIPTS     := $(wildcard test/*/test_*.sh)

RUN = OUT=$(OUT) SHARED=$(SHARED) MAKE="$(MAKE)" CC="$(CC)" CXX="$(CXX)" SAN="$(SAN)" \
      CORA_BACKEND=$(BACKEND) T=$(T) WRAPPER="$(WRAPPER)" test/harness/run.sh $(OUT)/tap$(if $(T)$(ONLY)$(WRAPPER)$(BACKEND),/$(or $(BACKEND),$(if $(WRAPPER),wrapped),some))

# ONLY= names the test programs by words in their paths: ONLY="test_threads reliability/16"; WITHOUT= those
# that are left out of them.
named    = $(foreach word,$(1),$(foreach test,$(2),$(if $(findstring $(word),$(test)),$(test))))
CHECKED := $(UNIT_TESTS) $(RELIABILITY) $(EXAMPLE_TESTS)
ifneq ($(ONLY),)
CHECKED := $(call named,$(ONLY),$(CHECKED))
endif
CHECKED := $(filter-out $(call named,$(WITHOUT),$(CHECKED)),$(CHECKED))

check: setup-test library $(CHECKED) $(OUT)/demo $(OUT)/demo_steps $(OUT)/oracle $(EXAMPLES) $(ROSETTA)
	@$(RUN) $(CHECKED) $(if $(SAN)$(WRAPPER)$(ONLY),,$(SCRIPTS))

reliability: setup-core $(RELIABILITY)
	@$(RUN)/reliability $(RELIABILITY)

# ---- the fuzzer of the public calls ----

FOR   ?= 60
CALLS ?= 0
SEED  ?= 0
FUZZ  := $(wildcard test/fuzz/*.c) test/virtual_clock/virtual_clock.c
$(OUT)/fuzz_calls: $(FUZZ:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

FUZZ_STEPS := $(wildcard test/fuzz/steps/*.c) test/virtual_clock/virtual_clock.c
$(OUT)/fuzz_steps: LIBS += -Wl,--wrap=malloc
$(OUT)/fuzz_steps: $(FUZZ_STEPS:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

FUZZ_ADDRESSES := $(wildcard test/fuzz/addresses/*.c)
$(OUT)/fuzz_addresses: $(FUZZ_ADDRESSES:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

FUZZ_STREAMS := $(wildcard test/fuzz/streams/*.c) test/virtual_clock/virtual_clock.c
$(OUT)/fuzz_streams: $(FUZZ_STREAMS:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

FUZZ_NETWORK := $(wildcard test/fuzz/network/*.c)
$(OUT)/fuzz_network: $(FUZZ_NETWORK:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

FUZZ_PROCESSES := $(wildcard test/fuzz/processes/*.c)
$(OUT)/fuzz_processes: $(FUZZ_PROCESSES:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

FUZZ_EXECUTORS := $(wildcard test/fuzz/executors/*.c)
$(OUT)/fuzz_executors: $(FUZZ_EXECUTORS:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

# The codec is private: not in the names of libcora.a.
$(OUT)/fuzz_codec: $(OUT)/obj/test/fuzz/codec/codec.o $(OUT)/lib/reactor.a
	$(LINK) -o $@ $^ $(LIBS)

# The calls of the callback style, checked by shadows; then coroutines, tasks and all that they do;
# then readers of streams against a model, addresses, connections on real sockets, child processes,
# executors in several threads, and bytes of values.
fuzz: setup-core
	@$(MAKE) --no-print-directory SAN=address,undefined fuzz-run

fuzz-run: $(OUT)/fuzz_calls $(OUT)/fuzz_steps $(OUT)/fuzz_streams $(OUT)/fuzz_addresses $(OUT)/fuzz_network $(OUT)/fuzz_processes $(OUT)/fuzz_executors $(OUT)/fuzz_codec
	@$(OUT)/fuzz_calls $(FOR) $(CALLS) $(SEED)
	@$(OUT)/fuzz_steps $(FOR) $(CALLS) $(SEED)
	@$(OUT)/fuzz_streams $(FOR) $(CALLS) $(SEED)
	@$(OUT)/fuzz_addresses $(FOR) $(CALLS) $(SEED)
	@$(OUT)/fuzz_network $(FOR) $(CALLS) $(SEED)
	@$(OUT)/fuzz_processes $(FOR) $(CALLS) $(SEED)
	@$(OUT)/fuzz_executors $(FOR) $(CALLS) $(SEED)
	@$(OUT)/fuzz_codec $(FOR) $(CALLS) $(SEED)
.PHONY: fuzz-run

LONG := $(addprefix $(OUT)/test/reliability/,28_partial 35_worker_killed)
check-long: check $(LONG)
	@CORA_LONG=1 TEST_LIMIT=300 $(RUN)/long $(LONG)
	@$(MAKE) --no-print-directory fuzz FOR=100000 CALLS=10000000

# ---- the oracle: random programs and CPython's traces of them ----

ORACLE := $(wildcard test/oracle/*.c) test/virtual_clock/virtual_clock.c
$(OUT)/oracle: $(ORACLE:%.c=$(OUT)/obj/%.o) $(OUT)/libcora.a
	$(LINK) -o $@ $^ $(LIBS)

oracle: setup-core $(OUT)/oracle
	@SHARED=$(SHARED) test/oracle/oracle.sh $(OUT)

# ---- measures ----

BENCH_C := $(patsubst test/bench/%.c,%,$(filter-out %/bench.c %/echo_allocations.c,$(wildcard test/bench/*.c)))
LIBS_libuv    := -luv
LIBS_libevent := -levent -levent_pthreads
LIBS_tevent   := -ltevent -ltalloc
LIBS_libev    := -lev
LIBS_glib      = $(shell pkg-config --cflags --libs gio-2.0)
LIBS_cora     := $(EV_LIBS)

$(BUILD)/bench/%: test/bench/%.c test/bench/bench.c test/bench/bench.h $(OUT)/libcora.a
	@mkdir -p $(@D)
	@$(COMPILE) -MF /dev/null $(filter %.c,$^) -o $@ $(if $(filter cora,$*),$(OUT)/libcora.a) \
	  $(LIBS_$*) -lm -pthread || echo 'missing: $* (make setup installs the peers)'

# The servers of W7 and W8, what drives them, and what counts their calls to malloc.
$(BUILD)/bench/echo_%: test/bench/echo_%.c test/bench/echo.h $(OUT)/libcora.a
	@mkdir -p $(@D)
	@$(COMPILE) -MF /dev/null $< -o $@ $(if $(filter cora,$*),$(OUT)/libcora.a) \
	  $(LIBS_$*) -lm -pthread || echo 'missing: $(@F) (make setup installs the peers)'

$(BUILD)/bench/load: test/bench/load.c
	@mkdir -p $(@D)
	@$(COMPILE) -MF /dev/null $< -o $@

$(BUILD)/bench/echo_allocations.so: test/bench/echo_allocations.c
	@mkdir -p $(@D)
	@$(COMPILE) -MF /dev/null -shared $< -o $@

$(BUILD)/bench/go: test/bench/go_peer.go
$(BUILD)/bench/echo_go: test/bench/echo_go.go
$(BUILD)/bench/go $(BUILD)/bench/echo_go:
	@mkdir -p $(@D)
	@GOCACHE=$(abspath $(BUILD)/go-cache) GO111MODULE=off go build -o $@ $< || \
	  echo 'missing: $(@F) (make setup installs the peers)'

# Cargo builds from the crates that the distribution installs, in a folder of its own.
$(BUILD)/bench/tokio $(BUILD)/bench/echo_tokio &: test/bench/tokio_peer.rs test/bench/echo_tokio.rs \
                                                   test/bench/Cargo.toml
	@mkdir -p $(@D) $(BUILD)/cargo
	@cp $^ $(BUILD)/cargo
	@cd $(BUILD)/cargo && cargo build --release --offline --quiet \
	  --config 'source.crates-io.replace-with="distribution"' \
	  --config 'source.distribution.directory="/usr/share/cargo/registry"' && \
	  cp target/release/tokio_peer $(abspath $(BUILD)/bench/tokio) && \
	  cp target/release/echo_tokio $(abspath $(BUILD)/bench/echo_tokio) || \
	  echo 'missing: tokio (make setup installs the peers)'

bench: setup-bench library
	@$(MAKE) --no-print-directory -k $(BENCH_C:%=$(BUILD)/bench/%) \
	  $(addprefix $(BUILD)/bench/,go tokio echo_go echo_tokio echo_allocations.so)
	@W=$(W) ROUNDS=$(ROUNDS) test/bench/run.sh $(BUILD)

$(OUT)/size/sizes: $(OUT)/obj/test/size/sizes.o
	@mkdir -p $(@D)
	$(LINK) -o $@ $<

size: library $(OUT)/size/sizes
	@test/size/size.sh $(OUT)

catalogue:
	@ls $(OUT)/tap/*.tap >/dev/null 2>&1 || $(MAKE) --no-print-directory check
	@PIECE=$(PIECE) test/catalogue/catalogue.sh $(OUT)/tap docs/asyncio-map.md $(SHARED)

tidy: $(INSTALLED) $(OUT)/include/cora.h
	clang-tidy --quiet $(SOURCES) -- -std=c11 -D_GNU_SOURCE -I$(OUT)/include -I.

format:
	clang-format -i $(wildcard $(FOLDERS:=/*.[ch]) test/*/*.[ch] docs/examples/*.[ch] docs/examples/*/*.[ch] docs/examples/*/*/*.[ch])

clean:
	rm -rf $(BUILD)

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
