# Tests: unit (C, no server), integration (C, private servers), acceptance, crash and demo (Python, a
# private stack). tests/run-all.sh runs them all, one stage after the other.

.PHONY: unit integration acceptance acceptance-check test test-all thread-tests crash crash-check chaos soak chaos-check lifecycle lifecycle-check demo-check check-sql check-distribution

# So many at a time: they wait more than they compute. Each of them, and each of pytest's workers, has a network of its own.
TEST_JOBS := $(shell jobs=$$((2 * $$(nproc))); echo $$((jobs < 8 ? jobs : 8)))
OWN_NETWORK := tools/own-network.sh

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

unit: $(UNIT_BINS) ## unit tests (need no server)
	$(Q)JOBS=$(TEST_JOBS) tools/run-tests.sh $(UNIT_BINS)

# Programs that these start.
INTEGRATION_NEEDS := $(DAEMONS) $(CLI_BIN) $(BIN)/test-echo
integration: $(INTEGRATION_NEEDS) $(INTEGRATION_BINS) ## integration tests on throw-away PostgreSQL and Redis
	$(Q)DAYBOOK_BIN="$(CURDIR)/$(BIN)" JOBS=$(TEST_JOBS) tools/run-tests.sh $(INTEGRATION_BINS)

# What is missing is installed first; the rest is another make, whose variables see it.
test: ## everything, from a bare machine: the tests, under sanitizers too
	@deploy/local/deps.sh
	@$(MAKE) --no-print-directory test-all

test-all:
	@tests/run-all.sh $(JOBS)

# --- single test programs that need more ---------------------------------------------------------
# tests/proto/testdata.proto with a schema of its own. It is linked before the archives, so that the
# linker takes this schema_data.o instead of the one in libdaybook.a.
TESTDATA_STAMP := $(GEN)/testdata.stamp
TESTDATA_OBJS := $(B)/obj/gen/testdata/testdata.pb-c.o $(B)/obj/gen/testdata/schema_data.o
TESTDATA_TESTS := common_schema_test common_wire_test common_wire_nul_test common_protojson_test \
	common_protojson_limits_test common_record_test gateway_json_schema_test

$(TESTDATA_STAMP): tests/proto/testdata.proto $(PROTOS) tools/schema2c.sh
	@mkdir -p $(GEN)/testdata
	$(Q)protoc -Iproto -Itests/proto -I/usr/include --c_out=$(GEN)/testdata testdata.proto \
		$(PROTO_REL) $(WKT_PROTOS)
	$(Q)protoc -Iproto -Itests/proto -I/usr/include --include_imports --include_source_info \
		--descriptor_set_out=$(GEN)/testdata.pb testdata.proto $(PROTO_REL) \
		$(filter-out %/descriptor.proto,$(WKT_PROTOS))
	$(Q)tools/schema2c.sh $(GEN)/testdata $(GEN)/testdata.pb > $(GEN)/testdata/schema_data.c
	@touch $@

$(GEN)/testdata/testdata.pb-c.c $(GEN)/testdata/schema_data.c: $(TESTDATA_STAMP)
	@:

$(TESTDATA_TESTS:%=$(B)/obj/tests/unit/%.o): | $(TESTDATA_STAMP)
$(TESTDATA_TESTS:%=$(B)/tests/unit/%): LDFLAGS_ALL += $(TESTDATA_OBJS)
$(TESTDATA_TESTS:%=$(B)/tests/unit/%): | $(TESTDATA_OBJS)

# Our JSON mapping as a filter, with that schema.
JSON_PIPE := $(B)/tests/interop/json_pipe
$(JSON_PIPE): $(call obj,tests/interop/protojson/pipe.c) $(TESTDATA_OBJS) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    $(@F)"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# These say what names lead to, and that a lookup hangs.
DNS_TESTS := common_resolve_test common_bus_peers_test
$(DNS_TESTS:%=$(B)/tests/unit/%): LDFLAGS_ALL += -Wl,--wrap=getaddrinfo

