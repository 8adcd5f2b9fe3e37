# Daybook: `make help` lists the targets.
#
# One make, not recursive: this file has the settings, mk/ the rules by subject, in the order in which
# they build on each other. Objects of a variant (release, a sanitizer's, or another compiler's) stand
# below build/<variant>, generated sources below build/gen. A folder services/<name> becomes the
# binary daybook-<name> and an archive of all but main.c, against which its tests link.
#
#     make all WERROR=1            make unit SAN=address            make all CC=clang            make V=1

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
IS_CLANG := $(findstring clang,$(CC))
VARIANT := $(or $(SAN),$(if $(IS_CLANG),clang,release))
BUILD ?= build
B := $(BUILD)/$(VARIANT)
GEN := $(BUILD)/gen
BIN := $(B)/bin
Q := $(if $(V),,@)

VERSION := $(shell cat VERSION 2>/dev/null || echo 0.0.0)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# Errors in any build, in generated code too: what is called or passed is not what was meant. gcc takes the last one with
# -Wformat only.
MISTAKES := -Wformat $(addprefix -Werror=,implicit int-conversion incompatible-pointer-types format-security)

# What clang has under the same names but means otherwise: strings in assert(!"..."), empty strings that
# protobuf-c's INIT macros cast, formats handed on to vsnprintf, | for "both, whatever the first says".
WARN_CLANG := -Wno-string-conversion -Wno-cast-qual -Wno-format-nonliteral -Wno-bitwise-instead-of-logical \
	-Wno-error=unused-variable
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wundef \
	-Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wcast-qual \
	-Wimplicit-fallthrough -Wnull-dereference -fno-common $(if $(WERROR),-Werror) \
	$(if $(IS_CLANG),$(WARN_CLANG),-Wtrampolines -Wbidi-chars=any)
# gcc heeds -Wnull-dereference only without -fno-delete-null-pointer-checks:
# make VARIANT=null CFLAGS=-fdelete-null-pointer-checks WERROR=1 all
HARDEN := -fstack-protector-strong -fstack-clash-protection -fno-strict-aliasing -fno-strict-overflow \
	-fno-delete-null-pointer-checks -fPIE
# Besides, of what is shipped: see tools/check-hardening.sh; and names of files that are the same in any checkout.
MACHINE := $(shell uname -m)
HARDEN_MORE := -fexceptions '-ffile-prefix-map=$(CURDIR)=.' $(if $(filter x86_64,$(MACHINE)),-fcf-protection=full) \
	$(if $(filter aarch64,$(MACHINE)),-mbranch-protection=standard)
PKGS := libzmq libsodium libprotobuf-c libpq hiredis jansson libcurl libmicrohttpd libcrypto zlib
# Asked once; before `make deps` there is nobody to ask, and nothing is built then.
PKG_CONFIG := $(shell command -v pkg-config || true)
PKG_CFLAGS := $(if $(PKG_CONFIG),$(shell pkg-config --cflags $(PKGS) 2>/dev/null || true))
PKG_LIBS := $(if $(PKG_CONFIG),$(shell pkg-config --libs $(PKGS) 2>/dev/null || true))
INCLUDES := -I. -I$(GEN) -isystem $(GEN)/proto $(PKG_CFLAGS)
CFLAGS_COMMON := -std=c17 -D_GNU_SOURCE $(INCLUDES) -MMD -MP -g $(MISTAKES)
ifeq ($(SAN),address)
CFLAGS_VARIANT := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_VARIANT := -fsanitize=address,undefined
else ifeq ($(SAN),thread)
CFLAGS_VARIANT := -O1 -fsanitize=thread -fno-omit-frame-pointer
LDFLAGS_VARIANT := -fsanitize=thread
else ifeq ($(VARIANT),coverage)
# `make coverage`; threads raise the same counters.
CFLAGS_VARIANT := -O0 --coverage -fprofile-update=atomic
LDFLAGS_VARIANT := --coverage
else
# clang's fortified calls are macros, which the list of banned functions cannot poison (common/base.h).
CFLAGS_VARIANT := -O2 -U_FORTIFY_SOURCE $(HARDEN_MORE) \
	$(if $(IS_CLANG),,-D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero)
# Not -z nodlopen: the linker marks shared libraries with it and leaves a program as it was, and the loader opens no
# position-independent program anyway.
LDFLAGS_VARIANT := -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,--as-needed
endif
CFLAGS_ALL = $(CFLAGS_COMMON) $(HARDEN) $(CFLAGS_VARIANT) $(CFLAGS)
LDLIBS_ALL = $(PKG_LIBS) -lpthread -lm
LDFLAGS_ALL = -pie $(LDFLAGS_VARIANT) $(LDFLAGS)
JOBS := -j$(shell nproc)

.DEFAULT_GOAL := help
.PHONY: help
help:
	@grep -hE '^[a-z][a-z-]*:.*##' mk/{local,tests,interop,lint,analysis,fuzz,bench,binaries,image,deploy,package}.mk | sed -E 's/:.*## /\t/' | expand -t 24

include mk/local.mk
include mk/generate.mk
include mk/binaries.mk
include mk/interop.mk
include mk/tests.mk
include mk/fuzz.mk
include mk/lint.mk
include mk/analysis.mk
include mk/bench.mk
include mk/image.mk
include mk/deploy.mk
include mk/package.mk

# What each object was made of, as the compiler wrote it down; none before the first build.
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
