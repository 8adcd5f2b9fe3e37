/*
 * protojson_scan.h - JSON from left to right: the tokens of one document; private to protojson.
 *
 * A scanner of our own and not jansson's tree, because a tree of a hostile 4 MiB document takes
 * hundreds of megabytes outside the arena, recurses 2 048 deep, turns bare 64-bit numbers into
 * doubles, and would be walked only once anyway. Texts without escapes are slices of the document;
 * all else is in the arena, under a budget of 24 x size + 1 MiB, at most 96 MiB.
 *
 * A function that fails has written the fault: the path from `place`, the reason in words.
 */
#ifndef DAYBOOK_COMMON_PROTOJSON_SCAN_H
#define DAYBOOK_COMMON_PROTOJSON_SCAN_H

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/wire.h"

/* Where in the message the reader is; linked from the innermost out. */
struct pj_place {
    const struct pj_place *up;
    const char *field;
    bool indexed;
    size_t index;
};

struct pj_reader {
    const char *start, *p, *end;
    struct arena *arena;
    size_t left; /* of the budget */
    int flags;
    const struct wire_limits *limits;
    int depth; /* messages around p */
    const struct pj_place *place;
    struct wire_fault *fault;
};

/* Not NUL-terminated unless it is in the arena. */
struct pj_text {
    const char *p;
    size_t n;
    bool in_arena;
};

/* Writes the fault and gives ERR_INVALID_ARGUMENT. */
NODISCARD enum err pj_fail(struct pj_reader *r, const char *fmt, ...) PRINTF(2, 3);
NODISCARD enum err pj_syntax(struct pj_reader *r, const char *what);

/* Memory under the budget, zeroed; NULL when it is spent. pj_full() is the error for that. */
NODISCARD void *pj_take(struct pj_reader *r, size_t n, size_t size);
NODISCARD enum err pj_full(struct pj_reader *r);

/* The next character that is not blank, 0 at the end. It is not eaten. */
char pj_peek(struct pj_reader *r);
/* Eats the word (null, true, false) if it comes next. */
bool pj_word(struct pj_reader *r, const char *word);

NODISCARD enum err pj_string(struct pj_reader *r, struct pj_text *out);
/* A bare number. */
NODISCARD enum err pj_number(struct pj_reader *r, struct pj_text *out);
/* One whole value, of which only the grammar counts. */
NODISCARD enum err pj_skip(struct pj_reader *r);

/*
 * Members of an object and elements of an array: open it, then call _next until *more_out is false.
 * After it is true the value comes next.
 */
NODISCARD enum err pj_open(struct pj_reader *r, char bracket, const char *what);
NODISCARD enum err pj_object_next(struct pj_reader *r, bool *started, struct pj_text *key_out,
                                  bool *more_out);
NODISCARD enum err pj_array_next(struct pj_reader *r, bool *started, bool *more_out);

#endif