# This test turns the wall clock.
$(B)/tests/unit/common_page_test: LDFLAGS_ALL += -Wl,--wrap=clock_wall_us

# This one has a kernel that does not tell what it has received.
$(B)/tests/unit/gateway_enemies_test: LDFLAGS_ALL += -Wl,--wrap=getsockopt

# These let time pass in which a loop stands still.
$(patsubst %,$(B)/tests/unit/%_test,gateway_upstream gateway_upstream_lost bus_standstill): LDFLAGS_ALL += -Wl,--wrap=clock_monotonic_us

# cli/ has no archive; its tests name the files that they need.
CLI_TESTS := cli_admin_ask_test cli_args_test cli_table_test cli_connect_error_test
CLI_TEST_OBJS := $(call obj,$(addprefix cli/,args.c table.c admin_ask.c seen.c connect_error.c))
$(CLI_TESTS:%=$(B)/tests/unit/%): LDFLAGS_ALL += $(CLI_TEST_OBJS)
$(CLI_TESTS:%=$(B)/tests/unit/%): | $(CLI_TEST_OBJS)

# The echo daemon of tests and of the bench's first row.
$(BIN)/test-echo: $(call obj,tests/support/echo/echo_main.c) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    test-echo"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# --- statements ----------------------------------------------------------------------------------
$(B)/tools/check_sql: $(call obj,tools/check_sql.c tests/support/servers.c tests/support/folder.c) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

check-sql: $(B)/tools/check_sql ## prepare every statement against the migrated schemas
	$(Q)$(B)/tools/check_sql $(SQL_AREAS)
check-distribution: $(B)/tools/check_sql ## could every table be spread over shards by company? (part of check-sql)
	$(Q)$(B)/tools/check_sql --distribution $(SQL_AREAS)

# --- threads -------------------------------------------------------------------------------------
export TSAN_OPTIONS ?= suppressions=tests/tsan.supp
# Modules that more than one thread enters, for SAN=thread; those that need servers stand last.
THREAD_UNIT := common_id common_clock common_tz common_log common_metrics common_retry common_trace common_admin \
	common_pool common_thread common_reread common_resolve common_bus_peers common_bus_worker \
	common_bus_worker_waiting common_bus_client bus_broker bus_workers bus_standstill bus_publish bus_identity
THREAD_INTEGRATION := common_daemon common_consumer common_consumer_replay bus_relay gateway_webhook
THREAD_BINS := $(foreach t,$(THREAD_UNIT),$(if $(wildcard tests/unit/$(t)_test.c),$(B)/tests/unit/$(t)_test)) \
	$(foreach t,$(THREAD_INTEGRATION),$(if $(wildcard tests/integration/$(t)_test.c),$(B)/tests/integration/$(t)_test))
thread-tests: $(INTEGRATION_NEEDS) $(THREAD_BINS) ## tests of the concurrent modules; with SAN=thread
	$(Q)DAYBOOK_BIN="$(CURDIR)/$(BIN)" JOBS=$(TEST_JOBS) tools/run-tests.sh $(THREAD_BINS)

# --- Python --------------------------------------------------------------------------------------
VENV := $(BUILD)/venv
$(VENV)/ok: tests/requirements.txt
	@echo "  VENV"
	$(Q)python3 -m venv $(VENV)
	$(Q)$(VENV)/bin/pip --quiet --disable-pip-version-check install -r tests/requirements.txt
	@touch $@
# Files of tests side by side, so many. With PYTEST_ARGS=-n0 they are not, for a debugger.
side_by_side = --dist loadfile --no-loadscope-reorder --max-worker-restart=0 \
	--tx "$(1)*popen//python=$(OWN_NETWORK) $(VENV)/bin/python"
