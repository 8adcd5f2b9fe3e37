/*
 * daemon_trace.c - the settings of traces, which have OpenTelemetry's names, and their start.
 */
#include "common/daemon_internal.h"
#include "common/log.h"
#include "common/version.h"

#define TRACES_PATH "/v1/traces"

static const char *text_of(const struct daemon *d, const char *key)
{
    const char *text = daemon_setting(d, key)->text;
    return text ? text : "";
}

static bool fault(const char *key, const char *why)
{
    (void)fprintf(stderr, "setting %s: %s\n", key, why);
    return false;
}

static bool is_web_address(const char *url)
{
    size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
    return scheme && strcspn(url + scheme, "/?# ") > 0 && !strpbrk(url, " \t\r\n\"");
}

/* The general address is a base, and may or may not end in a slash. */
static bool apply_url(struct daemon *d)
{
    const char *key = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", *path = "";
    const char *base = text_of(d, key);

    if (!*base) {
        key = "OTEL_EXPORTER_OTLP_ENDPOINT";
        base = text_of(d, key);
        path = TRACES_PATH;
    }
    if (!*base)
        return true;
    size_t len = strlen(base);
    if (*path && base[len - 1] == '/')
        len--;
    if (!is_web_address(base))
        return fault(key, "must be an http:// or https:// address, such as http://localhost:4318");
    int n = snprintf(d->traces_url, sizeof d->traces_url, "%.*s%s", (int)len, base, path);
    return (n > 0 && (size_t)n < sizeof d->traces_url) || fault(key, "is too long");
}

static bool apply_service(struct daemon *d)
{
    const char *name = text_of(d, "OTEL_SERVICE_NAME");
    int n = *name
                ? snprintf(d->traces_service, sizeof d->traces_service, "%s", name)
                : snprintf(d->traces_service, sizeof d->traces_service, "daybook-%s", d->def->name);

    return (n > 0 && (size_t)n < sizeof d->traces_service) ||
           fault("OTEL_SERVICE_NAME", "must have at most 63 bytes");
}

static bool apply_sampler(struct daemon *d)
{
    const char *name = text_of(d, "OTEL_TRACES_SAMPLER"), *reason = NULL;
    bool of_arg;

    if (trace_sampler_parse(*name ? name : "parentbased_always_on",
                            text_of(d, "OTEL_TRACES_SAMPLER_ARG"), &d->traces.sampler, &of_arg,
                            &reason))
        return true;
    return fault(of_arg ? "OTEL_TRACES_SAMPLER_ARG" : "OTEL_TRACES_SAMPLER", reason);
}

bool daemon_apply_traces(struct daemon *d)
{
    bool ok = apply_url(d);
    ok &= apply_service(d);
    ok &= apply_sampler(d);
    return ok;
}

void daemon_traces_start(struct daemon *d)
{
    if (!d->traces_url[0])
        return;
    d->traces.url = d->traces_url;
    d->traces.service = d->traces_service;
    d->traces.version = daybook_version();
    d->traces.instance = d->instance;
    if (trace_start(&d->traces))
        log_info("daemon.traces", "spans are posted to a collector", "service", d->traces_service,
                 NULL);
    else
        log_error("daemon.no_traces", "traces could not be started; going on without", NULL);
}
