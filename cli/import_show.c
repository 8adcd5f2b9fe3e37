/*
 * import_show.c - what is told of an import: the first faulty rows, how far it is, and the sum; for
 * programs all of it in one document at the end.
 */
#include "cli/import.h"

#include "common/clock.h"

#define PROGRESS_EVERY_US (100 * MSEC_US)
#define FAULTS_TOLD 5

static bool is_faulty(const struct import_line *l)
{
    return l->outcome == INVALID || l->outcome == DUPLICATE;
}

size_t import_faulty(const struct import *im)
{
    return im->counts[INVALID] + im->counts[DUPLICATE];
}

/* For programs the first ones stand in the summary. */
static void keep_fault(struct import *im, const struct import_line *l)
{
    json_array_append_new(im->faults, json_pack("{s:I,s:s,s:s,s:s,s:s,s:s}", "line",
                                                (json_int_t)l->line, "externalId", l->external_id,
                                                "outcome", import_outcomes[l->outcome], "id", l->id,
                                                "field", l->field, "message", l->message));
}

/* The first faulty rows are told at once, so that nobody needs the result file to see the reason.
 */
void import_tell_fault(struct import *im, const struct import_line *l)
{
    size_t faulty = import_faulty(im);

    if (!is_faulty(l) || faulty > FAULTS_TOLD)
        return;
    if (im->c->json) {
        keep_fault(im, l);
        return;
    }
    (void)fprintf(stderr, "%sline %zu: %s%s%s%s%s%s%s\n", im->shows ? "\r\033[K" : "", l->line,
                  l->field, *l->field ? ": " : "", l->message, *l->id ? " (" : "", l->id,
                  *l->id ? ")" : "",
                  faulty < FAULTS_TOLD ? ""
                  : im->result         ? " (further ones: see the result file)"
                                       : " (further ones: use --result FILE)");
}

void import_show_progress(struct import *im)
{
    static const char bar[] = "##############################";
    int64_t now_us = clock_monotonic_us();
    if (!im->shows || now_us - im->shown_us < PROGRESS_EVERY_US)
        return;
    im->shown_us = now_us;
    if (im->file_bytes) {
        double part = MIN((double)csv_bytes(im->csv) / (double)im->file_bytes, 1.0);
        int width = (int)(part * (sizeof bar - 1));
        (void)fprintf(stderr, "\r[%-30.*s] %3.0f %%  ", width, bar, part * 100);
    } else {
        (void)fprintf(stderr, "\r");
    }
    (void)fprintf(stderr, "%zu rows, %zu faulty ", im->rows, import_faulty(im));
}

void import_end_progress(const struct import *im)
{
    if (im->shows)
        (void)fprintf(stderr, "\r\033[K");
}

static int show_json_summary(const struct import *im, double seconds)
{
    json_t *counts = json_object();
    for (size_t i = 1; i < IMPORT_OUTCOMES; i++)
        json_object_set_new(counts, import_outcomes[i], json_integer((json_int_t)im->counts[i]));
    return rows_print_json(
        im->c, json_pack("{s:I,s:f,s:b,s:o,s:I,s:I,s:I,s:O}", "rows", (json_int_t)im->rows,
                         "seconds", seconds, "dryRun", (int)im->wish.dry_run, "counts", counts,
                         "batches", (json_int_t)im->batches, "replayed", (json_int_t)im->replayed,
                         "lastLine", (json_int_t)im->last_line, "faults", im->faults));
}

void import_show_summary(const struct import *im)
{
    double seconds = (double)(clock_monotonic_us() - im->started_us) / 1e6;
    if (im->c->json) {
        (void)show_json_summary(im, seconds);
        return;
    }
    (void)printf("%s: %zu rows in %.1f s (%.0f a second)%s\n", im->kind->name, im->rows, seconds,
                 (double)im->rows / MAX(seconds, 1e-6),
                 im->wish.dry_run ? ", nothing was changed" : "");
    for (size_t i = 1; i < IMPORT_OUTCOMES; i++)
        if (im->counts[i])
            (void)printf("  %-10s %8zu\n", import_outcomes[i], im->counts[i]);
    if (im->replayed && !im->key)
        (void)printf("%zu of %zu batches were seen before and judged anew\n", im->replayed,
                     im->batches);
}
