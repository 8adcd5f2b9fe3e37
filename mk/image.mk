# The container image: one file that is all daemons, and the Dockerfile around it.

.PHONY: image base-image daybookd reproducible

# Each daemon is linked on its own first, with nothing but its main() to be seen from outside; so names of one cannot
# meet names of another, and what they share is there once. The file is the daemon whose name it is called by.
DAYBOOKD := $(BIN)/daybookd
DAYBOOKD_PARTS := $(AREAS:%=$(B)/whole/%.o)
$(DAYBOOKD_PARTS): $(B)/whole/%.o: $(B)/obj/services/%/main.o $(B)/lib%.a
	@mkdir -p $(@D)
	$(Q)$(CC) -r -nostdlib -o $@.all $(B)/obj/services/$*/main.o -Wl,--whole-archive $(B)/lib$*.a -Wl,--no-whole-archive
	$(Q)objcopy --redefine-sym main=$*_main --wildcard --keep-global-symbol=$*_main \
		--keep-global-symbol='DW.ref.*' $@.all $@; rm -f $@.all

$(GEN)/daybookd.c: mk/image.mk
	@mkdir -p $(@D)
	$(Q){ echo '#include <stdio.h>'; echo '#include <string.h>'; \
		for a in $(AREAS); do echo "int $${a}_main(int argc, char **argv);"; done; \
		echo 'int main(int argc, char **argv) {'; \
		echo '    const char *name = argc ? strrchr(argv[0], 47) : NULL;'; \
		echo '    name = name ? name + 1 : argc ? argv[0] : "";'; \
		for a in $(AREAS); do echo "    if (strcmp(name, \"daybook-$$a\") == 0) return $${a}_main(argc, argv);"; done; \
		echo '    fprintf(stderr, "%s: none of:$(AREAS:%= daybook-%)\n", name);'; \
		echo '    return 64; }'; } > $@

$(DAYBOOKD): $(call genobj,$(GEN)/daybookd.c) $(DAYBOOKD_PARTS) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    daybookd"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

daybookd: $(DAYBOOKD) ## all daemons in one file, for the image

# DOCKER: its command. BASE: as in the Dockerfile. FRESH=1: packages as the archive has them now, not as Docker kept them.
DOCKER ?= docker
IMAGE ?= daybook:$(VERSION)
image: ## the container image, by docker
	$(Q)$(DOCKER) build --file deploy/image/Dockerfile --tag $(IMAGE) $(if $(BASE),--build-arg BASE=$(BASE)) \
		$(if $(FRESH),--no-cache $(if $(BASE),,--pull)) \
		--build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
		--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) .
base-image: ## daybook-base:bookworm from Debian's packages, for `make image BASE=daybook-base:bookworm`; as root
	$(Q)DOCKER=$(DOCKER) deploy/image/base.sh daybook-base:bookworm

# By hand: two whole builds take minutes.
reproducible: ## two builds of this commit in two places, byte for byte the same?
	$(Q)tools/check-reproducible.sh $(JOBS)
