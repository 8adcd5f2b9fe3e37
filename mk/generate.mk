# Generated sources, below build/gen: the messages of proto/ as C, the schema as bytes, the statements and
# migrations of each area as C.

PROTOS := $(shell find proto -name '*.proto' | sort)
WKT := any duration empty field_mask struct timestamp wrappers descriptor
WKT_PROTOS := $(WKT:%=google/protobuf/%.proto)
PROTO_REL := $(PROTOS:proto/%=%)
PROTO_C := $(PROTO_REL:%.proto=$(GEN)/proto/%.pb-c.c) $(WKT_PROTOS:%.proto=$(GEN)/proto/%.pb-c.c)
PROTO_STAMP := $(GEN)/proto.stamp
SCHEMA_C := $(GEN)/schema_data.c

$(PROTO_STAMP): $(PROTOS)
	@mkdir -p $(GEN)/proto
	@echo "  PROTO"
	$(Q)protoc -Iproto -I/usr/include --c_out=$(GEN)/proto $(PROTO_REL) $(WKT_PROTOS)
	$(Q)protoc -Iproto -I/usr/include --include_imports --include_source_info \
		--descriptor_set_out=$(GEN)/daybook.pb $(PROTO_REL) $(filter-out %/descriptor.proto,$(WKT_PROTOS))
	@touch $@

$(PROTO_C): $(PROTO_STAMP)
	@:

# The descriptor set as bytes, and a table of every message and enum descriptor by C symbol.
$(SCHEMA_C): $(PROTO_STAMP) tools/schema2c.sh
	@echo "  SCHEMA"
	$(Q)tools/schema2c.sh $(GEN)/proto $(GEN)/daybook.pb > $@

# sql/<name>.sql -> sql_<name>; migrations/*.sql -> <area>_migrations[]. The folders are among what they
# are made of, since a file that goes leaves nothing newer behind.
AREAS := $(patsubst services/%/,%,$(sort $(dir $(wildcard services/*/*.c))))
SQL_AREAS := common cli $(AREAS:%=services/%)
SQL_C :=
SQL_H :=
MIGRATIONS_C :=
define sql_rules
ifneq ($(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql),)
SQL_C += $(GEN)/$(1)/sql.c $(GEN)/$(1)/migrations.c
MIGRATIONS_C += $(GEN)/$(1)/migrations.c
SQL_H += $(GEN)/$(1)/sql.h
$(GEN)/$(1)/sql.c: $(sort $(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql)) $(wildcard $(1)/sql $(1)/migrations) tools/sql2c.awk
	@mkdir -p $$(@D)
	@echo "  SQL     $(1)"
	$(Q)awk -v mode=c -v area=$(notdir $(1)) -v header=$(1)/sql.h -f tools/sql2c.awk $$(filter %.sql,$$^) > $$@
$(GEN)/$(1)/migrations.c: $(sort $(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql)) $(wildcard $(1)/sql $(1)/migrations) tools/sql2c.awk
	@mkdir -p $$(@D)
	$(Q)awk -v mode=m -v area=$(notdir $(1)) -v header=$(1)/sql.h -f tools/sql2c.awk $$(filter %.sql,$$^) > $$@
$(GEN)/$(1)/sql.h: $(sort $(wildcard $(1)/sql/*.sql $(1)/migrations/*.sql)) $(wildcard $(1)/sql $(1)/migrations) tools/sql2c.awk
	@mkdir -p $$(@D)
	$(Q)awk -v mode=h -v area=$(notdir $(1)) -f tools/sql2c.awk $$(filter %.sql,$$^) > $$@
endif
endef
$(foreach a,$(SQL_AREAS),$(eval $(call sql_rules,$(a))))

GENERATED := $(PROTO_STAMP) $(SQL_H)
