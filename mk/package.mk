# Without containers: man pages, `make install`, and the Debian package.

.PHONY: man install deb package-check package-boot

PREFIX ?= /usr/local
DESTDIR ?=
SHARE = $(DESTDIR)$(PREFIX)/share
MAN := $(B)/man
# The date in pages and package is that of the commit, so that two builds of it are the same.
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date +%s))

man: all ## man pages of the programs
	$(Q)SOURCE_DATE_EPOCH=$(EPOCH) tools/man.sh $(BIN) $(MAN)

UNITS := $(addprefix deploy/systemd/,daybook@.service daybook.target daybook-migrate.service)
install: man ## programs, man pages, units, contract and documents below DESTDIR and PREFIX
	$(Q)install -d $(DESTDIR)$(PREFIX)/{bin,sbin,lib/systemd/system,lib/tmpfiles.d}
	$(Q)install -m 755 $(DAEMONS) $(CLI_BIN) $(DESTDIR)$(PREFIX)/bin
	$(Q)install -m 755 deploy/debian/daybook-setup $(DESTDIR)$(PREFIX)/sbin
	$(Q)install -m 644 $(UNITS) $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(Q)install -m 644 deploy/systemd/daybook.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/daybook.conf
	$(Q)install -d $(SHARE)/{daybook/prometheus,daybook/grafana,daybook/nginx,daybook/ha,bash-completion/completions,man/man1,man/man8,doc/daybook}
	$(Q)install -m 644 deploy/roles.sql $(SHARE)/daybook
	$(Q)install -m 755 deploy/backup/backup.sh $(SHARE)/daybook
	$(Q)install -m 644 deploy/prometheus/*.yml $(SHARE)/daybook/prometheus
	$(Q)install -m 644 deploy/grafana/dashboards/*.json $(SHARE)/daybook/grafana
	$(Q)cp -r --no-preserve=mode,ownership deploy/nginx/. $(SHARE)/daybook/nginx
	$(Q)cp -r --no-preserve=mode,ownership deploy/ha/. $(SHARE)/daybook/ha
	$(Q)cp -r --no-preserve=mode,ownership proto $(SHARE)/daybook
	$(Q)$(CLI_BIN) completion bash > $(SHARE)/bash-completion/completions/daybook
	$(Q)install -m 644 $(MAN)/man1/*.1 $(SHARE)/man/man1
	$(Q)install -m 644 $(MAN)/man8/*.8 deploy/debian/daybook-setup.8 $(SHARE)/man/man8
	$(Q)install -m 644 README.md CHANGELOG.md docs/*.md $(SHARE)/doc/daybook

DEB_ARCH = $(shell dpkg --print-architecture)
DEB = $(BUILD)/daybook_$(VERSION)_$(DEB_ARCH).deb
deb: ## the Debian package, build/daybook_VERSION_ARCH.deb
	$(Q)rm -rf $(B)/deb
	$(Q)$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=$(B)/deb
	$(Q)SOURCE_DATE_EPOCH=$(EPOCH) deploy/debian/build.sh $(B)/deb $(VERSION) $(DEB)
	@echo "  DEB     $(DEB)"

package-check: deb $(VENV)/ok ## what is in the package, its pages and its units
	$(Q)DAYBOOK_DEB=$(CURDIR)/$(DEB) $(PYTEST) tests/package

package-boot: deb ## the package on a Debian of its own, booted with systemd; as root, with debootstrap
	$(Q)tests/package/boot.sh $(DEB) $(BUILD)/booted
