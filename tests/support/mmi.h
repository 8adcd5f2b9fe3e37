/*
 * mmi.h - a bus of a test is asked whether it is there (mmi.service), as gateways ask.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_MMI_H
#define DAYBOOK_TESTS_SUPPORT_MMI_H

#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/bus_frames.h"
#include "common/mdp.h"

/* Answers that it is. False: that was not the question; the frames stay the caller's. */
UNUSED static bool mmi_answer(void *bus, struct bus_frames *q)
{
    if (q->n != 5 || !bus_frame_is(&q->frame[3], MMI_SERVICE, strlen(MMI_SERVICE)))
        return false;
    assert_true(bus_send_frame(bus, &q->frame[0], true));
    assert_true(bus_send(bus, MDP_CLIENT_02, MDP_HEADER_LEN, true));
    assert_true(bus_send_byte(bus, MDP02_C_FINAL, true));
    assert_true(bus_send(bus, MMI_SERVICE, strlen(MMI_SERVICE), true));
    assert_true(bus_send(bus, "200", 3, false));
    bus_frames_close(q);
    return true;
}

#endif
