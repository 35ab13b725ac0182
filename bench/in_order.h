/* Messages that all come, each in its turn: how they are sent, and the comparison with what has to come, wherever the
 * stream was cut. */
#ifndef STEADFAST_BENCH_IN_ORDER_H
#define STEADFAST_BENCH_IN_ORDER_H

#include <stdbool.h>

#include "stream.h"

struct receiver {
    uint32_t next_message, done_bytes; /* of that message's frame */
    struct piece *piece;               /* of a ping, or of the answer to the handshake */
};

/* A client's frame. Returns how many bytes it has. */
static size_t put_request(uint8_t *to, uint32_t message)
{
    uint8_t *payload = to + header_bytes + KEY_BYTES;
    put_sequence(payload, message);
    memcpy(payload + SEQUENCE_BYTES, pattern_of(message), payload_bytes - SEQUENCE_BYTES);
    return put_frame(to, message);
}

/* Looks at the next message or ping, or at what is there of it, and puts `bytes` behind that. What has to come is known
 * to the byte, headers included: RFC 6455, 5.2 allows one way to write a length. So it is compared as it arrives. */
static enum finding check(struct receiver *receiver, const uint8_t **bytes, const uint8_t *end, uint32_t sent_messages)
{
    const size_t head_bytes = header_bytes + SEQUENCE_BYTES;
    const size_t frame_bytes = header_bytes + payload_bytes;
    if (receiver->piece != NULL || (receiver->done_bytes == 0 && **bytes == PING))
        return gather_control(&receiver->piece, bytes, end);
    if (receiver->next_message >= sent_messages) return WRONG;

    uint8_t head[HEADER_LIMIT_BYTES + SEQUENCE_BYTES];
    memcpy(head, reply_header, header_bytes);
    put_sequence(head + header_bytes, receiver->next_message);
    while (*bytes < end && receiver->done_bytes < frame_bytes) {
        const size_t done_bytes = receiver->done_bytes, there_bytes = (size_t)(end - *bytes);
        const bool in_head = done_bytes < head_bytes;
        size_t length_bytes = (in_head ? head_bytes : frame_bytes) - done_bytes;
        if (length_bytes > there_bytes) length_bytes = there_bytes;
        const uint8_t *expected =
            in_head ? head + done_bytes : pattern_of(receiver->next_message) + done_bytes - head_bytes;
        if (memcmp(*bytes, expected, length_bytes) != 0) return WRONG;
        *bytes += length_bytes;
        receiver->done_bytes += (uint32_t)length_bytes;
    }
    if (receiver->done_bytes < frame_bytes) return PART;
    receiver->done_bytes = 0;
    receiver->next_message++;
    return MESSAGE;
}

#endif
