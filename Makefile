# Daybook: `make help` lists the targets.
#
# One make, not recursive. Objects of a variant (release, or a sanitizer's) stand below
# build/<variant>, generated sources below build/gen. A folder services/<name> becomes the binary
# daybook-<name> and an archive of all but main.c, against which its tests link.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
VARIANT := $(if $(SAN),$(SAN),release)
BUILD ?= build
B := $(BUILD)/$(VARIANT)
GEN := $(BUILD)/gen
BIN := $(B)/bin
Q := $(if $(V),,@)

VERSION := $(shell cat VERSION 2>/dev/null || echo 0.0.0)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wundef \
	-Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wcast-qual \
	-Wimplicit-fallthrough -fno-common $(if $(WERROR),-Werror)
HARDEN := -fstack-protector-strong -fstack-clash-protection -fno-strict-aliasing -fno-strict-overflow \
	-fno-delete-null-pointer-checks -fPIE
PKGS := libzmq libsodium libprotobuf-c libpq hiredis jansson libcurl
# Asked once; before `make deps` there is nobody to ask, and nothing is built then.
PKG_CONFIG := $(shell command -v pkg-config || true)
PKG_CFLAGS := $(if $(PKG_CONFIG),$(shell pkg-config --cflags $(PKGS) 2>/dev/null || true))
PKG_LIBS := $(if $(PKG_CONFIG),$(shell pkg-config --libs $(PKGS) 2>/dev/null || true))
INCLUDES := -I. -I$(GEN) -isystem $(GEN)/proto $(PKG_CFLAGS)
CFLAGS_COMMON := -std=c17 -D_GNU_SOURCE $(INCLUDES) -MMD -MP -g
ifeq ($(SAN),address)
CFLAGS_VARIANT := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_VARIANT := -fsanitize=address,undefined
else ifeq ($(SAN),thread)
CFLAGS_VARIANT := -O1 -fsanitize=thread -fno-omit-frame-pointer
LDFLAGS_VARIANT := -fsanitize=thread
else
CFLAGS_VARIANT := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LDFLAGS_VARIANT := -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
endif
CFLAGS_ALL = $(CFLAGS_COMMON) $(HARDEN) $(CFLAGS_VARIANT) $(CFLAGS)
LDLIBS_ALL = $(PKG_LIBS) -lpthread -lm
LDFLAGS_ALL = -pie $(LDFLAGS_VARIANT) $(LDFLAGS)

# --- generated sources ---------------------------------------------------------------------------
PROTOS := $(shell find proto -name '*.proto' | sort)
WKT := any duration empty field_mask struct timestamp wrappers descriptor
WKT_PROTOS := $(WKT:%=google/protobuf/%.proto)
PROTO_REL := $(PROTOS:proto/%=%)
PROTO_C := $(PROTO_REL:%.proto=$(GEN)/proto/%.pb-c.c) $(WKT_PROTOS:%.proto=$(GEN)/proto/%.pb-c.c)
PROTO_STAMP := $(GEN)/proto.stamp
SCHEMA_C := $(GEN)/schema_data.c

$(PROTO_STAMP): $(PROTOS)
	@mkdir -p $(GEN)/proto
	@echo "  PROTO"
	$(Q)protoc -Iproto -I/usr/include --c_out=$(GEN)/proto $(PROTO_REL) $(WKT_PROTOS)
	$(Q)protoc -Iproto -I/usr/include --include_imports --include_source_info \
		--descriptor_set_out=$(GEN)/daybook.pb $(PROTO_REL) $(filter-out %/descriptor.proto,$(WKT_PROTOS))
	@touch $@

$(PROTO_C): $(PROTO_STAMP)
	@:

# The descriptor set as bytes, and a table of every message and enum descriptor by C symbol.
$(SCHEMA_C): $(PROTO_STAMP) tools/schema2c.sh
	@echo "  SCHEMA"
	$(Q)tools/schema2c.sh $(GEN)/proto $(GEN)/daybook.pb > $@

