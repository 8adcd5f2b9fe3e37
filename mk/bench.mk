# Measurements beside their limits; minutes, not part of `make test`.

BENCH_BINS := $(addprefix $(B)/bench/,load http_load peer hooks streams)
BENCH_GEAR := $(call obj,$(addprefix tests/bench/,gear.c hist.c phases.c samples.c)) $(COMMON_LIB) $(PROTO_LIB)
$(BENCH_BINS): $(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libgateway.a $(BENCH_GEAR)
	@mkdir -p $(@D)
	@echo "  LINK    bench/$*"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

GRAPHILE := $(BUILD)/node/node_modules/graphile-worker
$(GRAPHILE):
	@mkdir -p $(BUILD)/node
	$(Q)npm install --silent --no-audit --no-fund --prefix $(BUILD)/node graphile-worker@0.18.0

.PHONY: bench
bench: all $(BIN)/test-echo $(BENCH_BINS) $(GRAPHILE) ## measure beside the limits: one table, build/bench.json
	$(Q)BENCH_BUILD=$(BUILD) python3 tests/bench/run.py

.PHONY: size
size: all $(VENV)/ok ## what a rep's day costs in rows, bytes, events: build/size.md
	$(Q)$(filter-out -m pytest -q -rs,$(PYTEST)) tests/bench/size.py
