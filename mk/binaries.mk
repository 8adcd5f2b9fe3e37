# Objects, libraries, daemons and the daybook command.

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
genobj = $(patsubst $(GEN)/%.c,$(B)/obj/gen/%.o,$(1))

# Generated code is spared warnings, not the errors of MISTAKES; -w would silence both.
$(B)/obj/gen/%.o: $(GEN)/%.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(B)/obj/%.o: %.c $(B)/flags | $(GENERATED)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(WARN) -DDAYBOOK_VERSION='"$(VERSION)"' -c -o $@ $<

$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS_ALL) $(WARN) $(VERSION)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL) $(WARN) $(VERSION)' > $@
.PHONY: FORCE
FORCE:

# Only this object knows the commit, so that a commit does not rebuild the house.
$(B)/commit: FORCE
	@mkdir -p $(@D)
	@echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' > $@
$(B)/obj/common/version.o: $(B)/commit
$(B)/obj/common/version.o: private CFLAGS += -DDAYBOOK_COMMIT='"$(COMMIT)"'

COMMON_LIB := $(B)/libdaybook.a
PROTO_LIB := $(B)/libdaybook_proto.a
$(COMMON_LIB): $(call obj,$(wildcard common/*.c)) $(call genobj,$(filter $(GEN)/common/%,$(SQL_C))) $(call genobj,$(SCHEMA_C))
	@rm -f $@; ar rcs $@ $^
$(PROTO_LIB): $(call genobj,$(PROTO_C))
	@rm -f $@; ar rcs $@ $^

define area_rules
AREA_LIB_$(1) := $(B)/lib$(1).a
$(B)/lib$(1).a: $(call obj,$(filter-out services/$(1)/main.c,$(wildcard services/$(1)/*.c services/$(1)/*/*.c))) $(call genobj,$(filter $(GEN)/services/$(1)/%,$(SQL_C)))
	@mkdir -p $$(@D); rm -f $$@; ar rcs $$@ $$^
$(BIN)/daybook-$(1): $(call obj,services/$(1)/main.c) $(B)/lib$(1).a $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $$(@D)
	@echo "  LINK    daybook-$(1)"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $$@ $$^ $(LDLIBS_ALL)
endef
$(foreach a,$(AREAS),$(eval $(call area_rules,$(a))))
DAEMONS := $(foreach a,$(AREAS),$(if $(wildcard services/$(a)/main.c),$(BIN)/daybook-$(a)))

# The command-line tool carries every area's migrations, so that `daybook migrate` needs no daemon, and
# the gateway's server, for `daybook webhook listen`; and statements of reminders, for `daybook timers`.
CLI_SRC := $(wildcard cli/*.c)
CLI_BIN := $(if $(CLI_SRC),$(BIN)/daybook)
$(BIN)/daybook: $(call obj,$(CLI_SRC)) $(call genobj,$(filter $(GEN)/services/%,$(MIGRATIONS_C)) $(filter $(GEN)/cli/% $(GEN)/services/reminders/sql.c,$(SQL_C))) \
		$(call obj,$(addprefix services/gateway/http/,http.c http_body.c http_budget.c http_head.c http_loop.c http_pieces.c)) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    daybook"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

.PHONY: all
all: $(DAEMONS) $(CLI_BIN) ## build all daemons and the daybook command