# sql/<name>.sql -> sql_<name>; migrations/*.sql -> <area>_migrations[]
AREAS := $(patsubst services/%/,%,$(sort $(dir $(wildcard services/*/*.c))))
SQL_AREAS := common cli $(AREAS:%=services/%)
SQL_C :=
SQL_H :=
MIGRATIONS_C :=
define sql_rules
ifneq ($(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql),)
SQL_C += $(GEN)/$(1)/sql.c $(GEN)/$(1)/migrations.c
MIGRATIONS_C += $(GEN)/$(1)/migrations.c
SQL_H += $(GEN)/$(1)/sql.h
$(GEN)/$(1)/sql.c: $(sort $(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql)) tools/sql2c.awk
	@mkdir -p $$(@D)
	@echo "  SQL     $(1)"
	$(Q)awk -v mode=c -v area=$(notdir $(1)) -v header=$(1)/sql.h -f tools/sql2c.awk $$(filter %.sql,$$^) > $$@
$(GEN)/$(1)/migrations.c: $(sort $(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql)) tools/sql2c.awk
	@mkdir -p $$(@D)
	$(Q)awk -v mode=m -v area=$(notdir $(1)) -v header=$(1)/sql.h -f tools/sql2c.awk $$(filter %.sql,$$^) > $$@
$(GEN)/$(1)/sql.h: $(sort $(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql)) tools/sql2c.awk
	@mkdir -p $$(@D)
	$(Q)awk -v mode=h -v area=$(notdir $(1)) -f tools/sql2c.awk $$(filter %.sql,$$^) > $$@
endif
endef
$(foreach a,$(SQL_AREAS),$(eval $(call sql_rules,$(a))))

GENERATED := $(PROTO_STAMP) $(SQL_H)

# --- objects -------------------------------------------------------------------------------------
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
genobj = $(patsubst $(GEN)/%.c,$(B)/obj/gen/%.o,$(1))

$(B)/obj/gen/%.o: $(GEN)/%.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -w -c -o $@ $<

$(B)/obj/%.o: %.c $(B)/flags | $(GENERATED)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(WARN) -DDAYBOOK_VERSION='"$(VERSION)"' -c -o $@ $<

$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS_ALL) $(WARN) $(VERSION)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL) $(WARN) $(VERSION)' > $@
.PHONY: FORCE
FORCE:

# Only this object knows the commit, so that a commit does not rebuild the house.
$(B)/obj/common/version.o: private CFLAGS += -DDAYBOOK_COMMIT='"$(COMMIT)"'

COMMON_LIB := $(B)/libdaybook.a
PROTO_LIB := $(B)/libdaybook_proto.a
$(COMMON_LIB): $(call obj,$(wildcard common/*.c)) $(call genobj,$(filter $(GEN)/common/%,$(SQL_C))) $(call genobj,$(SCHEMA_C))
	@rm -f $@; ar rcs $@ $^
$(PROTO_LIB): $(call genobj,$(PROTO_C))
	@rm -f $@; ar rcs $@ $^

define area_rules
AREA_LIB_$(1) := $(B)/lib$(1).a
$(B)/lib$(1).a: $(call obj,$(filter-out services/$(1)/main.c,$(wildcard services/$(1)/*.c))) $(call genobj,$(filter $(GEN)/services/$(1)/%,$(SQL_C)))
	@mkdir -p $$(@D); rm -f $$@; ar rcs $$@ $$^
$(BIN)/daybook-$(1): $(call obj,services/$(1)/main.c) $(B)/lib$(1).a $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $$(@D)
	@echo "  LINK    daybook-$(1)"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $$@ $$^ $(LDLIBS_ALL)
endef
$(foreach a,$(AREAS),$(eval $(call area_rules,$(a))))
DAEMONS := $(foreach a,$(AREAS),$(if $(wildcard services/$(a)/main.c),$(BIN)/daybook-$(a)))

# The command-line tool carries every area's migrations, so that `daybook migrate` needs no daemon.
CLI_SRC := $(wildcard cli/*.c)
CLI_BIN := $(if $(CLI_SRC),$(BIN)/daybook)
$(BIN)/daybook: $(call obj,$(CLI_SRC)) $(call genobj,$(filter $(GEN)/services/%,$(MIGRATIONS_C)) $(filter $(GEN)/cli/%,$(SQL_C))) \
		$(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    daybook"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# --- tests ---------------------------------------------------------------------------------------
# tests/unit/<area>_<module>_test.c links against that area's archive (common_ needs none).
TEST_SUPPORT := $(call obj,$(wildcard tests/support/*.c))
UNIT_SRC := $(wildcard tests/unit/*_test.c)
INTEGRATION_SRC := $(wildcard tests/integration/*_test.c)
UNIT_BINS := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/unit/%)
INTEGRATION_BINS := $(INTEGRATION_SRC:tests/integration/%.c=$(B)/tests/integration/%)
area_of = $(firstword $(subst _, ,$(notdir $(1))))
define test_rules
$(B)/tests/$(1)/$(2): $(B)/obj/tests/$(1)/$(2).o $(TEST_SUPPORT) $(if $(filter $(call area_of,$(2)),$(AREAS)),$(B)/lib$(call area_of,$(2)).a) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $$(@D)
	$(Q)$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $(LDLIBS_ALL) -lcmocka
endef
$(foreach t,$(UNIT_SRC),$(eval $(call test_rules,unit,$(basename $(notdir $(t))))))
$(foreach t,$(INTEGRATION_SRC),$(eval $(call test_rules,integration,$(basename $(notdir $(t))))))

.DEFAULT_GOAL := help
.PHONY: help all deps unit integration acceptance test check-sql fuzz bench lint format demo down clean
.PHONY: test-all
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

deps: ## install what building, running and testing need (Debian packages)
	@deploy/local/deps.sh

all: $(DAEMONS) $(CLI_BIN) ## build all daemons and the daybook command

unit: $(UNIT_BINS) ## unit tests (need no server)
	$(Q)tools/run-tests.sh $(UNIT_BINS)

integration: all $(INTEGRATION_BINS) ## integration tests on throw-away PostgreSQL and Redis
	$(Q)DAYBOOK_BIN="$(CURDIR)/$(BIN)" tools/run-tests.sh $(INTEGRATION_BINS)

# What is missing is installed first; the rest is another make, whose variables see it.
test: ## everything, from a bare machine: the tests, under sanitizers too
	@deploy/local/deps.sh
	@$(MAKE) --no-print-directory test-all

JOBS := -j$(shell nproc)
test-all:
	@tests/run-all.sh $(JOBS)

VENV := $(BUILD)/venv
$(VENV)/ok: tests/requirements.txt
	@echo "  VENV"
	$(Q)python3 -m venv $(VENV)
	$(Q)$(VENV)/bin/pip --quiet --disable-pip-version-check install -r tests/requirements.txt
	@touch $@

acceptance: all $(VENV)/ok ## black-box tests by independent clients (Python)
	$(Q)DAYBOOK_BIN="$(CURDIR)/$(BIN)" DAYBOOK_GEN="$(CURDIR)/$(BUILD)/pygen" \
		$(VENV)/bin/python -m pytest -q tests/acceptance $(PYTEST_ARGS)

CRASH = DAYBOOK_BIN="$(CURDIR)/$(BIN)" DAYBOOK_GEN="$(CURDIR)/$(BUILD)/pygen" \
	$(VENV)/bin/python -m pytest -q tests/crash $(PYTEST_ARGS)
.PHONY: crash crash-check
crash: all $(VENV)/ok ## kill each daemon 20 times under load, restart PostgreSQL, lose Redis; then judge
	$(Q)CRASH_KILLS=$${CRASH_KILLS:-20} $(CRASH)
crash-check: all $(VENV)/ok ## the same with one kill of each
	$(Q)$(CRASH)

# --- the local stack -----------------------------------------------------------------------------
demo: ## build, start the local stack, play the sample week, leave the stack running
	@deploy/local/deps.sh --run-only
	@$(MAKE) --no-print-directory $(JOBS) all
	@deploy/demo/run.sh

down: ## stop the local stack
	@deploy/local/stack down

clean: ## stop the local stack and remove all that was made
	@deploy/local/stack remove
	@rm -rf $(BUILD)

format: ## clang-format the C files
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i

-include Makefile.targets
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
