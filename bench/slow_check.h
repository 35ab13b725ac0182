/* What a receiver of slow may get, and the comparison with it, wherever the stream was cut: every message whole and in
 * its turn, but with others left out in between, which the server may have dropped. */
#ifndef STEADFAST_BENCH_SLOW_CHECK_H
#define STEADFAST_BENCH_SLOW_CHECK_H

#include <stdbool.h>

#include "slow_plan.h"
#include "stream.h"

struct receiver {
    uint32_t next_message; /* no earlier one may come */
    uint32_t message;      /* the one that is coming, when its head has come */
    uint32_t done_bytes;   /* of that message's frame */
    uint8_t head[HEADER_LIMIT_BYTES + SEQUENCE_BYTES + DUE_BYTES];
    struct piece *piece; /* of a control frame, or of the answer to the handshake */
};

/* When messages are due: the first one, and so all of them. */
static uint64_t first_due_ns;

static uint64_t due_ns(uint32_t message)
{
    return first_due_ns + (uint64_t)message * 1000000000 / (uint64_t)plan.per_s;
}

static void put_head(uint8_t *payload, uint32_t message)
{
    const uint64_t due = htobe64(due_ns(message));
    put_sequence(payload, message);
    memcpy(payload + SEQUENCE_BYTES, &due, sizeof due);
}

/* The publisher's frame. Returns how many bytes it has. */
static size_t put_request(uint8_t *to, uint32_t message)
{
    uint8_t *payload = to + header_bytes + KEY_BYTES;
    put_head(payload, message);
    memcpy(payload + PAYLOAD_LEAST_BYTES, pattern_of(message), payload_bytes - PAYLOAD_LEAST_BYTES);
    return put_frame(to, message);
}

/* The head says which message it is, and all else of it follows from that. */
static bool check_head(struct receiver *receiver, uint32_t sent_messages)
{
    uint8_t expected[PAYLOAD_LEAST_BYTES];
    uint32_t message;
    memcpy(&message, receiver->head + header_bytes, sizeof message);
    receiver->message = be32toh(message);
    if (receiver->message < receiver->next_message || receiver->message >= sent_messages) return false;
    put_head(expected, receiver->message);
    return memcmp(receiver->head, reply_header, header_bytes) == 0
           && memcmp(receiver->head + header_bytes, expected, sizeof expected) == 0;
}

/* Looks at the next message or control frame, or at what is there of it, and puts `bytes` behind that. */
static enum finding check(struct receiver *receiver, const uint8_t **bytes, const uint8_t *end, uint32_t sent_messages)
{
    const size_t head_bytes = header_bytes + PAYLOAD_LEAST_BYTES;
    const size_t frame_bytes = header_bytes + payload_bytes;
    const bool is_control = receiver->done_bytes == 0 && (**bytes == PING || **bytes == CLOSE);
    if (receiver->piece != NULL || is_control) return gather_control(&receiver->piece, bytes, end);

    while (*bytes < end && receiver->done_bytes < frame_bytes) {
        const size_t done_bytes = receiver->done_bytes, there_bytes = (size_t)(end - *bytes);
        const bool in_head = done_bytes < head_bytes;
        size_t length_bytes = (in_head ? head_bytes : frame_bytes) - done_bytes;
        if (length_bytes > there_bytes) length_bytes = there_bytes;
        if (in_head)
            memcpy(receiver->head + done_bytes, *bytes, length_bytes);
        else if (memcmp(*bytes, pattern_of(receiver->message) + done_bytes - head_bytes, length_bytes) != 0)
            return WRONG;
        *bytes += length_bytes;
        receiver->done_bytes += (uint32_t)length_bytes;
        if (in_head && receiver->done_bytes == head_bytes && !check_head(receiver, sent_messages)) return WRONG;
    }
    if (receiver->done_bytes < frame_bytes) return PART;
    receiver->done_bytes = 0;
    receiver->next_message = receiver->message + 1;
    return MESSAGE;
}

#endif
