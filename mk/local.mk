# What a newcomer uses: packages, the local stack, the demo.

.PHONY: deps demo up down clean
deps: ## install what building, running and testing need (Debian packages)
	@deploy/local/deps.sh

demo: ## build, start the local stack afresh, play the sample week, leave the stack running
	@deploy/local/deps.sh --run-only
	@$(MAKE) --no-print-directory $(JOBS) all
	@deploy/demo/run.sh

up: ## start the local stack again after `make down`, data and clock as they were
	@deploy/local/stack up
	@deploy/local/stack status

down: ## stop the local stack
	@deploy/local/stack down

clean: ## stop the local stack and remove all that was made, its data too
	@deploy/local/stack remove
	@rm -rf $(BUILD) .pytest_cache
	@find . -path ./.git -prune -o \( -name __pycache__ -o -name .pytest_cache \) -prune -exec rm -rf {} +