# -rs: what was skipped, and why, stands at the end.
PYTEST = DAYBOOK_BIN="$(CURDIR)/$(BIN)" DAYBOOK_GEN="$(CURDIR)/$(BUILD)/pygen" \
	DAYBOOK_NODE="$(CURDIR)/$(NODE)" DAYBOOK_FAILMALLOC="$(CURDIR)/$(FAILMALLOC)" DAYBOOK_FEWTHREADS="$(CURDIR)/$(FEWTHREADS)" \
	DAYBOOK_BADSYNC="$(CURDIR)/$(BADSYNC)" DAYBOOK_KILLAT="$(CURDIR)/$(KILLAT)" \
	DAYBOOK_DEBIAN="$(CURDIR)/$(DEBIAN)" \
	DAYBOOK_SCHEMATHESIS="$(CURDIR)/$(SCHEMATHESIS)" DAYBOOK_WEB="$(CURDIR)/$(WEB)" \
	$(OWN_NETWORK) $(VENV)/bin/python -m pytest -q -rs $(PYTEST_ARGS)

# The official parser of AsyncAPI, an npm package.
ASYNCAPI := $(BUILD)/node/node_modules/@asyncapi/parser/package.json
$(ASYNCAPI):
	@mkdir -p $(BUILD)/node
	$(Q)npm install --silent --no-audit --no-fund --prefix $(BUILD)/node @asyncapi/parser@3.6.0

acceptance: all $(VENV)/ok $(ASYNCAPI) $(INTEROP_NEEDS) $(JSON_PIPE) ## black-box tests by independent clients (Python, Node, buf, Chromium, nginx)
	$(Q)$(PYTEST) $(call side_by_side,$(TEST_JOBS)) tests/acceptance
# With SAN=address: without those that spend their time in programs of others, which no sanitizer watches.
ACCEPTANCE_CHECK_NOT := interop_% metrics pages restore secrets
ACCEPTANCE_CHECK := $(filter-out $(ACCEPTANCE_CHECK_NOT:%=tests/acceptance/test_%.py),$(wildcard tests/acceptance/test_*.py))
acceptance-check: all $(VENV)/ok $(INTEROP_NEEDS)
	$(Q)$(PYTEST) $(call side_by_side,$(TEST_JOBS)) $(ACCEPTANCE_CHECK)

# Preloaded into programs, these let fail what is named: allocations, threads, syncs of the disk; the last one ends them.
FAILMALLOC := $(B)/tests/crash/failmalloc.so
FEWTHREADS := $(B)/tests/crash/fewthreads.so
BADSYNC := $(B)/tests/crash/badsync.so
KILLAT := $(B)/tests/crash/killat.so
CRASH_LIBRARIES := $(FAILMALLOC) $(FEWTHREADS) $(BADSYNC) $(KILLAT)
$(CRASH_LIBRARIES): $(B)/tests/crash/%.so: tests/crash/%.c
	@mkdir -p $(@D)
	@echo "  LINK    $(@F)"
	$(Q)$(CC) $(CFLAGS_COMMON) $(WARN) -O1 -fPIC -shared -o $@ $<

# Not tests of a second and more, nor those that wait for what does not come when it could not be sent. Who has no memory
# for the schema, ends at the start.
UNIT_SWEEP_NOT := bus_broker bus_identity bus_publish bus_standstill bus_workers common_admin common_bus_client common_bus_monitor \
	common_bus_peers common_bus_socket common_bus_worker common_bus_worker_waiting common_clock common_http_out common_log common_resolve \
	common_tz common_wire_nul gateway_body gateway_enemies gateway_http gateway_jwt gateway_pieces gateway_stream
