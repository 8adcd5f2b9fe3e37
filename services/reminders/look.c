/*
 * look.c - see look.h.
 */
#include "services/reminders/look.h"

#include "common/clock.h"

#define AHEAD_A_SHARD 1024 /* rows a look, a shard */
#define BEHIND_A_SHARD 256
#define LOW_WATER 2000      /* ready ones, below which a backlog is read on */
#define PERIOD_US SECOND_US /* between two looks */
#define PERIOD_MIN_US (5 * MSEC_US)
#define RETRY_US (100 * MSEC_US)
#define RETRY_MAX_US (2 * SECOND_US)
#define NEAR_LOOKS 3             /* looks back go this many looks into the future too */
#define FULL_US (30 * SECOND_US) /* between two looks back to the beginning of time */
#define BACK_LOOKS 60            /* the others go back by so many looks */

int64_t look_horizon_us(void)
{
    int64_t hour_us = clock_until_us(clock_now_us() + HOUR_US); /* real time that an hour takes */

    if (hour_us <= 0 || hour_us >= HOUR_US) /* slow or stopped: the hour may come by a jump */
        return LOOK_HORIZON_US;
    return LOOK_HORIZON_US / MSEC_US * (HOUR_US / MAX(hour_us / MSEC_US, 1));
}

void look_void(struct look *l)
{
    l->is_void = l->asked;
}

void look_reset(struct look *l, uint64_t shards, int64_t now_us)
{
    look_void(l);
    for (int i = 0; i < SHARDS; i++) {
        l->order.parts[READ_AHEAD].after[i] = (struct position){ .us = now_us };
        l->order.parts[READ_BEHIND].after[i] = (struct position){ .us = INT64_MIN };
    }
    l->order.shards = shards;
    l->more[READ_BEHIND] = l->more[READ_AHEAD] = false;
    l->looked_us = l->full_us = 0;
    l->horizon_end_us = now_us;
}

void look_back_fully(struct look *l)
{
    l->full_us = 0;
}

void look_restart(struct look *l)
{
    look_void(l);
    look_back_fully(l);
    l->more[READ_BEHIND] = false;
    l->looked_us = 0;
}

bool look_is_taken(const struct look *l)
{
    return l->looked_us != 0;
}

/* --- when ------------------------------------------------------------------------------------ */

static bool wants_behind(const struct look *l, const struct look_stock *stock)
{
    return l->more[READ_BEHIND] && stock->ready < LOW_WATER;
}

static bool wants_ahead(const struct look *l, const struct look_stock *stock)
{
    return l->more[READ_AHEAD] && stock->held < LOOK_HELD_MAX / 4;
}

int64_t look_wait_us(const struct look *l, const struct look_stock *stock, int64_t monotonic_us)
{
    int64_t since_us = monotonic_us - l->looked_us;
    /* A fast or turned clock eats up the horizon before the second is over. */
    int64_t half_us = l->horizon_end_us - look_horizon_us() / 2;

    if (l->asked || !l->order.shards)
        return INT64_MAX;
    if (monotonic_us < l->not_before_us)
        return l->not_before_us - monotonic_us;
    if (l->looked_us == 0)
        return 0;
    if (wants_behind(l, stock) || wants_ahead(l, stock))
        return MAX(0, PERIOD_MIN_US - since_us);
    int64_t half_left_us = clock_until_us(half_us);
    return MAX(0, MIN(PERIOD_US - since_us, MAX(PERIOD_MIN_US - since_us, half_left_us)));
}

/* --- what ------------------------------------------------------------------------------------ */

/*
 * Where the look back begins, unless a backlog is being worked off: a minute before the look before
 * this one. That misses a timer which was armed for long ago without our hearing of it, so each
 * half minute it begins with time itself, and reads the index entries that firing left dead there.
 */
