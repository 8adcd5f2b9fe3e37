/*
 * hearing.c - see hearing.h.
 */
#include "services/reminders/hearing.h"

void hearing_doubt(struct hearing *h, int64_t grace_us, int64_t now_us)
{
    h->state = HEARING_DOUBT;
    h->asked_us = now_us + grace_us;
    h->moved_us = now_us;
    h->mark = -1;
    h->gave_up = false;
}

static void note_progress(struct hearing *h, int64_t seq, int64_t now_us)
{
    if (seq < h->seq && h->state == HEARING_ALL) { /* a rebuild: what was heard is heard again */
        hearing_doubt(h, 0, now_us);
        h->mark = h->seq;
    }
    if (seq != h->seq)
        h->moved_us = now_us;
    h->seq = seq;
}

enum hearing_state hearing_judge(struct hearing *h, bool is_known, int64_t seq, int64_t head,
                                 int64_t now_us)
{
    if (is_known)
        note_progress(h, seq, now_us);
    if (h->state == HEARING_ALL)
        return h->state;
    if (is_known && h->mark < 0 && now_us >= h->asked_us)
        h->mark = head;
    bool has_mark = is_known && h->mark >= 0;
    h->gave_up = now_us - h->moved_us > HEARING_GIVE_UP_US;
    if (h->gave_up || (has_mark && seq >= h->mark))
        h->state = HEARING_ALL;
    else
        h->state = has_mark ? HEARING_BEHIND : HEARING_DOUBT;
    return h->state;
}