UNIT_SWEEP_BINS = $(filter-out $(UNIT_SWEEP_NOT:%=$(B)/tests/unit/%_test),$(UNIT_BINS))
UNIT_SWEEP_SPARED = $(call obj,common/schema.c $(wildcard tests/support/*.c))
SWEEP_CHECK := every_method customers directory policies scoring visits questions delivery
SWEEP_TESTS := $(SWEEP_CHECK) calls cli_repair events http_repair transfer webhooks
SWEEP = PYTHONPATH=tests/crash:tests/acceptance:tests/support DAYBOOK_FAILMALLOC="$(CURDIR)/$(FAILMALLOC)"
.PHONY: allocations allocations-check
allocations: all $(VENV)/ok $(FAILMALLOC) $(UNIT_BINS) ## each allocation of unit tests, and of a request of each method, fails once
	$(Q)$(SWEEP) $(VENV)/bin/python tests/crash/unit_sweep.py $(UNIT_SWEEP_SPARED) -- \
		$(foreach b,$(UNIT_SWEEP_BINS),$(b) $(B)/obj/tests/unit/$(notdir $(b)).o)
	$(Q)$(SWEEP) $(PYTEST) -p sweep $(SWEEP_TESTS:%=tests/acceptance/test_%.py)
allocations-check:
	$(Q)UNIT_SWEEP=10 $(MAKE) --no-print-directory SWEEP_TESTS="$(SWEEP_CHECK)" allocations

crash: all $(VENV)/ok $(CRASH_LIBRARIES) ## kill each daemon 20 times under load and at each step, restart PostgreSQL, lose Redis; then judge
	$(Q)CRASH_KILLS=$${CRASH_KILLS:-20} $(PYTEST) tests/crash
crash-check: all $(VENV)/ok $(CRASH_LIBRARIES)
	$(Q)$(PYTEST) $(call side_by_side,2) tests/crash

# As root in a mount namespace of its own, where the full disk is one of the faults.
chaos: all $(VENV)/ok ## faults of all kinds by a seed under load, then judge: CHAOS_SECONDS=3600 CHAOS_SEED=7 CHAOS_FAULTS=kill,net_hole
	$(Q)DAYBOOK_BIN="$(CURDIR)/$(BIN)" DAYBOOK_GEN="$(CURDIR)/$(BUILD)/pygen" CHAOS_SECONDS=$${CHAOS_SECONDS:-600} \
		CHAOS_REPLICAS=$${CHAOS_REPLICAS:-2} tests/chaos/run.sh $(VENV)/bin/python
soak: ## a day of load without faults: no daemon's memory grows; CHAOS_SECONDS=3600 CHAOS_RATE=20
	$(Q)CHAOS_FAULTS=none CHAOS_SECONDS=$${CHAOS_SECONDS:-86400} CHAOS_REPLICAS=$${CHAOS_REPLICAS:-1} $(MAKE) --no-print-directory chaos
chaos-check: all $(VENV)/ok
	$(Q)$(PYTEST) $(call side_by_side,2) tests/chaos

# F09, F55 to F57; F54 too, which needs the history: it builds the version before the last changes of schemas.
lifecycle: all $(VENV)/ok ## drain, rolling upgrade from the version before, migration, rotation under load
	$(Q)tests/lifecycle/previous.sh $(BUILD)/previous
	$(Q)tests/lifecycle/previous.sh $(BUILD)/previous-strict strict
	$(Q)DAYBOOK_PREVIOUS="$(CURDIR)/$(BUILD)/previous/bin" \
		DAYBOOK_PREVIOUS_STRICT="$(CURDIR)/$(BUILD)/previous-strict/bin" $(PYTEST) tests/lifecycle
lifecycle-check: all $(VENV)/ok
	$(Q)$(PYTEST) tests/lifecycle

demo-check: all $(VENV)/ok ## play the demo twice on a private stack, compare; run the documents' examples
	$(Q)$(PYTEST) tests/demo

# --- high availability ---------------------------------------------------------------------------
# Patroni of a version that operations allow; Debian 12's (3.0.2) lets a leader that hung take its lock back.
PATRONI := $(BUILD)/patroni
$(PATRONI)/ok:
	@echo "  VENV    patroni"
	$(Q)/usr/bin/python3 -m venv $(PATRONI)
	$(Q)$(PATRONI)/bin/pip --quiet --disable-pip-version-check install 'patroni[etcd3]==4.1.5' psycopg2-binary==2.9.10
	@touch $@

.PHONY: ha
ha: all $(VENV)/ok $(PATRONI)/ok ## fail-over of PostgreSQL, etcd, Redis and bus under load; as root, needs more packages
	$(Q)tests/ha/enter.sh $(PATRONI) env $(PYTEST) tests/ha