static void begin_behind(struct look *l, int64_t floor_us, int64_t now_us, int64_t monotonic_us)
{
    int64_t back_us = look_horizon_us() / (LOOK_HORIZON_US / PERIOD_US) * BACK_LOOKS;
    bool is_full = !l->full_us || monotonic_us - l->full_us >= FULL_US;
    int64_t from_us = is_full ? floor_us : MAX(floor_us, MIN(now_us, l->looked_at_us) - back_us);

    if (l->more[READ_BEHIND])
        return;
    for (int i = 0; i < SHARDS; i++)
        l->order.parts[READ_BEHIND].after[i] = (struct position){ .us = from_us };
    if (is_full)
        l->full_us = monotonic_us;
}

void look_ask(struct look *l, const struct look_stock *stock, int64_t floor_us, int64_t now_us,
              int64_t monotonic_us)
{
    int64_t horizon_us = look_horizon_us();
    struct read_range *behind = &l->order.parts[READ_BEHIND], *ahead = &l->order.parts[READ_AHEAD];

    begin_behind(l, floor_us, now_us, monotonic_us);
    /* What is armed from now on for before its end is taken by offer, as the look may miss it. */
    l->horizon_end_us = MAX(l->horizon_end_us, now_us + horizon_us);
    behind->until_us = now_us + horizon_us / (LOOK_HORIZON_US / PERIOD_US) * NEAR_LOOKS;
    behind->limit = BEHIND_A_SHARD;
    ahead->until_us = l->horizon_end_us;
    ahead->limit = stock->room > LOOK_HELD_MAX / 4 ? AHEAD_A_SHARD : 0; /* no room: later */
    l->asked = true;
    l->is_void = false;
    l->asked_us = monotonic_us;
    l->asked_at_us = now_us;
}

/* --- what came of it ------------------------------------------------------------------------- */

/* Moves a part's places on by the rows that were taken. Returns whether a shard has more. */
static bool advance(uint64_t shards, struct read_range *range, const struct timer *rows, size_t n,
                    bool is_full)
{
    int count[SHARDS] = { 0 };
    bool more = false;

    for (size_t i = 0; i < n; i++) {
        count[rows[i].shard]++;
        range->after[rows[i].shard] = (struct position){ rows[i].due_us, rows[i].obligation };
    }
    for (int i = 0; i < SHARDS; i++) {
        if (!(shards >> i & 1))
            continue;
        if (is_full || count[i] >= range->limit) {
            more = true;
            continue;
        }
        range->after[i].us = MAX(range->after[i].us, range->until_us);
        memset(range->after[i].id.b, 0xff, sizeof(range->after[i].id.b));
    }
    return more;
}

static bool take_part(struct look *l, enum read_part part, const struct read_answer *answer,
                      bool (*hold)(void *arg, const struct timer *timer), void *arg)
{
    struct read_range *range = &l->order.parts[part];
    size_t taken = 0;

    if (!range->limit)
        return true; /* it was left for later */
    while (taken < answer->n[part] && hold(arg, &answer->timers[part][taken]))
        taken++;
    return advance(l->order.shards, range, answer->timers[part], taken, taken < answer->n[part]);
}

enum err look_take(struct look *l, const struct read_answer *answer, int64_t monotonic_us,
                   bool (*hold)(void *arg, const struct timer *timer), void *arg)
{
    bool was_void = l->is_void;

    l->asked = l->is_void = false;
    l->pause_us = answer->err ? MIN(RETRY_MAX_US, MAX(RETRY_US, 2 * l->pause_us)) : 0;
    l->not_before_us = answer->err ? monotonic_us + l->pause_us : 0;
    if (was_void || answer->err) {
        l->full_us = 0;
        l->looked_us = 0;
        return was_void ? ERR_OK : answer->err;
    }
    for (int i = 0; i < READ_PARTS; i++)
        l->more[i] = take_part(l, i, answer, hold, arg);
    l->looked_us = l->asked_us;
    l->looked_at_us = l->asked_at_us;
    return ERR_OK;
}
