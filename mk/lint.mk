# What is checked without running anything.

.PHONY: lint-dependencies lint lint-contract lint-format lint-docs lint-make lint-scripts format tidy

lint: lint-contract lint-format lint-docs lint-make lint-scripts ## contract, layout, tables of the documents, scripts

# The contract, by buf (an npm package, see mk/interop.mk; its rules stand in buf.yaml).
lint-contract: | $(NODE_PACKAGES)
	$(Q)$(BUF) lint

C_FILES = $(shell git ls-files '*.c' '*.h')
lint-format:
	$(Q)clang-format --dry-run --Werror $(C_FILES)
format: ## clang-format the C files
	$(Q)clang-format -i $(C_FILES)

# Does the code say the same as the tables of ARCHITECTURE.md, and read all that the rule book offers?
lint-docs:
	$(Q)python3 tools/check_owners.py
	$(Q)tools/check_citations.py
	$(Q)tools/check-policies.sh

# Two rules for one target would leave the earlier one out in silence.
lint-make:
	$(Q)! $(MAKE) --no-print-directory -n all unit integration 2>&1 >/dev/null | grep -E 'overriding|ignoring old|[Cc]ircular'

# Are the libraries that the programs are linked with those of docs/dependencies.md? No part of `lint`, which builds nothing.
lint-dependencies: all
	$(Q)tools/dependencies.py $(BIN)/daybook $(AREAS:%=$(BIN)/daybook-%)

lint-scripts: $(VENV)/ok
	$(Q)for f in $$(git ls-files -- '*.sh' deploy/local/stack deploy/debian/daybook-setup .ci/run); do bash -n $$f; done
	$(Q)$(VENV)/bin/python -m pyflakes $$(git ls-files -- '*.py')

# clang-tidy takes seconds a file, so it is no part of `make lint`. TIDY names other files:
# make tidy TIDY="$(ls services/bus/*.c)". The baseline is common/ less the files in which version 14 errs:
# it does not know that CLEANUP reads a variable, nor that out parameters are set where true is returned.
TIDY_ERRS := daemon_worker metrics net protojson_read protojson_scalar protojson_scan
TIDY ?= $(filter-out $(TIDY_ERRS:%=common/%.c),$(wildcard common/*.c))
.PHONY: $(TIDY:%=tidy/%)
tidy: $(TIDY:%=tidy/%) ## clang-tidy over common/, or the files of TIDY=...
$(TIDY:%=tidy/%): tidy/%: | $(GENERATED)
	@echo "  TIDY    $*"
	$(Q)clang-tidy --quiet $* -- -std=c17 -D_GNU_SOURCE $(INCLUDES) \
		-DDAYBOOK_VERSION='"$(VERSION)"' -DDAYBOOK_COMMIT='"$(COMMIT)"' 2>&1 | sed '/warnings\? generated/d; /^Suppressed/d; /^Use -header/d'
