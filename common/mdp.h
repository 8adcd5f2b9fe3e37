/*
 * mdp.h - Majordomo frames (ZeroMQ RFC 7, MDP/0.1, and RFC 18, MDP/0.2) and our two extensions.
 *
 * Extensions, used between our own programs and ignored by nobody else's:
 *  - READY may name several services: the worker is one slot for any of them.
 *  - WAKE (0.2 worker header, command 07, then a channel, then optional bytes): "relay" tells the
 *    bus that an outbox has rows; any other channel is published as topic "~wake/<channel>" with
 * those bytes.
 *
 * DISCONNECT from a worker of ours means 'no more requests'. The request that it has, or that
 * crossed the DISCONNECT on the way, is still answered by FINAL on the same connection, with
 * heartbeats until then: the bus keeps such a request, and declares it lost only when the
 * connection ends or three of those are missing (F09: draining fails nobody's request). A bus may
 * answer DISCONNECT by DISCONNECT once it has nothing left with that worker, which then need
 * not wait any longer.
 */
#ifndef DAYBOOK_COMMON_MDP_H
#define DAYBOOK_COMMON_MDP_H

#define MDP_CLIENT_01 "MDPC01"
#define MDP_WORKER_01 "MDPW01"
#define MDP_CLIENT_02 "MDPC02"
#define MDP_WORKER_02 "MDPW02"
#define MDP_HEADER_LEN 6
#define MMI_SERVICE "mmi.service" /* RFC 8: whether somebody serves a name */

/* commands of the 0.2 client side */
#define MDP02_C_REQUEST 0x01
#define MDP02_C_PARTIAL 0x02
#define MDP02_C_FINAL 0x03

/* commands of the 0.2 worker side */
#define MDP02_W_READY 0x01
#define MDP02_W_REQUEST 0x02
#define MDP02_W_PARTIAL 0x03
#define MDP02_W_FINAL 0x04
#define MDP02_W_HEARTBEAT 0x05
#define MDP02_W_DISCONNECT 0x06
#define MDP02_W_WAKE 0x07

/* commands of the 0.1 worker side */
#define MDP01_W_READY 0x01
#define MDP01_W_REQUEST 0x02
#define MDP01_W_REPLY 0x03
#define MDP01_W_HEARTBEAT 0x04
#define MDP01_W_DISCONNECT 0x05

/* The return address of a request: the bus's token; for a worker of ours also how many of its messages, READY and
 * all, the bus had read by then (uint32, big endian). */
#define MDP_TOKEN_SIZE 16
#define MDP_ADDRESS_SIZE (MDP_TOKEN_SIZE + 4)

#define MDP_HEARTBEAT_MS 1000
#define MDP_BEATS_MISSED 3  /* until the bus gives a worker up */
#define MDP_EXPIRY_MS 10000 /* of who has not told yet how often it beats */

/* Topic of head messages, prefix of wake messages. Event topics are "<tenant>/<type>". */
#define BUS_TOPIC_HEAD "~head"
#define BUS_TOPIC_WAKE "~wake/"
#define BUS_WAKE_RELAY "relay"
/* The bytes of a channel's wake begin with the sending process's random mark, by which it knows its
 * own echo; what is left is the message. */
#define BUS_WAKE_ORIGIN_LEN 16

#endif
