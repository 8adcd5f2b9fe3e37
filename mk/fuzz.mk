# Fuzzing: `make fuzz` with libFuzzer (clang), `make fuzz-replay` runs the corpora as plain tests.

# tests/fuzz/fuzz_<input>.c with corpus/<input>/. A target that needs files of a service names them:
# FUZZ_WITH_<input> := services/<name>/<file>.c. New inputs that reach new code are left in
# $(BUILD)/fuzz/found/<input>; a crash is left beside the binary and ends the run.
FUZZ_WITH_mdp := services/bus/frames.c services/bus/context.c
FUZZ_WITH_connect_error := cli/connect_error.c
FUZZ_WITH_connect := $(wildcard services/gateway/connect/connect*.c) $(addprefix services/gateway/http/,gzip.c http_value.c)
FUZZ_WITH_transfer := services/gateway/transfer/transfer_rows.c
FUZZ_WITH_ics := services/gateway/calendar/ics.c services/gateway/calendar/calendar_text.c
FUZZ_WITH_token := services/gateway/identity/jwt.c services/gateway/identity/jwks.c
FUZZ_WITH_identity := $(wildcard services/gateway/identity/*.c) services/gateway/connect/upstream.c
FUZZ_SECONDS ?= 20
FUZZ_CC ?= clang
FUZZ := $(BUILD)/fuzz
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_INPUTS := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)
FUZZ_SANITIZE := address,undefined
FUZZ_CFLAGS = $(CFLAGS_COMMON) -O1 -fno-omit-frame-pointer -fno-strict-aliasing \
	-fsanitize=fuzzer-no-link,$(FUZZ_SANITIZE) -fno-sanitize-recover=undefined
FUZZ_COMMON ?= $(wildcard common/*.c)
fuzzobj = $(patsubst %.c,$(FUZZ)/obj/%.o,$(1))
FUZZ_TESTDATA := $(FUZZ)/obj/gen/testdata/testdata.pb-c.o $(FUZZ)/obj/gen/testdata/schema_data.o

$(FUZZ)/obj/gen/%.o: $(GEN)/%.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -w -c -o $@ $<

$(FUZZ)/obj/%.o: %.c | $(GENERATED) $(TESTDATA_STAMP)
	@mkdir -p $(@D)
	@echo "  FUZZCC  $<"
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -DDAYBOOK_VERSION='"$(VERSION)"' -DDAYBOOK_COMMIT='"$(COMMIT)"' -c -o $@ $<

$(FUZZ)/libdaybook.a: $(call fuzzobj,$(FUZZ_COMMON)) \
		$(patsubst $(GEN)/%.c,$(FUZZ)/obj/gen/%.o,$(filter $(GEN)/common/%,$(SQL_C)) $(PROTO_C))
	@rm -f $@; ar rcs $@ $^

define fuzz_rules
$(FUZZ)/fuzz_$(1): $(call fuzzobj,tests/fuzz/fuzz_$(1).c $(FUZZ_WITH_$(1))) $(FUZZ_TESTDATA) $(FUZZ)/libdaybook.a
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,$(FUZZ_SANITIZE) -o $$@ $$^ $(LDLIBS_ALL)
.PHONY: fuzz-run-$(1)
fuzz-run-$(1): $(FUZZ)/fuzz_$(1)
	@mkdir -p $(FUZZ)/found/$(1)
	@echo "== fuzz_$(1), $(FUZZ_SECONDS) s"
	$(Q)$(FUZZ)/fuzz_$(1) -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
		-print_final_stats=1 -artifact_prefix=$(FUZZ)/$(1)- $(FUZZ)/found/$(1) tests/fuzz/corpus/$(1) \
		> $(FUZZ)/$(1).log 2>&1 || { tail -n 40 $(FUZZ)/$(1).log; exit 1; }
	$(Q)grep number_of_executed_units $(FUZZ)/$(1).log
$(B)/tests/fuzz/fuzz_$(1): $(call obj,tests/fuzz/fuzz_$(1).c tests/fuzz/replay_main.c $(FUZZ_WITH_$(1))) \
		$(TESTDATA_OBJS) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $$(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $$@ $$^ $(LDLIBS_ALL)
$(B)/obj/tests/fuzz/fuzz_$(1).o: | $(TESTDATA_STAMP)
endef
$(foreach i,$(FUZZ_INPUTS),$(eval $(call fuzz_rules,$(i))))

.PHONY: fuzz fuzz-replay
fuzz: $(FUZZ_INPUTS:%=fuzz-run-%) ## run every fuzz target for FUZZ_SECONDS each

fuzz-replay: $(FUZZ_INPUTS:%=$(B)/tests/fuzz/fuzz_%) ## run the fuzz corpora as plain tests
	$(Q)for i in $(FUZZ_INPUTS); do $(B)/tests/fuzz/fuzz_$$i tests/fuzz/corpus/$$i; done

-include $(shell find $(FUZZ)/obj -name '*.d' 2>/dev/null)
