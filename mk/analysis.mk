# What reads the code, and what watches it run, more closely than the compiler: minutes each.

.PHONY: cppcheck analyzer valgrind coverage

# All files at once: cppcheck follows calls from one into another. It is not given the libraries' headers, but
# knows their functions by its own tables; tools/cppcheck.h has the macros that are not in these.
cppcheck: | $(GENERATED) ## cppcheck over common, services and cli
	$(Q)cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability,information \
		--std=c11 --library=posix --library=gnu --include=tools/cppcheck.h --suppressions-list=tools/cppcheck.txt \
		-D_GNU_SOURCE -I. -I$(GEN) common services cli

# gcc's analyzer follows the ways through a function and what it calls in the same file. It takes a table that is
# filled, in config, for one that is lost.
analyzer: ## gcc -fanalyzer over common and the bus
	$(Q)$(MAKE) --no-print-directory VARIANT=analyzer WERROR=1 CFLAGS=-fanalyzer \
		$(BUILD)/analyzer/libdaybook.a $(BUILD)/analyzer/libbus.a
$(BUILD)/analyzer/obj/common/config.o: override CFLAGS += -Wno-analyzer-malloc-leak

# What SAN=address does not see: bytes that were never written. Not the test that reads all zone data, a minute, and
# not those that give a peer so much time and no more, which it takes.
VALGRIND_NOT := common_tz common_bus_client common_bus_socket common_trace bus_publish bus_broker
VALGRIND_BINS ?= $(filter-out $(addprefix %/,$(VALGRIND_NOT:=_test)),$(UNIT_BINS))
VALGRIND := valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect,possible \
	--errors-for-leak-kinds=definite,indirect,possible --child-silent-after-fork=yes --suppressions=tests/valgrind.supp
valgrind: $(UNIT_BINS) ## the unit tests under valgrind
	$(Q)printf '%s\n' $(VALGRIND_BINS) | DAYBOOK_TEST_SLACK=10 xargs --max-procs=$(TEST_JOBS) --replace sh -c \
		'$(OWN_NETWORK) $(VALGRIND) {} >{}.valgrind 2>&1 || { cat {}.valgrind; exit 1; }'
	@echo "valgrind: $(words $(VALGRIND_BINS)) test programs without a fault"

# Floors of what unit and integration tests go through, in percent of the lines and of the branches. What a killed
# daemon went through is not counted, nor what only acceptance tests reach.
COVERAGE_LINES := 85
COVERAGE_BRANCHES := 70
GCOVR = $(VENV)/bin/gcovr --root . --exclude 'build/' --print-summary
coverage: $(VENV)/ok ## how much of the code the unit and integration tests go through; floors for common and the bus
	$(Q)find $(BUILD)/coverage -name '*.gcda' -delete 2>/dev/null || true
	$(Q)$(MAKE) --no-print-directory VARIANT=coverage unit integration
	$(Q)$(GCOVR) --object-directory $(BUILD)/coverage --filter common/ --filter services/ \
		--json $(BUILD)/coverage/all.json --html-nested $(BUILD)/coverage/index.html >/dev/null
	$(Q)for area in common services/bus; do echo "== $$area"; $(GCOVR) --add-tracefile $(BUILD)/coverage/all.json \
		--filter "$$area/" --fail-under-line $(COVERAGE_LINES) --fail-under-branch $(COVERAGE_BRANCHES) --txt $(BUILD)/coverage/$$(basename $$area).txt; done
