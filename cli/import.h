/*
 * import.h - an import under way: its slots, and what has come of the rows so far.
 *
 *   import.c       reading, asking, hearing            import_rows.c   rows as messages
 *   import_show.c  telling: faults, progress, summary
 */
#ifndef DAYBOOK_CLI_IMPORT_H
#define DAYBOOK_CLI_IMPORT_H

#include "common/import_batch.h"
#include "cli/rows.h"
#include "cli/seen.h"

#define SLOTS_MAX 8
#define KEY_SIZE 256
#define INVALID DAYBOOK__CUSTOMERS__V1__IMPORT_OUTCOME__IMPORT_OUTCOME_INVALID
#define DUPLICATE DAYBOOK__CUSTOMERS__V1__IMPORT_OUTCOME__IMPORT_OUTCOME_DUPLICATE

enum slot_state {
    SLOT_FREE,
    SLOT_READY, /* filled, or to be sent again from at_us on */
    SLOT_SENT,
    SLOT_DONE,
};

struct slot {
    enum slot_state state;
    struct import_batch batch;
    const ProtobufCMessage *request; /* NULL: nothing to send */
    char key[KEY_SIZE];
    char request_id[ID_TEXT_MAX];
    int tries;
    bool anew; /* an earlier run's answer was put aside */
    int64_t at_us;
};

struct import {
    struct cli *c;
    const struct import_kind *kind;
    const PbPrincipal *who;
    const char *source, *key;
    struct import_wish wish;
    bool strict;
    size_t batch;
    int64_t timeout_us;

    FILE *file, *result;
    const char *path;
    uint64_t file_bytes; /* 0: not known */
    struct csv *csv;
    struct import_map map;
    struct seen *seen;
    bool at_end;

    struct slot slots[SLOTS_MAX]; /* batch n is in slot n % nslots */
    size_t nslots;
    size_t next_fill, next_flush; /* batch numbers */
    size_t on_the_way;

    size_t rows, batches, replayed;
    size_t counts[IMPORT_OUTCOMES];
    size_t last_line; /* of the file, whose fate is known */
    int64_t started_us, shown_us;
    bool shows;
    json_t *faults; /* the first ones */
};

/* Tells the first invalid and duplicate rows, once they are counted. */
void import_tell_fault(struct import *im, const struct import_line *l);
size_t import_faulty(const struct import *im); /* invalid and duplicate rows so far */
void import_show_progress(struct import *im);
void import_end_progress(const struct import *im);
void import_show_summary(const struct import *im);

#endif
